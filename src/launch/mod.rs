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

pub use choice::{machine, works as kvm};
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
use crate::progress::{Event, Observer};
use cleared::Cleared;
use home::Home;
use host::{Attachment, Mac, Watch};
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use vmm::{Vmm, file};

/// How often the VMM of a VM that is ready is asked whether the machine still runs.
const ASK: Duration = Duration::from_secs(2);

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
    /// Whether emulation takes over where KVM gives up.
    falls_back: bool,
    /// How long the probes may take, where that is not what the recipe says.
    timeout: Option<Duration>,
    started: Instant,
}

impl Vm {
    /// Runs the gate and, if it lets the image through, starts a VM.
    pub fn start(options: &Options, observer: &dyn Observer) -> Result<Self, Error> {
        Cleared::new(options, true, observer)?.start(observer)
    }

    /// Starts a VM, shows it to `started`, and waits until it is ready. Where KVM, for which nobody has asked, gives up
    /// before the guest's first word, the VM is started again under emulation.
    pub fn boot(
        options: &Options,
        observer: &dyn Observer,
        started: &dyn Fn(&Self),
        stop: &dyn Fn() -> bool,
    ) -> Result<(Self, Ready), Error> {
        let attempt = |options: &Options| {
            let mut vm = Self::start(options, observer)?;
            started(&vm);
            let ready = vm.wait_ready(observer, stop)?;
            Ok((vm, ready))
        };
        match attempt(options) {
            Err(why @ Error::Unrun(_)) => {
                observer.event(Event::Warning(format!("{why}; the processor is emulated (slow)")));
                attempt(&Options { accelerator: Some(Accelerator::Emulation), ..options.clone() })
            }
            outcome => outcome,
        }
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
        let mut asked = Instant::now();
        while !stop() {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            if asked.elapsed() > ASK {
                // A VMM that does not answer has nothing to say; a full disk may be emptied.
                if let Some(state) = self.vmm.halted().ok().flatten().filter(|state| state != "io-error") {
                    return Ok(Some(state));
                }
                asked = Instant::now();
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
