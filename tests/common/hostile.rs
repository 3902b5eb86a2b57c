//! Frames that a guest may not send, and the machine that sends them: a tap of a real network with the guest's end in hand.

use goldsmith::launch::host::{Mac, Tap};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{dhcpv4, tcp};
use smoltcp::time::Instant as Moment;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, Ipv4Address, Ipv4Cidr};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Everybody.
pub const ALL: [u8; 6] = [0xff; 6];

/// An Ethernet frame of 60 bytes or more.
pub fn frame(to: [u8; 6], from: Mac, kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [&to[..], &from.0, &kind.to_be_bytes(), payload].concat();
    bytes.resize(bytes.len().max(60), 0);
    bytes
}

/// ARP by Ethernet and IPv4: 1 asks, 2 answers.
pub fn arp(from: Mac, operation: u8, sender: (Mac, Ipv4Addr), wanted: Ipv4Addr) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    let payload = [&head[..], &sender.0.0, &sender.1.octets(), &[0; 6], &wanted.octets()].concat();
    frame(ALL, from, 0x0806, &payload)
}

/// An IPv4 packet of this protocol.
pub fn ipv4(to: [u8; 6], from: Mac, [source, target]: [Ipv4Addr; 2], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = (20 + payload.len() as u16).to_be_bytes();
    let mut head =
        [&[0x45, 0], &length[..], &[0, 0, 0, 0, 64, protocol, 0, 0], &source.octets(), &target.octets()].concat();
    let sum = checksum(&head);
    head[10..12].copy_from_slice(&sum);
    frame(to, from, 0x0800, &[head, payload.to_vec()].concat())
}

/// A UDP datagram without a checksum.
pub fn udp([source, target]: [u16; 2], payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len() as u16;
    [&source.to_be_bytes()[..], &target.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload].concat()
}

/// A DHCP message: 1 asks, 2 answers; `kind` as in RFC 2132 9.6; the relay's address; the client's.
pub fn dhcp(operation: u8, kind: u8, relay: Ipv4Addr, client: Mac) -> Vec<u8> {
    let mut bytes = vec![operation, 1, 6, 0, 1, 2, 3, 4];
    bytes.extend([0; 16]);
    bytes.extend(relay.octets());
    bytes.extend(client.0);
    bytes.resize(236, 0);
    bytes.extend([99, 130, 83, 99, 53, 1, kind, 255]);
    bytes
}

/// An ICMPv6 message from one address to another.
pub fn icmpv6(from: Mac, [source, target]: [[u8; 16]; 2], message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    let length = message.len() as u16;
    let pseudo = [&source[..], &target, &u32::from(length).to_be_bytes(), &[0, 0, 0, 58], &message].concat();
    message[2..4].copy_from_slice(&checksum(&pseudo));
    let head = [&[0x60, 0, 0, 0], &length.to_be_bytes()[..], &[58, 255], &source, &target].concat();
    frame([0x33, 0x33, 0, 0, 0, 1], from, 0x86dd, &[head, message].concat())
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// A guest that does as it should, without a VM: an IP stack behind a tap.
pub struct Guest<'a> {
    tap: Wire<'a>,
    interface: Interface,
    started: Instant,
}

struct Wire<'a>(&'a Tap);
struct Came(Vec<u8>);
struct Goes<'a>(&'a Tap);

impl RxToken for Came {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Goes<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut bytes = vec![0; length];
        let result = f(&mut bytes);
        self.0.send(&bytes).unwrap();
        result
    }
}

impl<'a> Device for Wire<'a> {
    type RxToken<'t>
        = Came
    where
        Self: 't;
    type TxToken<'t>
        = Goes<'a>
    where
        Self: 't;

    fn receive(&mut self, _: Moment) -> Option<(Came, Goes<'a>)> {
        Some((Came(self.0.receive().unwrap()?), Goes(self.0)))
    }

