//! The decision: which layer failed, which rule predicts it, what to do.

use super::probes::probes;
use super::{Failed, Layer, Symptoms, Unpassed, console};
use crate::launch::host::{Dhcp, Said};
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
pub(super) const STAYS_DOWN: [&str; 20] = [
    "NET-K026", "NET-D004", "NET-D009", "NET-D007", "NET-D003", "NET-D001", "NET-N001", "NET-N004", "NET-N005",
    "NET-N007", "NET-A001", "NET-U001", "NET-U002", "NET-C003", "NET-K016", "NET-K017", "NET-K019", "NET-K001",
    "NET-K009", "NET-D008",
];
/// What puts a unit's own messages on the console.
pub(super) const ALOUD: &str = "`--append systemd.journald.forward_to_console=1`";

impl<'a> Verdict<'a> {
    pub(super) fn new(layer: Layer, message: impl Into<String>, help: &str) -> Self {
        Self { layer, message: message.into(), rule: None, help: help.to_owned(), at: None, probe: None }
    }

    pub(super) fn rule(self, rule: Option<&'static str>) -> Self {
        Self { rule, ..self }
    }

    fn at(self, line: usize) -> Self {
        Self { at: Some(line), ..self }
    }

    pub(super) fn about(self, probe: &'a Unpassed) -> Self {
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
    let silent = console.trim().is_empty();
    if let Some(state) = symptoms.halted {
        let when = if silent { ", and has not since before the kernel's first word" } else { "" };
        let message = format!("the VMM says that the machine does not run: {state}{when}");
        let help = match state {
            "io-error" => "the VM's disk cannot be written to: is the host's filesystem full?",
            _ if silent => "`goldsmith doctor` says whether KVM works here; `--accel emulation` works without",
            _ => "the VMM has stopped the machine: see the VMM's log, and the host's kernel log",
        };
        return Some(Verdict::new(Layer::Vmm, message, help));
    }
    if silent && symptoms.frames == 0 {
        let rule = symptoms.predicted(&["NET-K029"]);
        return Some(if rule.is_some() {
            let help = "let it say something: `console=ttyS0` among the boot arguments";
            Verdict::new(Layer::Kernel, "the guest has not said a word", help).rule(rule)
        } else {
            let help = "does the kernel fit the machine, and is the memory enough? `--accel emulation` tells the processor's \
                        faults from the image's";
            Verdict::new(Layer::Start, "the kernel has not started: it has printed nothing", help)
        });
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
        if let Some(verdict) = cut(symptoms, Layer::Offer, asks) {
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
    let (rule, message) = (symptoms.predicted(&STAYS_DOWN), "the guest has not asked for a lease");
    if rule.is_none() && console::is_booting(symptoms.console) {
        let help = "give it more time (`--timeout 5m`), or see on the console what it waits for";
        return Verdict::new(Layer::Discover, format!("{message}, and is still booting"), help);
    }
    let help = "`goldsmith inspect net IMAGE` says who would configure the NIC";
    Verdict::new(Layer::Discover, message, help).rule(rule.or(Some("NET-D008")))
}

/// The verdict where the VM's tap is no port of the bridge any more.
pub(super) fn cut<'a>(symptoms: &Symptoms, layer: Layer, message: &str) -> Option<Verdict<'a>> {
    let (tap, bridge) = symptoms.sight.cut.as_ref()?;
    let message = format!("{message}: {tap}, the VM's tap, is no port of {bridge}");
    let help = format!("ip link set {tap} master {bridge}");
    Some(Verdict::new(layer, message, &help).rule(Some("NET-H006")))
}

/// Whether a unit would answer a probe, by its name or by the ports that its file names.
pub fn answers(unit: &Failed, probe: &str, port: u16) -> bool {
    let stem = unit.name.rsplit_once('.').map_or("", |(stem, _)| stem);
    stem == probe || unit.ports.contains(&port)
}

/// Puts the blame on a unit that failed, if it explains the rest; else mentions those that failed.
fn units<'a>(symptoms: &Symptoms, verdict: Verdict<'a>) -> Verdict<'a> {
    let down = verdict.layer == Layer::Discover || verdict.layer == Layer::Reach && !symptoms.dhcp;
    let explains = |unit: &&Failed| match verdict.probe {
        _ if down => network::is_needed(&unit.name),
        Some(probe) if verdict.layer == Layer::Port => answers(unit, &probe.name, probe.port),
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
    let help = if unit.last {
        "the unit's last words are on the console; with `--keep` the guest stays to be looked at".to_owned()
    } else {
        format!("with `--keep` and {ALOUD} the console has what the unit says, and `goldsmith logs {name}` prints it")
    };
    Verdict::new(Layer::Unit, message, &help).at(unit.line)
}
