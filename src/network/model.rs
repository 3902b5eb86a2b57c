//! From inputs to the effective network: what the kernel sets, what the initrd does, who configures the NIC in the end.

use super::activation::{self, Activation, activation, systemd_version};
use super::generator::{self, Generated, Rejected};
use super::ifupdown::{self, Stanza};
use super::ip_argument::{Dracut, KernelIp, dracut};
use super::link::{self, LinkFile, Naming};
use super::matching::{Answer, Match, Nic};
use super::netplan::{self, Netplan};
use super::networkd::{self, NetworkFile, NetworkFiles, NetworkdConfig};
use super::others::{self, CloudInit};
use super::{Cidr, Initrd, Inputs, Place, Said, udev};
use crate::boot::{KernelArgs, Presence};
use crate::manifest::EffectiveInterface;
use crate::values::Line;
use std::net::IpAddr;

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
    /// A DHCPv6 lease is asked for.
    pub dhcp6: bool,
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

/// What is on the NIC before userspace comes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Early {
    /// `kernel` or `initrd`.
    pub who: &'static str,
    /// A fixed address.
    pub address: Option<Cidr>,
    /// A lease was taken.
    pub lease: bool,
    /// Default gateway.
    pub gateway: Option<IpAddr>,
    /// Name servers, which only `/proc/net/pnp` or `/run/net-*.conf` hold.
    pub dns: Vec<IpAddr>,
}

/// Who turns names into addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolver {
    /// What `/etc/resolv.conf` is: a link's target, or none for a plain file.
    pub link: Option<String>,
    /// `nameserver` lines of a plain file.
    pub fixed: Vec<IpAddr>,
    /// Whether `/etc/resolv.conf` is there at all.
    pub exists: bool,
    /// Whether systemd-resolved starts.
    pub resolved: Activation,
}

/// What makes a guest one machine and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineId {
    /// A fixed one, the same in every clone.
    Fixed,
    /// An empty file: made at each boot, or stored when `/etc` can be written.
    Empty,
    /// No file: the first boot.
    Missing,
    /// `uninitialized`: the first boot.
    Uninitialized,
}

/// All that rules speak about.
pub struct Model<'i> {
    /// What was asked.
    pub inputs: &'i Inputs,
    /// The command line, for places.
    pub line: String,
    /// The same as [`Inputs::args`], with columns of [`Model::line`].
    pub args: KernelArgs,
    /// The NIC in userspace.
    pub nic: Nic,
    /// Its name while the kernel and the initrd run.
    pub kernel_name: &'static str,
    /// How it comes to its name.
    pub naming: Naming,
    /// Every `.link` file, in udev's order.
    pub links: Vec<LinkFile>,
    /// Every `ip=`, in order.
    pub ip: Vec<Said<KernelIp>>,
    /// All of them as the kernel reads them.
    pub merged_ip: KernelIp,
    /// What dracut makes of each, where the initrd is dracut's.
    pub dracut: Vec<Said<Dracut>>,
    /// What is on the NIC before userspace.
    pub early: Option<Early>,
    /// Whether `systemd-network-generator` runs.
    pub generator: Activation,
    /// What it writes.
    pub generated: Generated,
    /// The generator's refusal.
    pub rejected: Vec<(Place, Rejected)>,
    /// The merged netplan files.
    pub netplan: Netplan,
    /// Whether the netplan generator is installed.
    pub netplan_installed: bool,
    /// Whether networkd starts.
    pub networkd: Activation,
    /// Every `.network` file that could win, in networkd's order, with the answer for this NIC.
    pub network_files: Vec<(NetworkFile, Answer)>,
    /// `.network` files that do not count: masked, hidden, unreadable.
    pub left_out: NetworkFiles,
    /// The stanzas of ifupdown.
    pub stanzas: Vec<Stanza>,
    /// Whether `networking.service` starts.
    pub networking: Activation,
    /// Whether NetworkManager starts.
    pub network_manager: Activation,
    /// cloud-init.
    pub cloud: CloudInit,
    /// Who configures the NIC in userspace.
    pub claims: Vec<Claim>,
    /// Names to addresses.
    pub resolver: Resolver,
    /// The machine-id.
    pub machine_id: MachineId,
    /// What cannot be known, each with what would settle it.
    pub unknowns: Vec<String>,
    /// Among them, what the outcome hangs on.
    pub undecided: Option<String>,
}

