//! Bytes as every kind of text that an image or a command line brings.
#![no_main]

use goldsmith::boot::{KernelArgs, KernelFacts};
use goldsmith::network::{self, FileBytes, Initrd, Inputs, Snapshot, SnapshotNode};
use libfuzzer_sys::fuzz_target;

/// Where the text may stand; the first byte chooses.
const PLACES: &[&str] = &[
    "/etc/netplan/01.yaml",
    "/etc/systemd/network/10.network",
    "/etc/systemd/network/10.link",
    "/etc/network/interfaces",
    "/etc/cloud/cloud.cfg",
    "/etc/dhcpcd.conf",
    "/etc/NetworkManager/system-connections/a.nmconnection",
    "/usr/lib/systemd/system-preset/90.preset",
    "/etc/fstab",
    "/etc/udev/rules.d/70-persistent-net.rules",
];
const UNITS: &[&str] = &["systemd-networkd", "systemd-network-generator", "networking", "NetworkManager", "dhcpcd", "cloud-init-local"];

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, text)) = bytes.split_first() else { return };
    let mut snapshot = Snapshot { image: "image".into(), ..Snapshot::default() };
    let mut put = |path: &str, bytes: &[u8]| {
        let node = SnapshotNode::File { mode: 0o600, bytes: FileBytes::Known(bytes.into()) };
        snapshot.nodes.insert(path.parse().expect("a path"), node);
    };
    put("/usr/lib/systemd/system-generators/netplan", b"x");
    for unit in UNITS {
        put(&format!("/usr/lib/systemd/system/{unit}.service"), b"x");
        put(&format!("/etc/systemd/system/multi-user.target.wants/{unit}.service"), b"x");
    }
    let place = PLACES.get(usize::from(*choice));
    if let Some(place) = place {
        put(place, text);
    }
    let line = if place.is_some() { "ip=dhcp".into() } else { String::from_utf8_lossy(text) };
    let mut inputs = Inputs::new(snapshot, KernelArgs::parse(&line), KernelFacts::default());
    for initrd in [Initrd::Goldsmith, Initrd::Dracut, Initrd::InitramfsTools] {
        inputs.initrd = initrd;
        let _ = network::evaluate(&inputs);
    }
});
