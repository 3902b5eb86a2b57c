//! Addresses and default routes as the kernel holds them, through rtnetlink.
//!
//! Source: rtnetlink(7), `linux/rtnetlink.h`, `linux/if_addr.h`. Numbers are in the machine's own byte order.

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const NLM_F_REQUEST_DUMP: u16 = 0x1 | 0x300;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_PERMANENT: u32 = 0x80;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RT_TABLE_MAIN: u8 = 254;
const RT_SCOPE_UNIVERSE: u8 = 0;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// A dump arrives in parts of at most this many bytes (the kernel uses 32 KiB at most, `netlink_dump`).
const PART: usize = 64 * 1024;
/// Far more parts than any guest has addresses or routes for.
const MAX_PARTS: usize = 1024;

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The interface's index.
    pub index: u32,
    /// The address itself.
    pub ip: IpAddr,
    /// Its prefix length.
    pub prefix: u8,
    /// It has no lifetime: nobody leased it for a time.
    pub permanent: bool,
    /// It is valid everywhere, not just on this link or host.
    pub global: bool,
}

/// A default route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultRoute {
    /// The interface's index.
    pub index: u32,
    /// Where packets go; none: straight onto the link.
    pub gateway: Option<IpAddr>,
    /// Lower wins.
    pub metric: u32,
}

/// All addresses of this network namespace.
pub fn addresses() -> Result<Vec<Address>, String> {
    Ok(dump(RTM_GETADDR, RTM_NEWADDR)?.iter().filter_map(|message| address(message)).collect())
}

/// The default routes of the main table, best first.
pub fn default_routes() -> Result<Vec<DefaultRoute>, String> {
    let mut routes: Vec<_> =
        dump(RTM_GETROUTE, RTM_NEWROUTE)?.iter().filter_map(|message| default_route(message)).collect();
    routes.sort_by_key(|route| route.metric);
    Ok(routes)
}

/// Asks for everything of one kind; gives the messages' bodies.
fn dump(request: u16, reply: u16) -> Result<Vec<Vec<u8>>, String> {
    let failed = |error: rustix::io::Errno| format!("the kernel's rtnetlink: {error}");
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
        .map_err(failed)?;
    let mut message = Vec::with_capacity(HEADER + 4);
    message.extend((HEADER as u32 + 4).to_ne_bytes());
    message.extend(request.to_ne_bytes());
    message.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    message.extend([0; 8 + 4]); // sequence, port; any address family
    rustix::net::send(&socket, &message, SendFlags::empty()).map_err(failed)?;

    let mut bodies = Vec::new();
    let mut part = vec![0; PART];
    for _ in 0..MAX_PARTS {
        let (_, length) = rustix::net::recv(&socket, part.as_mut_slice(), RecvFlags::empty()).map_err(failed)?;
        let mut rest = part.get(..length).unwrap_or_default();
        while let Some((kind, body, tail)) = split_message(rest) {
            match kind {
                NLMSG_DONE => return Ok(bodies),
                NLMSG_ERROR => return Err("the kernel's rtnetlink refused the question".into()),
                kind if kind == reply => bodies.push(body.to_vec()),
                _ => {}
            }
            rest = tail;
        }
    }
    Err("the kernel's rtnetlink never finished its answer".into())
}

pub fn split_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32_at(bytes, 0)? as usize;
    let body = bytes.get(HEADER..length)?;
    let tail = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((u16_at(bytes, 4)?, body, tail))
}

/// `struct ifaddrmsg`: family, prefix length, flags, scope, index; then attributes.
pub fn address(body: &[u8]) -> Option<Address> {
    let [_, prefix, flags, scope] = *body.first_chunk()?;
    let attributes = body.get(8..)?;
    // On a point-to-point link IFA_ADDRESS is the peer; IFA_LOCAL is always ours, but only IPv4 sends it.
    let ip = attribute(attributes, IFA_LOCAL).or_else(|| attribute(attributes, IFA_ADDRESS)).and_then(ip)?;
    let flags = attribute(attributes, IFA_FLAGS).and_then(|v| u32_at(v, 0)).unwrap_or(flags.into());
    Some(Address {
        index: u32_at(body, 4)?,
        ip,
        prefix,
        permanent: flags & IFA_F_PERMANENT != 0,
        global: scope == RT_SCOPE_UNIVERSE,
    })
}

/// `struct rtmsg`: family, destination length, source length, tos, table, protocol, scope, type, flags; attributes.
pub fn default_route(body: &[u8]) -> Option<DefaultRoute> {
    let attributes = body.get(12..)?;
    if body.get(1) != Some(&0) || body.get(4) != Some(&RT_TABLE_MAIN) {
        return None;
    }
    Some(DefaultRoute {
        index: attribute(attributes, RTA_OIF).and_then(|v| u32_at(v, 0))?,
        gateway: attribute(attributes, RTA_GATEWAY).and_then(ip),
        metric: attribute(attributes, RTA_PRIORITY).and_then(|v| u32_at(v, 0)).unwrap_or(0),
    })
}

fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(bytes, 0)?);
        let value = bytes.get(4..length)?;
        if u16_at(bytes, 2)? == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(four).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|sixteen| Ipv6Addr::from(sixteen).into())
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_attribute(mut body: Vec<u8>, kind: u16, value: &[u8]) -> Vec<u8> {
        body.extend((value.len() as u16 + 4).to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(value);
        body.resize(body.len().next_multiple_of(4), 0);
        body
    }

    #[test]
    fn the_kernel_tells_of_the_loopback_address() {
        let all = addresses().unwrap();
        let local = all.iter().find(|address| address.ip == IpAddr::from(Ipv4Addr::LOCALHOST)).unwrap();
        assert_eq!((local.index, local.prefix, local.permanent, local.global), (1, 8, true, false));
        default_routes().unwrap();
    }

    #[test]
    fn an_address_message_is_read_and_a_cut_one_is_not() {
        let mut body = vec![2, 24, 0, 0];
        body.extend(2_u32.to_ne_bytes());
        let body = with_attribute(body, 3, b"eth0\0");
        let body = with_attribute(body, IFA_LOCAL, &[192, 168, 100, 71]);
        let read = address(&body).unwrap();
        assert_eq!(read.ip.to_string(), "192.168.100.71");
        assert_eq!((read.index, read.prefix, read.permanent, read.global), (2, 24, false, true));
        for length in 0..body.len() {
            assert_eq!(address(&body[..length]), None);
        }
    }

    #[test]
    fn only_default_routes_of_the_main_table_count() {
        let route = |length: u8, table: u8| {
            let body = vec![2, length, 0, 0, table, 16, 0, 1, 0, 0, 0, 0];
            let body = with_attribute(body, RTA_OIF, &2_u32.to_ne_bytes());
            with_attribute(body, RTA_GATEWAY, &[192, 168, 100, 1])
        };
        let read = default_route(&route(0, RT_TABLE_MAIN)).unwrap();
        assert_eq!((read.index, read.gateway.unwrap().to_string(), read.metric), (2, "192.168.100.1".into(), 0));
        assert_eq!(default_route(&route(24, RT_TABLE_MAIN)), None);
        assert_eq!(default_route(&route(0, 255)), None);
    }

    #[test]
    fn an_attribute_that_claims_no_length_ends_the_search() {
        assert_eq!(attribute(&[0, 0, 1, 0, 0, 0, 0, 0], 2), None);
        assert_eq!(attribute(&[255, 255, 1, 0], 1), None);
    }
}
