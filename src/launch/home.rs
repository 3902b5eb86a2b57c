//! Where a VM lives: a folder of its own, locked by the process that runs it.
//!
//! `$GOLDSMITH_STATE`, else `$XDG_STATE_HOME/goldsmith`, else `~/.local/state/goldsmith`; in it `vms/NAME/`. The lock
//! (`flock` on the folder) ends with its holder. A folder without one is that of a kept VM, when its record says so; else
//! it belonged to a launch that was killed: the next command ends what is left of that VM, removes what its record names
//! outside of the folder, and deletes the folder.

use super::host;
use super::identity::Process;
use super::record::{self, Record};
use super::vmm::file;
use super::vmm::firecracker::jail;
use crate::values::Name;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::process::Signal;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the kernel may take to end a process that was killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a VM has no folder.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nowhere to put it.
    #[error(
        "neither GOLDSMITH_STATE nor XDG_STATE_HOME nor HOME says where VMs live\nhelp: set GOLDSMITH_STATE to a folder"
    )]
    NoHome,
    /// A VM of this name is running.
    #[error("a VM called {0} is running already\nhelp: choose another `--name`, or leave it out")]
    Taken(String),
    /// A VM that is to be deleted is running.
    #[error("{0} is running\nhelp: goldsmith stop {0}")]
    Running(String),
    /// A file operation failed.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
}

#[derive(Debug)]
pub struct Home {
    name: Name,
    path: PathBuf,
    /// What a kept VM had written down when it last ran.
    before: Option<Record>,
    keep: bool,
    _lock: File,
}

/// What is kept of a kept VM: disk, logs, record, the keys that its ssh server has shown.
const KEPT: [&str; 6] = [file::DISK, file::OVERLAY, file::CONSOLE, file::VMM, file::KNOWN_HOSTS, record::FILE];

/// The folder of all VMs of this user.
pub fn root() -> Result<PathBuf, Error> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("GOLDSMITH_STATE")
        .or_else(|| folder("XDG_STATE_HOME").map(|state| state.join("goldsmith")))
        .or_else(|| folder("HOME").map(|home| home.join(".local/state/goldsmith")))
        .and_then(|path| std::path::absolute(path).ok())
        .map(|path| path.join("vms"))
        .ok_or(Error::NoHome)
}

impl Home {
    /// Makes a folder for a VM called `wanted`, or takes that of the kept VM of this name; without a name it is `image-1`,
    /// `image-2`, …
    pub fn create(root: &Path, wanted: Option<&Name>, image: &Name) -> Result<Self, Error> {
        let _all = lock_root(root)?;
        if let Some(name) = wanted {
            let home = Self::make(root, name)?.map_or_else(|| Self::again(root, name), |home| Ok(Some(home)))?;
            return home.ok_or_else(|| Error::Taken(name.to_string()));
        }
        for number in 1_u32.. {
            if let Some(home) = Self::make(root, &image.numbered(number))? {
                return Ok(home);
            }
        }
        Err(Error::Taken(image.to_string()))
    }

    fn make(root: &Path, name: &Name) -> Result<Option<Self>, Error> {
        let path = root.join(name);
        let io = |what| {
            let path = path.clone();
            move |cause| Error::Io { what, path, cause }
        };
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(io("create")(error)),
        }
        let lock = open_folder(&path).map_err(io("open"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|errno| io("lock")(errno.into()))?;
        Ok(Some(Self { name: name.clone(), path, before: None, keep: false, _lock: lock }))
    }

    /// The folder of a kept VM. None: it runs, or it is not kept.
    fn again(root: &Path, name: &Name) -> Result<Option<Self>, Error> {
        let path = root.join(name);
        let lock = open_folder(&path).map_err(|cause| Error::Io { what: "open", path: path.clone(), cause })?;
        let free = take(&lock);
        let before = Record::read(&path).filter(|record| free && record.keep);
        Ok(before.map(|before| Self { name: name.clone(), path, before: Some(before), keep: true, _lock: lock }))
    }

    /// What the VM had written down when it last ran, if it was kept.
    pub fn before(&self) -> Option<&Record> {
        self.before.as_ref()
    }

