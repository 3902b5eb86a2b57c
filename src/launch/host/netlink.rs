//! Bridges, routes and neighbours through the kernel's netlink, which knows the interfaces of this process's namespace whatever `/sys` shows.
//!
//! Source: rtnetlink(7), kernel `net/bridge/br_netlink.c` (`IFLA_BRPORT_ISOLATED`, `IFLA_BRPORT_LEARNING`).

use super::{Mac, subnet::Subnet};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::fd::{AsRawFd as _, BorrowedFd};
use rustix::net::{
    AddressFamily as SocketFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};
use std::io;
use std::net::{IpAddr, Ipv4Addr};

/// The longest answer that is read at once; the kernel sends no more than 32 KiB.
const BUFFER: usize = 64 << 10;

/// Makes a bridge that is up, with this MAC address (one that it takes from its ports would change as they come and go).
pub fn add_bridge(name: &str, mac: Mac) -> io::Result<()> {
    let mut link = LinkMessage::default();
    (link.header.flags, link.header.change_mask) = (LinkFlags::Up, LinkFlags::Up);
    link.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Address(mac.0.to_vec()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ];
    tell(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
}

/// Gives an interface the host's address in a subnet.
pub fn add_address(name: &str, subnet: Subnet) -> io::Result<()> {
    let mut address = AddressMessage::default();
    address.header.family = AddressFamily::Inet;
    address.header.prefix_len = subnet.prefix();
    address.header.index = index(name)?;
    address.attributes = vec![
        AddressAttribute::Local(IpAddr::V4(subnet.host())),
        AddressAttribute::Address(IpAddr::V4(subnet.host())),
        AddressAttribute::Broadcast(subnet.broadcast_address()),
    ];
    tell(RouteNetlinkMessage::NewAddress(address), NLM_F_CREATE | NLM_F_EXCL)
}

/// Keeps a bridge from learning from a port where machines are: a guest's frames to 01:80:c2:00:00:0e pass no firewall and
/// could move its neighbours to itself (kernel `net/bridge/br_input.c`, `__br_handle_local_finish`). `isolated`: the port
/// talks to the host, and to no other port of this kind.
pub fn tame(port: &str, isolated: bool) -> io::Result<()> {
    let mut flags = vec![InfoBridgePort::Learning(false)];
    flags.extend(isolated.then_some(InfoBridgePort::Isolated(true)));
    let mut link = LinkMessage::default();
    link.header.index = index(port)?;
    link.attributes = vec![LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(flags)),
    ])];
    tell(RouteNetlinkMessage::NewLink(link), 0)
}

/// Tells a bridge which machine is behind a port. A machine that it knows behind another one stays there.
pub fn place(port: &str, mac: Mac) -> io::Result<()> {
    let mut entry = NeighbourMessage::default();
    entry.header.family = AddressFamily::Bridge;
    entry.header.ifindex = index(port)?;
    entry.header.state = NeighbourState::Noarp;
    entry.header.flags = NeighbourFlags::Controller;
    entry.attributes = vec![NeighbourAttribute::LinkLayerAddress(mac.0.to_vec())];
    match tell(RouteNetlinkMessage::NewNeighbour(entry), NLM_F_CREATE | NLM_F_EXCL) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// Makes two interfaces that are each other's other end: one here, and `peer` in another network namespace.
pub fn add_pair(name: &str, peer: &str, namespace: BorrowedFd) -> io::Result<()> {
    let (mut link, mut other) = (LinkMessage::default(), LinkMessage::default());
    other.attributes = vec![LinkAttribute::IfName(peer.to_owned()), LinkAttribute::NetNsFd(namespace.as_raw_fd())];
    link.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
        ]),
    ];
    tell(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
}

/// Moves an interface into another network namespace. It leaves its bridge, and is down there.
pub fn send_away(name: &str, namespace: BorrowedFd) -> io::Result<()> {
    let mut link = LinkMessage::default();
    link.header.index = index(name)?;
    link.attributes = vec![LinkAttribute::NetNsFd(namespace.as_raw_fd())];
    tell(RouteNetlinkMessage::NewLink(link), 0)
}

/// Deletes an interface; none of this name is as good.
pub fn delete(name: &str) -> io::Result<()> {
    let mut link = LinkMessage::default();
    link.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    match tell(RouteNetlinkMessage::DelLink(link), 0) {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        result => result,
    }
}

