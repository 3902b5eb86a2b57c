//! From inputs to the effective network: what the kernel sets, what the initrd does, who configures the NIC in the end.

use super::ip_argument::{self, KernelIp, Rejected};
use super::managers::{self, Activation, Stanza};
use super::netplan::{self, Netplan};
use super::networkd::{self, Answer, Assignment, Match, NetworkFile, Nic};
use super::{Cidr, Inputs, Place, Said, Transport};
use crate::boot::Presence;
use crate::findings::Finding;
use crate::manifest::EffectiveInterface;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The answer: each interface, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// By name as userspace knows it. A VM has one NIC.
    pub interfaces: BTreeMap<String, Interface>,
    /// What the rules say, refusals first.
    pub findings: Vec<Finding>,
}

impl Evaluation {
    /// What each interface ends up with: what a manifest records.
    pub fn effective(&self) -> BTreeMap<String, EffectiveInterface> {
        self.interfaces.iter().map(|(name, interface)| (name.clone(), interface.effective.clone())).collect()
    }
}

/// One interface through the boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name in userspace.
    pub name: String,
    /// What happens to it, in order.
    pub timeline: Vec<Step>,
    /// What it ends up with.
    pub effective: EffectiveInterface,
    /// What cannot be known from here.
    pub unknowns: Vec<String>,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `kernel`, `initrd`, `userspace`.
    pub stage: &'static str,
    /// Who acts.
    pub who: String,
    /// What follows.
    pub what: String,
}

/// Somebody in the guest's userspace who configures the NIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// `networkd`, `ifupdown`, `NetworkManager`, `dhcpcd`, …
    pub manager: &'static str,
    /// Whether this model knows what it does.
    pub modelled: bool,
    /// What it is told; for networkd, the winning file.
    pub file: String,
    /// A lease is asked for.
    pub dhcp4: bool,
    /// Where that is said.
    pub dhcp4_place: Place,
    /// Fixed addresses.
    pub addresses: Vec<Cidr>,
    /// Where the first stands.
    pub address_place: Place,
    /// Default gateways.
    pub gateways: Vec<IpAddr>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// The lease follows the MAC address.
    pub identifier_mac: bool,
}

/// All that rules speak about.
pub struct Model<'i> {
    /// What was asked.
    pub inputs: &'i Inputs,
    /// The NIC.
    pub nic: Nic,
    /// Its name while the kernel and the initrd run.
    pub kernel_name: &'static str,
    /// Every `ip=`, in order.
    pub ip: Vec<Said<KernelIp>>,
    /// Whether `systemd-network-generator` runs, and what it makes of each `ip=`.
    pub generator: Activation,
    /// The generator's refusals.
    pub rejected: Vec<(Place, Rejected)>,
    /// The merged netplan files.
    pub netplan: Netplan,
    /// Whether the netplan generator is installed.
    pub netplan_installed: bool,
    /// Whether networkd starts.
    pub networkd: Activation,
    /// Every `.network` file that could win, in networkd's order, with the answer for this NIC.
    pub network_files: Vec<(NetworkFile, Answer)>,
    /// The stanzas of ifupdown.
    pub stanzas: Vec<Stanza>,
    /// Who configures the NIC in userspace.
    pub claims: Vec<Claim>,
    /// What cannot be known.
    pub unknowns: Vec<String>,
}

