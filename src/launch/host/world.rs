//! What guests may reach beyond their network: the world, but not this host, nor what a cloud tells only its hosts.
//!
//! Source: the manuals of AWS, Google Cloud and Oracle Cloud (169.254.169.254 and its neighbours; no router forwards
//! 169.254.0.0/16, RFC 3927), of Azure (168.63.129.16) and of Alibaba Cloud (100.100.100.200).

use super::netlink;
use crate::network::Cidr;
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Where clouds tell a host its secrets.
const METADATA: [([u8; 4], u8); 3] = [([169, 254, 0, 0], 16), ([168, 63, 129, 16], 32), ([100, 100, 100, 200], 32)];
/// What the kernel takes for this host itself (`connect` to 0.0.0.0 goes to loopback).
const ITSELF: [([u8; 4], u8); 2] = [([127, 0, 0, 0], 8), ([0, 0, 0, 0], 8)];
/// How long it is remembered whether an address is this host's, and of how many addresses.
const REMEMBERED: Duration = Duration::from_secs(5);
const MOST: usize = 256;

/// The set for nft.
pub fn metadata() -> String {
    format!("{{ {} }}", METADATA.map(|one| cidr(one).to_string()).join(", "))
}

/// Whether a guest behind user networking may reach this. The host's own name server is its name server too.
pub fn may_reach(to: SocketAddrV4) -> bool {
    static OWN: Mutex<BTreeMap<Ipv4Addr, (Instant, bool)>> = Mutex::new(BTreeMap::new());
    let address = *to.ip();
    if is_one_of(&METADATA, address) {
        return false;
    }
    if to.port() == 53 && is_name_server(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default(), address) {
        return true;
    }
    if is_one_of(&ITSELF, address) {
        return false;
    }
    let mut known = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|_, (since, _)| since.elapsed() < REMEMBERED);
    if known.len() >= MOST {
        known.clear();
    }
    // An address of one's own is reached over loopback. What the kernel does not say is not reached.
    let look = || netlink::way(address).map_or(true, |over| over.as_deref() == Some("lo"));
    !known.entry(address).or_insert_with(|| (Instant::now(), look())).1
}

/// Source: resolv.conf(5).
fn is_name_server(resolv: &str, address: Ipv4Addr) -> bool {
    let servers = resolv.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    servers.filter_map(|server| server.trim().parse().ok()).any(|server: Ipv4Addr| server == address)
}

fn is_one_of(all: &[([u8; 4], u8)], address: Ipv4Addr) -> bool {
    all.iter().any(|one| cidr(*one).contains(IpAddr::V4(address)))
}

fn cidr((address, prefix): ([u8; 4], u8)) -> Cidr {
    Cidr { address: IpAddr::V4(address.into()), prefix }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_this_host_nor_a_clouds_secrets_are_the_world() {
        let may = |text: &str| may_reach(text.parse().unwrap());
        for own in ["127.0.0.1:22", "127.9.9.9:80", "0.0.0.0:22", "169.254.169.254:80", "168.63.129.16:80"] {
            assert!(!may(own), "{own}");
        }
        assert_eq!(metadata(), "{ 169.254.0.0/16, 168.63.129.16/32, 100.100.100.200/32 }");
    }

    #[test]
    fn the_hosts_name_server_is_the_guests() {
        let resolv = "# one\nsearch x\n nameserver 127.0.0.53\noptions edns0\n";
        assert!(is_name_server(resolv, Ipv4Addr::new(127, 0, 0, 53)));
        assert!(!is_name_server(resolv, Ipv4Addr::LOCALHOST));
    }
}