    fn transmit(&mut self, _: Moment) -> Option<Goes<'a>> {
        Some(Goes(self.0))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        (capabilities.medium, capabilities.max_transmission_unit) = (Medium::Ethernet, 1514);
        // The kernel leaves checksums of its own traffic to the NIC.
        capabilities.checksum = smoltcp::phy::ChecksumCapabilities::ignored();
        capabilities.checksum.ipv4 = smoltcp::phy::Checksum::Both;
        capabilities.checksum.tcp = smoltcp::phy::Checksum::Tx;
        capabilities.checksum.udp = smoltcp::phy::Checksum::Tx;
        capabilities
    }
}

impl<'a> Guest<'a> {
    /// Plugs it in.
    pub fn new(tap: &'a Tap, mac: Mac) -> Self {
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac.0)));
        config.random_seed = u64::from(mac.0[5]);
        let mut tap = Wire(tap);
        let interface = Interface::new(config, &mut tap, Moment::ZERO);
        Self { tap, interface, started: Instant::now() }
    }

    /// Lets it work until something holds, for some time at most.
    fn until<T>(
        &mut self,
        sockets: &mut SocketSet,
        seconds: f64,
        mut holds: impl FnMut(&mut SocketSet) -> Option<T>,
    ) -> Option<T> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs_f64(seconds) {
            let now = Moment::from_micros(self.started.elapsed().as_micros() as i64);
            self.interface.poll(now, &mut self.tap, sockets);
            if let Some(found) = holds(sockets) {
                return Some(found);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        None
    }

    /// Takes a lease, and the address for its own.
    pub fn lease(&mut self, seconds: f64) -> Option<Ipv4Addr> {
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(dhcpv4::Socket::new());
        let (address, router) =
            self.until(&mut sockets, seconds, |sockets| match sockets.get_mut::<dhcpv4::Socket>(handle).poll() {
                Some(dhcpv4::Event::Configured(lease)) => Some((lease.address, lease.router)),
                _ => None,
            })?;
        self.take(address, router);
        Some(address.address())
    }

    /// Takes an address without asking.
    pub fn take(&mut self, address: Ipv4Cidr, router: Option<Ipv4Address>) {
        self.interface.update_ip_addrs(|all| {
            all.clear();
            all.push(IpCidr::Ipv4(address)).unwrap();
        });
        if let Some(router) = router {
            self.interface.routes_mut().add_default_ipv4_route(router).unwrap();
        }
    }

    /// Whether a TCP port there accepts a connection.
    pub fn reaches(&mut self, address: Ipv4Addr, port: u16, seconds: f64) -> bool {
        let buffer = || tcp::SocketBuffer::new(vec![0; 2048]);
        let mut sockets = SocketSet::new(Vec::new());
        let handle: SocketHandle = sockets.add(tcp::Socket::new(buffer(), buffer()));
        let own = 40000 + (self.started.elapsed().as_millis() % 20000) as u16;
        let socket = sockets.get_mut::<tcp::Socket>(handle);
        socket.connect(self.interface.context(), (address, port), own).unwrap();
        let connected = |sockets: &mut SocketSet| match sockets.get::<tcp::Socket>(handle).state() {
            tcp::State::Established => Some(true),
            tcp::State::Closed => Some(false),
            _ => None,
        };
        self.until(&mut sockets, seconds, connected) == Some(true)
    }

    /// Serves a TCP port until somebody has connected.
    pub fn serves(&mut self, port: u16, seconds: f64) -> bool {
        let buffer = || tcp::SocketBuffer::new(vec![0; 2048]);
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(tcp::Socket::new(buffer(), buffer()));
        sockets.get_mut::<tcp::Socket>(handle).listen(port).unwrap();
        let connected = |sockets: &mut SocketSet| {
            let state = sockets.get::<tcp::Socket>(handle).state();
            (!matches!(state, tcp::State::Listen | tcp::State::SynReceived)).then_some(())
        };
        self.until(&mut sockets, seconds, connected).is_some()
    }
}