impl<'i> Model<'i> {
    /// Works it all out.
    pub fn new(inputs: &'i Inputs) -> Self {
        let (snapshot, args) = (&inputs.snapshot, &inputs.args);
        let mut unknowns = Vec::new();
        let line = args.to_string();
        let parsed = crate::boot::KernelArgs::parse(&line);
        let ip: Vec<_> = parsed
            .iter()
            .filter(|arg| matches!(arg.key(), "ip" | "nfsaddrs"))
            .map(|arg| Said { value: arg.value().unwrap_or_default().to_owned(), place: Place::argument(&line, arg) })
            .collect();
        let netplan = netplan::read(snapshot);
        let netplan_installed = ["/usr/lib", "/lib", "/etc"]
            .iter()
            .any(|root| snapshot.exists(&format!("{root}/systemd/system-generators/netplan")));
        let generator = managers::activation(snapshot, args, "systemd-network-generator.service", false);
        let mut files = networkd::network_files(snapshot, &mut unknowns);
        unknowns.iter_mut().for_each(|path| *path = format!("{path} could not be read"));
        let mut rejected = Vec::new();
        let netplan_files = if netplan_installed { netplan.network_files() } else { Vec::new() };
        let wanted = !netplan_files.is_empty();
        files.retain(|file| {
            !netplan_files.iter().any(|generated| generated.name == file.name && !file.path.starts_with("/etc"))
        });
        files.extend(netplan_files);
        if generator.active {
            for said in &ip {
                match ip_argument::generator(&said.value) {
                    Ok(Some((interface, config))) => {
                        files.push(generated(&interface, config, &said.place, systemd_version(snapshot)));
                    }
                    Ok(None) => unknowns.push(format!("`ip={}` has an IPv6 form, which is not modelled", said.value)),
                    Err(error) => rejected.push((said.place.clone(), error)),
                }
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let networkd = managers::activation(snapshot, args, "systemd-networkd.service", wanted);
        let nic = Nic {
            name: predicted_name(inputs, &netplan),
            mac: inputs.vmm.mac.as_ref().map(|mac| mac.to_ascii_lowercase()),
        };
        let network_files = files
            .into_iter()
            .map(|file| (file.matches.answers(&nic), file))
            .map(|(answer, file)| (file, answer))
            .collect();
        let ip = ip.into_iter().map(|said| Said { value: KernelIp::parse(&said.value), place: said.place }).collect();
        let mut model = Self {
            inputs,
            nic,
            kernel_name: "eth0",
            ip,
            generator,
            rejected,
            netplan,
            netplan_installed,
            networkd,
            network_files,
            stanzas: managers::ifupdown(snapshot),
            claims: Vec::new(),
            unknowns,
        };
        model.claims = model.find_claims();
        model
    }

    fn find_claims(&mut self) -> Vec<Claim> {
        let (snapshot, args) = (&self.inputs.snapshot, &self.inputs.args);
        let mut claims: Vec<Claim> = Vec::new();
        if let Some(file) = self.winner().filter(|file| self.networkd.active && !file.config.unmanaged) {
            let config = &file.config;
            claims.push(Claim {
                manager: "networkd",
                modelled: true,
                file: file.name.clone(),
                dhcp4: config.dhcp4,
                dhcp4_place: config.dhcp4_place.clone().unwrap_or_else(|| file.place.clone()),
                addresses: config.addresses.clone(),
                address_place: config.address_place.clone().unwrap_or_else(|| file.place.clone()),
                gateways: config.gateways.clone(),
                dns: config.dns.clone(),
                identifier_mac: config.identifier_mac,
            });
        }
        let undecided = self
            .network_files
            .iter()
            .take_while(|(_, answer)| *answer != Answer::Yes)
            .filter(|(_, answer)| *answer == Answer::Unknown);
        let undecided: Vec<_> = undecided
            .map(|(file, _)| format!("whether {} matches {} cannot be known here", file.place, self.nic.name))
            .collect();
        if self.networkd.active {
            self.unknowns.extend(undecided);
        }
        if managers::activation(snapshot, args, "networking.service", false).active {
            let mine = self
                .stanzas
                .iter()
                .filter(|stanza| stanza.automatic && stanza.interface == self.nic.name && stanza.method != "manual");
            claims.extend(mine.map(|stanza| Claim {
                manager: "ifupdown",
                modelled: matches!(stanza.method.as_str(), "dhcp" | "static"),
                file: stanza.place.to_string(),
                dhcp4: stanza.method == "dhcp",
                dhcp4_place: stanza.place.clone(),
                addresses: stanza.addresses.clone(),
                address_place: stanza.place.clone(),
                gateways: stanza.gateways.clone(),
                dns: Vec::new(),
                identifier_mac: true,
            }));
        }
        for (manager, unit) in [
            ("NetworkManager", "NetworkManager.service"),
            ("dhcpcd", "dhcpcd.service"),
            ("connman", "connman.service"),
            ("wicked", "wicked.service"),
            ("cloud-init", "cloud-init-local.service"),
        ] {
            let starts = managers::activation(snapshot, args, unit, false);
            let disabled = manager == "cloud-init"
                && (snapshot.exists("/etc/cloud/cloud-init.disabled")
                    || args.last("cloud-init").and_then(|arg| arg.value()) == Some("disabled"));
            if starts.active && !disabled {
                self.unknowns.push(format!(
                    "{manager} starts ({}): what it does to {} is not modelled",
                    starts.why, self.nic.name
                ));
                let place = Place::file(&snapshot.image, &format!("/usr/lib/systemd/system/{unit}"));
                claims.push(Claim {
                    manager,
                    modelled: false,
                    file: unit.to_owned(),
                    dhcp4: false,
                    dhcp4_place: place.clone(),
                    addresses: Vec::new(),
                    address_place: place,
                    gateways: Vec::new(),
                    dns: Vec::new(),
                    identifier_mac: false,
                });
            }
        }
        claims
    }

    /// The `.network` file that networkd would use for the NIC: the first that matches.
    pub fn winner(&self) -> Option<&NetworkFile> {
        self.network_files.iter().find(|(_, answer)| *answer == Answer::Yes).map(|(file, _)| file)
    }

    /// The `ip=` that the kernel would obey last, if it is for this NIC.
    pub fn kernel_ip(&self) -> Option<&Said<KernelIp>> {
        let last = self.ip.last()?;
        last.value.device.as_deref().is_none_or(|device| device == self.kernel_name).then_some(last)
    }

    /// The static address on the command line for this NIC, whoever reads it.
    pub fn argument_address(&self) -> Option<(Cidr, &Place)> {
        let said = self.kernel_ip()?;
        Some((said.value.cidr()?, &said.place))
    }

    /// Whether the kernel itself obeys `ip=`. The NIC must be there before modules can be loaded.
    pub fn kernel_obeys(&self) -> Presence {
        match (self.inputs.kernel.ip_pnp, self.inputs.kernel.virtio_net) {
            (Presence::BuiltIn, Presence::Module | Presence::Absent) => Presence::Absent,
            (Presence::Module, _) => Presence::Absent,
            (pnp, _) => pnp,
        }
    }

    /// The one modelled claim, if nobody else claims the NIC.
    pub fn only_claim(&self) -> Option<&Claim> {
        match self.claims.as_slice() {
            [claim] if claim.modelled => Some(claim),
            _ => None,
        }
    }

    /// What the NIC ends up with.
    pub fn effective(&self) -> EffectiveInterface {
        let mut effective = EffectiveInterface {
            manager: "none".to_owned(),
            dhcp4: false,
            addresses: Vec::new(),
            gateways: Vec::new(),
            dns: Vec::new(),
        };
        let text = |list: &[IpAddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        if self.claims.iter().any(|claim| !claim.modelled) {
            effective.manager = "unknown".to_owned();
        } else if self.claims.is_empty() {
            self.kernel_effective(&mut effective);
        } else {
            let managers: Vec<_> = self.claims.iter().map(|claim| claim.manager).collect();
            effective.manager = managers.join("+");
            for claim in &self.claims {
                effective.dhcp4 |= claim.dhcp4;
                effective.addresses.extend(claim.addresses.iter().map(ToString::to_string));
                effective.gateways.extend(text(&claim.gateways));
                effective.dns.extend(text(&claim.dns));
            }
        }
        effective.addresses.sort();
        effective.addresses.dedup();
        effective.gateways.sort();
        effective.gateways.dedup();
        effective
    }

    fn kernel_effective(&self, effective: &mut EffectiveInterface) {
        let Some(said) = self.kernel_ip() else { return };
        let ip = &said.value;
        match self.kernel_obeys() {
            Presence::BuiltIn => {}
            Presence::Unknown if ip.address.is_some() || ip.asks() => {
                effective.manager = "unknown".to_owned();
                return;
            }
            _ => return,
        }
        if let Some(address) = ip.cidr() {
            effective.manager = "kernel".to_owned();
            effective.addresses.push(address.to_string());
            effective.gateways.extend(ip.gateway.map(|gateway| gateway.to_string()));
            effective.dns.extend(ip.dns.iter().map(ToString::to_string));
        } else if ip.asks() {
            effective.manager = "kernel".to_owned();
            effective.dhcp4 = true;
        }
    }
}

/// What systemd-network-generator writes: `71-default.network` and `70-NAME.network`, `91-`/`90-` before v255.
fn generated(interface: &str, config: super::NetworkdConfig, place: &Place, version: Option<u32>) -> NetworkFile {
    let base = if version.is_some_and(|version| version < 255) { 90 } else { 70 };
    let (name, matches) = if interface.is_empty() {
        let matches = Match { types: vec!["!loopback".into()], kinds: vec!["!*".into()], ..Match::default() };
        (format!("{}-default.network", base + 1), matches)
    } else {
        (format!("{base}-{interface}.network"), Match { names: vec![interface.to_owned()], ..Match::default() })
    };
    let mut config = config;
    config.dhcp4_place = Some(place.clone());
    config.address_place = Some(place.clone());
    NetworkFile {
        path: format!("/run/systemd/network/{name}"),
        name,
        place: place.clone(),
        matches,
        config,
        generated_by: Some("systemd-network-generator"),
    }
}

/// systemd's version, from the name of its private library.
fn systemd_version(snapshot: &super::Snapshot) -> Option<u32> {
    snapshot
        .nodes
        .keys()
        .find_map(|path| path.name().strip_prefix("libsystemd-shared-")?.split(['.', '-']).next()?.parse().ok())
}

/// The NIC's name once udev is done: `.link` files and netplan's `set-name` rename it; on virtio-mmio nothing gives it a
/// predictable name (systemd.net-naming-scheme(7)); on PCI it becomes `en…`.
fn predicted_name(inputs: &Inputs, netplan: &Netplan) -> String {
    let original = Nic { name: "eth0".to_owned(), mac: inputs.vmm.mac.as_ref().map(|mac| mac.to_ascii_lowercase()) };
    for ethernet in netplan.ethernets.values() {
        if let Some(name) = ethernet.set_name.as_ref().filter(|_| ethernet.matches.answers(&original) == Answer::Yes) {
            return name.clone();
        }
    }
    let off = inputs.args.last("net.ifnames").and_then(|arg| arg.value()) == Some("0");
    let predictable = inputs.vmm.transport == Transport::Pci && !off;
    for (_, path) in networkd::files(&inputs.snapshot, ".link") {
        if inputs.snapshot.is_mask(&path) {
            continue;
        }
        let text = inputs.snapshot.text(&path).flatten().unwrap_or_default();
        let mut matches = Match::default();
        let (mut name, mut policy) = (None, String::new());
        for Assignment { section, key, value, .. } in networkd::assignments(&text) {
            match (section.as_str(), key.as_str()) {
                ("Match", _) => matches.add(&key, &value),
                ("Link", "Name") => name = Some(value),
                ("Link", "NamePolicy") => policy = value,
                _ => {}
            }
        }
        if matches.answers(&original) != Answer::Yes {
            continue;
        }
        if predictable && ["path", "slot", "onboard"].iter().any(|word| policy.contains(word)) {
            return "en*".to_owned();
        }
        return name.unwrap_or(original.name);
    }
    original.name
}
