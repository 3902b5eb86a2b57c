//! VMs that other processes run, and kept ones: finding, following, stopping and deleting them.

use super::home;
use super::host;
use super::identity::Process;
use super::record::{self, Record};
use super::secret::Secret;
use super::vmm::{file, qemu};
use rustix::process::Signal;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a guest may take to shut down where nobody says how long.
pub const DEFAULT: Duration = Duration::from_secs(5);
/// In the VM's folder, how long its guest may take: milliseconds.
const STOP: &str = "stop";
/// How long a launch may take to end its VM and clean up before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a running VM cannot be found or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder of VMs cannot be used.
    #[error(transparent)]
    Home(#[from] home::Error),
    /// The managed networks cannot be listed.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// There is no such VM.
    #[error("there is no VM called {name}{}", others(running))]
    Missing {
        /// What was asked for.
        name: String,
        /// What there is.
        running: Vec<String>,
    },
    /// It belongs to somebody else.
    #[error("cannot stop {name}")]
    Signal {
        /// The VM.
        name: String,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// Its display cannot be pictured.
    #[error("cannot take a picture of {name} ({machine}){}", no_display(machine))]
    Picture {
        /// The VM.
        name: String,
        /// Its machine.
        machine: String,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The picture cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
}

/// How long the guest of the VM in this folder may take to shut down.
pub fn patience(folder: &Path) -> Duration {
    let text = record::own(folder, STOP).and_then(|bytes| String::from_utf8(bytes).ok());
    text.and_then(|text| text.parse().ok()).map_or(DEFAULT, Duration::from_millis)
}

fn no_display(machine: &str) -> &'static str {
    if machine.contains("q35") { "" } else { "\nhelp: it has no display: launch it with `--machine q35`" }
}

fn others(running: &[String]) -> String {
    if running.is_empty() { "; there is none".to_owned() } else { format!("\nhelp: these are: {}", running.join(", ")) }
}

/// A VM that a launch runs, or has run and kept.
#[derive(Debug, Clone)]
pub struct Running {
    folder: PathBuf,
    /// What its launch has written down.
    pub record: Record,
}

/// All running and kept VMs of this user, by name. What killed launches have left is cleaned up first.
pub fn list() -> Result<Vec<Running>, Error> {
    reconcile()?;
    let all = home::list(&home::root()?)?;
    Ok(all.into_iter().map(|(folder, record)| Running { folder, record }).collect())
}

fn reconcile() -> Result<(), Error> {
    home::reconcile(&home::root()?)?;
    // What a network lacks is nothing that would keep anybody from looking at or stopping a VM.
    let _ = host::managed::reconcile();
    Ok(())
}

/// The running or kept VM of that name.
pub fn find(name: &str) -> Result<Running, Error> {
    let all = list()?;
    let names = || all.iter().map(|vm| vm.record.name.to_string()).collect();
    all.iter()
        .find(|vm| vm.record.name == name)
        .cloned()
        .ok_or_else(|| Error::Missing { name: name.to_owned(), running: names() })
}

impl Running {
    /// The log of its serial console.
    pub fn console(&self) -> PathBuf {
        self.folder.join(file::CONSOLE)
    }

    /// What the VMM itself has said.
    pub fn vmm_log(&self) -> PathBuf {
        self.folder.join(file::VMM)
    }

    /// What its launch has written down by now.
    pub fn refresh(&mut self) {
        if let Some(record) = Record::read(&self.folder) {
            self.record = record;
        }
    }

    /// Its secret, while it runs and if it has one.
    pub fn secret(&self) -> Option<Secret> {
        Secret::read(&self.folder)
    }

    /// The keys that its ssh server has shown.
    pub fn known_hosts(&self) -> PathBuf {
        self.folder.join(file::KNOWN_HOSTS)
    }

    /// Deletes a kept VM with its disk.
    pub fn remove(&self) -> Result<(), Error> {
        Ok(home::remove(&self.folder, &self.record.name)?)
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        home::is_running(&self.folder)
    }

    /// Asks its launch to end it, and waits until nothing is left. The guest may take `timeout` to shut down. A launch that
    /// does not answer is killed, and its VM with it.
    pub fn stop(&self, timeout: Duration) -> Result<(), Error> {
        if !self.is_alive() {
            return Ok(());
        }
        // A launch that cannot be told takes the default.
        let _ = fs::write(self.folder.join(STOP), timeout.as_millis().to_string());
        self.signal(Signal::TERM)?;
        if !self.ends(timeout.saturating_add(PATIENCE)) {
            self.signal(Signal::KILL)?;
            self.ends(PATIENCE);
        }
        reconcile()
    }

    /// Writes a picture of the VM's display to a PNG file.
    pub fn screenshot(&self, to: &Path) -> Result<(), Error> {
        const PICTURE: &str = "screen.png";
        let fail =
            |cause| Error::Picture { name: self.record.name.to_string(), machine: self.record.machine.clone(), cause };
        let picture = self.folder.join(PICTURE);
        qemu::screenshot(&self.folder, PICTURE).map_err(fail)?;
        let copied = fs::copy(&picture, to).map_err(|cause| Error::Write { path: to.to_owned(), cause });
        // The next picture, or the VM's end, takes it away otherwise.
        let _ = fs::remove_file(&picture);
        copied.map(|_| ())
    }

    /// Whether its launch ends in time.
    fn ends(&self, patience: Duration) -> bool {
        let started = Instant::now();
        while self.is_alive() {
            if started.elapsed() > patience {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// The process that runs it. None: it is kept and does not run. The number in the record is its own if the VM's lock is
    /// still held behind the opening.
    pub fn process(&self) -> Option<Process> {
        Process::numbered(self.record.supervisor).filter(|_| self.is_alive())
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        let told = self.process().map_or(Ok(()), |process| process.tell(signal));
        told.map_err(|cause| Error::Signal { name: self.record.name.to_string(), cause })
    }
}
