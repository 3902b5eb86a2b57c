//! What happens to the NIC from the kernel to userspace, told in order.

use super::evaluate::Step;
use super::ip_argument::Dracut;
use super::matching::Answer;
use super::model::{Claim, Model};
use super::{Initrd, KernelIp, Said, Transport};
use crate::boot::Presence;

fn step(stage: &'static str, who: impl Into<String>, what: impl Into<String>) -> Step {
    Step { stage, who: who.into(), what: what.into() }
}

impl Model<'_> {
    /// Everything that happens, and everything that is read and why it does not count.
    pub(super) fn timeline(&self) -> Vec<Step> {
        let mut steps = self.kernel_steps();
        steps.extend(self.initrd_steps());
        steps.push(self.naming_step());
        steps.extend(self.netplan_steps());
        steps.extend(self.networkd_steps());
        steps.extend(self.other_steps());
        for claim in &self.claims {
            steps.push(step("userspace", claim.manager, claim.describe()));
        }
        if let Some(early) = self.early.as_ref().filter(|_| !self.claims.is_empty()) {
            let what = match (self.early_stays(), early.address) {
                (true, Some(address)) => format!("{address}, which the {} set, stays", early.who),
                (false, Some(address)) if self.claim("networkd").is_some() => {
                    format!("networkd removes {address}, which the {} set", early.who)
                }
                (false, Some(address)) => format!("whether {address}, which the {} set, stays is unknown", early.who),
                (_, None) => format!("the lease that the {} took is not renewed by it", early.who),
            };
            steps.push(step("userspace", "what was there", what));
        }
        steps
    }

    fn kernel_steps(&self) -> Vec<Step> {
        if self.ip.is_empty() {
            return vec![step("kernel", "no ip=", "sets nothing")];
        }
        self.ip.iter().map(|said| step("kernel", format!("ip= ({})", said.place), self.kernel_does(said))).collect()
    }

    fn kernel_does(&self, said: &Said<KernelIp>) -> String {
        let ip = &said.value;
        if ip.address.is_none() && !ip.asks() {
            return "asks for nothing".to_owned();
        }
        match (self.kernel_obeys(), ip.cidr()) {
            (Presence::Absent | Presence::Module, _) => {
                "ignored: this kernel has no CONFIG_IP_PNP, or its NIC driver is a module".to_owned()
            }
            _ if ip.device.as_deref().is_some_and(|device| device != self.kernel_name) => {
                "waits 12 s for a device that is not there, then sets nothing".to_owned()
            }
            (Presence::BuiltIn, Some(cidr)) => {
                let gateway = ip.gateway.map_or(String::new(), |gateway| format!(", default route by {gateway}"));
                format!("sets {cidr}{gateway}")
            }
            (Presence::BuiltIn, None) => "takes a lease that is never renewed".to_owned(),
            (Presence::Unknown, _) => "obeyed only with CONFIG_IP_PNP=y, which is not known here".to_owned(),
        }
    }

    fn initrd_steps(&self) -> Vec<Step> {
        match self.inputs.initrd {
            Initrd::None => vec![step("initrd", "no initrd", "does nothing")],
            Initrd::Goldsmith => vec![step("initrd", "goldsmith's initrd", "loads drivers, configures no network")],
            Initrd::Unknown => {
                vec![step("initrd", "an initrd, or none", "unknown: nobody has looked into it (`--initrd`)")]
            }
            Initrd::InitramfsTools => {
                let what = match (&self.early, self.initramfs_reads_ip()) {
                    (Some(early), true) if early.who == "initrd" => {
                        "obeys `ip=` (ipconfig), and writes /run/net-eth0.conf"
                    }
                    (_, false) => "configures no network: the root is not on NFS",
                    _ => "configures no network: no `ip=` asks for it",
                };
                vec![step("initrd", "initramfs-tools", what)]
            }
            Initrd::Dracut if self.dracut.is_empty() => {
                vec![step("initrd", "dracut", "configures no network: there is no `ip=`")]
            }
            Initrd::Dracut => {
                let what = |said: &Said<Dracut>| match &said.value {
                    Dracut::Static(_) => "sets the address".to_owned(),
                    Dracut::Asks(_) => "takes a lease".to_owned(),
                    Dracut::Dies(why) => format!("gives up: {why}"),
                };
                self.dracut
                    .iter()
                    .map(|said| step("initrd", format!("dracut, ip= ({})", said.place), what(said)))
                    .collect()
            }
        }
    }

    fn naming_step(&self) -> Step {
        let bus = match self.inputs.vmm.transport {
            Transport::Mmio => "virtio-mmio",
            Transport::Pci => "virtio-pci",
        };
        let name = &self.nic.name;
        step("udev", format!("the NIC, on {bus}"), format!("is {name}: {}", self.naming.why))
    }

    fn netplan_steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let netplan = &self.netplan;
        for file in &netplan.files {
            let wrong = netplan.errors.iter().any(|(place, _)| place.to_string().starts_with(&format!("{file}:")));
            let what = match (self.netplan_installed, wrong, netplan.goes_on) {
                (false, ..) => "nobody reads it: netplan is not installed",
                (_, true, true) => "read by netplan, which skips what it does not accept",
                (_, true, false) => "not accepted by netplan, which then generates nothing",
                _ => "read by netplan",
            };
            steps.push(step("userspace", file, what));
        }
        for (file, stronger) in &netplan.shadowed {
            steps.push(step("userspace", file, format!("not read: {stronger} has the same name")));
        }
        steps
    }

    fn networkd_steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if !self.ip.is_empty() || self.generator.active {
            let what = match (self.generator.active, self.rejected.first()) {
                (false, _) => format!("does not run: {}", self.generator.why),
                (true, Some((place, error))) => format!("fails at {place} and writes nothing: {error}"),
                (true, None) if self.generated.networks.is_empty() => "runs, and has nothing to write".to_owned(),
                (true, None) => "runs, and writes what `ip=` says".to_owned(),
            };
            steps.push(step("userspace", "systemd-network-generator", what));
        }
        let networkd = if self.networkd.active { "starts" } else { "does not start" };
        steps.push(step("userspace", "systemd-networkd", format!("{networkd}: {}", self.networkd.why)));
        let winner = self.winner().map(|file| file.name.clone());
        for (file, answer) in &self.network_files {
            let name = &self.nic.name;
            let what = match answer {
                Answer::Yes if Some(&file.name) == winner.as_ref() => format!("wins {name}"),
                Answer::Yes => format!("matches {name}, but comes too late"),
                Answer::No if file.matches.is_empty() => "is ignored: it has no [Match]".to_owned(),
                Answer::No => file
                    .matches
                    .unmet
                    .as_ref()
                    .map_or_else(|| format!("is not for {name}"), |unmet| format!("is not for this machine ({unmet})")),
                Answer::Unknown => "may match: unknown".to_owned(),
            };
            let from = match file.generated_by {
                Some(_) => format!("generated from {}", file.place),
                None => file.path.clone(),
            };
            let changed = if file.drop_ins.is_empty() {
                String::new()
            } else {
                format!(", changed by {}", file.drop_ins.join(", "))
            };
            steps.push(step("userspace", &file.name, format!("{what} ({from}{changed})")));
        }
        for path in &self.left_out.masked {
            steps.push(step("userspace", path, "masks the files of its name"));
        }
        for (path, stronger) in &self.left_out.hidden {
            steps.push(step("userspace", path, format!("not read: {stronger} has the same name")));
        }
        steps
    }

    fn other_steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (who, starts) in
            [("networking.service", &self.networking), ("NetworkManager.service", &self.network_manager)]
        {
            if starts.installed {
                let verb = if starts.active { "starts" } else { "does not start" };
                steps.push(step("userspace", who, format!("{verb}: {}", starts.why)));
            }
        }
        if self.cloud.active || !self.cloud.why.ends_with("is not installed") {
            let verb = if self.cloud.active { "runs" } else { "does not run" };
            steps.push(step("userspace", "cloud-init", format!("{verb}: {}", self.cloud.why)));
        }
        steps
    }
}

impl Claim {
    /// What it does, in a few words.
    pub(super) fn describe(&self) -> String {
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
