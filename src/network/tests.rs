//! Guests for the tests of this room, and what the model says of whole ones.

use super::*;
use crate::boot::{KernelArgs, KernelFacts, Presence};
use crate::manifest::EffectiveInterface;
use crate::values::GuestPath;
use std::collections::BTreeMap;

pub(super) const FOUNDING: &str = "ip=192.168.100.12::192.168.100.1:255.255.255.0::eth0:on";

pub(super) fn dhcp() -> String {
    netplan::render(&NetworkSpec { interface: crate::values::InterfaceName::eth0(), mode: NetworkMode::Dhcp })
}

pub(super) fn fixed(address: &str) -> String {
    let address: Cidr = address.parse().unwrap();
    let mode = NetworkMode::Static { address, gateway: "192.168.100.1".parse().ok(), dns: vec![] };
    netplan::render(&NetworkSpec { interface: crate::values::InterfaceName::eth0(), mode })
}

/// A netplan file with one definition, eth0.
pub(super) fn ethernet(body: &str) -> String {
    format!("network:\n  version: 2\n  ethernets:\n    eth0: {{{body}}}\n")
}

/// A Debian 12 with netplan installed, as goldsmith builds it, in a microVM with goldsmith's initrd and a stock kernel.
#[derive(Clone)]
pub(super) struct Guest(Inputs);

impl Guest {
    pub fn new() -> Self {
        let snapshot = Snapshot { image: "rootfs.ext4".into(), ..Snapshot::default() };
        let args = KernelArgs::parse("console=ttyS0 root=/dev/vda net.ifnames=0");
        let kernel = KernelFacts { ip_pnp: Presence::Absent, ..KernelFacts::default() };
        Self(Inputs::new(snapshot, args, kernel))
            .file("/etc/machine-id", "")
            .file("/usr/lib/systemd/system-generators/netplan", "-> ../../../libexec/netplan/generate")
            .file("/usr/lib/systemd/system/systemd-networkd.service", "[Service]")
    }

    pub fn netplan(self, text: &str) -> Self {
        self.file("/etc/netplan/01-netcfg.yaml", text)
    }

    /// A file; `-> target` makes a symbolic link.
    pub fn file(mut self, path: &str, text: &str) -> Self {
        let node = match text.strip_prefix("-> ") {
            Some(target) => SnapshotNode::Symlink(target.to_owned()),
            None => SnapshotNode::File { mode: 0o600, bytes: FileBytes::Known(text.as_bytes().into()) },
        };
        self.0.snapshot.nodes.insert(path.parse::<GuestPath>().unwrap(), node);
        self
    }

    pub fn without(mut self, path: &str) -> Self {
        self.0.snapshot.nodes.remove(&path.parse::<GuestPath>().unwrap());
        self
    }

    pub fn mode(mut self, path: &str, bits: u16) -> Self {
        if let Some(SnapshotNode::File { mode, .. }) =
            self.0.snapshot.nodes.get_mut(&path.parse::<GuestPath>().unwrap())
        {
            *mode = bits;
        }
        self
    }

    pub fn enable(self, unit: &str) -> Self {
        let link = format!("/etc/systemd/system/multi-user.target.wants/{unit}");
        let path = format!("/usr/lib/systemd/system/{unit}");
        self.file(&path, "[Unit]").file(&link, &format!("-> {path}"))
    }

    pub fn keyless_sshd(mut self, unit: &str) -> Self {
        self.0.snapshot.keyless_sshd = Some(unit.to_owned());
        self
    }

    pub fn mask(self, unit: &str) -> Self {
        self.file(&format!("/etc/systemd/system/{unit}"), "-> /dev/null")
    }

    pub fn args(mut self, args: &str) -> Self {
        self.0.args.append(args);
        self
    }

    /// Without `net.ifnames=0`.
    pub fn named_by_udev(mut self) -> Self {
        self.0.args = KernelArgs::parse(&self.0.args.to_string().replace("net.ifnames=0", ""));
        self
    }

    pub fn pnp(self) -> Self {
        self.kernel(|kernel| kernel.ip_pnp = Presence::BuiltIn)
    }

    pub fn unknown_kernel(self) -> Self {
        self.kernel(|kernel| kernel.ip_pnp = Presence::Unknown)
    }

    pub fn kernel(mut self, change: impl Fn(&mut KernelFacts)) -> Self {
        change(&mut self.0.kernel);
        self
    }

    pub fn initrd(mut self, initrd: Initrd) -> Self {
        self.0.initrd = initrd;
        self
    }

