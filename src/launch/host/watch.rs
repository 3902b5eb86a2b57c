//! What the guest's NIC says and hears: on its tap, or in the capture of user networking that QEMU writes.
//!
//! Source: packet(7); pcap-savefile(5); QEMU `net/dump.c` (native byte order, microseconds, link type Ethernet).

use super::frame::{self, Dhcp, Mac, Said};
use super::link;
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const MAGIC: u32 = 0xa1b2_c3d4;
const HEADER: u64 = 24;
const RECORD: u64 = 16;
/// The longest frame that is looked at.
const MAX_FRAME: u32 = 64 << 10;
/// The most events that are kept: enough for a boot, and a bound for a guest that floods.
const MAX_EVENTS: usize = 200;
/// How many frames are looked at in one go, so that a flood cannot hold up the launch.
const AT_ONCE: usize = 1000;

/// Where frames come from.
#[derive(Debug)]
enum Source {
    /// A capture that grows while it is read, and how far it has been read.
    Capture { file: File, at: u64 },
    /// A socket that gets a copy of every frame.
    Tap(OwnedFd),
}

/// Which way a frame went on the host's end of the NIC, which no sender can make up: the host sends what goes into the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Into the guest.
    In,
    /// Out of it.
    Out,
}

/// One thing that was said, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// What.
    pub said: Said,
    /// How often.
    pub times: u32,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.said.fmt(f)?;
        if self.times > 1 { write!(f, " ({} times)", self.times) } else { Ok(()) }
    }
}

/// What has been said so far.
#[derive(Debug)]
pub struct Watch {
    source: Source,
    guest: Mac,
    seen: Vec<Told>,
    frames: u64,
}

impl Watch {
    /// Follows the capture at `path` of the guest with this MAC address. It is made empty; QEMU writes it.
    pub fn capture(path: &Path, guest: Mac) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Self { source: Source::Capture { file, at: 0 }, guest, seen: Vec::new(), frames: 0 })
    }

    /// Follows an interface.
    pub fn tap(name: &str, guest: Mac) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // No protocol: nothing comes until the socket is bound to the one interface.
        let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None::<Protocol>)?;
        // SAFETY: `sockaddr_ll` is plain data for which all zeroes are valid.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = link::index(name)?;
        let size = size_of_val(&address) as libc::socklen_t;
        // SAFETY: the address lives until the call returns, and `size` is its size.
        let status = unsafe { libc::bind(socket.as_raw_fd(), std::ptr::from_ref(&address).cast(), size) };
        if status < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { source: Source::Tap(socket), guest, seen: Vec::new(), frames: 0 })
    }

    /// Reads what has come since the last time.
    pub fn poll(&mut self) -> io::Result<()> {
        for _ in 0..AT_ONCE {
            let Some((frame, way)) = self.source.next()? else { return Ok(()) };
            let by_guest = way.map_or_else(|| frame::source(&frame) == Some(self.guest), |way| way == Way::Out);
            self.frames += u64::from(by_guest);
            let Some(said) = frame::read(&frame) else { continue };
            if by_guest && said.is_of_a_server() {
                // Nobody leases himself an address.
                continue;
            }
            if let Said::Dhcp { client, message: Dhcp::Ack { address, .. } } = said
                && client == self.guest
            {
                // Servers ask whether somebody has an address before they lease it: that nobody answered then is right.
                self.seen.retain(|told| !matches!(told.said, Said::WhoHas { wanted, .. } if wanted == address));
            }
            if let Some(told) = self.seen.iter_mut().find(|told| told.said == said) {
                told.times = told.times.saturating_add(1);
            } else if self.seen.len() < MAX_EVENTS {
                self.seen.push(Told { said, times: 1 });
            }
        }
        Ok(())
    }

    /// Everything that was said, each thing once, in the order it was first said.
    pub fn seen(&self) -> &[Told] {
        &self.seen
    }

    /// How many frames the guest has sent, whatever they say.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The DHCP messages to and from the guest.
    pub fn dhcp(&self) -> impl DoubleEndedIterator<Item = Dhcp> {
        self.seen.iter().filter_map(|told| match told.said {
            Said::Dhcp { client, message } if client == self.guest => Some(message),
            _ => None,
        })
    }

    /// The guest's lease: the address of the last acknowledgement.
    pub fn lease(&self) -> Option<Ipv4Addr> {
        self.dhcp().rev().find_map(|message| match message {
            Dhcp::Ack { address, .. } => Some(address),
            _ => None,
        })
    }

    /// Whether the guest has accepted a connection on a port.
    pub fn accepted(&self, wanted: u16) -> bool {
        self.seen.iter().any(|told| told.said == Said::Accepted { mac: self.guest, port: wanted })
    }
}

