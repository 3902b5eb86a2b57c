//! Every layer's verdict, message and rule.

use super::*;
use crate::launch::host::{Dhcp, Mac, Said, Sight, Told, Way};
use crate::launch::probe::Failure;
use Said::{Accepted, Arp, Knock, Refused, WhoHas};
use std::net::Ipv4Addr;

const GUEST: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const BOOTED: &str = "[  OK  ] Reached target multi-user.target - Multi-User System.";
const ASKED: Said = WhoHas { mac: OTHER, address: Some(HOST), wanted: ADDRESS };
const THERE: Said = Arp { mac: GUEST, address: ADDRESS };

fn dhcp(message: Dhcp) -> Said {
    Said::Dhcp { client: GUEST, message }
}

/// Layer, rule and message.
fn judge(symptoms: Symptoms) -> (Layer, Option<&'static str>, String) {
    let Diagnosis { layer, rule, message, .. } = diagnose(&Symptoms { guest: Some(GUEST), name: "vm-1", ..symptoms });
    (layer, rule, message)
}

#[track_caller]
fn assert_verdict(symptoms: Symptoms, layer: Layer, rule: Option<&str>, words: &str) {
    let verdict = judge(symptoms);
    assert!((verdict.0, verdict.1) == (layer, rule) && verdict.2.contains(words), "{verdict:?}");
}

#[test]
fn a_machine_that_does_not_run() {
    use Layer::{Kernel, Root, Start, Vmm};
    let console = |console| Symptoms { console, ended: Some("exit status 0"), ..Symptoms::default() };
    let wrong = "initrd: the root device /dev/vdz did not appear within 20 s\ninitrd:   vda: 1024 MiB";
    assert_verdict(console(wrong), Root, None, "/dev/vdz");
    let none = "initrd: the root device /dev/vda did not appear within 20 s\ninitrd: block devices:\ninitrd:   none";
    assert_verdict(console(none), Root, Some("NET-K016"), "/dev/vda");
    let panic = "[ 1.0] Kernel panic - not syncing: Attempted to kill init!";
    assert_verdict(console(panic), Kernel, None, "Attempted to kill init");
    assert!(!is_dead(panic) && is_dead("[ 1.0] ---[ end Kernel panic - not syncing: x ]---"));
    assert_verdict(console(BOOTED), Vmm, None, "the VMM ended with exit status 0");
    assert_verdict(console("[ 9.0] reboot: Power down"), Vmm, None, "the guest has ended itself");
    let halted = Symptoms { halted: Some("internal-error"), ..Symptoms::default() };
    assert_verdict(halted.clone(), Vmm, None, "internal-error, and has not since before the kernel's first word");
    assert_verdict(Symptoms { console: BOOTED, ..halted }, Vmm, None, "internal-error");
    let silent = Symptoms { dhcp: true, ..Symptoms::default() };
    assert_verdict(silent.clone(), Start, None, "the kernel has not started");
    // Whatever others say on the NIC.
    let said = asks(&[Said::Dhcp { client: OTHER, message: Dhcp::Discover }]);
    assert_verdict(Symptoms { said: &said, ..silent.clone() }, Start, None, "the kernel has not started");
    assert_verdict(Symptoms { findings: &["NET-K029"], ..silent }, Kernel, Some("NET-K029"), "not said a word");
}

fn asks(said: &[Said]) -> Vec<Told> {
    said.iter().map(|said| Told { said: *said, times: 1 }).collect()
}

