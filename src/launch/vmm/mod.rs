//! Virtual machine monitors: what a machine is, and the drivers that start one.

pub mod qemu;
mod qmp;

pub use qemu::Qemu;

use super::disk;
use super::host::{Attachment, Mac};
use crate::boot::KernelArgs;
use crate::values::ByteSize;
use std::fs::{self, File};
use std::path::Path;

/// A virtual machine, ready to be started.
#[derive(Debug)]
pub struct Machine<'a> {
    /// Its name, unique on this host.
    pub name: &'a str,
    /// Its folder: the disk is in it, and logs and sockets are made in it.
    pub folder: &'a Path,
    /// What the disk is.
    pub disk: disk::Kind,
    /// The golden image that the gate has checked: an overlay lies on it.
    pub image: &'a File,
    /// The kernel that the gate has checked.
    pub kernel: &'a File,
    /// The initrd that the gate has checked.
    pub initrd: &'a File,
    /// The arguments that the gate has checked.
    pub args: &'a KernelArgs,
    /// Memory.
    pub memory: ByteSize,
    /// Processors.
    pub cpus: u8,
    /// The NIC's address.
    pub mac: Mac,
    /// The NIC's other end.
    pub attachment: &'a Attachment,
    /// How instructions are run.
    pub accelerator: Accelerator,
}

/// Names of the files in a machine's folder.
pub mod file {
    /// The root disk.
    pub const DISK: &str = "disk.ext4";
    /// The root disk, where it is an overlay on the golden image.
    pub const OVERLAY: &str = "disk.qcow2";
    /// Everything the guest writes to its serial console.
    pub const CONSOLE: &str = "console.log";
    /// What the VMM itself writes.
    pub const VMM: &str = "vmm.log";
    /// The VMM's control socket.
    pub const CONTROL: &str = "control.sock";
    /// The NIC's traffic until the guest is ready.
    pub const CAPTURE: &str = "net.pcap";
}

/// How a guest's instructions are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// By the processor.
    Kvm,
    /// By an emulator: slow, but it works everywhere.
    Emulation,
}

impl Accelerator {
    /// What the launcher adds to the kernel's arguments.
    ///
    /// QEMU's microvm has neither HPET nor PM timer, so a guest on a busy host may fail to calibrate its clock and hang
    /// right there; the host's frequency spares it the measurement (`tsc_early_khz`, kernel-parameters.txt; measured).
    pub fn arguments(self) -> Vec<String> {
        match self {
            Self::Kvm => Vec::new(),
            Self::Emulation => vec![format!("tsc_early_khz={}", host_khz())],
        }
    }
}

/// The host processor's frequency. Source: proc(5), `/proc/cpuinfo`; any plausible value will do.
fn host_khz() -> u64 {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("cpu MHz")?.split_once(": "));
    let mhz =
        line.and_then(|(_, mhz)| mhz.split('.').next()?.parse::<u64>().ok()).filter(|mhz| (500..10_000).contains(mhz));
    mhz.map_or(2_600_000, |mhz| mhz * 1000)
}