impl Source {
    /// The next frame, and where it went if that is known. None: there is none yet.
    fn next(&mut self) -> io::Result<Option<(Vec<u8>, Option<Way>)>> {
        match self {
            Self::Capture { file, at } => Ok(next_record(file, at)?.map(|frame| (frame, None))),
            Self::Tap(socket) => next_packet(socket),
        }
    }
}

fn next_packet(socket: &OwnedFd) -> io::Result<Option<(Vec<u8>, Option<Way>)>> {
    // Enough of any frame: what is looked for stands at the front.
    let mut buffer = [0_u8; 2048];
    // SAFETY: `sockaddr_ll` is plain data for which all zeroes are valid.
    let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    let mut size = size_of_val(&from) as libc::socklen_t;
    // SAFETY: buffer and address live until the call returns, and both sizes are theirs.
    let count = unsafe {
        let (to, from) = (buffer.as_mut_ptr().cast(), std::ptr::from_mut(&mut from).cast());
        libc::recvfrom(socket.as_raw_fd(), to, buffer.len(), 0, from, &raw mut size)
    };
    let Ok(count) = usize::try_from(count) else {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            // The interface is down, or gone with its VM: nothing more is said on it.
            Some(libc::EAGAIN | libc::ENETDOWN | libc::ENXIO) => Ok(None),
            _ => Err(error),
        };
    };
    let way = if from.sll_pkttype == libc::PACKET_OUTGOING { Way::In } else { Way::Out };
    Ok(buffer.get(..count).map(|frame| (frame.to_vec(), Some(way))))
}

fn next_record(file: &File, at: &mut u64) -> io::Result<Option<Vec<u8>>> {
    if *at == 0 {
        let mut header = [0; HEADER as usize];
        if !whole(file, 0, &mut header)? {
            return Ok(None);
        }
        if !header.starts_with(&MAGIC.to_ne_bytes()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the capture is not a pcap file"));
        }
        *at = HEADER;
    }
    let mut record = [0; RECORD as usize];
    if !whole(file, *at, &mut record)? {
        return Ok(None);
    }
    let [_, _, _, _, _, _, _, _, a, b, c, d, ..] = record;
    let length = u32::from_ne_bytes([a, b, c, d]);
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the capture has a frame that is too long"));
    }
    let mut bytes = vec![0; length as usize];
    if !whole(file, *at + RECORD, &mut bytes)? {
        return Ok(None);
    }
    *at += RECORD + u64::from(length);
    Ok(Some(bytes))
}

/// Fills the buffer, unless its end has not been written yet.
fn whole(file: &File, at: u64, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact_at(buffer, at) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_capture_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), good in proptest::bool::ANY) {
            let file = tempfile::NamedTempFile::new().unwrap();
            let mut watch = Watch::capture(file.path(), Mac([2, 0, 0, 0, 0, 1])).unwrap();
            let header = [&MAGIC.to_ne_bytes()[..], &[0; 20]].concat();
            std::fs::write(file.path(), [if good { &header } else { &[][..] }, &bytes].concat()).unwrap();
            let _ = watch.poll();
            proptest::prop_assert!(watch.seen().len() <= MAX_EVENTS);
        }
    }
}
