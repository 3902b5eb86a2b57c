//! Files that are in memory, for readers that want a descriptor or a path.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use tempfile::TempDir;

/// A folder in memory where the system has one.
pub fn folder() -> TempDir {
    let shared = Path::new("/dev/shm");
    let place = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
    TempDir::with_prefix_in("goldsmith-fuzz-", place).expect("a folder")
}

/// A file without a name.
pub fn anonymous(bytes: &[u8]) -> File {
    let memory = rustix::fs::memfd_create("fuzz", rustix::fs::MemfdFlags::CLOEXEC).expect("memory for a file");
    let file = File::from(memory);
    file.write_all_at(bytes, 0).expect("memory for a file");
    file
}
