//! QEMU's user networking, shaped to what the image declares.
//!
//! Source: qemu(1), `-netdev user`; libslirp (`slirp.c`, `bootp.c`): one DHCP server whose first lease is `dhcpstart`.

use super::super::option_list::OptionList;
use super::{Error, Mac, Publish};
use crate::network::{Cidr, DhcpServer, HostFacts, NetworkMode, NetworkSpec};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The network for guests that take what they are given.
const DEFAULT: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 0, 2, 0), 24);

/// Host ports for guest ports whose own numbers are taken: below those that the kernel gives to outgoing connections.
const SPARE: RangeInclusive<u16> = 20000..=32767;

/// A network of one guest inside its own VMM process.
#[derive(Debug)]
pub struct User {
    pub(super) facts: HostFacts,
    /// The guest's address: declared, or the only one that will be leased.
    pub(super) guest: Ipv4Addr,
    /// Whether it is declared.
    pub(super) fixed: bool,
    /// Host port by guest port.
    forwards: BTreeMap<u16, Claim>,
    gateway: Ipv4Addr,
    dns: Ipv4Addr,
    lease: Ipv4Addr,
    network: Cidr,
}

impl User {
    pub(super) fn new(spec: &NetworkSpec, mac: Mac, ports: &[Publish]) -> Result<Self, Error> {
        let shape = Shape::of(spec)?;
        let (guest, fixed) = shape.fixed.map_or((shape.lease, false), |guest| (guest, true));
        let dhcp = DhcpServer::Present {
            ranges: if fixed { Vec::new() } else { vec![(guest, guest)] },
            reservations: if fixed { BTreeMap::new() } else { BTreeMap::from([(mac.to_string(), guest)]) },
        };
        let cidr = Cidr { address: IpAddr::V4(shape.gateway), prefix: shape.network.prefix };
        let facts = HostFacts { name: "user networking".to_owned(), cidr: Some(cidr), dhcp, ..HostFacts::default() };
        let Shape { network, gateway, dns, lease, .. } = shape;
        Ok(Self { facts, guest, fixed, forwards: forwards(ports)?, gateway, dns, lease, network })
    }

    /// The ports of the guest that can be reached, and from where.
    pub fn forwards(&self) -> BTreeMap<u16, u16> {
        self.forwards.iter().map(|(guest, claim)| (*guest, claim.port)).collect()
    }

    pub(super) fn netdev(&self, id: &str) -> OptionList {
        let Self { network, gateway, dns, lease, guest, .. } = self;
        let list = OptionList::of("user").with("id", id).with("ipv6", "off").with("net", network).with("host", gateway);
        self.forwards().into_iter().fold(list.with("dns", dns).with("dhcpstart", lease), |list, (inside, outside)| {
            list.with("hostfwd", format!("tcp:127.0.0.1:{outside}-{guest}:{inside}"))
        })
    }
}

/// The addresses of a network.
struct Shape {
    network: Cidr,
    gateway: Ipv4Addr,
    dns: Ipv4Addr,
    lease: Ipv4Addr,
    fixed: Option<Ipv4Addr>,
}

impl Shape {
    fn of(spec: &NetworkSpec) -> Result<Self, Error> {
        let (base, prefix, fixed, gateway) = match &spec.mode {
            NetworkMode::Dhcp => (DEFAULT.0, DEFAULT.1, None, None),
            NetworkMode::Static { address, gateway, .. } => {
                let unfit = || Error::Unfit(format!("a guest at {address}"));
                let (IpAddr::V4(guest), 1..=29) = (address.address, address.prefix) else { return Err(unfit()) };
                let gateway = match gateway {
                    Some(IpAddr::V4(gateway)) => Some(*gateway),
                    Some(IpAddr::V6(_)) => return Err(unfit()),
                    None => None,
                };
                (guest, address.prefix, Some(guest), gateway)
            }
        };
        let mask = u32::MAX << (32 - u32::from(prefix));
        let network = u32::from(base) & mask;
        // libslirp wants its own host, name server and first lease inside the network, each another address.
        let mut taken = vec![fixed, gateway];
        let mut free = |first: u32| {
            let candidates = (first..).chain(1..first).take(6);
            let address =
                candidates.map(|host| Ipv4Addr::from(network | host)).find(|one| !taken.contains(&Some(*one)));
            taken.push(address);
            address.ok_or_else(|| Error::Unfit(format!("a network of prefix length {prefix}")))
        };
        let gateway = gateway.map_or_else(|| free(2), Ok)?;
        let dns = free(3)?;
        let lease = free(if prefix <= 27 { 15 } else { 4 })?;
        let network = Cidr { address: IpAddr::V4(Ipv4Addr::from(network)), prefix };
        Ok(Self { network, gateway, dns, lease, fixed })
    }
}