    /// From now on the disk outlives the VM: its record says so.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// The VM's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the record.
    pub fn write(&self, record: &Record) -> Result<(), Error> {
        record.write(&self.path).map_err(|cause| Error::Io {
            what: "write the record in",
            path: self.path.clone(),
            cause,
        })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What cannot be deleted now is deleted by the next command.
        let _ = if self.keep { tidy(&self.path).map(drop) } else { fs::remove_dir_all(&self.path) };
    }
}

/// Deletes what a stopped VM needs no longer; whether there was something.
fn tidy(folder: &Path) -> io::Result<bool> {
    let mut some = false;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if KEPT.iter().any(|kept| entry.file_name() == *kept) {
            continue;
        }
        some = true;
        if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    Ok(some)
}

/// Deletes a kept VM with its disk.
pub fn remove(folder: &Path, name: &str) -> Result<(), Error> {
    let io = |what| {
        let path = folder.to_owned();
        move |cause| Error::Io { what, path, cause }
    };
    let _all = lock_root(folder.parent().unwrap_or(folder))?;
    let lock = open_folder(folder).map_err(io("open"))?;
    if !take(&lock) {
        return Err(Error::Running(name.to_owned()));
    }
    fs::remove_dir_all(folder).map_err(io("delete"))
}

/// Opens a VM's folder: not another one that a link leads to.
fn open_folder(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// Locks a folder, unless somebody holds it for longer than a look at it takes.
fn take(folder: &File) -> bool {
    (0..5).any(|attempt| {
        std::thread::sleep(Duration::from_millis(10 * attempt));
        flock(folder, FlockOperation::NonBlockingLockExclusive).is_ok()
    })
}

/// Ends and deletes what killed launches have left, but for the disks of VMs that are kept; returns the names of their VMs.
pub fn reconcile(root: &Path) -> Result<Vec<String>, Error> {
    let _all = lock_root(root)?;
    let io = |what, path: &Path| {
        let path = path.to_owned();
        move |cause| Error::Io { what, path, cause }
    };
    let (mut cleaned, mut guarded) = (Vec::new(), false);
    for entry in fs::read_dir(root).map_err(io("read", root))? {
        let path = entry.map_err(io("read", root))?.path();
        // What is no folder was not made by a launch, and where a link leads is nobody's VM.
        let Ok(folder) = open_folder(&path) else { continue };
        if flock(&folder, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        end_processes_in(&path);
        let record = Record::read(&path);
        guarded |= record.as_ref().is_some_and(|record| record.network.starts_with("bridge="));
        let keep = record.as_ref().is_some_and(|record| record.keep);
        if let Some(mut record) = record
            && let Some(tap) = record.tap.take()
        {
            // What cannot be removed holds up nobody else's launch.
            let _ = tap.remove();
            drop(record.cgroup.take().map(jail::Group));
            if keep {
                // After a reboot another tap may have its name and its number.
                record.write(&path).map_err(io("write the record in", &path))?;
            }
        }
        if keep {
            if !tidy(&path).map_err(io("tidy", &path))? {
                continue;
            }
        } else {
            fs::remove_dir_all(&path).map_err(io("delete", &path))?;
        }
        cleaned.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
    }
    if guarded && !cleaned.is_empty() {
        // What cannot be taken away now is taken away with the next port's coming.
        let _ = host::forget_wards();
    }
    cleaned.sort();
    Ok(cleaned)
}

/// The VMs that run or are kept, by name. One that is just being made is not listed.
pub fn list(root: &Path) -> Result<Vec<(PathBuf, Record)>, Error> {
    let _all = lock_root(root)?;
    let entries = fs::read_dir(root).map_err(|cause| Error::Io { what: "read", path: root.into(), cause })?;
    let mut running = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let record = Record::read(&path).filter(|record| record.keep || is_running(&path));
        running.extend(record.map(|record| (path, record)));
    }
    running.sort_by(|(_, a): &(PathBuf, Record), (_, b)| a.name.cmp(&b.name));
    Ok(running)
}

/// Whether a launch holds the folder.
pub fn is_running(folder: &Path) -> bool {
    open_folder(folder).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
}

/// A VMM works in its machine's folder, so whoever works there is what is left of it. Waits until it is gone, for until then
/// it holds its tap, and the tap its network.
fn end_processes_in(folder: &Path) {
    let Ok(processes) = fs::read_dir("/proc") else { return };
    let mut ending = Vec::new();
    for process in processes.flatten() {
        let number = process.file_name().to_str().and_then(|name| name.parse().ok());
        // Opened first: whoever has the number when one looks is whoever is told.
        let Some(one) = number.and_then(Process::numbered) else { continue };
        match fs::read_link(process.path().join("cwd")) {
            Ok(place) if place == folder => {
                let _ = one.tell(Signal::KILL);
                ending.push(one);
            }
            // Whoever is ending works nowhere any more, and may have worked here.
            Err(_) if is_ending(&process.path()) => ending.push(one),
            _ => {}
        }
    }
    let started = Instant::now();
    for one in ending {
        one.ends(PATIENCE.saturating_sub(started.elapsed()));
    }
}

/// Whether the kernel is ending a process. Source: proc(5), `/proc/PID/stat`, field 9; kernel `include/linux/sched.h`.
fn is_ending(process: &Path) -> bool {
    const PF_EXITING: u32 = 4;
    let line = fs::read_to_string(process.join("stat")).unwrap_or_default();
    let flags = line.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(6)?.parse::<u32>().ok());
    flags.is_some_and(|flags| flags & PF_EXITING != 0)
}

