//! Digests that were computed before: hashing an image anew for every VM costs more than all else before its boot.
//!
//! A file is known again by device, inode, size and time of its last change, which nobody but the kernel sets (inode(7),
//! `ctime`), and only until the host boots again: while it is down, a disk can be written to without leaving such a trace.
//! What was changed a moment before it was hashed is not remembered, since clocks are coarse, nor is what others may
//! write to.

use crate::values::Sha256;
use crate::whole;
use std::fs::{self, File, Metadata};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long a file must have been left alone: many times what a kernel's clock advances by (at most 10 ms), and what clocks
/// of file servers are apart by.
const SETTLED: Duration = Duration::from_secs(2);

/// A folder with a small file for each file whose digest is known.
#[derive(Debug, Clone)]
pub struct Memory(PathBuf);

impl Memory {
    /// A memory in `folder`, which only this user may write to; what was remembered before the host booted is forgotten. None
    /// where the kernel does not say which boot this is; without a memory everything is hashed.
    pub fn open(folder: &Path) -> Option<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let boot = boot.trim();
        let path = folder.join(boot);
        if !path.is_dir() {
            for old in fs::read_dir(folder).into_iter().flatten().flatten() {
                // Another launch may be doing the same.
                let _ = fs::remove_dir_all(old.path());
            }
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).ok()?;
        }
        Some(Self(path))
    }

    /// The digest that this very file had when it was hashed, if it was not changed since.
    pub(super) fn recall(&self, file: &Metadata) -> Option<Sha256> {
        let text = fs::read_to_string(self.place(file)).ok()?;
        text.strip_prefix(&identity(file))?.trim().parse().ok()
    }

    /// Writes a digest down. `before`: what was known of the file when hashing began. What cannot be written down is hashed
    /// again the next time.
    pub(super) fn remember(&self, file: &File, before: &Metadata, digest: Sha256) {
        let same = file.metadata().is_ok_and(|after| identity(&after) == identity(before));
        if !same || !settled(before) || !protected(before) {
            return;
        }
        let _ = whole::write(&self.place(before), format!("{}{digest}\n", identity(before)).as_bytes(), 0o600);
    }

    fn place(&self, file: &Metadata) -> PathBuf {
        self.0.join(format!("{:x}-{}", file.dev(), file.ino()))
    }
}

fn identity(file: &Metadata) -> String {
    format!("{} {} {} {}.{:09} ", file.dev(), file.ino(), file.size(), file.ctime(), file.ctime_nsec())
}

fn settled(file: &Metadata) -> bool {
    let changed = u64::try_from(file.ctime()).ok().map(|ctime| SystemTime::UNIX_EPOCH + Duration::from_secs(ctime + 1));
    changed.and_then(|changed| SystemTime::now().duration_since(changed).ok()).is_some_and(|age| age >= SETTLED)
}

/// Whether only root and this user may write to it.
fn protected(file: &Metadata) -> bool {
    let own = [0, rustix::process::geteuid().as_raw()].contains(&file.uid());
    own && file.mode() & 0o022 == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_is_known_again_in_this_boot_while_it_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let (path, digest) = (folder.path().join("verified"), Sha256([7; 32]));
        fs::create_dir_all(path.join("another boot/x")).unwrap();
        let memory = Memory::open(&path).unwrap();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "other boots are forgotten");
        // A file that has been there for long: this program.
        let own = File::open(std::env::current_exe().unwrap()).unwrap();
        let metadata = own.metadata().unwrap();
        assert_eq!(memory.recall(&metadata), None);
        let old = settled(&metadata);
        memory.remember(&own, &metadata, digest);
        assert!(!old || Memory::open(&path).unwrap().recall(&metadata) == Some(digest));

        let file = tempfile::tempfile_in(folder.path()).unwrap();
        let metadata = file.metadata().unwrap();
        memory.remember(&file, &metadata, digest);
        assert_eq!(memory.recall(&metadata), None, "it has just been made");
        assert!(protected(&metadata));
        file.set_permissions(fs::Permissions::from_mode(0o622)).unwrap();
        assert!(!protected(&file.metadata().unwrap()));
    }
}
