//! Virtual machine monitors: what a machine is, and the drivers that start one.
//!
//! In: a [`Machine`] that the gate has cleared. Out: a running [`Vmm`], or its configuration as a document. A driver is a
//! file: `qemu` (with `qmp`), `firecracker` (with `api`, `setup`, `jail`).

mod fence;
pub mod firecracker;
#[cfg(fuzzing)]
pub mod fuzz;
pub mod kvm;
mod log;
mod model;
mod process;
pub mod program;
pub mod qemu;
mod qmp;
mod socket;

pub use firecracker::{Firecracker, Jail, Program};
pub use log::{plain, tail};
pub use model::{Accelerator, Model};
pub use qemu::Qemu;

use super::disk;
use super::host::{Attachment, Mac, Tap};
use crate::boot::KernelArgs;
use crate::values::ByteSize;
use process::Process;
use serde_json::Value;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

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
    pub image: &'a Checked<'a>,
    /// The kernel that the gate has checked, as an ELF file.
    pub kernel: &'a Checked<'a>,
    /// The initrd that the gate has checked, with the VM's secret behind it if it has one.
    pub initrd: &'a Checked<'a>,
    /// The arguments that the gate has checked, but for those that the VMM appends.
    pub args: &'a KernelArgs,
    /// Memory.
    pub memory: ByteSize,
    /// Processors.
    pub cpus: u8,
    /// The NIC's address.
    pub mac: Mac,
    /// The NIC's other end.
    pub attachment: &'a Attachment,
    /// Which machine.
    pub model: Model,
    /// How instructions are run.
    pub accelerator: Accelerator,
    /// What it may use at most.
    pub limits: Limits,
    /// Firecracker's jail, if it is to be in one.
    pub jail: Option<&'a Jail>,
}

/// A file that the gate has checked: open, and its name for people.
#[derive(Debug)]
pub struct Checked<'a> {
    /// The file.
    pub file: &'a File,
    /// What it is called.
    pub path: PathBuf,
}

/// Bytes a second, at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Read from and written to the disk.
    pub disk: Option<ByteSize>,
    /// Received, and as many sent.
    pub net: Option<ByteSize>,
}

/// Names of the files in a machine's folder.
pub mod file {
    /// The root disk.
    pub const DISK: &str = "disk.ext4";
    /// The root disk, where it is an overlay on the golden image.
    pub const OVERLAY: &str = "disk.qcow2";
    /// Everything the guest writes to its serial console.
    pub const CONSOLE: &str = "console.log";
    /// The keys that the guest's ssh server has shown.
    pub const KNOWN_HOSTS: &str = "known_hosts";
    /// The VM's secret.
    pub const SECRET: &str = "secret";
    /// What the VMM itself writes.
    pub const VMM: &str = "vmm.log";
    /// The VMM's control socket.
    pub const CONTROL: &str = "control.sock";
    /// The NIC's traffic until the guest is ready, under user networking.
    pub const CAPTURE: &str = "net.pcap";
}

/// Why a VMM does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is not installed.
    #[error("{program} is not installed{}", package(program))]
    Missing {
        /// Which.
        program: String,
    },
    /// It could not be started or talked to.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// It ended at once.
    #[error("the VMM ended with {status}{}\n  command: {command}", lines(log))]
    Ended {
        /// Its status.
        status: String,
        /// What it said.
        log: String,
        /// The whole command line.
        command: String,
    },
    /// A Firecracker of before the versions that are supported.
    #[error("{} is version {found}, and v1.13 or newer is needed{}", path.display(), package("firecracker"))]
    TooOld {
        /// The program.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// The machine's NIC has no tap.
    #[error("Firecracker needs a tap, which user networking does not have")]
    NoTap,
}

/// How a program gets onto this machine.
fn package(program: &str) -> &'static str {
    match program {
        qemu::PROGRAM => "\nhelp: apt-get install qemu-system-x86",
        firecracker::PROGRAM | firecracker::JAILER => {
            "\nhelp: unpack a release of https://github.com/firecracker-microvm/firecracker/releases and type\n      \
             install -m 755 release-*/firecracker-v*-x86_64 /usr/local/bin/firecracker\n      \
             install -m 755 release-*/jailer-v*-x86_64 /usr/local/bin/jailer"
        }
        _ => "",
    }
}

fn lines(log: &str) -> String {
    log.lines().map(|line| format!("\n  | {line}")).collect()
}

/// A running VMM. Dropped, it is killed.
#[derive(Debug)]
pub enum Vmm {
    /// QEMU.
    Qemu(Qemu),
    /// Firecracker.
    Firecracker(Firecracker),
}

impl Vmm {
    /// Starts a machine. Its VMM ends with this process, however that ends.
    pub fn start(machine: &Machine) -> Result<Self, Error> {
        match machine.model {
            Model::Microvm | Model::Q35 => Qemu::start(machine).map(Self::Qemu),
            Model::Firecracker => Firecracker::start(machine).map(Self::Firecracker),
        }
    }

    fn process(&self) -> &Process {
        match self {
            Self::Qemu(qemu) => &qemu.process,
            Self::Firecracker(firecracker) => &firecracker.process,
        }
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> io::Result<Option<String>> {
        self.process().ended()
    }

    /// Its process id.
    pub fn pid(&self) -> Option<u32> {
        self.process().pid()
    }

    /// What has stopped a machine whose VMM's process runs: `internal-error`, `guest-panicked`.
    pub fn halted(&self) -> io::Result<Option<String>> {
        match self {
            Self::Qemu(qemu) => qemu.halted(),
            // What stops its machine ends it.
            Self::Firecracker(_) => Ok(None),
        }
    }

    /// Asks the guest to shut down. A guest that does ends the VMM.
    pub fn press_stop(&self) -> io::Result<()> {
        match self {
            Self::Qemu(qemu) => qemu.press_stop(),
            Self::Firecracker(firecracker) => firecracker.press_stop(),
        }
    }

    /// Ends the capture of the NIC's traffic, where the VMM makes one.
    pub fn end_capture(&self) -> io::Result<()> {
        match self {
            Self::Qemu(qemu) => qemu.end_capture(),
            Self::Firecracker(_) => Ok(()),
        }
    }
}

/// What a machine's VMM would be told: QEMU's command line as a list, Firecracker's `--config-file`.
pub fn describe(machine: &Machine) -> Result<Value, Error> {
    let io = |cause| Error::Io { what: "describe the machine".to_owned(), cause };
    match machine.model {
        Model::Microvm | Model::Q35 => qemu::describe(machine).map_err(io),
        Model::Firecracker => firecracker::describe(machine),
    }
}
