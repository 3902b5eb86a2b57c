//! Ethernet frames: what a guest and its network say to each other. Pure.

use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, DhcpMessageType, DhcpPacket, DhcpRepr, EthernetFrame, EthernetProtocol,
    IpProtocol, Ipv4Packet, TcpPacket, UdpPacket,
};
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// A MAC address, shown in lower case with colons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || format!("`{text}` is not a MAC address, as in 52:54:00:12:34:56");
        let parts: Vec<u8> = text
            .split(':')
            .map(|part| u8::from_str_radix(part, 16).ok().filter(|_| part.len() == 2))
            .collect::<Option<_>>()
            .ok_or_else(bad)?;
        let mac: [u8; 6] = parts.try_into().map_err(|_| bad())?;
        if mac[0] & 1 == 1 {
            Err(format!("{text} is a group address; a NIC needs one of its own"))
        } else {
            Ok(Self(mac))
        }
    }
}

/// What one frame says, as far as a launcher cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// DHCP between this client and a server.
    Dhcp {
        /// The client.
        client: Mac,
        /// The message.
        message: Dhcp,
    },
    /// This machine says by ARP that it holds the address.
    Arp {
        /// The machine.
        mac: Mac,
        /// The address.
        address: Ipv4Addr,
    },
    /// This machine asks by ARP who holds an address.
    WhoHas {
        /// The machine.
        mac: Mac,
        /// Its own address; none where it only probes (RFC 5227).
        address: Option<Ipv4Addr>,
        /// The address it asks for.
        wanted: Ipv4Addr,
    },
    /// A TCP connection is asked for (SYN).
    Knock {
        /// Whom it is asked of.
        mac: Mac,
        /// On which port.
        port: u16,
    },
    /// A TCP port accepted a connection (SYN and ACK).
    Accepted {
        /// Who accepted.
        mac: Mac,
        /// On which port.
        port: u16,
    },
    /// A TCP port is closed (RST for a SYN).
    Refused {
        /// Whose.
        mac: Mac,
        /// Which port.
        port: u16,
    },
}

impl Said {
    /// Whether only a DHCP server says this.
    pub fn is_of_a_server(&self) -> bool {
        matches!(self, Self::Dhcp { message: Dhcp::Offer { .. } | Dhcp::Ack { .. } | Dhcp::Nak, .. })
    }

    /// Who claims to hold which address by this.
    pub fn claim(&self) -> Option<(Mac, Ipv4Addr)> {
        match self {
            Self::Arp { mac, address } => Some((*mac, *address)),
            Self::WhoHas { mac, address, .. } => address.map(|address| (*mac, address)),
            _ => None,
        }
    }
}

/// A DHCPv4 message (RFC 2131).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dhcp {
    /// The client looks for servers.
    Discover,
    /// A server offers an address.
    Offer {
        /// The address.
        address: Ipv4Addr,
        /// The server, where it names itself.
        server: Option<Ipv4Addr>,
    },
    /// The client takes an offer, or asks for an address it had.
    Request,
    /// The address is the client's.
    Ack {
        /// The address.
        address: Ipv4Addr,
        /// The server, where it names itself.
        server: Option<Ipv4Addr>,
    },
    /// The client may not have it.
    Nak,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = |server: &Option<Ipv4Addr>| server.map(|server| format!(" by {server}")).unwrap_or_default();
        match self {
            Self::Dhcp { client, message } => match message {
                Dhcp::Discover => write!(f, "DHCPDISCOVER from {client}"),
                Dhcp::Offer { address, server } => write!(f, "DHCPOFFER {address} to {client}{}", by(server)),
                Dhcp::Request => write!(f, "DHCPREQUEST from {client}"),
                Dhcp::Ack { address, server } => write!(f, "DHCPACK {address} to {client}{}", by(server)),
                Dhcp::Nak => write!(f, "DHCPNAK to {client}"),
            },
            Self::Arp { mac, address } => write!(f, "ARP: {address} is at {mac}"),
            Self::WhoHas { mac, address: Some(address), wanted } => {
                write!(f, "ARP: who has {wanted}? asks {address} at {mac}")
            }
            Self::WhoHas { mac, address: None, wanted } => write!(f, "ARP: who has {wanted}? asks {mac}"),
            Self::Knock { mac, port } => write!(f, "TCP: {mac} is asked for port {port}"),
            Self::Accepted { mac, port } => write!(f, "TCP: {mac} accepts on port {port}"),
            Self::Refused { mac, port } => write!(f, "TCP: {mac} refuses port {port}"),
        }
    }
}

/// Reads a frame. None: nothing of interest, or damaged.
pub fn read(frame: &[u8]) -> Option<Said> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    match frame.ethertype() {
        EthernetProtocol::Arp => arp(frame.payload()),
        EthernetProtocol::Ipv4 => ipv4([frame.src_addr(), frame.dst_addr()].map(|mac| Mac(mac.0)), frame.payload()),
        _ => None,
    }
}

