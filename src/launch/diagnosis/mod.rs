//! Why a VM is not ready: the lowest layer that failed, with what shows it. Pure.
//!
//! In: [`Symptoms`], all that is known of the VM. Out: a [`Diagnosis`]. `console` reads what the guest printed, `verdict`
//! decides, for a guest that has an address with `probes`.

mod console;
mod probes;
mod symptoms;
mod verdict;

pub use console::{Failed, failed, is_dead, ports};
pub use symptoms::{Symptoms, Unpassed};
pub use verdict::answers;

/// A layer of a VM's way to being ready, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// The VMM ended, or stopped the machine.
    Vmm,
    /// The kernel has not started: it has printed nothing, and nothing has left the NIC.
    Start,
    /// The kernel panicked, or was told to print nothing.
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
