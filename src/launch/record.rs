//! What a launch writes down about its VM, for later commands.

use super::host::{Choice, Trace};
use crate::door;
use crate::values::{Name, Sha256};
use crate::whole;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// The record's name in a VM's folder.
pub const FILE: &str = "vm.json";

/// What is written down about a running VM, as [`FILE`] in its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub name: Name,
    /// The image folder.
    pub image: PathBuf,
    /// The digest of the image that its disk was made from.
    pub digest: Sha256,
    /// Whether its disk is kept when it stops.
    pub keep: bool,
    /// The process that runs the VM.
    pub supervisor: u32,
    /// The VMM's process, once it runs.
    pub vmm: Option<u32>,
    /// `QEMU microvm, emulation`.
    pub machine: String,
    /// `user`, `bridge=br0`.
    pub network: String,
    /// The NIC's address.
    pub mac: String,
    /// The guest's address, once it is known.
    pub address: Option<Ipv4Addr>,
    /// Loopback port by guest port, under user networking.
    pub forwards: BTreeMap<u16, u16>,
    /// The exact kernel arguments.
    pub args: String,
    /// Rules that were let through, each with its reason.
    pub allowed: BTreeMap<String, String>,
    /// Whether every probe has passed.
    pub ready: bool,
    /// The tap, where it does not go with the process that holds it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tap: Option<Trace>,
    /// The jail's control group.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cgroup: Option<PathBuf>,
}

/// The longest file of our own in a VM's folder: a record has some hundred bytes, and as much as its kernel arguments.
const MOST: u64 = 1 << 20;

/// A small file in a VM's folder, in which a VMM may have put something else.
pub fn own(folder: &Path, name: &str) -> Option<Vec<u8>> {
    let folder = door::Folder::open(folder).ok()?;
    folder.file(&name.parse().ok()?, "a VM's record", MOST).ok()?.read().ok()
}

impl Record {
    /// The record in a VM's folder, if it has one.
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&own(folder, FILE)?).ok()
    }

    /// Where a port of the guest is reached from this host, once its address is known. None: it is not forwarded.
    pub fn reach(&self, port: u16) -> Option<SocketAddr> {
        if self.network == Choice::User.to_string() {
            return self.forwards.get(&port).map(|host| (Ipv4Addr::LOCALHOST, *host).into());
        }
        self.address.map(|address| (address, port).into())
    }

    /// Writes it into a VM's folder, whole or not at all.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        whole::write(&folder.join(FILE), &serde_json::to_vec_pretty(self)?, 0o600)
    }
}
