//! The decision: which layer failed, which rule predicts it, what to do.

use super::{Failed, Layer, Symptoms, Unpassed, console};
use crate::launch::host::{Dhcp, Mac, Said, Way};
use crate::launch::probe::Failure;
use crate::network;

/// What is decided.
pub struct Verdict<'a> {
    pub layer: Layer,
    pub message: String,
    pub rule: Option<&'static str>,
    pub help: String,
    /// The console's line that begins what failed.
    pub at: Option<usize>,
    /// The probe that it is about.
    probe: Option<&'a Unpassed>,
}

/// Rules by which a guest leaves its NIC alone.
const STAYS_DOWN: [&str; 20] = [
    "NET-K026", "NET-D004", "NET-D009", "NET-D007", "NET-D003", "NET-D001", "NET-N001", "NET-N004", "NET-N005",
    "NET-N007", "NET-A001", "NET-U001", "NET-U002", "NET-C003", "NET-K016", "NET-K017", "NET-K019", "NET-K001",
    "NET-K009", "NET-D008",
];
/// What puts a unit's own messages on the console.
const ALOUD: &str = "`--append systemd.journald.forward_to_console=1`";

impl<'a> Verdict<'a> {
    fn new(layer: Layer, message: impl Into<String>, help: &str) -> Self {
        Self { layer, message: message.into(), rule: None, help: help.to_owned(), at: None, probe: None }
    }

    fn rule(self, rule: Option<&'static str>) -> Self {
        Self { rule, ..self }
    }

    fn at(self, line: usize) -> Self {
        Self { at: Some(line), ..self }
    }

    fn about(self, probe: &'a Unpassed) -> Self {
        Self { probe: Some(probe), ..self }
    }
}

pub fn verdict<'a>(symptoms: &'a Symptoms) -> Verdict<'a> {
    machine(symptoms).unwrap_or_else(|| {
        let verdict = if symptoms.dhcp && symptoms.address.is_none() { lease(symptoms) } else { probes(symptoms) };
        units(symptoms, verdict)
    })
}

/// What keeps a guest from running at all.
fn machine<'a>(symptoms: &Symptoms) -> Option<Verdict<'a>> {
    let console = symptoms.console;
    if let Some((number, line)) = console::root(console) {
        let (rule, help) = if console::no_disk(console) {
            (
                Some("NET-K016"),
                "the kernel has no driver for the disk, or was kept from loading it: see the boot arguments",
            )
        } else {
            (None, "compare `root=` in the boot arguments with the block devices that the console lists")
        };
        return Some(Verdict::new(Layer::Root, line, help).rule(rule).at(number));
    }
    if let Some((number, line)) = console::panic(console) {
        return Some(Verdict::new(Layer::Kernel, line, "the console says what happened before").at(number));
    }
    if let Some(ended) = symptoms.ended {
        return Some(match console::down(console) {
            Some((number, line)) => {
                let message = format!("the guest has ended itself, and the VMM with {ended}: {line}");
                let help = "the console says what the guest did before it went down; a crash loop reboots as well";
                Verdict::new(Layer::Vmm, message, help).at(number)
            }
            None => {
                let help = "the VMM failed or was killed: see its log, and the host's kernel log (out of memory?)";
                Verdict::new(Layer::Vmm, format!("the VMM ended with {ended}"), help)
            }
        });
    }
    if let Some(state) = symptoms.halted {
        let message = format!("the VMM says that the machine does not run: {state}");
        let help = "the VMM has stopped the machine: see the VMM's log, and the host's kernel log";
        return Some(Verdict::new(Layer::Vmm, message, help));
    }
    if console.trim().is_empty() && symptoms.frames == 0 && symptoms.said.is_empty() {
        let help = "is `console=ttyS0` among the boot arguments? does the kernel fit the machine?";
        let rule = symptoms.predicted(&["NET-K029"]);
        return Some(Verdict::new(Layer::Kernel, "the guest has not said a word", help).rule(rule));
    }
    None
}

