//! A folder that appears whole or not at all.
//!
//! `images/desktop` is built in `images/.desktop.building` and takes its final name in one rename; an older folder of
//! that name changes places with it and is deleted after. A build that dies leaves the older one untouched, and the
//! next build clears what it left. The folder itself carries the lock (`flock` on its inode, which ends with its
//! holder), so nothing but the folder is ever on disk.

use crate::interrupt;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A folder under construction. Dropped unpublished, it is deleted.
pub struct Staging {
    work: PathBuf,
    target: PathBuf,
    published: bool,
    building: Option<interrupt::Guard>,
    _lock: File,
}

impl Staging {
    /// Begins `parent/name`. `waiting` is called once when another build of it is running, before waiting for that.
    pub fn begin(parent: &Path, name: &str, waiting: impl FnOnce()) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        let work = work(parent, name);
        let lock = lock_folder(&work, waiting)?;
        let building = Some(interrupt::folder(&work));
        for entry in fs::read_dir(&work)? {
            remove(&entry?.path())?;
        }
        Ok(Self { work, target: parent.join(name), published: false, building, _lock: lock })
    }

    /// Deletes what a build of `parent/name` has left that is no more.
    pub fn clear(parent: &Path, name: &str) -> io::Result<()> {
        remove(&work(parent, name))
    }

    /// Where a file of the folder is written.
    pub fn path(&self, file: &str) -> PathBuf {
        self.work.join(file)
    }

    /// Gives the folder its final name and returns it.
    pub fn publish(mut self) -> io::Result<PathBuf> {
        let old = match File::open(&self.target) {
            Ok(old) => {
                // Locked until it is deleted, so that no other build takes the old folder for its own.
                flock(&old, FlockOperation::LockExclusive)?;
                Some(old)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let rename = || match old {
            Some(_) => {
                renameat_with(CWD, &self.work, CWD, &self.target, RenameFlags::EXCHANGE).map_err(io::Error::from)
            }
            None => fs::rename(&self.work, &self.target),
        };
        match self.building.take() {
            Some(building) => building.finish(rename)?,
            None => rename()?,
        }
        self.published = true;
        if old.is_some() {
            remove(&self.work)?;
        }
        Ok(self.target.clone())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be deleted now is deleted by the next build.
            let _ = remove(&self.work);
        }
    }
}

/// Where a folder is while it is built.
fn work(parent: &Path, name: &str) -> PathBuf {
    parent.join(format!(".{name}.building"))
}

/// Creates the folder where it is missing and locks it, whoever else is creating, publishing or deleting it.
fn lock_folder(path: &Path, waiting: impl FnOnce()) -> io::Result<File> {
    let mut waiting = Some(waiting);
    loop {
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let folder = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            folder => folder?,
        };
        if flock(&folder, FlockOperation::NonBlockingLockExclusive).is_err() {
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            flock(&folder, FlockOperation::LockExclusive)?;
        }
        // The holder may have given the folder its final name meanwhile, or deleted it.
        match fs::symlink_metadata(path) {
            Ok(now) if now.ino() == folder.metadata()?.ino() => return Ok(folder),
            _ => {}
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(parent: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_replaces_its_predecessor_whole() {
        let parent = tempfile::tempdir().unwrap();
        for content in ["one", "two"] {
            let staging = Staging::begin(parent.path(), "desktop", || ()).unwrap();
            fs::write(staging.path("file"), content).unwrap();
            let published = staging.publish().unwrap();
            assert_eq!(fs::read_to_string(published.join("file")).unwrap(), content);
            assert_eq!(names(parent.path()), ["desktop"]);
        }
    }

    #[test]
    fn an_abandoned_folder_leaves_the_previous_one_intact() {
        let parent = tempfile::tempdir().unwrap();
        let staging = Staging::begin(parent.path(), "desktop", || ()).unwrap();
        fs::write(staging.path("file"), "old").unwrap();
        staging.publish().unwrap();

        let staging = Staging::begin(parent.path(), "desktop", || ()).unwrap();
        fs::write(staging.path("file"), "half").unwrap();
        drop(staging);
        assert_eq!(names(parent.path()), ["desktop"]);
        assert_eq!(fs::read_to_string(parent.path().join("desktop/file")).unwrap(), "old");

        // As if killed in the middle: the folder stays, its lock does not.
        fs::create_dir(parent.path().join(".desktop.building")).unwrap();
        fs::write(parent.path().join(".desktop.building/file"), "half").unwrap();
        let staging = Staging::begin(parent.path(), "desktop", || unreachable!()).unwrap();
        assert!(!staging.path("file").exists());
    }

    #[test]
    fn two_builds_of_one_name_wait_for_each_other() {
        let parent = tempfile::tempdir().unwrap();
        let first = Staging::begin(parent.path(), "desktop", || ()).unwrap();
        std::thread::scope(|scope| {
            let (told, hear) = std::sync::mpsc::channel();
            let path = parent.path();
            let second = scope.spawn(move || {
                Staging::begin(path, "desktop", move || told.send(()).unwrap()).unwrap().publish().unwrap()
            });
            hear.recv().unwrap();
            fs::write(first.path("file"), "first").unwrap();
            first.publish().unwrap();
            assert!(second.join().unwrap().is_dir());
        });
        assert_eq!(names(parent.path()), ["desktop"]);
    }
}
