//! A VM's own disk: a copy of the golden image that shares its blocks where the filesystem can, and leaves holes where
//! it cannot. The image itself is only read, through the descriptor that the gate has checked.

use crate::values::ByteSize;
use rustix::fs::{SeekFrom, copy_file_range, ftruncate, ioctl_ficlone, seek};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// How a disk was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// Its blocks are the image's until they are written.
    Shared,
    /// So many bytes were copied.
    Copied(u64),
}

impl std::fmt::Display for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shared => f.write_str("shares the image's blocks"),
            Self::Copied(bytes) => write!(f, "sparse copy, {}", ByteSize(*bytes)),
        }
    }
}

/// Makes the disk at `path`, which must not exist. On failure nothing is left.
pub fn make(image: &File, path: &Path) -> io::Result<Made> {
    let disk = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let made = fill(image, &disk);
    if made.is_err() {
        // The failure is what counts; a file that cannot be deleted goes with its folder.
        let _ = std::fs::remove_file(path);
    }
    made
}

fn fill(image: &File, disk: &File) -> io::Result<Made> {
    if ioctl_ficlone(disk, image).is_ok() {
        return Ok(Made::Shared);
    }
    let size = image.metadata()?.len();
    ftruncate(disk, size)?;
    let (mut at, mut copied) = (0, 0);
    while at < size {
        let start = match seek(image, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = seek(image, SeekFrom::Hole(start))?;
        copy(image, disk, start, end)?;
        copied += end - start;
        at = end;
    }
    Ok(Made::Copied(copied))
}

fn copy(image: &File, disk: &File, start: u64, end: u64) -> io::Result<()> {
    let (mut from, mut to) = (start, start);
    while from < end {
        let step = usize::try_from(end - from).unwrap_or(usize::MAX);
        match copy_file_range(image, Some(&mut from), disk, Some(&mut to), step) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the image became shorter")),
            Ok(_) => {}
            // Old kernels do not copy between filesystems.
            Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP) => return by_hand(image, disk, from, end),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn by_hand(image: &File, disk: &File, start: u64, end: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    let mut buffer = vec![0; 1 << 20];
    let mut at = start;
    while at < end {
        let step = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let piece = buffer.get_mut(..step).unwrap_or_default();
        image.read_exact_at(piece, at)?;
        disk.write_all_at(piece, at)?;
        at += step as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    #[test]
    fn a_disk_has_the_images_bytes_and_its_holes() {
        let folder = tempfile::tempdir().unwrap();
        let (image, disk) = (folder.path().join("image"), folder.path().join("disk"));
        let file = File::create(&image).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"superblock", 1024).unwrap();
        file.write_all_at(&[7; 10_000], 40 << 20).unwrap();
        make(&File::open(&image).unwrap(), &disk).unwrap();
        assert!(std::fs::read(&image).unwrap() == std::fs::read(&disk).unwrap());
        assert!(std::fs::metadata(&disk).unwrap().blocks() * 512 < 1 << 20);
        assert_eq!(make(&File::open(&image).unwrap(), &disk).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(disk.exists(), "what was there is not deleted");
    }
}