/// Who sent a frame.
pub fn source(frame: &[u8]) -> Option<Mac> {
    Some(Mac(EthernetFrame::new_checked(frame).ok()?.src_addr().0))
}

fn arp(packet: &[u8]) -> Option<Said> {
    let packet = ArpPacket::new_checked(packet).ok()?;
    let ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr,
        source_protocol_addr,
        target_protocol_addr: wanted,
        ..
    } = ArpRepr::parse(&packet).ok()?
    else {
        return None;
    };
    let (mac, address) = (Mac(source_hardware_addr.0), source_protocol_addr);
    // Who asks for his own address announces it.
    if operation == ArpOperation::Request && address != wanted {
        return Some(Said::WhoHas { mac, address: (!address.is_unspecified()).then_some(address), wanted });
    }
    (!address.is_unspecified()).then_some(Said::Arp { mac, address })
}

fn ipv4([from, to]: [Mac; 2], packet: &[u8]) -> Option<Said> {
    let packet = Ipv4Packet::new_checked(packet).ok()?;
    match packet.next_header() {
        IpProtocol::Tcp => {
            let segment = TcpPacket::new_checked(packet.payload()).ok()?;
            match (segment.syn(), segment.ack(), segment.rst()) {
                (true, false, false) => Some(Said::Knock { mac: to, port: segment.dst_port() }),
                (true, true, false) => Some(Said::Accepted { mac: from, port: segment.src_port() }),
                // A reset for a SYN has the sequence number 0 (RFC 9293 3.10.7.1); one of a connection hardly ever has.
                (false, true, true) if segment.seq_number().0 == 0 => {
                    Some(Said::Refused { mac: from, port: segment.src_port() })
                }
                _ => None,
            }
        }
        IpProtocol::Udp => {
            let datagram = UdpPacket::new_checked(packet.payload()).ok()?;
            if !matches!((datagram.src_port(), datagram.dst_port()), (68, 67) | (67, 67 | 68)) {
                return None;
            }
            dhcp(datagram.payload())
        }
        _ => None,
    }
}

fn dhcp(payload: &[u8]) -> Option<Said> {
    let packet = DhcpPacket::new_checked(payload).ok()?;
    let repr = DhcpRepr::parse(&packet).ok()?;
    let (address, server) = (repr.your_ip, repr.server_identifier);
    let message = match repr.message_type {
        DhcpMessageType::Discover => Dhcp::Discover,
        DhcpMessageType::Offer => Dhcp::Offer { address, server },
        DhcpMessageType::Request => Dhcp::Request,
        DhcpMessageType::Ack => Dhcp::Ack { address, server },
        DhcpMessageType::Nak => Dhcp::Nak,
        _ => return None,
    };
    Some(Said::Dhcp { client: Mac(repr.client_hardware_address.0), message })
}

#[cfg(test)]
mod tests {
    use super::super::question::{arp_probe, dhcp_discover};
    use super::*;

    const CLIENT: Mac = Mac([0x52, 0x54, 0, 1, 2, 3]);

    #[test]
    fn questions_read_back_as_what_they_are() {
        let discover = dhcp_discover(CLIENT, 7);
        assert_eq!(read(&discover), Some(Said::Dhcp { client: CLIENT, message: Dhcp::Discover }));
        assert_eq!(source(&discover), Some(CLIENT));
        // A probe claims nothing.
        let wanted = Ipv4Addr::new(10, 0, 0, 1);
        let probe = read(&arp_probe(CLIENT, wanted)).unwrap();
        assert_eq!(probe, Said::WhoHas { mac: CLIENT, address: None, wanted });
        assert_eq!(probe.claim(), None);
    }

    #[test]
    fn mac_addresses_are_strict() {
        assert_eq!("52:54:00:01:02:03".parse::<Mac>().unwrap().to_string(), CLIENT.to_string());
        for bad in
            ["", "52:54:00:01:02", "52:54:00:01:02:3", "53:54:00:01:02:03", "52:54:00:01:02:03:04", "52:54:0:1:2:gg"]
        {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_frame_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..80), kind in 0usize..4, cut in 0usize..400) {
            let head = [&[0x08, 0x06][..], &[0x08, 0x00, 0x45], &[], &[0x86, 0xdd]][kind];
            let _ = read(&[&[0; 12], head, &bytes[..]].concat());
            let mut frame = dhcp_discover(CLIENT, 1);
            for (to, from) in frame.iter_mut().skip(cut).zip(&bytes) {
                *to ^= from;
            }
            frame.truncate(cut + 60);
            let _ = read(&frame);
        }
    }
}