/// What keeps a running guest from having a lease.
fn lease<'a>(symptoms: &Symptoms) -> Verdict<'a> {
    let said = |wanted: fn(&Dhcp) -> bool| {
        symptoms.any(
            |said| matches!(said, Said::Dhcp { client, message } if Some(*client) == symptoms.guest && wanted(message)),
        )
    };
    if said(|message| *message == Dhcp::Nak) {
        let help = "another server, or a lease file of another network: look at the DHCP server's log";
        return Verdict::new(Layer::Lease, "the DHCP server refused the guest's address (NAK)", help);
    }
    if said(|message| matches!(message, Dhcp::Offer { .. })) {
        let message = if said(|message| *message == Dhcp::Request) {
            "an address was offered and asked for, and no server confirmed it"
        } else {
            "an address was offered, and the guest did not take it"
        };
        let help = "a second DHCP server, or a firewall between the two: compare what was said on the NIC";
        return Verdict::new(Layer::Lease, message, help);
    }
    if said(|message| matches!(message, Dhcp::Discover | Dhcp::Request)) {
        let asks = "the guest asks for a lease and nobody answers";
        if let Some(verdict) = symptoms.cut(Layer::Offer, asks) {
            return verdict;
        }
        let rule = symptoms.predicted(&["NET-H008"]).or(Some("NET-H003"));
        let (message, help) = if symptoms.sight.serves {
            let help =
                "a firewall on this host drops UDP port 67 (NET-H008), or no address is left: see the server's log";
            (format!("{asks}, though a DHCP server runs on this host"), help)
        } else {
            (asks.to_owned(), "start a DHCP server on the bridge, or let goldsmith run one: `--network managed`")
        };
        return Verdict::new(Layer::Offer, message, help).rule(rule);
    }
    let help = "`goldsmith inspect net IMAGE` says who would configure the NIC";
    let rule = symptoms.predicted(&STAYS_DOWN).or(Some("NET-D008"));
    Verdict::new(Layer::Discover, "the guest has not asked for a lease", help).rule(rule)
}

/// What keeps a guest with an address from answering: the lowest layer of all probes.
fn probes<'a>(symptoms: &'a Symptoms) -> Verdict<'a> {
    let asked = symptoms.probes.iter().filter_map(|probe| Some((probe, probe.failure.as_ref()?)));
    let Some((layer, probe, failure)) = asked
        .map(|(probe, failure)| (layer(symptoms, probe, failure), probe, failure))
        .min_by_key(|(layer, ..)| *layer)
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
    if let Some(verdict) = symptoms.cut(Layer::Reach, &format!("nobody answers{place}")) {
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
            let rule = symptoms.predicted(&STAYS_DOWN).or((symptoms.frames == 0).then_some("NET-D008"));
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
    let (message, help) = match failure {
        Failure::Closed(_) if refused => {
            let help = format!(
                "nothing listens there: is the unit enabled, does it listen on 0.0.0.0? {ALOUD} shows what units say"
            );
            (format!("the guest answers ARP, and port {port} is closed"), help)
        }
        Failure::Unreachable(why) => {
            (format!("the guest answers ARP, and something rejects port {port}: {why}"), "a firewall".to_owned())
        }
        Failure::Silent if seen(|mac, port| Said::Knock { mac, port }) => {
            let help = "a firewall in the guest, or a route in it that leads elsewhere: see its own configuration";
            (format!("the guest answers ARP, and drops what comes for port {port}"), help.to_owned())
        }
        Failure::Silent => {
            let help = "a firewall on this host: `nft list ruleset`, `iptables -S OUTPUT`";
            (format!("the guest answers ARP, and what is sent to port {port} does not reach its NIC"), help.to_owned())
        }
        failure => (failure.to_string(), format!("the service is not up: {ALOUD} shows what units say")),
    };
    Verdict::new(Layer::Port, format!("{name}{place}: {message}"), &help)
}

