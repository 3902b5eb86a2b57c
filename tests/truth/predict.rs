//! One row: what the model says of it, from the image's own files.

use super::cases::Case;
use super::image::Booted;
use super::lab::POOL;
use goldsmith::boot::KernelArgs;
use goldsmith::image::View;
use goldsmith::network::{self, DhcpServer, Evaluation, HostFacts, Initrd, Inputs, Tap, VmmFacts};
use std::collections::BTreeMap;

/// The NICs' addresses.
pub const MACS: [&str; 2] = ["52:54:00:aa:00:01", "52:54:00:aa:00:02"];
/// The host's address on the bridge.
pub const BRIDGE: &str = "192.168.100.1/24";
/// Spares an emulated guest the measuring of its clock, at which it hangs now and then on a busy host.
const TSC_KHZ: u32 = 2_600_000;

/// The exact arguments.
pub fn arguments(case: &Case, booted: &Booted) -> KernelArgs {
    let mut parts = booted.args.clone();
    parts.push(case.args.to_owned());
    parts.push(format!("quiet tsc_early_khz={TSC_KHZ}"));
    KernelArgs::parse(&parts.join(" "))
}

/// What the model says before anything is booted, from the image's own files.
pub fn predict(case: &Case, booted: &Booted) -> Evaluation {
    let view = View::open_path(&booted.image).unwrap();
    let reservations = case.host.reserved.map(|address| (MACS[0].to_owned(), address.parse().unwrap()));
    let dhcp = if case.host.dhcp {
        DhcpServer::Present { ranges: vec![POOL], reservations: BTreeMap::from_iter(reservations) }
    } else {
        DhcpServer::Absent
    };
    network::evaluate(&Inputs {
        snapshot: network::capture("rootfs.ext4", &view).unwrap(),
        args: arguments(case, booted),
        kernel: booted.facts,
        initrd: if booted.initrd.is_some() { Initrd::Goldsmith } else { Initrd::None },
        vmm: VmmFacts {
            transport: case.transport,
            mac: Some(MACS[0].to_owned()),
            kernel_release: booted.release.clone(),
            ..VmmFacts::default()
        },
        host: Some(HostFacts {
            name: "bridge br0".to_owned(),
            cidr: Some(BRIDGE.parse().unwrap()),
            dhcp,
            tap: Tap::Attached,
            ..HostFacts::default()
        }),
        contract: None,
        // Where the arguments say it themselves, nobody says it again.
        expect: case.told.filter(|told| case.expected || !case.args.contains(told)).map(|told| told.parse().unwrap()),
    })
}
