//! Why a VM is not ready: the lowest layer that failed, with what shows it. Pure.
//!
//! In: [`Symptoms`], all that is known of the VM. Out: a [`Diagnosis`]. `console` reads what the guest printed, `verdict`
//! decides.

mod console;
mod verdict;

pub use console::{Failed, failed, is_dead, ports};

use super::host::{Mac, Sight, Told};
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
    /// A unit failed without which the NIC is not configured, or which would answer the probe.
    Unit,
    /// The guest never asked for a lease.
    Discover,
    /// No server offered one.
    Offer,
    /// An offer came and no lease followed.
    Lease,
    /// The guest does not answer ARP at its address, or its answers do not arrive.
    Reach,
    /// A port is closed, or what is sent to it is dropped.
    Port,
    /// A service answers, but not as it should.
    Answer,
}

/// A probe that has not passed.
#[derive(Debug, Clone)]
pub struct Unpassed {
    /// Its name.
    pub name: String,
    /// The guest's port that it asks.
    pub port: u16,
    /// Why it failed the last time; none when it has not been asked yet.
    pub failure: Option<Failure>,
}

/// What is known of a VM that is not ready.
#[derive(Debug, Clone, Default)]
pub struct Symptoms<'a> {
    /// Its name.
    pub name: &'a str,
    /// How the VMM ended, if it did.
    pub ended: Option<&'a str>,
    /// What the VMM says of a machine that does not run.
    pub halted: Option<&'a str>,
    /// The console's last few hundred lines.
    pub console: &'a str,
    /// The units that failed by the console, with what the image says about them.
    pub units: &'a [Failed],
    /// What was said on the NIC.
    pub said: &'a [Told],
    /// How many frames the guest has sent.
    pub frames: u64,
    /// The guest's NIC.
    pub guest: Option<Mac>,
    /// Whether the guest is to take a lease.
    pub dhcp: bool,
    /// Its address, if it is known.
    pub address: Option<Ipv4Addr>,
    /// What the host knows of the way there.
    pub sight: Sight,
    /// The probes that have not passed.
    pub probes: &'a [Unpassed],
    /// The rules that the gate found broken, and let through.
    pub findings: &'a [&'static str],
}

/// The verdict.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Diagnosis {
    /// The lowest layer that failed.
    pub layer: Layer,
    /// One sentence.
    pub message: String,
    /// The rule that predicts this: one that the gate let through, or the one whose sentence has come true. None where no
    /// rule looks at what failed: what programs do once they run, a kernel that panics, a `root=` that names another disk,
    /// and what other machines and firewalls do to single packets.
    pub rule: Option<&'static str>,
    /// What to do.
    pub help: String,
    /// The DHCP exchange and other frames, in the order in which they were first seen, with how often.
    pub exchange: Vec<String>,
    /// What the host says of the way to the guest: bridge, DHCP server, route, neighbour; or user networking's forwards.
    pub bridge: Vec<String>,
    /// The console's last lines; where one of them begins what failed, those from there on.
    pub console: Vec<String>,
}

/// How many lines of the console are shown.
const LINES: usize = 25;
/// How many of them stand before the one that begins what failed.
const BEFORE: usize = 5;

/// Finds the lowest layer that failed.
pub fn diagnose(symptoms: &Symptoms) -> Diagnosis {
    let verdict = verdict::verdict(symptoms);
    let console: Vec<String> = symptoms.console.lines().map(str::to_owned).collect();
    let last = console.len().saturating_sub(LINES);
    let from = verdict.at.map_or(last, |at| at.saturating_sub(BEFORE).min(last));
    let frames = symptoms.guest.map(|guest| format!("{guest}, the guest's NIC, has sent {} frames", symptoms.frames));
    Diagnosis {
        layer: verdict.layer,
        message: verdict.message,
        rule: verdict.rule,
        help: verdict.help,
        exchange: symptoms.said.iter().map(ToString::to_string).collect(),
        bridge: symptoms.sight.lines.iter().cloned().chain(frames).collect(),
        console: console.into_iter().skip(from).take(LINES).collect(),
    }
}

#[cfg(test)]
mod tests;
