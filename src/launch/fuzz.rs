//! Doors to the readers of this room, for `fuzz/` only.

use super::diagnosis::{self, Symptoms, Unpassed};
pub use super::host::fuzz::{netlink, tables};
use super::host::{Said, Told};
pub use super::vmm::fuzz::{firecracker, qmp};
use std::net::Ipv4Addr;

/// What a guest printed, and what it said on its NIC.
pub fn symptoms(console: &str, said: Vec<Said>) {
    let units = diagnosis::failed(console);
    let _ = (diagnosis::is_dead(console), diagnosis::ports(console));
    let probes = [Unpassed { name: "web".to_owned(), port: 80, failure: None }];
    let told: Vec<_> = said.into_iter().map(|said| Told { said, times: 1 }).collect();
    for (dhcp, address) in [(true, None), (true, Some(Ipv4Addr::LOCALHOST)), (false, Some(Ipv4Addr::LOCALHOST))] {
        let symptoms =
            Symptoms { console, units: &units, said: &told, dhcp, address, probes: &probes, ..Symptoms::default() };
        let _ = diagnosis::diagnose(&symptoms);
    }
}
