//! How an image is to be launched.

use super::host::{Choice, Mac, Publish};
use super::{Accelerator, DiskKind, Jail, Limits, Model};
use crate::values::{ByteSize, Name};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How an image is to be launched.
#[derive(Debug, Clone)]
pub struct Options {
    /// The image folder.
    pub folder: PathBuf,
    /// The VM's name; by default the image's, with a number.
    pub name: Option<Name>,
    /// Kernel arguments behind the manifest's.
    pub append: String,
    /// Values of the parameters that the manifest declares.
    pub set: Vec<(String, String)>,
    /// The host network; None: that of a kept VM, else user networking.
    pub network: Option<Choice>,
    /// Ports to forward besides those of the probes, under user networking.
    pub publish: Vec<Publish>,
    /// The NIC's address; by default that of a kept VM, else one that follows from the VM's name and this host.
    pub mac: Option<Mac>,
    /// The address that the guest is expected at.
    pub expect: Option<IpAddr>,
    /// Rules to let through, each with its reason.
    pub allow: BTreeMap<String, String>,
    /// What the VM's disk is, unless it has one; None: what suits it.
    pub disk: Option<DiskKind>,
    /// How large the disk is made; the guest grows its filesystem.
    pub disk_size: Option<ByteSize>,
    /// Keep the disk when the VM stops.
    pub keep: bool,
    /// Memory.
    pub memory: ByteSize,
    /// Processors.
    pub cpus: u8,
    /// The machine; None: Firecracker's where it can be had, else QEMU's microvm.
    pub model: Option<Model>,
    /// How instructions are run; None: KVM where it works.
    pub accelerator: Option<Accelerator>,
    /// What the VM may use at most.
    pub limits: Limits,
    /// Firecracker's jail.
    pub jail: Option<Jail>,
    /// How long the probes may take; by default what the recipe says of each.
    pub timeout: Option<Duration>,
}

impl Options {
    /// The defaults for an image: 1 GiB, 2 processors, user networking.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            name: None,
            append: String::new(),
            set: Vec::new(),
            network: None,
            publish: Vec::new(),
            mac: None,
            expect: None,
            allow: BTreeMap::new(),
            disk: None,
            disk_size: None,
            keep: false,
            memory: ByteSize(1 << 30),
            cpus: 2,
            model: None,
            accelerator: None,
            limits: Limits::default(),
            jail: None,
            timeout: None,
        }
    }
}
