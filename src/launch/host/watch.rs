//! What the guest's NIC says and hears, read from the capture that the VMM writes (pcap, `-object filter-dump`).
//!
//! Source: pcap-savefile(5); QEMU `net/dump.c` (native byte order, microseconds, link type Ethernet).

use super::frame::{self, Dhcp, Mac, Said};
use std::fs::File;
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

/// The headers that may stand before a frame: none, or `struct virtio_net_hdr` in its two lengths, which QEMU before 8.0
/// leaves in the capture of a tap.
const HEADERS: [usize; 3] = [0, 10, 12];

fn read(bytes: &[u8]) -> Option<Said> {
    HEADERS.iter().find_map(|header| frame::read(bytes.get(*header..)?))
}

/// A capture that grows while it is read.
#[derive(Debug)]
pub struct Watch {
    file: File,
    at: u64,
    guest: Mac,
    seen: Vec<Said>,
}

impl Watch {
    /// Follows the capture at `path` of the guest with this MAC address.
    pub fn open(path: &Path, guest: Mac) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, at: 0, guest, seen: Vec::new() })
    }

    /// Reads what has come since the last time.
    pub fn poll(&mut self) -> io::Result<()> {
        if self.at == 0 {
            let mut header = [0; HEADER as usize];
            if !self.whole(0, &mut header)? {
                return Ok(());
            }
            if !header.starts_with(&MAGIC.to_ne_bytes()) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the capture is not a pcap file"));
            }
            self.at = HEADER;
        }
        loop {
            let mut record = [0; RECORD as usize];
            if !self.whole(self.at, &mut record)? {
                return Ok(());
            }
            let [_, _, _, _, _, _, _, _, a, b, c, d, ..] = record;
            let length = u32::from_ne_bytes([a, b, c, d]);
            if length > MAX_FRAME {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the capture has a frame that is too long"));
            }
            let mut bytes = vec![0; length as usize];
            if !self.whole(self.at + RECORD, &mut bytes)? {
                return Ok(());
            }
            self.at += RECORD + u64::from(length);
            if let Some(said) = read(&bytes)
                && self.seen.len() < MAX_EVENTS
                && !self.seen.contains(&said)
            {
                self.seen.push(said);
            }
        }
    }

    /// Fills the buffer, unless its end has not been written yet.
    fn whole(&self, at: u64, buffer: &mut [u8]) -> io::Result<bool> {
        match self.file.read_exact_at(buffer, at) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Everything that was said, each thing once, in the order it was first said.
    pub fn seen(&self) -> &[Said] {
        &self.seen
    }

    /// The DHCP messages to and from the guest.
    pub fn dhcp(&self) -> impl DoubleEndedIterator<Item = Dhcp> {
        self.seen.iter().filter_map(|said| match said {
            Said::Dhcp { client, message } if *client == self.guest => Some(*message),
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

    /// Whether the guest has said by ARP that it holds the address.
    pub fn holds(&self, wanted: Ipv4Addr) -> bool {
        self.seen
            .iter()
            .any(|said| matches!(said, Said::Arp { mac, address } if *mac == self.guest && *address == wanted))
    }

    /// Whether the guest has accepted a connection on a port.
    pub fn accepted(&self, wanted: u16) -> bool {
        self.seen
            .iter()
            .any(|said| matches!(said, Said::Accepted { mac, port } if *mac == self.guest && *port == wanted))
    }
}