/// Creating and cleaning exclude each other: a folder is never seen between its creation and its lock.
fn lock_root(root: &Path) -> Result<File, Error> {
    let io = |what| move |cause| Error::Io { what, path: root.to_owned(), cause };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(io("create"))?;
    let folder = File::open(root).map_err(io("open"))?;
    flock(&folder, FlockOperation::LockExclusive).map_err(|errno| io("lock")(errno.into()))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_and_folders_go_with_their_vm() {
        let root = tempfile::tempdir().unwrap();
        let [desktop, second_name]: [Name; 2] = ["desktop", "desktop-2"].map(|name| name.parse().unwrap());
        let first = Home::create(root.path(), None, &desktop).unwrap();
        let second = Home::create(root.path(), None, &desktop).unwrap();
        assert_eq!((first.name().as_str(), second.name().as_str()), ("desktop-1", "desktop-2"));
        assert!(matches!(Home::create(root.path(), Some(&second_name), &desktop), Err(Error::Taken(_))));
        let long: Name = "x".repeat(63).parse().unwrap();
        let third = Home::create(root.path(), None, &long).unwrap();
        assert_eq!(third.name().as_str(), format!("{}-1", "x".repeat(61)));
        assert!(reconcile(root.path()).unwrap().is_empty());
        drop((first, second, third));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn links_among_the_folders_are_left_alone_and_never_followed() {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(other.path().join("precious"), "x").unwrap();
        std::os::unix::fs::symlink(other.path(), root.path().join("link-1")).unwrap();
        fs::create_dir(root.path().join("dead")).unwrap();
        std::os::unix::fs::symlink(other.path(), root.path().join("dead/inside")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.path().join("dead").join(record::FILE)).unwrap();
        assert_eq!(reconcile(root.path()).unwrap(), ["dead"]);
        let name: Name = "link-1".parse().unwrap();
        assert!(Home::create(root.path(), Some(&name), &name).is_err());
        assert!(remove(&root.path().join("link-1"), "link-1").is_err());
        assert_eq!(fs::read(other.path().join("precious")).unwrap(), b"x");
    }

    #[test]
    fn a_panic_takes_the_folder_along() {
        let root = tempfile::tempdir().unwrap();
        let name: Name = "desktop".parse().unwrap();
        let work = || {
            let home = Home::create(root.path(), None, &name).unwrap();
            fs::write(home.path().join("disk.ext4"), "x").unwrap();
            panic!("in the middle of it");
        };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_err();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_launch_left_is_ended_and_deleted() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("dead-1");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("disk.ext4"), "x").unwrap();
        let mut left = std::process::Command::new("sleep").arg("1000").current_dir(&folder).spawn().unwrap();
        assert_eq!(reconcile(root.path()).unwrap(), ["dead-1"]);
        assert!(!folder.exists());
        assert!(!left.wait().unwrap().success());
    }
}
