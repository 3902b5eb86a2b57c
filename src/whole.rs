//! Small files that are there whole or not at all, whatever ends the process that writes them. Uses no other room.
//!
//! A file is written as `.NAME.part` beside its name and takes that in one rename. The part's name is always the same, so
//! what a killed process has left is taken over by the next one that writes the file.

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, RenameFlags, flock, openat, renameat_with};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Writes a file of this mode; an older one of its name is replaced.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    put(path, bytes, mode, RenameFlags::empty())
}

/// Writes a file of this mode, unless there is one of its name; whether there was none.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<bool> {
    match put(path, bytes, mode, RenameFlags::NOREPLACE) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        written => written.map(|()| true),
    }
}

/// The name that a file has while it is written.
pub fn part(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".part");
    path.with_file_name(name)
}

fn put(path: &Path, bytes: &[u8], mode: u32, flags: RenameFlags) -> io::Result<()> {
    let part = part(path);
    // Locked until it has its final name.
    let file = take(&part)?;
    let write = || -> io::Result<()> {
        file.set_permissions(Permissions::from_mode(mode))?;
        file.set_len(0)?;
        (&file).write_all(bytes)?;
        Ok(renameat_with(CWD, &part, CWD, path, flags)?)
    };
    let written = write();
    if written.is_err() {
        // The failure is what counts.
        let _ = fs::remove_file(&part);
    }
    written
}

/// Opens the part, which is made where it is missing, for this process alone. A link of its name leads nowhere.
fn take(part: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    loop {
        let file = match openat(CWD, part, flags, Mode::RUSR | Mode::WUSR) {
            // A link, or what cannot be written to: nothing of ours.
            Err(Errno::LOOP | Errno::NXIO) => {
                fs::remove_file(part)?;
                continue;
            }
            opened => File::from(opened?),
        };
        flock(&file, FlockOperation::LockExclusive)?;
        // Another process may have given it its final name meanwhile.
        match fs::symlink_metadata(part) {
            Ok(now) if now.ino() == file.metadata()?.ino() => return Ok(file),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(part(&path), "much that was half written").unwrap();
        assert!(write_new(&path, b"one", 0o600).unwrap());
        assert!(!write_new(&path, b"two", 0o600).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        std::os::unix::fs::symlink(&path, part(&path)).unwrap();
        write(&path, b"two", 0o644).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn many_at_once_write_one_after_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::thread::scope(|scope| {
            for byte in b'a'..b'i' {
                let path = &path;
                scope.spawn(move || (0..10).for_each(|_| write(path, &[byte; 1000], 0o644).unwrap()));
            }
        });
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 1000);
        assert!(bytes.iter().all(|byte| *byte == bytes[0]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