#[test]
fn a_guest_without_a_lease() {
    use Layer::{Discover, Lease, Offer};
    let offer = Dhcp::Offer { address: ADDRESS, server: None };
    let verdict = |said: &[Said], sight: Sight, findings: &[&'static str], expected: (Layer, Option<&str>, &str)| {
        let said = asks(said);
        let symptoms = Symptoms { said: &said, console: BOOTED, dhcp: true, sight, findings, ..Symptoms::default() };
        assert_verdict(symptoms, expected.0, expected.1, expected.2);
    };
    let none = Sight::default;
    verdict(&[], none(), &[], (Discover, Some("NET-D008"), "has not asked"));
    verdict(&[], none(), &["NET-N002", "NET-K026"], (Discover, Some("NET-K026"), "has not asked"));
    let console = "[  OK  ] Reached target sysinit.target - System Initialization.";
    let booting = Symptoms { console, dhcp: true, ..Symptoms::default() };
    assert_verdict(booting, Discover, None, "still booting");
    // Another guest's question is no question of this one.
    let other = Said::Dhcp { client: OTHER, message: Dhcp::Discover };
    verdict(&[other], none(), &[], (Discover, Some("NET-D008"), "has not asked"));
    let discover = dhcp(Dhcp::Discover);
    verdict(&[discover], none(), &[], (Offer, Some("NET-H003"), "nobody answers"));
    verdict(&[discover], Sight { serves: true, ..none() }, &[], (Offer, Some("NET-H003"), "a DHCP server runs"));
    verdict(&[discover], none(), &["NET-H008"], (Offer, Some("NET-H008"), "nobody answers"));
    let cut = Sight { cut: Some(("gs0".to_owned(), "br0".to_owned())), ..none() };
    verdict(&[discover], cut, &[], (Offer, Some("NET-H006"), "gs0, the VM's tap, is no port of br0"));
    verdict(&[discover, dhcp(offer)], none(), &[], (Lease, None, "did not take it"));
    verdict(&[discover, dhcp(offer), dhcp(Dhcp::Request)], none(), &[], (Lease, None, "no server confirmed it"));
    verdict(&[dhcp(Dhcp::Request), dhcp(Dhcp::Nak)], none(), &[], (Lease, None, "NAK"));
}

/// The verdict on a guest with an address whose probe failed.
#[track_caller]
fn probed(failure: Failure, said: &[Said], change: impl FnOnce(&mut Symptoms), expected: (Layer, Option<&str>, &str)) {
    let unpassed = |name: &str, failure| Unpassed { name: name.to_owned(), port: 80, failure };
    let probes = [unpassed("web", Some(failure)), unpassed("other", None)];
    let said = asks(said);
    let mut symptoms = Symptoms {
        console: BOOTED,
        address: Some(ADDRESS),
        dhcp: true,
        frames: 7,
        probes: &probes,
        said: &said,
        sight: Sight { way: Way::Bridge, inside: true, ..Sight::default() },
        ..Symptoms::default()
    };
    change(&mut symptoms);
    assert_verdict(symptoms, expected.0, expected.1, expected.2);
}

#[test]
fn a_guest_that_does_not_answer_arp() {
    let none = || Failure::Unreachable("No route to host".to_owned());
    let reach = |rule: Option<&'static str>, words: &'static str| (Layer::Reach, rule, words);
    let unanswered = "does not answer ARP at 10.0.0.9 (asked 1 times)";
    probed(none(), &[ASKED], |_| {}, reach(None, unanswered));
    probed(Failure::Silent, &[ASKED], |_| {}, reach(None, unanswered));
    probed(Failure::Closed("closed at once".to_owned()), &[ASKED], |_| {}, reach(None, unanswered));
    probed(none(), &[], |_| {}, reach(None, "this host's ARP does not reach its NIC"));
    probed(none(), &[ASKED, THERE], |_| {}, reach(None, "this host does not hear it"));
    // A fixed address: nobody asked for a lease, so it is here that a NIC shows which is not configured.
    probed(none(), &[ASKED], |guest| guest.dhcp = false, reach(None, unanswered));
    let dead = |guest: &mut Symptoms| (guest.dhcp, guest.frames) = (false, 0);
    probed(none(), &[ASKED], dead, reach(Some("NET-D008"), unanswered));
    let fixed = |way: Way, inside: bool| {
        move |guest: &mut Symptoms| (guest.dhcp, guest.sight.way, guest.sight.inside) = (false, way, inside)
    };
    probed(none(), &[], fixed(Way::Nowhere, false), reach(Some("NET-H001"), "no route"));
    probed(none(), &[], fixed(Way::Over("eth1".to_owned()), false), reach(Some("NET-H001"), "over eth1"));
    probed(Failure::Silent, &[], fixed(Way::Over("eth1".to_owned()), true), reach(Some("NET-H009"), "over eth1"));
    let other = Arp { mac: OTHER, address: ADDRESS };
    probed(none(), &[ASKED, other], fixed(Way::Bridge, true), reach(Some("NET-H007"), "another machine"));
    let cut = |guest: &mut Symptoms| guest.sight.cut = Some(("gs0".to_owned(), "br0".to_owned()));
    probed(none(), &[THERE], cut, reach(Some("NET-H006"), "gs0"));
    probed(none(), &[], |guest| guest.probes = &[], reach(None, "has not been asked yet"));
}

