//! The IPv4 subnet of a managed network: the host's address in it, the pool for leases, what it must not overlap. Pure.

use super::Mac;
use crate::network::{Cidr, NetworkMode, NetworkSpec};
use crate::values::Sha256;
use std::collections::BTreeMap;
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
        format!("{}/{}", self.network_address(), self.prefix)
    }

    /// The network's own address, which is no machine's.
    pub fn network_address(self) -> Ipv4Addr {
        self.network().into()
    }

    /// Whether a VM may have the address: it is inside, and neither the host's, nor the network's own, nor everybody's.
    pub fn can_be_a_vms(self, address: Ipv4Addr) -> bool {
        let inside = (self.network() + 1..self.broadcast()).contains(&u32::from(address));
        inside && address != self.host
    }

    /// The address for a VM that takes any: the one it had, else the one that its MAC address comes to, else the next that
    /// is free; at last one that somebody else has left (`leased`) who is not there. None: all are `held`.
    pub fn address_for(
        self,
        mac: Mac,
        held: &dyn Fn(Ipv4Addr) -> bool,
        leased: &BTreeMap<Ipv4Addr, Mac>,
    ) -> Option<Ipv4Addr> {
        let (first, last) = self.pool();
        let (first, count) = (u32::from(first), u32::from(last) - u32::from(first) + 1);
        let [a, b, c, d, ..] = Sha256::of(&mac.0).0;
        let start = u32::from_be_bytes([a, b, c, d]) % count;
        let pool = || (0..count).map(|step| Ipv4Addr::from(first + (start + step) % count)).filter(|one| !held(*one));
        let had = leased.iter().filter(|(_, holder)| **holder == mac).map(|(address, _)| *address);
        let had = had.into_iter().find(|address| self.can_be_a_vms(*address) && !held(*address));
        had.or_else(|| pool().find(|address| !leased.contains_key(address))).or_else(|| pool().next())
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
    fn a_vm_keeps_its_address_and_takes_nobody_elses() {
        let subnet: Subnet = "10.0.0.1/29".parse().unwrap();
        let (mac, other) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        let [four, five, six] = [4, 5, 6].map(|last| Ipv4Addr::new(10, 0, 0, last));
        let choose = |held: &[Ipv4Addr], leased: &[(Ipv4Addr, Mac)]| {
            subnet.address_for(mac, &|one| held.contains(&one), &leased.iter().copied().collect())
        };
        let first = choose(&[], &[]).unwrap();
        assert_eq!(choose(&[], &[]), Some(first));
        assert_ne!(choose(&[first], &[]), Some(first));
        assert_eq!(choose(&[], &[(five, mac)]), Some(five));
        assert_eq!(choose(&[four], &[(five, other)]), Some(six));
        assert_eq!(choose(&[four, five], &[(five, mac), (six, other)]), Some(six));
        assert_eq!(choose(&[four, five, six], &[]), None);
        let may: Vec<u8> = (0..8).filter(|last| subnet.can_be_a_vms(Ipv4Addr::new(10, 0, 0, *last))).collect();
        assert_eq!(may, [2, 3, 4, 5, 6]);
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
