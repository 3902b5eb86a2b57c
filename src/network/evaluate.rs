//! The one function that `verify`, `launch` and a build's self-check call.

use super::model::{Claim, Evaluation, Interface, Model, Step};
use super::networkd::Answer;
use super::rules::RULES;
use super::{Cidr, Inputs, Place};
use crate::boot::Presence;
use std::collections::BTreeMap;

/// Recomputes the network and lets every rule speak.
pub fn evaluate(inputs: &Inputs) -> Evaluation {
    let model = Model::new(inputs);
    let mut findings = Vec::new();
    for rule in RULES {
        (rule.check)(&model, &mut findings);
    }
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.rule.cmp(b.rule)));
    let interface = Interface {
        name: model.nic.name.clone(),
        timeline: model.timeline(),
        effective: model.effective(),
        unknowns: model.unknowns.clone(),
    };
    Evaluation { interfaces: BTreeMap::from([(interface.name.clone(), interface)]), findings }
}

impl Model<'_> {
    /// What a manager is told, if it starts.
    pub fn claim(&self, manager: &str) -> Option<&Claim> {
        self.claims.iter().find(|claim| claim.manager == manager)
    }

    /// Whether anybody asks for an IPv4 lease that stays.
    pub fn has_dhcp(&self) -> bool {
        self.effective().dhcp4
    }

    /// Whether the NIC certainly stays down.
    pub fn dead(&self) -> bool {
        self.effective().manager == "none"
            && !self.network_files.iter().any(|(_, answer)| *answer == Answer::Unknown && self.networkd.active)
    }

    /// The static addresses that stay, and where the first is set.
    pub fn static_addresses(&self) -> (Vec<Cidr>, Option<&Place>) {
        if self.claims.is_empty() && self.effective().manager == "kernel" {
            return self.argument_address().map_or((Vec::new(), None), |(cidr, place)| (vec![cidr], Some(place)));
        }
        let claims = self.claims.iter().filter(|claim| claim.modelled && !claim.addresses.is_empty());
        let place = claims.clone().next().map(|claim| &claim.address_place);
        (claims.flat_map(|claim| claim.addresses.iter().copied()).collect(), place)
    }

    /// What becomes of a static address in `ip=`, in one sentence.
    pub fn fate_of_kernel_address(&self) -> &'static str {
        match self.kernel_obeys() {
            Presence::BuiltIn => "the kernel sets the address (CONFIG_IP_PNP=y), then networkd removes it",
            Presence::Absent | Presence::Module => "this kernel ignores `ip=` (no CONFIG_IP_PNP)",
            Presence::Unknown => {
                "with CONFIG_IP_PNP=y networkd removes the kernel's address, without it the argument is ignored"
            }
        }
    }

    fn timeline(&self) -> Vec<Step> {
        let step = |stage, who: &str, what: String| Step { stage, who: who.to_owned(), what };
        let mut steps = Vec::new();
        for said in &self.ip {
            let what = match (self.kernel_obeys(), said.value.cidr()) {
                (Presence::Absent | Presence::Module, _) => {
                    "ignored: this kernel has no CONFIG_IP_PNP (or no NIC driver built in)".to_owned()
                }
                (_, _) if said.value.device.as_deref().is_some_and(|device| device != self.kernel_name) => {
                    "waits 12 s for a device that is not there".to_owned()
                }
                (Presence::BuiltIn, Some(cidr)) => format!("sets {cidr}"),
                (Presence::BuiltIn, None) if said.value.asks() => "takes a lease that is never renewed".to_owned(),
                (Presence::BuiltIn, None) => "does nothing".to_owned(),
                (Presence::Unknown, _) => "obeyed only with CONFIG_IP_PNP=y, which is not known here".to_owned(),
            };
            steps.push(step("kernel", &format!("ip= ({})", said.place), what));
        }
        if self.ip.is_empty() {
            steps.push(step("kernel", "no ip=", "sets nothing".to_owned()));
        }
        let initrd = match self.inputs.initrd {
            super::Initrd::None => "there is none",
            super::Initrd::Goldsmith => "configures no network",
            super::Initrd::Unknown => "unknown: nobody has looked into it",
        };
        steps.push(step("initrd", "initrd", initrd.to_owned()));
        for file in &self.netplan.files {
            steps.push(step("userspace", file, "read by netplan".to_owned()));
        }
        for (file, stronger) in &self.netplan.shadowed {
            steps.push(step("userspace", file, format!("hidden by {stronger}")));
        }
        let networkd = if self.networkd.active { "starts" } else { "does not start" };
        steps.push(step("userspace", "systemd-networkd", format!("{networkd}: {}", self.networkd.why)));
        let winner = self.winner().map(|file| file.name.clone());
        for (file, answer) in &self.network_files {
            let what = match answer {
                Answer::Yes if Some(&file.name) == winner.as_ref() => format!("wins {}", self.nic.name),
                Answer::Yes => format!("matches {}, but comes too late", self.nic.name),
                Answer::No => format!("is not for {}", self.nic.name),
                Answer::Unknown => "may match: unknown".to_owned(),
            };
            steps.push(step("userspace", &file.name, format!("{what} (from {})", file.place)));
        }
        for claim in &self.claims {
            steps.push(step("userspace", claim.manager, claim.describe()));
        }
        steps
    }
}

impl Claim {
    fn describe(&self) -> String {
        if !self.modelled {
            return "unknown: it is not modelled".to_owned();
        }
        let mut parts = Vec::new();
        if self.dhcp4 {
            let identity = if self.identifier_mac { "by MAC address" } else { "by machine-id" };
            parts.push(format!("asks for a lease, naming itself {identity}"));
        }
        parts.extend(self.addresses.iter().map(|address| format!("sets {address}")));
        parts.extend(self.gateways.iter().map(|gateway| format!("default route by {gateway}")));
        parts.extend(self.dns.iter().map(|server| format!("DNS {server}")));
        if parts.is_empty() { "brings it up without an address".to_owned() } else { parts.join(", ") }
    }
}

#[cfg(test)]
mod tests;
