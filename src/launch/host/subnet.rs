//! The IPv4 subnet of a managed network: the host's address in it, the pool for leases, what it must not overlap. Pure.

use crate::network::{Cidr, NetworkMode, NetworkSpec};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// A subnet, shown as the host's address in it with the prefix length: `192.168.100.1/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    host: Ipv4Addr,
    prefix: u8,
}

/// The networks that are tried, in this order, when nothing fixes one.
const CANDIDATES: [([u8; 2], std::ops::RangeInclusive<u8>); 2] = [([192, 168], 100..=254), ([10, 193], 0..=254)];

impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shape = || format!("`{text}` is no subnet for VMs, as in 192.168.100.1/24 (prefix length 8 to 29)");
        let cidr: Cidr = text.parse().map_err(|_| shape())?;
        Self::of(cidr).ok_or_else(shape)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.prefix)
    }
}

impl Subnet {
    /// The subnet in which the host has this address; a network's own address stands for its first machine. None: it is
    /// not IPv4, too small or too large, or the address is the broadcast address.
    pub fn of(cidr: Cidr) -> Option<Self> {
        let (IpAddr::V4(address), 8..=29) = (cidr.address, cidr.prefix) else { return None };
        let subnet = Self { host: address, prefix: cidr.prefix };
        match u32::from(address) {
            own if own == subnet.network() => Some(Self { host: Ipv4Addr::from(own + 1), ..subnet }),
            own if own == subnet.broadcast() => None,
            _ => Some(subnet),
        }
    }

    /// The subnet that an image with a fixed address needs: its gateway is the host. None: any will do, or none can.
    pub fn needed_by(spec: &NetworkSpec) -> Option<Self> {
        let NetworkMode::Static { address, gateway, .. } = &spec.mode else { return None };
        let IpAddr::V4(guest) = address.address else { return None };
        let first = Self { host: guest, prefix: address.prefix };
        let free = [1, 2].map(|number| Ipv4Addr::from(first.network().saturating_add(number)));
        let other = free.into_iter().find(|one| *one != guest).map(IpAddr::V4);
        Self::of(Cidr { address: gateway.or(other)?, prefix: address.prefix })
    }

    /// The first of the usual subnets that overlaps none of these.
    pub fn free(taken: &[Cidr]) -> Option<Self> {
        let all = CANDIDATES.into_iter().flat_map(|([a, b], third)| third.map(move |c| Ipv4Addr::new(a, b, c, 1)));
        all.map(|host| Self { host, prefix: 24 }).find(|subnet| subnet.overlapped(taken).is_none())
    }

    /// The first of these networks that shares an address with this one. The default route is no network.
    pub fn overlapped(self, taken: &[Cidr]) -> Option<Cidr> {
        let own = self.cidr();
        let overlaps = |one: &&Cidr| one.prefix > 0 && (one.contains(own.address) || own.contains(one.address));
        taken.iter().find(overlaps).copied()
    }

    /// The host's address with the prefix length.
    pub fn cidr(self) -> Cidr {
        Cidr { address: IpAddr::V4(self.host), prefix: self.prefix }
    }

    /// The host's address.
    pub fn host(self) -> Ipv4Addr {
        self.host
    }

    /// The prefix length, 8 to 29.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The first and the last address for leases: the upper half, which leaves the lower one to fixed addresses, without
    /// the host's own.
    pub fn pool(self) -> (Ipv4Addr, Ipv4Addr) {
        let (first, last) = (self.network() + self.size() / 2, self.broadcast() - 1);
        let host = u32::from(self.host);
        let (first, last) = match host {
            host if host < first || host > last => (first, last),
            host if host - first > last - host => (first, host - 1),
            host => (host + 1, last),
        };
        (first.into(), last.into())
    }

    /// The network's own address with the prefix length, for people and for nft: `192.168.100.0/24`.
    pub fn network_text(self) -> String {
        format!("{}/{}", Ipv4Addr::from(self.network()), self.prefix)
    }

    /// The address that reaches every machine.
    pub fn broadcast_address(self) -> Ipv4Addr {
        self.broadcast().into()
    }

    fn size(self) -> u32 {
        1 << (32 - u32::from(self.prefix.max(1)))
    }

    fn network(self) -> u32 {
        u32::from(self.host) & !(self.size() - 1)
    }

    fn broadcast(self) -> u32 {
        self.network() | (self.size() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidrs(list: &[&str]) -> Vec<Cidr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_subnet_is_named_by_the_hosts_address() {
        for (text, shown) in [("192.168.100.0/24", "192.168.100.1/24"), ("10.0.0.254/24", "10.0.0.254/24")] {
            assert_eq!(text.parse::<Subnet>().unwrap().to_string(), shown);
        }
        for bad in ["10.0.0.255/24", "10.0.0.1/30", "10.0.0.1/7", "fd00::1/64", "10.0.0.1", ""] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_first_free_one_is_taken() {
        let free = |taken: &[&str]| Subnet::free(&cidrs(taken)).map(|subnet| subnet.to_string());
        assert_eq!(free(&["0.0.0.0/0", "192.168.0.0/24"]).as_deref(), Some("192.168.100.1/24"));
        assert_eq!(free(&["192.168.100.0/25", "192.168.101.7/32"]).as_deref(), Some("192.168.102.1/24"));
        assert_eq!(free(&["192.168.0.0/16"]).as_deref(), Some("10.193.0.1/24"));
        assert_eq!(free(&["192.168.0.0/16", "10.0.0.0/8"]), None);
    }

    #[test]
    fn a_fixed_address_says_which_subnet_it_needs() {
        let needs = |address: &str, gateway: Option<&str>| {
            let gateway = gateway.map(|text| text.parse().unwrap());
            let mode = NetworkMode::Static { address: address.parse().unwrap(), gateway, dns: vec![] };
            Subnet::needed_by(&NetworkSpec { interface: crate::values::InterfaceName::eth0(), mode })
                .map(|subnet| subnet.to_string())
        };
        assert_eq!(needs("192.168.100.12/24", Some("192.168.100.254")).as_deref(), Some("192.168.100.254/24"));
        assert_eq!(needs("192.168.100.1/24", None).as_deref(), Some("192.168.100.2/24"));
        assert_eq!(needs("10.0.0.3/31", None), None);
        assert_eq!(
            Subnet::needed_by(&NetworkSpec {
                interface: crate::values::InterfaceName::eth0(),
                mode: NetworkMode::Dhcp
            }),
            None
        );
    }

    #[test]
    fn the_pool_leaves_room_for_fixed_addresses_and_the_host() {
        let pool = |text: &str| {
            let (first, last) = text.parse::<Subnet>().unwrap().pool();
            format!("{first}-{last}")
        };
        assert_eq!(pool("192.168.100.1/24"), "192.168.100.128-192.168.100.254");
        assert_eq!(pool("192.168.100.254/24"), "192.168.100.128-192.168.100.253");
        assert_eq!(pool("192.168.100.128/24"), "192.168.100.129-192.168.100.254");
        assert_eq!(pool("10.0.0.1/29"), "10.0.0.4-10.0.0.6");
    }
}
