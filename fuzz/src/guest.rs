//! A guest made up from choices: files that real guests have, with whatever is in them.

use crate::choices::Choices;
use goldsmith::boot::{KernelArgs, KernelFacts, Presence};
use goldsmith::network::{FileBytes, HostFacts, Initrd, Inputs, Snapshot, SnapshotNode, Transport};

/// The most files of one guest.
const MOST: usize = 24;

/// Where text may stand that somebody reads. The first has what the input has most.
const PLACES: &[&str] = &[
    "/etc/netplan/01.yaml",
    "/etc/netplan/50-cloud-init.yaml",
    "/usr/lib/netplan/00.yaml",
    "/run/netplan/99.yaml",
    "/etc/systemd/network/10.network",
    "/usr/lib/systemd/network/80-default.network",
    "/etc/systemd/network/10.network.d/a.conf",
    "/etc/systemd/network/10.link",
    "/usr/lib/systemd/network/99-default.link",
    "/etc/systemd/network/10.netdev",
    "/etc/systemd/networkd.conf",
    "/etc/network/interfaces",
    "/etc/network/interfaces.d/eth0",
    "/etc/cloud/cloud.cfg",
    "/etc/cloud/cloud.cfg.d/99.cfg",
    "/etc/dhcpcd.conf",
    "/etc/NetworkManager/NetworkManager.conf",
    "/etc/NetworkManager/conf.d/a.conf",
    "/etc/NetworkManager/system-connections/a.nmconnection",
    "/usr/lib/systemd/system-preset/90.preset",
    "/etc/systemd/system-preset/00.preset",
    "/etc/fstab",
    "/etc/udev/rules.d/70-persistent-net.rules",
    "/etc/machine-id",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/etc/os-release",
    "/usr/lib/systemd/system/systemd-networkd.service",
    "/etc/systemd/system/systemd-networkd.service.d/a.conf",
    "/etc/systemd/system/systemd-networkd.service",
    "/usr/lib/systemd/system/networking.service",
];
/// What matters by being there.
const PRESENT: &[&str] = &[
    "/usr/lib/systemd/system-generators/netplan",
    "/usr/sbin/dhclient",
    "/usr/sbin/dhcpcd",
    "/usr/sbin/NetworkManager",
    "/usr/sbin/ifup",
    "/usr/lib/systemd/systemd-networkd",
    "/usr/lib/systemd/systemd-udevd",
    "/etc/cloud/cloud-init.disabled",
    "/var/lib/cloud/instance",
    "/var/lib/dhcp/dhclient.eth0.leases",
    "/etc/ssh/ssh_host_rsa_key",
    "/var/lib/systemd/random-seed",
    "/usr/lib/modules/6.1.0-1-amd64",
];
const UNITS: &[&str] = &[
    "systemd-networkd", "systemd-network-generator", "systemd-resolved", "systemd-networkd-wait-online", "networking", "NetworkManager",
    "dhcpcd", "dhclient", "connman", "wicked", "ifup@eth0", "cloud-init", "cloud-init-local", "cloud-init-network",
];

/// Everything that decides the guest's network.
pub fn guest(choices: &mut Choices) -> Inputs {
    let flags = choices.byte();
    let mut snapshot = Snapshot { image: "image".into(), ..Snapshot::default() };
    let units = choices.short();
    for (index, unit) in UNITS.iter().enumerate().filter(|(index, _)| units >> index & 1 == 1) {
        let wants = if index % 2 == 0 { "multi-user.target.wants" } else { "network-online.target.wants" };
        put(&mut snapshot, &format!("/usr/lib/systemd/system/{unit}.service"), file(0o644, b"[Service]\n"));
        let link = SnapshotNode::Symlink(format!("/usr/lib/systemd/system/{unit}.service"));
        put(&mut snapshot, &format!("/etc/systemd/system/{wants}/{unit}.service"), link);
    }
    if flags & 1 == 0 {
        put(&mut snapshot, "/usr/lib/systemd/system-generators/netplan", file(0o755, b"x"));
    }
    let line = String::from_utf8_lossy(choices.bytes()).into_owned();
    for _ in 0..MOST {
        if choices.is_over() {
            break;
        }
        let how = choices.byte();
        let place = if how & 0x30 == 0x30 { choices.one(PRESENT) } else { choices.one(PLACES) };
        let text = choices.bytes();
        let node = match how & 7 {
            5 => SnapshotNode::Symlink(String::from_utf8_lossy(text).into_owned()),
            6 => SnapshotNode::Special,
            7 => SnapshotNode::File { mode: 0o644, bytes: FileBytes::TooLarge(u64::MAX) },
            bits => file(if bits & 1 == 0 { 0o600 } else { 0o644 }, text),
        };
        put(&mut snapshot, place, node);
    }
    let kernel = KernelFacts {
        ip_pnp: if flags & 2 == 0 { Presence::BuiltIn } else { Presence::Absent },
        ..KernelFacts::default()
    };
    let mut inputs = Inputs::new(snapshot, KernelArgs::parse(&line), kernel);
    let initrds = [Initrd::Goldsmith, Initrd::Dracut, Initrd::InitramfsTools, Initrd::Unknown];
    inputs.initrd = initrds[usize::from(flags >> 2 & 3)];
    inputs.vmm.transport = if flags & 16 == 0 { Transport::Mmio } else { Transport::Pci };
    inputs.vmm.more_nics = usize::from(flags >> 5 & 1);
    inputs.vmm.mac = Some("52:54:00:12:34:56".to_owned());
    inputs.expect = (flags & 64 != 0).then_some("192.168.100.12".parse().expect("an address"));
    inputs.host = (flags & 128 != 0).then(|| HostFacts { cidr: "192.168.100.1/24".parse().ok(), ..HostFacts::default() });
    inputs
}

fn file(mode: u16, bytes: &[u8]) -> SnapshotNode {
    SnapshotNode::File { mode, bytes: FileBytes::Known(bytes.into()) }
}

fn put(snapshot: &mut Snapshot, path: &str, node: SnapshotNode) {
    snapshot.nodes.insert(path.parse().expect("a path"), node);
}