    pub fn vmm(mut self, change: impl Fn(&mut VmmFacts)) -> Self {
        change(&mut self.0.vmm);
        self
    }

    pub fn pci(self) -> Self {
        self.vmm(|vmm| vmm.transport = Transport::Pci)
    }

    pub fn mac(self, mac: &str) -> Self {
        self.vmm(|vmm| vmm.mac = Some(mac.to_owned()))
    }

    pub fn nics(self, count: usize) -> Self {
        self.vmm(|vmm| vmm.more_nics = count - 1)
    }

    pub fn host(mut self, change: impl Fn(&mut HostFacts)) -> Self {
        let host = self.0.host.get_or_insert_with(|| HostFacts { name: "bridge br0".into(), ..HostFacts::default() });
        change(host);
        self
    }

    pub fn expect(mut self, address: &str) -> Self {
        self.0.expect = address.parse().ok();
        self
    }

    /// A manifest that promises what the guest comes to now, on virtio-mmio.
    pub fn contract(mut self) -> Self {
        self.0.contract = Some(Contract {
            declared: NetworkSpec { interface: crate::values::InterfaceName::eth0(), mode: NetworkMode::Dhcp },
            files: self.0.snapshot.participants(),
            effective: evaluate(&self.0).effective(),
        });
        self
    }

    pub fn inputs(&self) -> Inputs {
        self.0.clone()
    }

    pub fn evaluate(&self) -> Evaluation {
        evaluate(&self.0)
    }
}

fn effective(guest: &Guest) -> EffectiveInterface {
    guest.evaluate().interface().unwrap().effective.clone()
}

fn reachability(guest: &Guest) -> Reachability {
    guest.evaluate().interface().unwrap().reachability.clone()
}

#[test]
fn the_founding_case_is_refused_on_every_kernel() {
    for ip_pnp in [Presence::Absent, Presence::BuiltIn, Presence::Unknown] {
        let guest = Guest::new().netplan(&dhcp()).args(FOUNDING).kernel(|kernel| kernel.ip_pnp = ip_pnp);
        let evaluation = guest.evaluate();
        let refusals: Vec<_> = evaluation.findings.iter().filter(|one| one.refuses()).collect();
        let [finding] = refusals.as_slice() else { panic!("{:?}", evaluation.findings) };
        assert_eq!(finding.rule, "NET-K002");
        assert_eq!(finding.message, "eth0 is 192.168.100.12 by `ip=` but the guest runs DHCP");
        assert_eq!((finding.evidence[1].line, finding.evidence[1].column, finding.evidence[1].length), (7, 7, 11));
        let interface = evaluation.interface().unwrap();
        assert_eq!(interface.predicted, Predicted::Lease);
        assert_eq!(interface.reachability, Reachability::Unreachable(finding.message.clone()));
    }
}

#[test]
fn the_verdict_follows_the_outcome() {
    let lease = Guest::new().netplan(&dhcp());
    assert_eq!(reachability(&lease), Reachability::Reachable);
    assert_eq!(lease.evaluate().interface().unwrap().needs, ["a DHCP server on the bridge that answers the guest"]);
    assert!(matches!(reachability(&Guest::new()), Reachability::Unreachable(_)));
    assert!(matches!(reachability(&Guest::new().enable("connman.service")), Reachability::Unknown(_)));
    assert!(matches!(reachability(&Guest::new().unknown_kernel().args(FOUNDING)), Reachability::Unknown(_)));
    let shared = lease.clone().file("/etc/ssh/ssh_host_rsa_key", "x");
    assert_eq!(reachability(&shared), Reachability::Reachable);
    let race = lease.file("/etc/network/interfaces", "auto eth0\niface eth0 inet dhcp\n").enable("networking.service");
    assert!(matches!(reachability(&race), Reachability::Unknown(_)));
}