/// The name of the first NIC while the kernel runs.
const KERNEL_NAME: &str = "eth0";

impl<'i> Model<'i> {
    /// Works it all out.
    pub fn new(inputs: &'i Inputs) -> Self {
        let snapshot = &inputs.snapshot;
        let line = inputs.args.to_string();
        let args = KernelArgs::parse(&line);
        let starts = |unit, wanted| activation(snapshot, &args, unit, wanted);
        let place = |arg| Place::argument(&line, arg);
        let cloud_starts = ["cloud-init-local.service", "cloud-init.service", "cloud-init-main.service"]
            .map(|unit| starts(unit, false))
            .into_iter()
            .max_by_key(|one| (one.active, one.installed))
            .unwrap_or_else(|| starts("cloud-init-local.service", false));
        let cloud = others::cloud_init(snapshot, &args, &cloud_starts);

        let values = || args.iter().filter(|arg| matches!(arg.key(), "ip" | "nfsaddrs"));
        let ip: Vec<Said<KernelIp>> = values()
            .map(|arg| Said { value: KernelIp::parse(arg.value().unwrap_or_default()), place: place(arg) })
            .collect();
        let merged_ip = values().fold(KernelIp::default(), |ip, arg| ip.then(arg.value().unwrap_or_default()));
        let in_dracut = values().filter(|_| inputs.initrd == Initrd::Dracut);
        let dracut =
            in_dracut.map(|arg| Said { value: dracut(arg.value().unwrap_or_default()), place: place(arg) }).collect();

        let netplan_installed = ["/usr/lib", "/lib", "/etc"]
            .iter()
            .any(|root| snapshot.exists(&format!("{root}/systemd/system-generators/netplan")));
        let extra = extra_netplan(inputs, &merged_ip, &cloud);
        let netplan = netplan::read(snapshot, &extra, netplan::is_modern(snapshot));

        let generator = starts("systemd-network-generator.service", false);
        let version = systemd_version(snapshot);
        let (mut generated, mut rejected) = (Generated::default(), Vec::new());
        if generator.active {
            match generator::generator(args.iter(), version) {
                Ok(all) => generated = all,
                Err((index, error)) => rejected.extend(args.iter().nth(index).map(|arg| (place(arg), error))),
            }
        }

        let mut left_out = networkd::network_files(snapshot, &args);
        let mut files = std::mem::take(&mut left_out.files);
        let netplan_files = if netplan_installed { netplan.network_files() } else { Vec::new() };
        let written = generated_files(&generated, &args, &line, version);
        for one in netplan_files.into_iter().chain(written) {
            // What is generated lies in /run: /etc wins over it, it wins over the vendor's files.
            let etc = format!("/etc/systemd/network/{}", one.name);
            let stronger = files.iter().any(|file| file.path == etc) || left_out.masked.contains(&etc);
            if stronger {
                left_out.hidden.push((one.path.clone(), etc));
                continue;
            }
            files.retain(|file| file.name != one.name);
            files.push(one);
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        if duid_is_the_mac(snapshot) {
            files.iter_mut().for_each(|file| file.config.identifier_mac = true);
        }

        let mut links = link::link_files(snapshot, &args);
        let netplan_links = netplan.link_files(&snapshot.image);
        links.extend(netplan_links.into_iter().filter(|_| netplan_installed));
        links.extend(generated_links(&generated, &args, &line, version, &snapshot.image));
        links.sort_by(|a, b| a.name.cmp(&b.name));
        let mac = inputs.vmm.mac.as_ref().map(|mac| mac.to_ascii_lowercase());
        let early_nic = Nic { name: KERNEL_NAME.to_owned(), mac };
        let renames = udev::renames(snapshot, &early_nic);
        let naming = link::naming(inputs, &early_nic, &links, &renames);
        let nic = Nic { name: naming.name.clone(), ..early_nic };
        let network_files: Vec<_> = files
            .into_iter()
            .map(|file| (file.matches.answers(&nic), file))
            .map(|(answer, file)| (file, answer))
            .collect();

        let networkd = starts("systemd-networkd.service", netplan_installed && netplan.starts_networkd());
        let (stanzas, unread_stanzas) = ifupdown::ifupdown(snapshot);
        let resolver = resolver(inputs, starts("systemd-resolved.service", false));
        let mut model = Self {
            inputs,
            naming,
            links,
            kernel_name: KERNEL_NAME,
            merged_ip,
            dracut,
            early: None,
            generated,
            rejected,
            netplan_installed,
            networkd,
            network_files,
            left_out,
            stanzas,
            networking: starts("networking.service", false),
            network_manager: starts("NetworkManager.service", false),
            machine_id: machine_id(inputs, &args),
            claims: Vec::new(),
            unknowns: Vec::new(),
            undecided: None,
            line,
            nic,
            ip,
            generator,
            netplan,
            cloud,
            resolver,
            args,
        };
        let unread = model.left_out.unread.iter().map(|path| format!("what {path} says (it could not be read)"));
        let mut unknowns: Vec<String> = snapshot.unread.iter().cloned().chain(unread).collect();
        model.undecided = renames.open.first().cloned();
        unknowns.extend(renames.open);
        unknowns.extend(unread_stanzas.into_iter().filter(|_| model.networking.active));
        model.unknowns = unknowns;
        model.early = model.find_early();
        model.claims = model.find_claims();
        model
    }

    /// What the kernel or the initrd leaves on the NIC.
    fn find_early(&mut self) -> Option<Early> {
        if let Some(early) = self.initrd_early() {
            return Some(early);
        }
        let ip = &self.merged_ip;
        let mine = ip.device.as_deref().is_none_or(|device| device == self.kernel_name);
        if self.ip.is_empty() || !mine || ip.address.is_none() && !ip.asks() {
            return None;
        }
        match self.kernel_obeys() {
            Presence::BuiltIn => Some(Early {
                who: "kernel",
                address: ip.cidr(),
                lease: ip.asks(),
                gateway: ip.gateway.map(IpAddr::V4),
                dns: ip.dns.iter().copied().map(IpAddr::V4).collect(),
            }),
            _ => None,
        }
    }

    fn initrd_early(&mut self) -> Option<Early> {
        match self.inputs.initrd {
            Initrd::None | Initrd::Goldsmith => None,
            Initrd::Unknown => {
                let read = !self.ip.is_empty();
                if read {
                    self.unknowns.push("whether the initrd reads `ip=`; say whose it is: `--initrd goldsmith|initramfs-tools|dracut|none`".to_owned());
                }
                None
            }
            Initrd::Dracut => {
                let said = self.dracut.last()?;
                let ip = &self.merged_ip;
                let device = match &said.value {
                    Dracut::Static(device) | Dracut::Asks(device) => device.as_deref(),
                    Dracut::Dies(_) => return None,
                };
                device.is_none_or(|device| device == self.kernel_name).then(|| Early {
                    who: "initrd",
                    address: ip.cidr().filter(|_| matches!(said.value, Dracut::Static(_))),
                    lease: matches!(said.value, Dracut::Asks(_)),
                    gateway: ip.gateway.map(IpAddr::V4),
                    dns: ip.dns.iter().copied().map(IpAddr::V4).collect(),
                })
            }
            Initrd::InitramfsTools => {
                let ip = &self.merged_ip;
                if self.ip.is_empty() || !self.initramfs_reads_ip() || ip.address.is_none() && !ip.asks() {
                    return None;
                }
                Some(Early {
                    who: "initrd",
                    address: ip.cidr(),
                    lease: ip.asks(),
                    gateway: ip.gateway.map(IpAddr::V4),
                    dns: ip.dns.iter().copied().map(IpAddr::V4).collect(),
                })
            }
        }
    }

    /// initramfs-tools calls `configure_networking` for a root on NFS; Ubuntu's also for any `ip=`.
    pub fn initramfs_reads_ip(&self) -> bool {
        let nfs = self.args.last("boot").and_then(|arg| arg.value()) == Some("nfs")
            || self.args.last("root").and_then(|arg| arg.value()) == Some("/dev/nfs");
        nfs || activation::distribution(&self.inputs.snapshot).as_deref() == Some("ubuntu")
    }

    fn find_claims(&mut self) -> Vec<Claim> {
        let mut claims = Vec::new();
        claims.extend(self.networkd_claim());
        claims.extend(self.ifupdown_claims());
        claims.extend(self.other_claims());
        if let Some(early) = &self.early
            && let Some(claim) =
                claims.iter().find(|claim| matches!(claim.manager, "NetworkManager" | "dhcpcd" | "connman" | "wicked"))
            && early.address.is_some_and(|own| !claim.addresses.iter().any(|other| other.address == own.address))
        {
            let what = format!(
                "whether {} keeps the address that the {} set; boot it once and look",
                claim.manager, early.who
            );
            self.undecided.get_or_insert(what.clone());
            self.unknowns.push(what);
        }
        claims
    }

    fn networkd_claim(&mut self) -> Option<Claim> {
        if !self.networkd.active {
            return None;
        }
        let before = self.network_files.iter().take_while(|(_, answer)| *answer != Answer::Yes);
        let open: Vec<_> = before
            .filter(|(_, answer)| *answer == Answer::Unknown)
            .map(|(file, _)| {
                let why = match (&file.matches.macs.is_empty(), file.matches.unmodelled.first()) {
                    (_, Some(condition)) => format!("it depends on `{condition}`"),
                    (false, _) => "give the NIC's address: `--mac`".to_owned(),
                    (true, _) => format!("the NIC's name is known only as {}", self.nic.name),
                };
                format!("whether {} matches {}; {why}", file.place, self.nic.name)
            })
            .collect();
        let hangs = open.first().cloned().filter(|_| {
            let first =
                self.network_files.iter().find(|(_, answer)| *answer == Answer::Unknown).map(|(file, _)| &file.config);
            self.winner().map(|file| &file.config) != first
        });
        if let Some(what) = hangs {
            self.undecided.get_or_insert(what);
        }
        self.unknowns.extend(open);
        let file = self.winner()?.clone();
        let config = &file.config;
        if config.unmanaged {
            return None;
        }
        if let Some(other) = &config.member_of {
            let what = format!(
                "what {} gets as a member of {other}; devices on top of the NIC are not followed",
                self.nic.name
            );
            self.undecided.get_or_insert(what.clone());
            self.unknowns.push(what);
        }
        Some(Claim {
            manager: "networkd",
            modelled: config.member_of.is_none(),
            file: file.name.clone(),
            dhcp4: config.dhcp4,
            dhcp6: config.dhcp6,
            dhcp4_place: config.dhcp4_place.clone().unwrap_or_else(|| file.place.clone()),
            addresses: config.addresses.clone(),
            address_place: config.address_place.clone().unwrap_or_else(|| file.place.clone()),
            gateways: config.gateways.clone(),
            dns: config.dns.clone(),
            identifier_mac: config.identifier_mac,
        })
    }

    fn ifupdown_claims(&self) -> Vec<Claim> {
        let snapshot = &self.inputs.snapshot;
        let installed = ["/usr/sbin/ifup", "/sbin/ifup"].iter().any(|path| snapshot.exists(path));
        let client = ifupdown::dhcp_client(snapshot);
        let hotplug = installed && !activation(snapshot, &self.args, "ifup@.service", false).masked;
        let mine = self.stanzas.iter().filter(|stanza| {
            stanza.interface == self.nic.name
                && stanza.method != "manual"
                && (stanza.auto && self.networking.active || stanza.hotplug && hotplug)
        });
        mine.map(|stanza| Claim {
            manager: "ifupdown",
            modelled: matches!(stanza.method.as_str(), "dhcp" | "static"),
            file: stanza.place.to_string(),
            dhcp4: stanza.method == "dhcp" && client,
            dhcp6: false,
            dhcp4_place: stanza.place.clone(),
            addresses: stanza.addresses.clone(),
            address_place: stanza.place.clone(),
            gateways: stanza.gateways.clone(),
            dns: stanza.dns.clone(),
            identifier_mac: true,
        })
        .collect()
    }

    fn other_claims(&mut self) -> Vec<Claim> {
        let snapshot = &self.inputs.snapshot;
        let mut claims = Vec::new();
        let from_netplan = self.netplan.ethernets.iter().find(|(_, one)| {
            self.netplan_installed
                && self.netplan.generates()
                && self.netplan.renderer_for(one) == "NetworkManager"
                && one.matches.answers(&self.nic) == Answer::Yes
        });
        if self.network_manager.active {
            let unit = "/usr/lib/systemd/system/NetworkManager.service";
            if let Some((id, one)) = from_netplan {
                let file = format!("/run/NetworkManager/system-connections/netplan-{id}.nmconnection");
                claims.push(claim_of_config("NetworkManager", file, &one.config, &one.place));
            } else if self.claims_networkd_nic() && self.netplan_installed {
                // netplan tells NetworkManager to leave what networkd has.
            } else {
                match others::network_manager(snapshot, &self.nic.name) {
                    Ok(plan) => claims.extend(plan.map(|plan| claim_of_plan("NetworkManager", plan))),
                    Err(why) => claims.push(unmodelled(
                        "NetworkManager",
                        "NetworkManager.service",
                        Place::file(&snapshot.image, unit),
                        &why,
                        &mut self.unknowns,
                    )),
                }
            }
        }
        if activation(snapshot, &self.args, "dhcpcd.service", false).active {
            claims.extend(others::dhcpcd(snapshot, &self.nic.name).map(|plan| claim_of_plan("dhcpcd", plan)));
        }
        for (manager, unit) in
            [("connman", "connman.service"), ("wicked", "wicked.service"), ("dhclient", "dhclient.service")]
        {
            let starts = activation(snapshot, &self.args, unit, false);
            if starts.active {
                let place = Place::file(&snapshot.image, &format!("/usr/lib/systemd/system/{unit}"));
                let why = format!("it starts ({}), and what it does to {} is not modelled", starts.why, self.nic.name);
                claims.push(unmodelled(manager, unit, place, &why, &mut self.unknowns));
            }
        }
        let baked = self.netplan.files.iter().any(|file| file.ends_with("/50-cloud-init.yaml"));
        let cloud = &self.cloud;
        if cloud.active
            && cloud.network_off.is_none()
            && cloud.handed_over.is_none()
            && !(baked && cloud.sources == ["None"])
        {
            let place = Place::file(&snapshot.image, "/usr/lib/systemd/system/cloud-init-local.service");
            let why = format!("cloud-init runs ({}), and its data source decides the network", cloud.why);
            let settle = format!("{why}; hand it over with `network-config=`, or turn it off");
            claims.push(unmodelled("cloud-init", "cloud-init-local.service", place, &settle, &mut self.unknowns));
        }
        claims
    }

    /// Whether a netplan definition for networkd is for this NIC.
    fn claims_networkd_nic(&self) -> bool {
        self.winner().is_some_and(|file| file.generated_by == Some("netplan"))
    }

    /// The `.network` file that networkd would use for the NIC: the first that matches.
    pub fn winner(&self) -> Option<&NetworkFile> {
        self.network_files.iter().find(|(_, answer)| *answer == Answer::Yes).map(|(file, _)| file)
    }

    /// The `ip=` that the kernel would obey last, if it is for this NIC.
    pub fn kernel_ip(&self) -> Option<&Said<KernelIp>> {
        let last = self.ip.last()?;
        self.merged_ip.device.as_deref().is_none_or(|device| device == self.kernel_name).then_some(last)
    }

    /// The static address on the command line for this NIC, whoever reads it.
    pub fn argument_address(&self) -> Option<(Cidr, &Place)> {
        let address = self.kernel_ip().and(self.merged_ip.cidr())?;
        let said = self.ip.iter().rev().find(|said| said.value.address.is_some())?;
        Some((address, &said.place))
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

    /// Whether an address that the kernel or the initrd set stays on the NIC until the end.
    pub fn early_stays(&self) -> bool {
        let Some(early) = &self.early else { return false };
        let keeps = self.winner().is_some_and(|file| file.config.keeps_foreign.is_some());
        let same = |claim: &Claim| {
            early.address.is_some_and(|own| claim.addresses.iter().any(|other| other.address == own.address))
        };
        self.claims.iter().all(|claim| match claim.manager {
            "networkd" => keeps && early.address.is_some() || same(claim),
            // ifupdown adds to what is there (`ip addr add`; dhclient-script flushes only its own old lease).
            "ifupdown" => true,
            _ => false,
        })
    }

    /// What the NIC ends up with.
    pub fn effective(&self) -> EffectiveInterface {
        let mut effective = EffectiveInterface {
            manager: Line::lossy("none"),
            dhcp4: false,
            addresses: Vec::new(),
            gateways: Vec::new(),
            dns: Vec::new(),
        };
        if self.undecided.is_some() || self.claims.iter().any(|claim| !claim.modelled) {
            effective.manager = Line::lossy("unknown");
            return effective;
        }
        let managers: Vec<_> = self.claims.iter().map(|claim| claim.manager).collect();
        if !managers.is_empty() {
            effective.manager = Line::lossy(&managers.join("+"));
        }
        for claim in &self.claims {
            effective.dhcp4 |= claim.dhcp4;
            effective.addresses.extend(&claim.addresses);
            effective.gateways.extend(&claim.gateways);
            effective.dns.extend(&claim.dns);
        }
        match &self.early {
            Some(early) if self.early_stays() => {
                if self.claims.is_empty() {
                    effective.manager = Line::lossy(early.who);
                    effective.dhcp4 = early.lease;
                    effective.gateways.extend(early.gateway);
                    effective.dns.clone_from(&early.dns);
                }
                effective.addresses.extend(early.address);
            }
            None if self.claims.is_empty() && self.hangs_on_the_kernel() => {
                effective.manager = Line::lossy("unknown");
            }
            _ => {}
        }
        // As texts, which is how manifests have always had them.
        effective.addresses.sort_by_key(ToString::to_string);
        effective.addresses.dedup();
        effective.gateways.sort_by_key(ToString::to_string);
        effective.gateways.dedup();
        effective
    }

    /// Whether the outcome hangs on a kernel or an initrd that nobody has looked into.
    pub fn hangs_on_the_kernel(&self) -> bool {
        let ip = &self.merged_ip;
        let wants = self.kernel_ip().is_some() && (ip.address.is_some() || ip.asks());
        wants && (self.kernel_obeys() == Presence::Unknown || self.inputs.initrd == Initrd::Unknown)
    }
}

fn claim_of_config(manager: &'static str, file: String, config: &NetworkdConfig, place: &Place) -> Claim {
    Claim {
        manager,
        modelled: true,
        file,
        dhcp4: config.dhcp4,
        dhcp6: config.dhcp6,
        dhcp4_place: config.dhcp4_place.clone().unwrap_or_else(|| place.clone()),
        addresses: config.addresses.clone(),
        address_place: config.address_place.clone().unwrap_or_else(|| place.clone()),
        gateways: config.gateways.clone(),
        dns: config.dns.clone(),
        identifier_mac: true,
    }
}

fn claim_of_plan(manager: &'static str, plan: others::Plan) -> Claim {
    Claim {
        manager,
        modelled: true,
        file: plan.file,
        dhcp4: plan.dhcp4,
        dhcp6: false,
        dhcp4_place: plan.place.clone(),
        addresses: plan.addresses,
        address_place: plan.place,
        gateways: plan.gateways,
        dns: plan.dns,
        identifier_mac: true,
    }
}

fn unmodelled(manager: &'static str, file: &str, place: Place, why: &str, unknowns: &mut Vec<String>) -> Claim {
    unknowns.push(format!("what {manager} does: {why}"));
    Claim {
        manager,
        modelled: false,
        file: file.to_owned(),
        dhcp4: false,
        dhcp6: false,
        dhcp4_place: place.clone(),
        addresses: Vec::new(),
        address_place: place,
        gateways: Vec::new(),
        dns: Vec::new(),
        identifier_mac: false,
    }
}

/// Netplan files that something writes before netplan's generator reads: Ubuntu's initrd from `ip=`, cloud-init from
/// `network-config=`.
///
/// Source: Ubuntu's initramfs-tools `scripts/functions` (`netinfo_to_netplan`); cloud-init `net/netplan.py`.
fn extra_netplan(inputs: &Inputs, ip: &KernelIp, cloud: &CloudInit) -> Vec<(String, String)> {
    let mut extra = Vec::new();
    let ubuntu = activation::distribution(&inputs.snapshot).as_deref() == Some("ubuntu");
    if inputs.initrd == Initrd::InitramfsTools && ubuntu && (ip.address.is_some() || ip.asks()) {
        let device = ip
            .device
            .as_deref()
            .filter(|device| device.bytes().all(|byte| byte.is_ascii_alphanumeric()))
            .unwrap_or(KERNEL_NAME);
        let mut text = format!("network:\n  version: 2\n  ethernets:\n    {device}:\n");
        match ip.cidr() {
            Some(address) => {
                text.push_str(&format!("      addresses: [\"{address}\"]\n"));
                if let Some(gateway) = ip.gateway {
                    text.push_str(&format!("      gateway4: \"{gateway}\"\n"));
                }
            }
            None => text.push_str("      dhcp4: true\n      dhcp-identifier: mac\n      critical: true\n"),
        }
        extra.push((format!("/run/netplan/{device}.yaml"), text));
    }
    if let Some(text) = cloud.handed_over.as_ref().filter(|_| cloud.active && cloud.network_off.is_none()) {
        // Without a `network:` on top it is the part below it.
        let whole = if text.trim_start().starts_with("network:") {
            text.clone()
        } else {
            format!("network:\n{}", text.lines().map(|line| format!("  {line}\n")).collect::<String>())
        };
        extra.push(("/etc/netplan/50-cloud-init.yaml".to_owned(), whole));
    }
    extra
}

/// `70-NAME.network` and `71-default.network`; `90-` and `91-` before v255.
fn generated_files(all: &Generated, args: &KernelArgs, line: &str, version: Option<u32>) -> Vec<NetworkFile> {
    let base = if version.is_some_and(|version| version < 255) { 90 } else { 70 };
    let said =
        args.iter().rfind(|arg| matches!(arg.key(), "ip" | "nameserver" | "rd.route" | "bond" | "bridge" | "vlan"));
    let Some(place) = said.map(|arg| Place::argument(line, arg)) else { return Vec::new() };
    let file = |(interface, written): (&String, &generator::Written)| {
        let (name, matches) = if interface.is_empty() {
            let matches = Match { types: vec!["!loopback".into()], kinds: vec!["!*".into()], ..Match::default() };
            (format!("{}-default.network", base + 1), matches)
        } else {
            (format!("{base}-{interface}.network"), Match { names: vec![interface.clone()], ..Match::default() })
        };
        let mut config = NetworkdConfig {
            dhcp4: matches!(written.dhcp, Some("yes" | "ipv4")),
            dhcp6: matches!(written.dhcp, Some("yes" | "ipv6")),
            dhcp4_place: Some(place.clone()),
            addresses: written.addresses.clone(),
            address_place: Some(place.clone()),
            dns: written.dns.clone(),
            hostname: written.hostname.clone(),
            ignores_dns: written.use_dns == Some(false),
            member_of: written.member_of.clone(),
            mac: written.mac.clone(),
            ..NetworkdConfig::default()
        };
        for gateway in &written.gateways {
            config.default_route(Some(*gateway), None, false, place.clone());
        }
        NetworkFile {
            path: format!("/run/systemd/network/{name}"),
            name,
            place: place.clone(),
            matches,
            config,
            generated_by: Some("systemd-network-generator"),
            drop_ins: Vec::new(),
        }
    };
    all.networks.iter().map(file).collect()
}

/// `70-NAME.link` from `ifname=NAME:MAC`.
fn generated_links(all: &Generated, args: &KernelArgs, line: &str, version: Option<u32>, image: &str) -> Vec<LinkFile> {
    let base = if version.is_some_and(|version| version < 255) { 90 } else { 70 };
    let Some(place) = args.iter().rfind(|arg| arg.key() == "ifname").map(|arg| Place::argument(line, arg)) else {
        return Vec::new();
    };
    let file = |(name, mac): &(String, String)| LinkFile {
        name: format!("{base}-{name}.link"),
        path: format!("/run/systemd/network/{base}-{name}.link"),
        place: place.clone(),
        matches: Match { macs: vec![mac.clone()], ..Match::default() },
        rename: Some((name.chars().take(link::MAX_NAME).collect(), place.clone())),
        ..LinkFile::nothing(image)
    };
    all.renames.iter().map(file).collect()
}

/// Whether networkd.conf takes the DUID from the link layer for every interface.
fn duid_is_the_mac(snapshot: &super::Snapshot) -> bool {
    let folders = super::capture::BOOT_ROOTS.iter().map(|root| format!("{root}/systemd/networkd.conf.d"));
    let drop_ins = folders.flat_map(|folder| {
        snapshot.names(&folder).into_iter().map(move |name| format!("{folder}/{name}")).collect::<Vec<_>>()
    });
    let texts = std::iter::once("/etc/systemd/networkd.conf".to_owned()).chain(drop_ins);
    let mut settings =
        texts.flat_map(|path| networkd::assignments(&snapshot.text(&path).flatten().unwrap_or_default()));
    settings
        .rfind(|one| matches!(one.section.as_str(), "DHCP" | "DHCPv4") && one.key == "DUIDType")
        .is_some_and(|one| one.value.starts_with("link-layer"))
}

fn machine_id(inputs: &Inputs, args: &KernelArgs) -> MachineId {
    if args.last("systemd.machine_id").is_some_and(|arg| arg.value().is_some_and(|id| id.len() == 32)) {
        return MachineId::Fixed;
    }
    match inputs.snapshot.text("/etc/machine-id") {
        None => MachineId::Missing,
        Some(text) => match text.unwrap_or_default().trim() {
            "" => MachineId::Empty,
            "uninitialized" => MachineId::Uninitialized,
            _ => MachineId::Fixed,
        },
    }
}

fn resolver(inputs: &Inputs, resolved: Activation) -> Resolver {
    let snapshot = &inputs.snapshot;
    let path = "/etc/resolv.conf";
    let link = match snapshot.node(path) {
        Some(super::SnapshotNode::Symlink(target)) => Some(target.clone()),
        _ => None,
    };
    let text = if link.is_some() { String::new() } else { snapshot.text(path).flatten().unwrap_or_default() };
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse().ok());
    Resolver { fixed: servers.collect(), exists: snapshot.exists(path), link, resolved }
}