/// A host port that no other launch takes while this is there.
#[derive(Debug)]
struct Claim {
    port: u16,
    _socket: UnixDatagram,
}

impl Claim {
    /// Claims a port that nobody listens on. A port is only listened on for a moment to see that, and QEMU listens later: what
    /// keeps other launches away meanwhile is a socket with an abstract name, which, like a port, there is once in a network
    /// namespace (unix(7)). Should a program of another kind take the port, QEMU says so and does not start.
    fn new(port: u16) -> io::Result<Self> {
        let name = SocketAddr::from_abstract_name(format!("goldsmith/forward/{port}"))?;
        let socket = UnixDatagram::bind_addr(&name)?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        Ok(Self { port, _socket: socket })
    }
}

/// A host port for every guest port: the one asked for, else the same number, else the first of [`SPARE`] that is free.
fn forwards(ports: &[Publish]) -> Result<BTreeMap<u16, Claim>, Error> {
    let mut forwards = BTreeMap::new();
    for Publish { host, guest } in ports {
        if host.is_none() && forwards.contains_key(guest) {
            continue;
        }
        let claim = match host {
            Some(port) => Claim::new(*port),
            None => {
                let same = Some(*guest).filter(|port| *port >= 1024);
                let none = || io::Error::from(io::ErrorKind::AddrInUse);
                same.into_iter().chain(SPARE).find_map(|port| Claim::new(port).ok()).ok_or_else(none)
            }
        };
        let fail = |cause| Error::Port { port: host.unwrap_or(*guest), guest: *guest, cause };
        forwards.insert(*guest, claim.map_err(fail)?);
    }
    Ok(forwards)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(mode: NetworkMode) -> NetworkSpec {
        NetworkSpec { interface: crate::values::InterfaceName::eth0(), mode }
    }

    fn fixed(address: &str, gateway: &str) -> NetworkSpec {
        let gateway = Some(gateway.parse().unwrap());
        spec(NetworkMode::Static { address: address.parse().unwrap(), gateway, dns: vec![] })
    }

    const MAC: Mac = Mac([0x52, 0x54, 0, 0, 0, 1]);

    #[test]
    fn a_guest_with_dhcp_gets_the_one_lease_there_is() {
        let user = User::new(&spec(NetworkMode::Dhcp), MAC, &[]).unwrap();
        let expected = "user,id=n0,ipv6=off,net=10.0.2.0/24,host=10.0.2.2,dns=10.0.2.3,dhcpstart=10.0.2.15";
        assert_eq!((user.netdev("n0").to_string(), user.guest), (expected.to_owned(), Ipv4Addr::new(10, 0, 2, 15)));
    }

    #[test]
    fn the_network_is_that_of_a_fixed_address() {
        let user = User::new(&fixed("192.168.100.12/24", "192.168.100.1"), MAC, &[]).unwrap();
        assert!(user.netdev("n0").to_string().contains("net=192.168.100.0/24,host=192.168.100.1,dns=192.168.100.3"));
        let tight = User::new(&fixed("10.0.0.3/29", "10.0.0.2"), MAC, &[]).unwrap();
        assert!(
            tight.netdev("n0").to_string().contains("net=10.0.0.0/29,host=10.0.0.2,dns=10.0.0.4,dhcpstart=10.0.0.5")
        );
        assert!(User::new(&fixed("10.0.0.3/31", "10.0.0.2"), MAC, &[]).is_err());
    }

    #[test]
    fn a_taken_port_is_said_and_others_are_found() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let ask = |host| forwards(&[Publish { host, guest: port }]);
        assert!(ask(Some(port)).unwrap_err().to_string().contains(&port.to_string()));
        let other = ask(None).unwrap()[&port].port;
        assert!(SPARE.contains(&other));
        // Nobody listens any more, but another launch may be about to.
        drop(taken);
        let claim = ask(None).unwrap();
        assert_eq!(claim[&port].port, port);
        assert!(ask(Some(port)).is_err());
        assert_ne!(ask(None).unwrap()[&port].port, port);
        drop(claim);
        assert_eq!(ask(Some(port)).unwrap()[&port].port, port);
    }
}
