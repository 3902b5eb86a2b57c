//! Why a VM is not ready: the lowest layer that failed, with what shows it. Pure.

use super::host::{Dhcp, Mac, Said};
use super::probe::Failure;
use std::net::Ipv4Addr;

/// A layer of a VM's way to being ready, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// The VMM ended, or stopped the machine.
    Vmm,
    /// The kernel panicked, or never said a word.
    Kernel,
    /// The root filesystem was not found or not mounted.
    Root,
    /// The guest never asked for a lease.
    Discover,
    /// No server offered one.
    Offer,
    /// An offer came and no lease followed.
    Lease,
    /// The guest does not answer at its address.
    Reach,
    /// A port is closed.
    Port,
    /// A service answers, but not as it should.
    Answer,
}

/// What is known of a VM that is not ready.
#[derive(Debug, Clone, Default)]
pub struct Symptoms<'a> {
    /// How the VMM ended, if it did.
    pub ended: Option<&'a str>,
    /// What the VMM says of a machine that does not run.
    pub halted: Option<&'a str>,
    /// The console's last few hundred lines.
    pub console: &'a str,
    /// What was said on the NIC.
    pub said: &'a [Said],
    /// The guest's NIC.
    pub guest: Option<Mac>,
    /// Whether the guest is to take a lease.
    pub dhcp: bool,
    /// Its address, if it is known.
    pub address: Option<Ipv4Addr>,
    /// The probes that have not passed, with their last failure.
    pub probes: &'a [(String, Option<Failure>)],
}

/// The verdict.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Diagnosis {
    /// The lowest layer that failed.
    pub layer: Layer,
    /// One sentence.
    pub message: String,
    /// The rule that predicts this, where one does.
    pub rule: Option<&'static str>,
    /// What to do.
    pub help: String,
    /// The DHCP exchange and other frames, in order.
    pub exchange: Vec<String>,
    /// The console's last lines; after a panic, those that begin it.
    pub console: Vec<String>,
}

/// How many lines of the console are shown.
const LINES: usize = 25;
const PANIC: &str = "Kernel panic - not syncing";

/// Finds the lowest layer that failed.
pub fn diagnose(symptoms: &Symptoms) -> Diagnosis {
    let (layer, message, rule, help) = verdict(symptoms);
    let console: Vec<String> = symptoms.console.lines().map(str::to_owned).collect();
    let last = console.len().saturating_sub(LINES);
    let from =
        console.iter().position(|line| line.contains(PANIC)).map_or(last, |panic| panic.saturating_sub(5).min(last));
    Diagnosis {
        layer,
        message,
        rule,
        help: help.to_owned(),
        exchange: symptoms.said.iter().map(ToString::to_string).collect(),
        console: console.into_iter().skip(from).take(LINES).collect(),
    }
}

type Verdict = (Layer, String, Option<&'static str>, &'static str);

fn verdict(symptoms: &Symptoms) -> Verdict {
    let line = |words: &[&str]| {
        symptoms
            .console
            .lines()
            .find(|line| words.iter().any(|word| line.contains(word)))
            .map(|line| line.trim().to_owned())
    };
    if let Some(line) = line(&[
        "initrd: the root device",
        "initrd: the kernel arguments name no root",
        "Unable to mount root fs",
        "VFS: Cannot open root device",
    ]) {
        let help = "compare `root=` in the boot arguments with the block devices that the console lists";
        return (Layer::Root, line, Some("NET-K016"), help);
    }
    if let Some(line) = line(&[PANIC]) {
        return (Layer::Kernel, line, None, "the console says what happened before");
    }
    if let Some(ended) = symptoms.ended {
        let help = "the guest has stopped or rebooted itself, or the VMM failed: see the console and the VMM's log";
        return (Layer::Vmm, format!("the VMM ended with {ended}"), None, help);
    }
    if let Some(state) = symptoms.halted {
        let help = "the VMM has stopped the machine: see the VMM's log, and the host's kernel log";
        return (Layer::Vmm, format!("the VMM says that the machine does not run: {state}"), None, help);
    }
    if symptoms.console.trim().is_empty() && symptoms.said.is_empty() {
        let help = "is `console=ttyS0` among the boot arguments? does the kernel fit the machine?";
        return (Layer::Kernel, "the guest has not said a word".to_owned(), Some("NET-K029"), help);
    }
    if symptoms.dhcp && symptoms.address.is_none() {
        return dhcp(symptoms);
    }
    probes(symptoms)
}

