//! The two questions a launcher asks a network before a guest is on it, as Ethernet frames. Pure.

use super::Mac;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress, EthernetFrame,
    EthernetProtocol, IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
};
use std::net::Ipv4Addr;

fn ethernet(source: Mac, protocol: EthernetProtocol, length: usize) -> EthernetFrame<Vec<u8>> {
    let mut frame = EthernetFrame::new_unchecked(vec![0; EthernetFrame::<Vec<u8>>::header_len() + length]);
    frame.set_dst_addr(EthernetAddress::BROADCAST);
    frame.set_src_addr(EthernetAddress(source.0));
    frame.set_ethertype(protocol);
    frame
}

/// Asks who holds an address without claiming one (RFC 5227, an ARP probe).
pub fn arp_probe(source: Mac, address: Ipv4Addr) -> Vec<u8> {
    let probe = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: EthernetAddress(source.0),
        source_protocol_addr: Ipv4Addr::UNSPECIFIED,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: address,
    };
    let mut frame = ethernet(source, EthernetProtocol::Arp, probe.buffer_len());
    probe.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
    frame.into_inner()
}

/// Tells a test's network who holds an address.
#[cfg(test)]
pub fn arp_answer(source: Mac, address: Ipv4Addr) -> Vec<u8> {
    let answer = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: EthernetAddress(source.0),
        source_protocol_addr: address,
        target_hardware_addr: EthernetAddress::BROADCAST,
        target_protocol_addr: address,
    };
    let mut frame = ethernet(source, EthernetProtocol::Arp, answer.buffer_len());
    answer.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
    frame.into_inner()
}

/// Asks for DHCP servers (RFC 2131 4.4.1), naming the client as systemd-networkd does with `ClientIdentifier=mac`.
pub fn dhcp_discover(client: Mac, transaction: u32) -> Vec<u8> {
    let hardware = EthernetAddress(client.0);
    let discover = DhcpRepr {
        message_type: DhcpMessageType::Discover,
        transaction_id: transaction,
        secs: 0,
        client_hardware_address: hardware,
        client_ip: Ipv4Addr::UNSPECIFIED,
        your_ip: Ipv4Addr::UNSPECIFIED,
        server_ip: Ipv4Addr::UNSPECIFIED,
        router: None,
        subnet_mask: None,
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        // The answer must reach a machine without an address.
        broadcast: true,
        requested_ip: None,
        client_identifier: Some(hardware),
        server_identifier: None,
        parameter_request_list: Some(&[1, 3, 6, 51]),
        dns_servers: None,
        max_size: None,
        lease_duration: None,
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    };
    let (from, to) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    let udp = UdpRepr { src_port: 68, dst_port: 67 };
    let payload = udp.header_len() + discover.buffer_len();
    let ip =
        Ipv4Repr { src_addr: from, dst_addr: to, next_header: IpProtocol::Udp, payload_len: payload, hop_limit: 64 };
    let mut frame = ethernet(client, EthernetProtocol::Ipv4, ip.buffer_len() + payload);
    let checksums = ChecksumCapabilities::default();
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, &checksums);
    let write = |bytes: &mut [u8]| {
        // The buffer has the length that `buffer_len` asked for, so there is nothing that could fail.
        let _ = discover.emit(&mut DhcpPacket::new_unchecked(bytes));
    };
    let mut datagram = UdpPacket::new_unchecked(packet.payload_mut());
    let ends = (IpAddress::Ipv4(from), IpAddress::Ipv4(to));
    udp.emit(&mut datagram, &ends.0, &ends.1, discover.buffer_len(), write, &checksums);
    frame.into_inner()
}
