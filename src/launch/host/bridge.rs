//! A bridge, an existing one or that of a managed network: a tap on it for the VM, and what can be learned about it
//! before the VM starts.

use super::cell::Cell;
use super::frame::{self, Dhcp, Said};
use super::managed::{Admission, Member, Name, Registry};
use super::services::{self, Ward};
use super::subnet::Subnet;
use super::tap::Tap;
use super::{Error, Mac, guard, link, netlink, question};
use crate::launch::tool;
use crate::network::{self, Cidr, DhcpServer, HostFacts, NetworkMode, NetworkSpec};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

/// How long a server that pings an address before it offers it may take (dnsmasq waits 3 s), even when it hears only the
/// third question because it has just been started.
const OFFER: Duration = Duration::from_millis(6500);
/// How often the question is asked anew.
const AGAIN: Duration = Duration::from_millis(1500);
/// How long a machine on the same bridge may take to answer ARP.
const ARP: Duration = Duration::from_millis(200);

/// A port of a bridge.
#[derive(Debug)]
pub struct Bridge {
    pub(super) name: String,
    mac: Mac,
    pub(super) facts: HostFacts,
    /// The guest's declared address.
    pub(super) fixed: Option<Ipv4Addr>,
    /// The only address that a managed network leases to it.
    pub(super) promised: Option<Ipv4Addr>,
    // Dropped in this order: a network without taps goes.
    pub(super) tap: Tap,
    pub(super) cell: Option<Cell>,
    ward: Option<Ward>,
    network: Option<Member>,
}