#[test]
fn who_wins_is_decided_as_networkd_decides() {
    let networkd = |files: &[(&str, &str)]| {
        let guest = Guest::new().enable("systemd-networkd.service");
        files.iter().fold(guest, |guest, (path, text)| guest.file(path, text))
    };
    let address = |address: &str| format!("[Match]\nName=eth0\n[Network]\nAddress={address}\n");
    let (one, two) = (address("10.0.0.1/24"), address("10.0.0.2/24"));
    for (files, wanted) in [
        // The first name wins, wherever it is.
        (
            vec![("/usr/lib/systemd/network/10-a.network", &*one), ("/etc/systemd/network/20-b.network", &*two)],
            "10.0.0.1/24",
        ),
        // One name in two folders: /etc hides the rest.
        (
            vec![("/usr/lib/systemd/network/10-a.network", &*one), ("/etc/systemd/network/10-a.network", &*two)],
            "10.0.0.2/24",
        ),
        // A mask hides, and the next takes its place.
        (
            vec![
                ("/usr/lib/systemd/network/10-a.network", &*one),
                ("/etc/systemd/network/10-a.network", "-> /dev/null"),
                ("/usr/lib/systemd/network/30-c.network", &*two),
            ],
            "10.0.0.2/24",
        ),
        // No [Match]: ignored.
        (
            vec![
                ("/etc/systemd/network/05-a.network", "[Network]\nAddress=10.0.0.9/24\n"),
                ("/etc/systemd/network/10-a.network", &*one),
            ],
            "10.0.0.1/24",
        ),
        // A drop-in of the file.
        (
            vec![
                ("/etc/systemd/network/10-a.network", &*one),
                ("/etc/systemd/network/10-a.network.d/x.conf", "[Network]\nAddress=\nAddress=10.0.0.2/24\n"),
            ],
            "10.0.0.2/24",
        ),
        // A condition that does not hold, one that does.
        (
            vec![
                (
                    "/etc/systemd/network/05-a.network",
                    "[Match]\nName=eth0\nVirtualization=no\n[Network]\nAddress=10.0.0.9/24\n",
                ),
                ("/etc/systemd/network/10-a.network", &*one),
            ],
            "10.0.0.1/24",
        ),
        (
            vec![
                (
                    "/etc/systemd/network/05-a.network",
                    "[Match]\nName=eth0\nKernelCommandLine=!x\n[Network]\nAddress=10.0.0.2/24\n",
                ),
                ("/etc/systemd/network/10-a.network", &*one),
            ],
            "10.0.0.2/24",
        ),
    ] {
        assert_eq!(effective(&networkd(&files)).addresses, [wanted.parse().unwrap()], "{files:?}");
    }
}

#[test]
fn whether_networkd_starts_is_decided_as_systemd_decides() {
    let file =
        |guest: Guest| guest.file("/etc/systemd/network/10-a.network", "[Match]\nName=eth0\n[Network]\nDHCP=yes\n");
    let preset = "/usr/lib/systemd/system-preset/90-systemd.preset";
    for (guest, starts) in [
        (Guest::new(), false),
        (Guest::new().enable("systemd-networkd.service"), true),
        (Guest::new().enable("systemd-networkd.service").mask("systemd-networkd.service"), false),
        (Guest::new().args("systemd.wants=systemd-networkd.service"), true),
        (Guest::new().enable("systemd-networkd.service").args("systemd.unit=rescue.target"), false),
        (Guest::new().enable("systemd-networkd.service").args("single"), false),
        // Presets count on a first boot only; an empty machine-id is none.
        (Guest::new().file(preset, "enable systemd-networkd.service\n"), false),
        (Guest::new().file(preset, "enable systemd-networkd.service\n").without("/etc/machine-id"), true),
        (Guest::new().file(preset, "disable *\n").without("/etc/machine-id"), false),
        (
            Guest::new()
                .file(preset, "disable *\n")
                .file("/etc/systemd/system-preset/10-x.preset", "enable systemd-networkd*\n")
                .file("/etc/machine-id", "uninitialized\n"),
            true,
        ),
        // netplan's generator starts it for any definition of networkd's.
        (Guest::new().netplan("network:\n  version: 2\n  ethernets:\n    eth9: {dhcp4: true}\n"), true),
        (
            Guest::new()
                .netplan("network:\n  version: 2\n  renderer: NetworkManager\n  ethernets:\n    eth9: {dhcp4: true}\n"),
            false,
        ),
        (Guest::new().file("/run/systemd/system/multi-user.target.wants/systemd-networkd.service", "-> x"), false),
        (Guest::new().file("/etc/systemd/system/sockets.target.wants/systemd-networkd.socket", "-> x"), true),
    ] {
        let found = effective(&file(guest.clone())).dhcp4;
        assert_eq!(found, starts, "{:?}", guest.evaluate().interface().unwrap().timeline);
    }
}

