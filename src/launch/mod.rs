//! Boots VMs from built images: the gate, the per-VM disk, the host network, the VMM drivers, the probes, the clean-up.
//!
//! In: an image folder and how it is to be booted. Out: a running [`Vm`], or every reason why nothing was started. A
//! [`Vm`] owns all that it needs (process, tap, disk, folder): when it is dropped, or when this process ends in any way,
//! nothing of it is left. Uses `gate`, `manifest`, `image`, `network`, `boot`, `progress`, `values`.

mod choice;
mod cleared;
mod diagnosis;
mod disk;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
mod home;
pub mod host;
mod identity;
mod not_ready;
mod option_list;
mod options;
mod probe;
mod ready;
mod record;
mod report;
mod running;
mod secret;
pub mod tool;
mod vmm;

pub use choice::machine;
pub use diagnosis::{Diagnosis, Layer, Symptoms, Unpassed, diagnose};
pub use disk::Kind as DiskKind;
pub use error::Error;
pub use home::root;
pub use identity::Process;
pub use not_ready::NotReady;
pub use options::Options;
pub use probe::{Failure, ask};
pub use ready::{Passed, Ready};
pub use record::Record;
pub use report::Line;
pub use running::{DEFAULT as STOP_TIMEOUT, Error as RunningError, Running, find, list};
pub use secret::Secret;
pub use vmm::{Accelerator, Jail, Limits, Model, firecracker, plain, program, qemu};

use crate::manifest::Manifest;
use crate::progress::Observer;
use cleared::Cleared;
use home::Home;
use host::{Attachment, Mac, Watch};
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use vmm::{Vmm, file};

/// A running VM. Dropped, it is ended and everything that was made for it is gone, but for a disk that is to be kept.
#[derive(Debug)]
pub struct Vm {
    // Dropped in this order: the process, its control group, its network, its folder.
    vmm: Vmm,
    _cgroup: Option<firecracker::jail::Group>,
    attachment: Attachment,
    home: Home,
    watch: Option<Watch>,
    manifest: Manifest,
    record: Record,
    secret: Option<Secret>,
    mac: Mac,
    /// The rules that the gate found broken and let through.
    findings: Vec<&'static str>,
    /// How long the probes may take, where that is not what the recipe says.
    timeout: Option<Duration>,
    started: Instant,
}

impl Vm {
    /// Runs the gate and, if it lets the image through, starts a VM.
    pub fn start(options: &Options, observer: &dyn Observer) -> Result<Self, Error> {
        Cleared::new(options, true, observer)?.start(observer)
    }

    /// Runs the gate and says what the VMM would be told. Nothing is started, and nothing is left.
    pub fn describe(options: &Options, observer: &dyn Observer) -> Result<Value, Error> {
        Cleared::new(options, false, observer)?.with_machine(vmm::describe)
    }

    /// What is written down about it.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The console's log.
    pub fn console(&self) -> PathBuf {
        self.home.path().join(file::CONSOLE)
    }

    /// Waits until the VM ends by itself (how it ended), or until `stop` says so (None).
    pub fn wait(&self, stop: &dyn Fn() -> bool) -> Result<Option<String>, Error> {
        while !stop() {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(None)
    }

    /// Asks the guest to shut down, and waits until it has, at most as long as whoever stops it wishes, or until `hurry`
    /// says so. Whether it has: if not, dropping the VM kills it.
    pub fn shut_down(&self, hurry: &dyn Fn() -> bool) -> Result<bool, Error> {
        let (started, patience) = (Instant::now(), running::patience(self.home.path()));
        if !patience.is_zero() && self.vmm.press_stop().is_err() {
            // A VMM that has ended meanwhile does not answer.
            return Ok(self.ended()?.is_some());
        }
        loop {
            if self.ended()?.is_some() {
                return Ok(true);
            }
            if hurry() || started.elapsed() >= patience {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn ended(&self) -> Result<Option<String>, Error> {
        self.vmm.ended().map_err(|cause| Error::Io { what: "wait for the VMM", cause })
    }
}
