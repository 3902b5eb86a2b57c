//! A folder in the cache for one process, for as long as that is in it.
//!
//! It carries its lock itself (`flock` on its inode, which ends with its holder): what a killed process has left is known by
//! being free, and deleted by the next command.

use super::{Error, Store, create_folder, delete};
use crate::interrupt;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

const FOLDER: &str = "scratch";

/// An empty folder of this process's own. Deleted when dropped, and at an interrupt.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: File,
    _interrupt: interrupt::Guard,
}

impl Scratch {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be deleted now is deleted by the next command.
        let _ = fs::remove_dir_all(&self.path);
        let _ = self.path.parent().map(fs::remove_dir);
    }
}

impl Store {
    /// Makes a scratch folder.
    pub fn scratch(&self) -> Result<Scratch, Error> {
        let parent = self.root.join(FOLDER);
        loop {
            create_folder(&parent)?;
            if let Some(scratch) =
                begin(&parent).map_err(|cause| Error::Io { what: "create", path: parent.clone(), cause })?
            {
                return Ok(scratch);
            }
        }
    }

    /// Deletes those whose processes are no more.
    pub(super) fn sweep_scratch(&self) -> Result<(), Error> {
        let parent = self.root.join(FOLDER);
        let Ok(entries) = fs::read_dir(&parent) else { return Ok(()) };
        for path in entries.flatten().map(|entry| entry.path()) {
            let Ok(folder) = File::open(&path) else { continue };
            if flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok() {
                delete(&path)?;
            }
        }
        let _ = fs::remove_dir(parent);
        Ok(())
    }
}

/// None when somebody who sweeps has come before the lock.
fn begin(parent: &Path) -> io::Result<Option<Scratch>> {
    let gone = |error: io::Error| if error.kind() == io::ErrorKind::NotFound { Ok(None) } else { Err(error) };
    let path = match tempfile::Builder::new().prefix("").tempdir_in(parent) {
        Ok(folder) => folder.keep(),
        Err(error) => return gone(error),
    };
    let lock = match File::open(&path) {
        Ok(lock) => lock,
        Err(error) => return gone(error),
    };
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(None),
        result => result?,
    }
    let inode = lock.metadata()?.ino();
    let there = fs::symlink_metadata(&path).is_ok_and(|now| now.ino() == inode);
    let interrupt = interrupt::folder(&path);
    Ok(there.then_some(Scratch { path, _lock: lock, _interrupt: interrupt }))
}