impl Bridge {
    /// Makes a tap on the bridge and looks around: the bridge's address, a DHCP server for a guest that asks for a lease,
    /// another holder of a fixed address.
    pub(super) fn new(name: &str, spec: &NetworkSpec, mac: Mac) -> Result<Self, Error> {
        if !link::exists(name).map_err(io(format!("look for the bridge {name}")))? {
            return Err(Error::NoBridge(name.to_owned()));
        }
        let tap = Tap::create().map_err(io("make a tap interface".to_owned()))?;
        let port = guard::Port { tap: tap.name().to_owned(), mac, address: fixed(spec) };
        let declared = if let NetworkMode::Static { address, .. } = &spec.mode { Some(address.address) } else { None };
        // Before it is a port: nothing that the guest says is heard unguarded.
        let ward = services::forget_wards().and_then(|()| Ward::over(port, declared));
        let bridge = Self::on(name, tap, spec, mac, false)?;
        let (ward, unguarded) = match ward {
            Ok(ward) => (Some(ward), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Ok(Self { ward, facts: HostFacts { unguarded, ..bridge.facts }, ..bridge })
    }

    /// Lets a guest on a bridge that others look after have the address that it has been leased, and no other.
    pub(super) fn pin(&self, address: Ipv4Addr) -> Result<(), tool::Error> {
        self.ward.as_ref().map_or(Ok(()), |ward| ward.pin(address))
    }

    /// Makes a tap a port.
    fn on(name: &str, tap: Tap, spec: &NetworkSpec, mac: Mac, isolated: bool) -> Result<Self, Error> {
        let cidr = link::address(name).map_err(io(format!("read the address of {name}")))?;
        link::join(name, tap.name()).map_err(io(format!("make {} a port of {name}", tap.name())))?;
        netlink::tame(tap.name(), isolated).map_err(io(format!("tame a port of {name}")))?;
        link::up(tap.name()).map_err(io(format!("set {} up", tap.name())))?;
        let mut facts = HostFacts {
            name: format!("bridge {name}"),
            cidr,
            tap: network::Tap::Attached,
            routes: routes(&fs::read_to_string("/proc/self/net/route").unwrap_or_default(), name),
            ..HostFacts::default()
        };
        // Before anything is asked in this address's name.
        facts.macs_in_use = macs(name).into_iter().filter(|one| *one == mac).map(|one| one.to_string()).collect();
        netlink::place(tap.name(), mac).map_err(io(format!("tell {name} where {mac} is")))?;
        let asked = io(format!("ask the network on {name}"));
        let fixed = fixed(spec);
        match (&spec.mode, fixed) {
            (NetworkMode::Dhcp, _) => facts.dhcp = dhcp(&tap, mac).map_err(asked)?,
            (_, Some(address)) => facts.in_use = holders(&tap, mac, address).map_err(asked)?,
            _ => {}
        }
        Ok(Self {
            facts,
            fixed,
            promised: None,
            tap,
            cell: None,
            ward: None,
            network: None,
            mac,
            name: name.to_owned(),
        })
    }

    /// Makes a tap on a managed network, which is made if need be. `expect`: the address that the guest is to have.
    pub(super) fn managed(
        name: &Name,
        subnet: Option<Subnet>,
        spec: &NetworkSpec,
        mac: Mac,
        expect: Option<Ipv4Addr>,
    ) -> Result<Self, Error> {
        // Dropped last, when something fails below: it sweeps.
        let mut member = Member::new();
        let networks = Registry::lock()?;
        let subnet = networks.ensure(name, subnet, spec)?;
        let tap = Tap::create().map_err(io("make a tap interface".to_owned()))?;
        member.holds(tap.name());
        // Before it is a port: nothing that the guest says is heard unguarded.
        let mut guarded = guard::Port { tap: tap.name().to_owned(), mac, address: None };
        let Admission { address, taken, reservations } =
            networks.admit(name, subnet, &mut guarded, fixed(spec).or(expect))?;
        let mut port = Self::on(&name.bridge(), tap, spec, mac, true)?;
        let [address_taken, mac_taken] = taken;
        match (port.fixed, expect) {
            (Some(fixed), _) if address_taken => port.facts.in_use.push(fixed.into()),
            (None, Some(address)) if address_taken => return Err(Error::Held { address, name: name.clone() }),
            _ => {}
        }
        if mac_taken {
            port.facts.macs_in_use.push(mac.to_string());
        }
        port.promised = address;
        port.facts.name = format!("network {name} (bridge {})", name.bridge());
        port.facts.dhcp = DhcpServer::Present { ranges: vec![subnet.pool()], reservations };
        port.facts.ignores_client_id = Some(true);
        Ok(Self { network: Some(member), ..port })
    }

    /// Moves the tap into a network namespace of its own.
    pub(super) fn confine(&mut self) -> io::Result<()> {
        self.cell = Some(Cell::around(self.tap.name(), &self.name, self.mac, self.network.is_some())?);
        self.tap.moved();
        Ok(())
    }
}

fn io(what: String) -> impl FnOnce(io::Error) -> Error {
    move |cause| Error::Io { what, cause }
}

/// The IPv4 address that the image declares.
fn fixed(spec: &NetworkSpec) -> Option<Ipv4Addr> {
    let NetworkMode::Static { address, .. } = &spec.mode else { return None };
    if let IpAddr::V4(address) = address.address { Some(address) } else { None }
}

/// Who answers DHCP: a server in this network namespace, or one that answers a question on the wire.
fn dhcp(tap: &Tap, mac: Mac) -> io::Result<DhcpServer> {
    if serves_here() {
        return Ok(DhcpServer::Present { ranges: Vec::new(), reservations: BTreeMap::new() });
    }
    let [.., a, b, c, d] = mac.0;
    let discover = question::dhcp_discover(mac, u32::from_be_bytes([a, b, c, d]));
    let offered = ask(tap, &discover, OFFER, |said| match said {
        Said::Dhcp { client, message: Dhcp::Offer { address, .. } } if client == mac => Some(address),
        _ => None,
    })?;
    Ok(match offered {
        Some(_) => DhcpServer::Present { ranges: Vec::new(), reservations: BTreeMap::new() },
        None => DhcpServer::Absent,
    })
}

/// Whether a program of this host listens on UDP port 67. Source: proc(5), `/proc/net/udp`: `local_address` in hexadecimal.
pub(super) fn serves_here() -> bool {
    let table = fs::read_to_string("/proc/self/net/udp").unwrap_or_default();
    table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).any(|local| local.ends_with(":0043"))
}

/// Other machines that hold the address.
fn holders(tap: &Tap, mac: Mac, address: Ipv4Addr) -> io::Result<Vec<IpAddr>> {
    let found = ask(tap, &question::arp_probe(mac, address), ARP, |said| {
        said.claim().filter(|(other, held)| *held == address && *other != mac).map(|_| ())
    })?;
    Ok(found.map(|()| IpAddr::V4(address)).into_iter().collect())
}

/// Sends a question until an answer comes or patience ends.
fn ask<T>(tap: &Tap, question: &[u8], patience: Duration, answer: impl Fn(Said) -> Option<T>) -> io::Result<Option<T>> {
    let started = Instant::now();
    let mut asked: Option<Instant> = None;
    while started.elapsed() < patience {
        if asked.is_none_or(|asked| asked.elapsed() > AGAIN) {
            tap.send(question)?;
            asked = Some(Instant::now());
        }
        match tap.receive()? {
            Some(bytes) => {
                if let Some(found) = frame::read(&bytes).and_then(&answer) {
                    return Ok(Some(found));
                }
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    Ok(None)
}

/// The networks in a routing table that are not reached over the bridge. Source: proc(5), `/proc/net/route`; addresses are
/// hexadecimal in the machine's byte order, which is little-endian.
pub(super) fn routes(table: &str, bridge: &str) -> Vec<Cidr> {
    let number = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::swap_bytes);
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [interface, destination, _, _, _, _, _, mask, ..] = fields.as_slice() else { return None };
        let address = IpAddr::V4(Ipv4Addr::from(number(destination)?));
        (*interface != bridge).then_some(Cidr { address, prefix: number(mask)?.leading_ones() as u8 })
    };
    table.lines().skip(1).filter_map(route).collect()
}

/// MAC addresses that the bridge has seen. Source: kernel `net/bridge/br_sysfs_br.c`, `struct __fdb_entry` (16 bytes, the
/// address first). Where sysfs shows another namespace there is nothing to see.
fn macs(bridge: &str) -> Vec<Mac> {
    let table = fs::read(format!("/sys/class/net/{bridge}/brforward")).unwrap_or_default();
    table.chunks_exact(16).filter_map(|entry| entry.first_chunk::<6>()).map(|bytes| Mac(*bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_over_other_interfaces_are_read() {
        let table = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
                     eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     br0\t0064A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                     eth1\t0000A8C0\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\ndamaged\n";
        let found: Vec<_> = routes(table, "br0").iter().map(ToString::to_string).collect();
        assert_eq!(found, ["0.0.0.0/0", "192.168.0.0/16"]);
    }
}