#[test]
fn a_guest_that_answers_arp() {
    let port = |words: &'static str| (Layer::Port, None, words);
    let knock = Knock { mac: GUEST, port: 80 };
    let refused = Refused { mac: GUEST, port: 80 };
    let closed = || Failure::Closed("the port is closed".to_owned());
    probed(closed(), &[THERE, knock, refused], |_| {}, port("port 80 is closed"));
    probed(closed(), &[THERE], |_| {}, port("the port is closed"));
    probed(Failure::Silent, &[THERE, knock], |_| {}, port("what comes for port 80 is dropped"));
    probed(Failure::Silent, &[THERE], |_| {}, port("does not reach its NIC"));
    let rejected = Failure::Unreachable("No route to host".to_owned());
    probed(rejected, &[THERE, knock], |guest| guest.sight.neighbour = Some(GUEST), port("rejects port 80"));
    let answer = |words: &'static str| (Layer::Answer, None, words);
    let accepted = Accepted { mac: GUEST, port: 80 };
    probed(Failure::Silent, &[THERE, knock, accepted], |_| {}, answer("does not answer in time"));
    probed(Failure::Status { status: 503, body: String::new() }, &[THERE], |_| {}, answer("503"));
    probed(Failure::Answer("it says \"SSH\"".to_owned()), &[THERE], |_| {}, answer("SSH"));
}