#[test]
fn names_follow_the_transport_and_the_link_files() {
    let default = (
        "/usr/lib/systemd/network/99-default.link",
        "[Match]\nOriginalName=*\n[Link]\nNamePolicy=keep kernel database onboard slot path\n",
    );
    let name = |guest: Guest| guest.file(default.0, default.1).evaluate().interface().unwrap().name.clone();
    let lan = "[Match]\nDriver=virtio_net\n[Link]\nName=lan0\n";
    assert_eq!(name(Guest::new()), "eth0");
    assert_eq!(name(Guest::new().named_by_udev()), "eth0");
    assert_eq!(name(Guest::new().named_by_udev().pci()), "en*");
    assert_eq!(name(Guest::new().pci()), "eth0");
    assert_eq!(
        name(Guest::new().named_by_udev().pci().file("/etc/systemd/network/99-default.link", "-> /dev/null")),
        "eth0"
    );
    assert_eq!(name(Guest::new().file("/etc/systemd/network/10-lan.link", lan)), "lan0");
    assert_eq!(name(Guest::new().netplan(&ethernet("match: {driver: virtio_net}, set-name: net0"))), "net0");
    assert_eq!(
        name(
            Guest::new()
                .netplan(&ethernet("match: {driver: virtio_net}, set-name: net0"))
                .file("/etc/systemd/network/05-lan.link", lan)
        ),
        "lan0"
    );
}

#[test]
fn ubuntus_initrd_writes_a_netplan_file_of_its_own() {
    let ubuntu = Guest::new()
        .file("/etc/os-release", "ID=ubuntu\n")
        .initrd(Initrd::InitramfsTools)
        .netplan(&dhcp())
        .args(FOUNDING);
    let both = effective(&ubuntu);
    assert_eq!((both.dhcp4, both.addresses), (true, vec!["192.168.100.12/24".parse().unwrap()]));
    let debian = Guest::new()
        .file("/etc/os-release", "ID=debian\n")
        .initrd(Initrd::InitramfsTools)
        .netplan(&dhcp())
        .args(FOUNDING);
    assert!(effective(&debian).addresses.is_empty());
}

#[test]
fn what_cloud_init_is_handed_over_is_read() {
    // network: {version: 2, ethernets: {eth0: {dhcp4: true}}}
    let handed = "network-config=bmV0d29yazoge3ZlcnNpb246IDIsIGV0aGVybmV0czoge2V0aDA6IHtkaGNwNDogdHJ1ZX19fQo=";
    let guest = Guest::new().enable("cloud-init-local.service").args(handed);
    assert_eq!((effective(&guest).manager.as_str(), effective(&guest).dhcp4), ("networkd", true));
}

#[test]
fn an_image_edited_after_it_was_built_breaks_its_contract() {
    let built = Guest::new().netplan(&dhcp()).contract();
    assert!(built.evaluate().findings.iter().all(|one| !one.rule.starts_with("NET-G")));
    let edited = built.netplan(&fixed("192.168.100.12/24")).evaluate();
    let rules: Vec<_> = edited.findings.iter().map(|one| one.rule).filter(|rule| rule.starts_with("NET-G")).collect();
    assert_eq!(rules, ["NET-G002", "NET-G001"]);
}

#[test]
fn a_reservation_gives_the_expected_address() {
    let mac = "52:54:00:12:34:56";
    let reservations = BTreeMap::from([(mac.to_owned(), "192.168.100.12".parse().unwrap())]);
    let guest = Guest::new().netplan(&dhcp()).mac(mac).expect("192.168.100.12").host(|host| {
        host.dhcp = DhcpServer::Present { ranges: vec![], reservations: reservations.clone() };
    });
    assert_eq!(reachability(&guest), Reachability::Reachable);
}

proptest::proptest! {
    #[test]
    fn nothing_panics(
        netplan in "(network|ethernets|eth0|dhcp4|addresses|match|routes|: |\n|  |- |\\[|\\]|true|10.0.0.1/8|é){0,40}",
        args in "(ip=|rd.route=|ifname=|network-config=|systemd.mask=|:|eth0|on|10.0.0.1| |\"|%){0,20}",
        unit in "(\\[Match\\]|\\[Route\\]|\\[Link\\]|Name=|Gateway=|=|\n|e\\*){0,10}",
    ) {
        for initrd in [Initrd::Goldsmith, Initrd::Dracut, Initrd::InitramfsTools, Initrd::Unknown] {
            let guest = Guest::new().netplan(&netplan).args(&args).initrd(initrd).enable("systemd-network-generator.service").enable("cloud-init.service").enable("dhcpcd.service").enable("NetworkManager.service");
            let guest = guest.file("/etc/systemd/network/a.network", &unit).file("/etc/systemd/network/a.link", &unit).file("/etc/network/interfaces", &netplan).file("/etc/dhcpcd.conf", &netplan).file("/etc/cloud/cloud.cfg", &netplan);
            let _ = guest.evaluate();
        }
    }
}