fn dhcp(symptoms: &Symptoms) -> Verdict {
    let said = |wanted: fn(&Dhcp) -> bool| {
        symptoms.said.iter().any(
            |said| matches!(said, Said::Dhcp { client, message } if Some(*client) == symptoms.guest && wanted(message)),
        )
    };
    if said(|message| *message == Dhcp::Nak) {
        let help = "another server, or a lease file of another network: look at the DHCP server's log";
        return (Layer::Lease, "the DHCP server refused the guest's address (NAK)".to_owned(), None, help);
    }
    if said(|message| matches!(message, Dhcp::Offer { .. })) {
        let help = "a second DHCP server, or a firewall between the two: compare the exchange below";
        return (Layer::Lease, "an address was offered, but no lease followed".to_owned(), None, help);
    }
    if said(|message| matches!(message, Dhcp::Discover | Dhcp::Request)) {
        let help = "start a DHCP server on the bridge, and let UDP port 67 through";
        return (Layer::Offer, "the guest asks for a lease and nobody answers".to_owned(), Some("NET-H003"), help);
    }
    let help = "`goldsmith inspect net IMAGE` says who would configure the NIC; the console, which unit failed";
    (Layer::Discover, "the guest has not asked for a lease".to_owned(), Some("NET-D008"), help)
}

fn probes(symptoms: &Symptoms) -> Verdict {
    let worst = symptoms.probes.iter().filter_map(|(name, failure)| Some((name, failure.as_ref()?)));
    let rank = |failure: &Failure| match failure {
        Failure::Unreachable(_) => Layer::Reach,
        Failure::Closed(_) => Layer::Port,
        Failure::Answer(_) | Failure::Status { .. } => Layer::Answer,
    };
    let Some((name, failure)) = worst.min_by_key(|(_, failure)| rank(failure)) else {
        let address = symptoms.address.map(|address| format!(" at {address}")).unwrap_or_default();
        let message = format!("the guest{address} has not been asked yet");
        return (Layer::Reach, message, None, "give it more time: raise the probe's `timeout:`");
    };
    let place = symptoms.address.map(|address| format!(" at {address}")).unwrap_or_default();
    let message = format!("{name}{place}: {failure}");
    match rank(failure) {
        Layer::Reach => {
            let help = "the guest has an address that cannot be reached from here: is it in the bridge's subnet?";
            (Layer::Reach, message, Some("NET-H001"), help)
        }
        Layer::Port => (Layer::Port, message, None, "the service is not up: the console says which unit failed"),
        _ => (Layer::Answer, message, None, "the service is up and says what it lacks"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUEST: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn dhcp(message: Dhcp) -> Said {
        Said::Dhcp { client: GUEST, message }
    }

    #[test]
    fn each_layer_has_its_verdict() {
        let address = Ipv4Addr::new(10, 0, 0, 9);
        let offer = Dhcp::Offer { address, server: None };
        let booted = "Welcome to Debian";
        let layer = |symptoms: Symptoms| diagnose(&Symptoms { guest: Some(GUEST), ..symptoms }).layer;
        let asked = |said: &[Said]| layer(Symptoms { said, console: booted, dhcp: true, ..Symptoms::default() });
        assert_eq!(asked(&[]), Layer::Discover);
        assert_eq!(asked(&[dhcp(Dhcp::Discover)]), Layer::Offer);
        assert_eq!(asked(&[dhcp(Dhcp::Discover), dhcp(offer), dhcp(Dhcp::Request)]), Layer::Lease);
        assert_eq!(asked(&[dhcp(Dhcp::Request), dhcp(Dhcp::Nak)]), Layer::Lease);
        // Another guest's lease is no lease of this one.
        assert_eq!(asked(&[Said::Dhcp { client: Mac([2, 0, 0, 0, 0, 2]), message: Dhcp::Discover }]), Layer::Discover);
        let console = |console| layer(Symptoms { console, ended: Some("exit status 0"), ..Symptoms::default() });
        assert_eq!(console("initrd: the root device /dev/vdz did not appear within 20 s"), Layer::Root);
        assert_eq!(console("[ 1.0] Kernel panic - not syncing: Attempted to kill init!"), Layer::Kernel);
        assert_eq!(console(booted), Layer::Vmm);
        assert_eq!(layer(Symptoms { halted: Some("internal-error"), ..Symptoms::default() }), Layer::Vmm);
        assert_eq!(layer(Symptoms { dhcp: true, ..Symptoms::default() }), Layer::Kernel);
        let probe = |failure: Failure| {
            let probes = [("web".to_owned(), Some(failure)), ("other".to_owned(), None)];
            layer(Symptoms { console: booted, address: Some(address), probes: &probes, ..Symptoms::default() })
        };
        assert_eq!(probe(Failure::Unreachable("x".into())), Layer::Reach);
        assert_eq!(probe(Failure::Closed("x".into())), Layer::Port);
        assert_eq!(probe(Failure::Status { status: 503, body: String::new() }), Layer::Answer);
    }
}
