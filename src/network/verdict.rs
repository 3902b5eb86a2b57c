//! What the model comes to: the address, whether it is reachable, what the host must do for it.

use super::activation::{Activation, activation, systemd_version};
use super::matching::Answer;
use super::model::{Claim, MachineId, Model};
use super::{Cidr, DhcpServer, HostFacts, Place, Transport};
use crate::boot::{KernelArg, Presence};
use crate::findings::Finding;

/// What kind of address the NIC answers at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Predicted {
    /// None: it stays down, or up without an address.
    Nothing,
    /// Fixed ones.
    Static(Vec<Cidr>),
    /// Whatever lease it gets.
    Lease,
    /// A lease, and fixed ones beside it.
    LeaseAndStatic(Vec<Cidr>),
    /// It cannot be told from here.
    Unknown,
}

/// Whether the guest can be reached where the manifest, the arguments and the caller expect it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reachability {
    /// It can, when the host provides what [`super::Interface::needs`] lists.
    Reachable,
    /// It cannot, and why.
    Unreachable(String),
    /// It cannot be told from here, and what would settle it.
    Unknown(String),
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
            && self.netplan.unmodelled.is_empty()
            && !self.network_files.iter().any(|(_, answer)| *answer == Answer::Unknown && self.networkd.active)
    }

    /// The static addresses that stay, and where the first is set.
    pub fn static_addresses(&self) -> (Vec<Cidr>, Option<&Place>) {
        let claims = self.claims.iter().filter(|claim| claim.modelled && !claim.addresses.is_empty());
        let mut place = claims.clone().next().map(|claim| &claim.address_place);
        let mut addresses: Vec<Cidr> = claims.flat_map(|claim| claim.addresses.iter().copied()).collect();
        let early = self.early.as_ref().and_then(|early| early.address).filter(|_| self.early_stays());
        if let Some(early) = early.filter(|early| !addresses.iter().any(|own| own.address == early.address)) {
            addresses.push(early);
            place = place.or(self.argument_address().map(|(_, place)| place));
        }
        (addresses, place)
    }

    /// What becomes of a static address in `ip=`, in one sentence.
    pub fn fate_of_kernel_address(&self) -> String {
        let keeper = self.claims.first().map_or("nobody", |claim| claim.manager);
        if let Some(early) = &self.early {
            return match keeper {
                "networkd" if early.who == "kernel" => {
                    "the kernel sets the address (CONFIG_IP_PNP=y), then networkd removes it".to_owned()
                }
                "networkd" => "the initrd sets the address, then networkd removes it".to_owned(),
                other => format!("the {} sets the address; whether {other} keeps it is not known", early.who),
            };
        }
        match self.kernel_obeys() {
            Presence::Absent | Presence::Module => {
                "this kernel ignores `ip=` (no CONFIG_IP_PNP, or its NIC driver is a module)".to_owned()
            }
            _ => "with CONFIG_IP_PNP=y networkd removes the kernel's address, without it the argument is ignored"
                .to_owned(),
        }
    }

    /// What kind of address comes out.
    pub fn predicted(&self) -> Predicted {
        let effective = self.effective();
        let addresses = self.static_addresses().0;
        match (effective.manager.as_str(), effective.dhcp4, addresses.is_empty()) {
            ("unknown", ..) => Predicted::Unknown,
            (_, false, true) if !self.dead() && self.claims.is_empty() => Predicted::Unknown,
            (_, false, true) => Predicted::Nothing,
            (_, true, true) => Predicted::Lease,
            (_, true, false) => Predicted::LeaseAndStatic(addresses),
            (_, false, false) => Predicted::Static(addresses),
        }
    }

    /// The verdict: what refuses is unreachable; two who race are not determined; rules about identity do not count.
    pub fn reachability(&self, findings: &[Finding]) -> Reachability {
        const RACES: &[&str] = &["NET-D005", "NET-N010"];
        let refusals = findings.iter().filter(|one| one.refuses() && !one.rule.starts_with("NET-I"));
        if let Some(found) = refusals.clone().find(|one| !RACES.contains(&one.rule)) {
            return Reachability::Unreachable(found.message.clone());
        }
        if let Some(race) = refusals.clone().next() {
            return Reachability::Unknown(format!("{}; remove one of the two", race.message));
        }
        match self.predicted() {
            Predicted::Nothing => Reachability::Unreachable(format!("{} gets no address", self.nic.name)),
            Predicted::Unknown => {
                let first = self.undecided.as_ref().or(self.unknowns.first());
                let kernel =
                    "whether the kernel obeys `ip=`; give its configuration: `--kernel-config FILE`".to_owned();
                Reachability::Unknown(first.cloned().unwrap_or(kernel))
            }
            _ => Reachability::Reachable,
        }
    }

    /// What the host must provide.
    pub fn needs(&self) -> Vec<String> {
        let mut needs = Vec::new();
        let name = self.inputs.host.as_ref().map_or("the bridge", |host: &HostFacts| host.name.as_str());
        if self.has_dhcp() {
            let who = self.nic.mac.as_ref().map_or(String::new(), |mac| format!(" ({mac})"));
            needs.push(format!("a DHCP server on {name} that answers the guest{who}"));
        }
        for address in self.static_addresses().0 {
            needs.push(format!(
                "an address of {name} in the network of {address}, and nobody else at {}",
                address.address
            ));
        }
        for gateway in self.effective().gateways {
            needs.push(format!("a gateway at {gateway}"));
        }
        needs
    }

    /// Who the guest says it is.
    pub fn identity(&self) -> Vec<String> {
        let mut lines = vec![match self.machine_id {
            MachineId::Fixed => "machine-id: fixed in the image, the same in every clone".to_owned(),
            MachineId::Empty => "machine-id: empty, each machine makes its own".to_owned(),
            MachineId::Missing => "machine-id: no file, the first boot applies presets".to_owned(),
            MachineId::Uninitialized => "machine-id: uninitialized, the first boot applies presets".to_owned(),
        }];
        for claim in self.claims.iter().filter(|claim| claim.dhcp4 && claim.manager == "networkd") {
            let iaid = match self.inputs.vmm.transport {
                _ if claim.identifier_mac => "its MAC address",
                Transport::Mmio => "a DUID made from the machine-id, and an IAID made from the MAC address",
                Transport::Pci => "a DUID made from the machine-id, and an IAID made from the PCI slot",
            };
            lines.push(format!("DHCP client: {iaid}"));
        }
        let keys = self.inputs.snapshot.names("/etc/ssh").iter().any(|name| name.ends_with("_key"));
        if keys {
            lines.push("ssh host keys: in the image, the same in every clone".to_owned());
        }
        let leases = self.inputs.snapshot.names("/var/lib/dhcp").iter().any(|name| name.contains("lease"));
        if leases {
            lines.push("DHCP leases of the machine that built it are in the image".to_owned());
        }
        lines
    }

    /// How names become addresses.
    pub fn names_to_addresses(&self) -> String {
        let resolver = &self.resolver;
        let starts = |one: &Activation| if one.active { "which starts" } else { "which does not start" };
        let list =
            |servers: &[std::net::IpAddr]| servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match &resolver.link {
            Some(target) if target.contains("/systemd/resolve/") => {
                format!(
                    "/etc/resolv.conf leads to systemd-resolved, {} ({})",
                    starts(&resolver.resolved),
                    resolver.resolved.why
                )
            }
            Some(target) if target.ends_with("/proc/net/pnp") => {
                "/etc/resolv.conf leads to what the kernel learnt".to_owned()
            }
            Some(target) => format!("/etc/resolv.conf leads to {target}"),
            None if !resolver.fixed.is_empty() => format!("/etc/resolv.conf names {}", list(&resolver.fixed)),
            None if resolver.exists => "/etc/resolv.conf names no server".to_owned(),
            None => "there is no /etc/resolv.conf".to_owned(),
        }
    }

    /// Whether the host's own address is in one of the guest's networks: then they reach each other without a gateway.
    pub fn host_is_in(&self, networks: &[Cidr]) -> bool {
        let host = self.inputs.host.as_ref().and_then(|host| host.cidr);
        host.is_some_and(|host| networks.iter().any(|network| network.contains(host.address)))
    }

    /// Whether the host's DHCP server reserves an address for the NIC.
    pub fn reservation(&self) -> Option<std::net::Ipv4Addr> {
        match (&self.inputs.host, &self.nic.mac) {
            (Some(HostFacts { dhcp: DhcpServer::Present { reservations, .. }, .. }), Some(mac)) => {
                reservations.get(mac).copied()
            }
            _ => None,
        }
    }

    /// The place of an argument.
    pub fn place(&self, arg: &KernelArg) -> Place {
        Place::argument(&self.line, arg)
    }

    /// Whether a unit starts, and why.
    pub fn unit(&self, unit: &str) -> Activation {
        activation(&self.inputs.snapshot, &self.args, unit, false)
    }

    /// The claim whose lease follows a machine-id that all clones share.
    pub fn lease_by_machine_id(&self) -> Option<&Claim> {
        self.claim("networkd")
            .filter(|claim| self.machine_id == MachineId::Fixed && claim.dhcp4 && !claim.identifier_mac)
    }

    /// Where the fixed machine-id stands.
    pub fn machine_id_place(&self) -> Place {
        match self.args.last("systemd.machine_id") {
            Some(arg) => self.place(arg),
            None => Place::file(&self.inputs.snapshot.image, "/etc/machine-id"),
        }
    }

    /// The lowest name that `systemd-network-generator` gives a `.network` file.
    pub fn generator_prefix(&self) -> &'static str {
        if systemd_version(&self.inputs.snapshot).is_some_and(|version| version < 255) { "90-" } else { "70-" }
    }

    /// Whether netplan's generator would write a `.network` file of this name.
    pub fn netplan_writes(&self, name: &str) -> bool {
        self.netplan_installed && self.netplan.network_files().iter().any(|file| file.name == name)
    }

    /// The kernel's release: as given, or the only one that the image has modules for.
    pub fn kernel_release(&self) -> Option<String> {
        let mut found = self.inputs.snapshot.names("/usr/lib/modules").into_iter();
        let only = found.next().filter(|_| found.next().is_none()).map(str::to_owned);
        self.inputs.vmm.kernel_release.clone().or(only)
    }
}
