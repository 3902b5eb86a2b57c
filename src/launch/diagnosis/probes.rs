//! The decision about a guest that has an address: does it answer ARP, is the port open, what does the service say?

use super::verdict::{ALOUD, STAYS_DOWN, Verdict, answers, cut};
use super::{Layer, Symptoms, Unpassed, console};
use crate::launch::host::{Mac, Said, Way};
use crate::launch::probe::Failure;

/// What keeps a guest with an address from answering: the lowest layer of all probes.
pub(super) fn probes<'a>(symptoms: &'a Symptoms) -> Verdict<'a> {
    let asked = symptoms.probes.iter().filter_map(|probe| Some((probe, probe.failure.as_ref()?)));
    let Some((layer, probe, failure)) = asked
        .map(|(probe, failure)| (layer(symptoms, probe, failure), probe, failure))
        .min_by_key(|(layer, probe, _)| (*layer, !given_up(symptoms, probe)))
    else {
        let message = format!("the guest{} has not been asked yet", symptoms.place());
        return Verdict::new(Layer::Reach, message, "give it more time: `--timeout 5m`");
    };
    match layer {
        Layer::Reach => reach(symptoms, failure),
        Layer::Port => port(symptoms, probe, failure),
        _ => {
            let what = match failure {
                Failure::Silent => "it accepts connections, and does not answer in time".to_owned(),
                failure => failure.to_string(),
            };
            let message = format!("{}{}: {what}", probe.name, symptoms.place());
            Verdict::new(Layer::Answer, message, "the service is up and says what it lacks")
        }
    }
    .about(probe)
}

/// Whether the unit that would answer has failed for good: of several probes it is this one that will not pass.
fn given_up(symptoms: &Symptoms, probe: &Unpassed) -> bool {
    symptoms.units.iter().any(|unit| unit.last && answers(unit, &probe.name, probe.port))
}

fn layer(symptoms: &Symptoms, probe: &Unpassed, failure: &Failure) -> Layer {
    let accepted = symptoms.guest.is_some_and(|mac| symptoms.has(&Said::Accepted { mac, port: probe.port }));
    let astray = symptoms.sight.cut.is_some() || matches!(symptoms.sight.way, Way::Over(_) | Way::Nowhere);
    let absent = !symptoms.claimed() && (symptoms.questions() > 0 || matches!(failure, Failure::Unreachable(_)));
    // The host has the guest's ARP answer, so that it is something behind it that says `unreachable`: an ICMP message.
    let heard = symptoms.guest.is_some() && symptoms.sight.neighbour == symptoms.guest;
    match failure {
        Failure::Answer(_) | Failure::Status { .. } => Layer::Answer,
        Failure::Silent if accepted => Layer::Answer,
        Failure::Closed(_) if !absent => Layer::Port,
        _ if absent || astray => Layer::Reach,
        Failure::Unreachable(_) if !heard => Layer::Reach,
        _ => Layer::Port,
    }
}

/// Why the guest does not answer at its address at all.
fn reach<'a>(symptoms: &Symptoms, failure: &Failure) -> Verdict<'a> {
    let (sight, place) = (&symptoms.sight, symptoms.place());
    let fixed = !symptoms.dhcp;
    let new = |message, help| Verdict::new(Layer::Reach, message, help);
    if let Some(verdict) = cut(symptoms, Layer::Reach, &format!("nobody answers{place}")) {
        return verdict;
    }
    let off = (fixed && !sight.inside).then_some("NET-H001");
    match &sight.way {
        Way::Nowhere => {
            let help = "give the bridge an address in the guest's subnet";
            return new(format!("this host has no route to the guest{place}"), help).rule(off);
        }
        Way::Over(other) => {
            let message = format!("this host looks for the guest{place} over {other}, not over the VM's bridge");
            return new(message, "move the bridge to another subnet").rule(off.or(Some("NET-H009")));
        }
        Way::Bridge | Way::Unknown => {}
    }
    if let Some(other) = symptoms.other() {
        let help = "two machines have one address: give one of them another";
        return new(format!("another machine, {other}, answers{place}"), help).rule(fixed.then_some("NET-H007"));
    }
    if symptoms.claimed() {
        let message = format!("the guest answers ARP{place}, and this host does not hear it ({failure})");
        return new(message, "a firewall on the bridge drops ARP: `nft list ruleset`, `ebtables -L`");
    }
    let what = if fixed { "" } else { "has its lease, and " };
    match symptoms.questions() {
        0 => {
            let message =
                format!("the guest {what}is not asked{place}: this host's ARP does not reach its NIC ({failure})");
            new(message, "a firewall on the bridge drops ARP: `nft list ruleset`, `ebtables -L`")
        }
        asked => {
            let silent = symptoms.frames == 0 && !console::is_booting(symptoms.console);
            let rule = symptoms.predicted(&STAYS_DOWN).or(silent.then_some("NET-D008"));
            let message = format!("the guest {what}does not answer ARP{place} (asked {asked} times)");
            let help =
                "the guest has dropped the address, or ignores ARP: `goldsmith inspect net IMAGE` says who sets it";
            new(message, help).rule(rule.filter(|_| fixed))
        }
    }
}

/// Why a guest that is there does not let anybody in.
fn port<'a>(symptoms: &Symptoms, probe: &Unpassed, failure: &Failure) -> Verdict<'a> {
    let (name, place, port) = (&probe.name, symptoms.place(), probe.port);
    let seen = |said: fn(Mac, u16) -> Said| symptoms.guest.is_some_and(|mac| symptoms.has(&said(mac, port)));
    let refused = seen(|mac, port| Said::Refused { mac, port });
    let there = if symptoms.answered() { "the guest answers ARP, and " } else { "" };
    let (message, help) = match failure {
        Failure::Closed(_) if refused => {
            let help = format!(
                "nothing listens there: is the unit enabled, does it listen on 0.0.0.0? {ALOUD} shows what units say"
            );
            (format!("{there}port {port} is closed"), help)
        }
        Failure::Unreachable(why) => (format!("{there}something rejects port {port}: {why}"), "a firewall".to_owned()),
        Failure::Silent if seen(|mac, port| Said::Knock { mac, port }) => {
            let help = "a firewall in the guest, or a route in it that leads elsewhere: see its own configuration";
            (format!("{there}what comes for port {port} is dropped"), help.to_owned())
        }
        Failure::Silent => {
            let help = "a firewall on this host: `nft list ruleset`, `iptables -S OUTPUT`";
            (format!("{there}what is sent to port {port} does not reach its NIC"), help.to_owned())
        }
        failure => (failure.to_string(), format!("the service is not up: {ALOUD} shows what units say")),
    };
    Verdict::new(Layer::Port, format!("{name}{place}: {message}"), &help)
}