#[test]
fn a_failed_unit_is_blamed_for_what_it_explains_and_else_mentioned() {
    let units = failed(
        "[FAILED] Failed to start xvfb.service - Display.\n\
         [FAILED] Failed to start systemd-networkd.service - Network Configuration.\n\
         [FAILED] Failed to start httpd.service - Web pages.\n\
         [DEPEND] Dependency failed for web.service - Other web pages.",
    );
    let [xvfb, networkd, httpd, web] = units.try_into().unwrap();
    let closed = || Failure::Closed("the port is closed".to_owned());
    let unit = |words: &'static str| (Layer::Unit, None, words);
    let mut serves = httpd.clone();
    serves.ports = vec![80];
    let both: &[Failed] = vec![xvfb.clone(), serves].leak();
    let words = "httpd.service failed to start: web at 10.0.0.9: the port is closed";
    probed(closed(), &[THERE], |guest| guest.units = both, unit(words));
    let named: &[Failed] = vec![xvfb.clone(), web].leak();
    let words = "web.service was not started, because a unit that it needs failed (xvfb.service)";
    probed(closed(), &[THERE], |guest| guest.units = named, unit(words));
    // Two are not up; the one whose unit is not started again is to blame.
    let mut gone = failed("goldsmith: failed: other.service");
    gone[0].ports = vec![81];
    let said = asks(&[THERE]);
    let probes = ["web", "other"].map(|name| Unpassed {
        name: name.to_owned(),
        port: if name == "web" { 80 } else { 81 },
        failure: Some(closed()),
    });
    let two = Symptoms {
        console: BOOTED,
        address: Some(ADDRESS),
        said: &said,
        probes: &probes,
        units: &gone,
        sight: Sight { way: Way::Bridge, inside: true, ..Sight::default() },
        ..Symptoms::default()
    };
    assert_verdict(two, Layer::Unit, None, "other.service failed to start: other at 10.0.0.9: the port is closed");
    // Neither its name nor its file has to do with the probe.
    let strange: &[Failed] = vec![xvfb.clone(), httpd].leak();
    let besides = "web at 10.0.0.9: the port is closed; besides, failed to start: xvfb.service, httpd.service";
    probed(closed(), &[THERE], |guest| guest.units = strange, (Layer::Port, None, besides));
    // A service that answers is up.
    let sick = || Failure::Status { status: 503, body: String::new() };
    probed(sick(), &[THERE], |guest| guest.units = both, (Layer::Answer, None, "HTTP status 503; besides"));

    let (net, xvfb): (&[Failed], &[Failed]) = (vec![networkd].leak(), vec![xvfb].leak());
    let quiet = |units| Symptoms { console: BOOTED, dhcp: true, units, ..Symptoms::default() };
    let words = "systemd-networkd.service failed to start: the guest has not asked for a lease";
    assert_verdict(quiet(net), Layer::Unit, None, words);
    let words = "the guest has not asked for a lease; besides, failed to start: xvfb.service";
    assert_verdict(quiet(xvfb), Layer::Discover, Some("NET-D008"), words);
    let unreachable = || Failure::Unreachable("No route to host".to_owned());
    let fixed = |guest: &mut Symptoms| (guest.dhcp, guest.units) = (false, net);
    probed(unreachable(), &[ASKED], fixed, unit("systemd-networkd.service failed to start: the guest does not answer"));
    // With a lease it has done its work.
    probed(unreachable(), &[ASKED], |guest| guest.units = net, (Layer::Reach, None, "besides"));
    let help = diagnose(&Symptoms { name: "vm-1", ..quiet(net) }).help;
    assert!(help.contains("goldsmith logs vm-1"), "{help}");
}

#[test]
fn the_evidence_begins_where_the_failure_does() {
    let mut lines: Vec<String> = (0..100).map(|number| format!("line {number}")).collect();
    lines[40] = "Kernel panic - not syncing: x".to_owned();
    let console = lines.join("\n");
    let found = diagnose(&Symptoms { console: &console, guest: Some(GUEST), frames: 3, ..Symptoms::default() });
    assert_eq!((found.console.len(), found.console[0].as_str()), (LINES, "line 35"));
    assert_eq!(found.bridge, ["02:00:00:00:00:01, the guest's NIC, has sent 3 frames"]);
    let said = [Told { said: ASKED, times: 12 }];
    let found = diagnose(&Symptoms { said: &said, ..Symptoms::default() });
    assert_eq!(found.exchange, ["ARP: who has 10.0.0.9? asks 10.0.0.1 at 02:00:00:00:00:02 (12 times)"]);
}

#[test]
fn every_layer_is_described() {
    let page = include_str!("../../../docs/networks.md");
    let schema = serde_json::json!(schemars::schema_for!(Layer));
    let layers: Vec<_> = schema["oneOf"].as_array().unwrap().iter().filter_map(|one| one["const"].as_str()).collect();
    assert_eq!(layers.len(), 11, "{schema:#}");
    assert!(layers.iter().all(|layer| page.contains(&format!("\n| `{layer}` | "))), "{layers:?}");
}

#[test]
fn every_rule_that_is_looked_for_exists() {
    let known: Vec<_> = crate::gate::rules().into_iter().map(|rule| rule.id).collect();
    assert!(verdict::STAYS_DOWN.iter().all(|rule| known.contains(rule)), "{:?}", verdict::STAYS_DOWN);
}