/// Puts the blame on a unit that failed, if it explains the rest; else mentions those that failed.
fn units<'a>(symptoms: &Symptoms, verdict: Verdict<'a>) -> Verdict<'a> {
    let down = verdict.layer == Layer::Discover || verdict.layer == Layer::Reach && !symptoms.dhcp;
    let answers = |unit: &Failed, probe: &Unpassed| {
        let stem = unit.name.rsplit_once('.').map_or("", |(stem, _)| stem);
        stem == probe.name || unit.ports.contains(&probe.port)
    };
    let explains = |unit: &&Failed| match verdict.probe {
        _ if down => network::is_needed(&unit.name),
        Some(probe) if verdict.layer == Layer::Port => answers(unit, probe),
        _ => false,
    };
    let all = |wanted: &dyn Fn(&&Failed) -> bool| {
        symptoms.units.iter().filter(wanted).map(|unit| unit.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let Some(unit) = symptoms.units.iter().find(explains) else {
        let message = match all(&|_| true) {
            failed if failed.is_empty() => verdict.message,
            failed => format!("{}; besides, failed to start: {failed}", verdict.message),
        };
        return Verdict { message, ..verdict };
    };
    let why = if unit.dependent {
        format!("was not started, because a unit that it needs failed ({})", all(&|unit| !unit.dependent))
    } else {
        "failed to start".to_owned()
    };
    let message = format!("{} {why}: {}", unit.name, verdict.message);
    let name = symptoms.name;
    let help =
        format!("with `--keep` and {ALOUD} the console has what the unit says, and `goldsmith logs {name}` prints it");
    Verdict::new(Layer::Unit, message, &help).at(unit.line)
}

impl Symptoms<'_> {
    /// The first of these rules that the gate found broken and let through.
    fn predicted(&self, rules: &[&'static str]) -> Option<&'static str> {
        rules.iter().copied().find(|rule| self.findings.contains(rule))
    }

    fn any(&self, wanted: impl Fn(&Said) -> bool) -> bool {
        self.said.iter().any(|told| wanted(&told.said))
    }

    fn has(&self, wanted: &Said) -> bool {
        self.any(|said| said == wanted)
    }

    /// Whether the guest has said by ARP that it holds its address.
    fn claimed(&self) -> bool {
        self.any(|said| said.claim().is_some_and(|(mac, held)| Some(mac) == self.guest && Some(held) == self.address))
    }

    /// Who else has said so.
    fn other(&self) -> Option<Mac> {
        let claims = self.said.iter().filter_map(|told| told.said.claim());
        let said = claims.filter(|(_, held)| Some(*held) == self.address).map(|(mac, _)| mac);
        said.chain(self.sight.neighbour).find(|mac| self.guest.is_some_and(|guest| guest != *mac))
    }

    /// How often others have asked by ARP who holds the guest's address.
    fn questions(&self) -> u32 {
        let asks = |said: &Said| matches!(said, Said::WhoHas { mac, wanted, .. } if Some(*mac) != self.guest && Some(*wanted) == self.address);
        self.said.iter().filter(|told| asks(&told.said)).map(|told| told.times).sum()
    }

    fn place(&self) -> String {
        self.address.map(|address| format!(" at {address}")).unwrap_or_default()
    }

    /// The verdict where the VM's tap is no port of the bridge any more.
    fn cut<'a>(&self, layer: Layer, message: &str) -> Option<Verdict<'a>> {
        let (tap, bridge) = self.sight.cut.as_ref()?;
        let message = format!("{message}: {tap}, the VM's tap, is no port of {bridge}");
        let help = format!("ip link set {tap} master {bridge}");
        Some(Verdict::new(layer, message, &help).rule(Some("NET-H006")))
    }
}
