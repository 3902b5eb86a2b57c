//! Whether KVM runs code here, found out by running some.
//!
//! In: nothing. Out: a word of trust, or what was not survived. A device file says little, and a machine that starts says
//! little more: under broken nested virtualisation the guest's first instructions are not run. The canary is a machine of
//! 64 KiB that goes through the modes of a guest's kernel; what came of it is remembered until this host boots again.

mod canary;

use crate::{door, whole};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The device.
const DEVICE: &str = "/dev/kvm";
/// What a remembered verdict may have at most, in bytes.
const MOST: u64 = 4 << 10;

/// Why KVM is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Broken {
    /// What was found, in one line.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

/// What was found out once, and what it holds for.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    /// This boot of the host and this device: a module that is loaded anew makes a new one.
    of: String,
    broken: Option<Broken>,
}

/// Opens the device, which says that KVM is there and may be used, not that it works.
///
/// # Errors
/// When it is not there, or not for this user.
pub fn device() -> Result<(), Broken> {
    let opened = fs::OpenOptions::new().read(true).write(true).open(DEVICE);
    opened.map(|_| ()).map_err(|error| {
        let help = if error.kind() == io::ErrorKind::PermissionDenied {
            "sudo usermod --append --groups kvm $USER, then log in again"
        } else {
            "enable virtualisation in the firmware, or nested virtualisation on the host, then modprobe kvm_intel or kvm_amd"
        };
        Broken { message: format!("{DEVICE}: {error}"), help: help.to_owned() }
    })
}

/// Runs the canary, or remembers by the file `memory`, if there may be one, what came of it since this host booted.
///
/// # Errors
/// When KVM is not there, or does not run what every guest runs.
pub fn works(memory: Option<&Path>) -> Result<(), Broken> {
    device()?;
    let Some(memory) = memory else { return canary::run() };
    let of = now();
    let known = door::read(memory, "what is known of KVM", MOST).ok();
    let known = known.and_then(|bytes| serde_json::from_slice::<Remembered>(&bytes).ok());
    if let Some(known) = known.filter(|known| known.of == of) {
        return known.broken.map_or(Ok(()), Err);
    }
    let broken = canary::run().err();
    // What is not remembered is found out again.
    let _ = remember(memory, &Remembered { of, broken: broken.clone() });
    broken.map_or(Ok(()), Err)
}

/// This boot of this host, and its device. Source: random(4), `boot_id`.
fn now() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let device = fs::metadata(DEVICE).map(|meta| (meta.ctime(), meta.ctime_nsec())).unwrap_or_default();
    format!("{} {}.{:09}", boot.trim(), device.0, device.1)
}

fn remember(memory: &Path, what: &Remembered) -> io::Result<()> {
    if let Some(folder) = memory.parent() {
        fs::create_dir_all(folder)?;
    }
    whole::write(memory, &serde_json::to_vec(what)?, 0o600)
}