/// The names of a bridge's ports. None: there is no interface of the bridge's name.
pub fn ports_of(bridge: &str) -> io::Result<Option<Vec<String>>> {
    let links = links()?;
    let own = links.iter().find(|link| link.name == bridge).map(|link| link.index);
    let ports = |own| links.into_iter().filter(|link| link.controller == Some(own)).map(|link| link.name).collect();
    Ok(own.map(ports))
}

/// The bridge that an interface is a port of.
pub fn bridge_of(port: &str) -> io::Result<Option<String>> {
    let links = links()?;
    let controller = links.iter().find(|link| link.name == port).and_then(|link| link.controller);
    Ok(links.into_iter().find(|link| Some(link.index) == controller).map(|link| link.name))
}

/// The interface over which this host reaches an address. None: it has no route there.
pub fn way(address: Ipv4Addr) -> io::Result<Option<String>> {
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet;
    route.header.destination_prefix_length = 32;
    route.attributes = vec![RouteAttribute::Destination(RouteAddress::Inet(address))];
    let mut over = None;
    let asked = ask(RouteNetlinkMessage::GetRoute(route), NLM_F_ACK, |answer| {
        let RouteNetlinkMessage::NewRoute(route) = answer else { return };
        over = route.attributes.into_iter().find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(index),
            _ => None,
        });
    });
    match asked {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENETUNREACH | libc::EHOSTUNREACH)) => Ok(None),
        Err(error) => Err(error),
        Ok(()) => Ok(links()?.into_iter().find(|link| Some(link.index) == over).map(|link| link.name)),
    }
}

/// What ARP has found out about a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// As in ip-neighbour(8): `Reachable`, `Incomplete`, `Failed`.
    pub state: NeighbourState,
    /// Who has answered.
    pub mac: Option<Mac>,
}

/// This host's entry for an address beyond an interface.
pub fn neighbour(interface: &str, address: Ipv4Addr) -> io::Result<Option<Neighbour>> {
    let index = index(interface)?;
    let mut request = NeighbourMessage::default();
    request.header.family = AddressFamily::Inet;
    let mut found = None;
    ask(RouteNetlinkMessage::GetNeighbour(request), NLM_F_DUMP, |answer| {
        let RouteNetlinkMessage::NewNeighbour(entry) = answer else { return };
        let wanted = NeighbourAttribute::Destination(NeighbourAddress::Inet(address));
        if entry.header.ifindex == index && entry.attributes.contains(&wanted) {
            let mac = entry.attributes.iter().find_map(|attribute| match attribute {
                NeighbourAttribute::LinkLayerAddress(bytes) => Some(Mac(bytes.as_slice().try_into().ok()?)),
                _ => None,
            });
            found = Some(Neighbour { state: entry.header.state, mac });
        }
    })?;
    Ok(found)
}

struct Link {
    index: u32,
    name: String,
    controller: Option<u32>,
}

fn index(name: &str) -> io::Result<u32> {
    let found = links()?.into_iter().find(|link| link.name == name).map(|link| link.index);
    found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
}

fn links() -> io::Result<Vec<Link>> {
    let mut links = Vec::new();
    ask(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP, |answer| {
        let RouteNetlinkMessage::NewLink(message) = answer else { return };
        let mut link = Link { index: message.header.index, name: String::new(), controller: None };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Controller(index) => link.controller = Some(index),
                _ => {}
            }
        }
        links.push(link);
    })?;
    Ok(links)
}

fn tell(message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    ask(message, NLM_F_ACK | flags, |_| {})
}

/// Sends one request and hands over every answer, until the kernel has acknowledged it or has no more.
fn ask(message: RouteNetlinkMessage, flags: u16, mut answer: impl FnMut(RouteNetlinkMessage)) -> io::Result<()> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | flags;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    // Protocol 0 is NETLINK_ROUTE.
    let socket = socket_with(SocketFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    send(&socket, &bytes, SendFlags::empty())?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let (length, _) = recv(&socket, &mut *buffer, RecvFlags::empty())?;
        if read(buffer.get(..length).unwrap_or_default(), &mut answer)? {
            return Ok(());
        }
    }
}

/// Hands over the answers in what came at once. Whether that was all.
pub fn read(mut rest: &[u8], answer: &mut impl FnMut(RouteNetlinkMessage)) -> io::Result<bool> {
    while !rest.is_empty() {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
        match message.payload {
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
            NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::InnerMessage(inner) => answer(inner),
            _ => {}
        }
        // Messages are aligned to four bytes.
        let step = (message.header.length as usize).next_multiple_of(4).clamp(16, rest.len().max(16));
        rest = rest.get(step..).unwrap_or_default();
    }
    Ok(false)
}
