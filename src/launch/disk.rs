//! A VM's own disk: a copy of the golden image that shares its blocks where the filesystem can and leaves holes where it
//! cannot, or an overlay that holds only what differs. The image itself is only read, through the descriptor that the
//! gate has checked.

use super::tool::{self, Tool};
use super::vmm::file;
use crate::progress::{Event, Observer, Unit};
use crate::values::ByteSize;
use rustix::fs::{SeekFrom, copy_file_range, ftruncate, ioctl_ficlone, seek};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What a VM's disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// A file with all the image's bytes.
    #[default]
    Copy,
    /// A qcow2 file with what differs from the image, which is read besides. For QEMU.
    Overlay,
}

/// Why a disk cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("cannot make the VM's disk {}{}", path.display(), room(cause))]
    Io {
        /// The disk.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// A program failed.
    #[error(transparent)]
    Tool(#[from] tool::Error),
    /// It would be smaller than what is on it.
    #[error("the disk has {there} already, and disks do not shrink\nhelp: leave `--disk-size` out, or ask for more")]
    Shrinks {
        /// Its size.
        there: ByteSize,
    },
    /// An overlay cannot grow.
    #[error("the filesystem on an overlay cannot be grown before the guest starts\nhelp: `--disk copy`")]
    GrowingOverlay,
}

fn room(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "\nhelp: the disk is full: set GOLDSMITH_STATE to a folder on a larger one"
        }
        _ => "",
    }
}

/// The stage of a launch, for whoever watches.
const STAGE: &str = "disk";
const QEMU_IMG: Tool = Tool { program: "qemu-img", package: "qemu-utils" };
const E2FSCK: Tool = Tool { program: "e2fsck", package: "e2fsprogs" };
const RESIZE2FS: Tool = Tool { program: "resize2fs", package: "e2fsprogs" };

/// The disk in a VM's folder, and what it is.
pub fn there(folder: &Path) -> Option<Kind> {
    let kinds = [(file::DISK, Kind::Copy), (file::OVERLAY, Kind::Overlay)];
    kinds.into_iter().find(|(name, _)| folder.join(name).exists()).map(|(_, kind)| kind)
}

/// Makes the disk in a VM's folder, or takes the one that a kept VM has; grows it to `size`. On failure a disk that was
/// not there before is not there.
pub fn make(
    image: &File,
    folder: &Path,
    kind: Kind,
    size: Option<ByteSize>,
    observer: &dyn Observer,
) -> Result<Kind, Error> {
    let (started, before) = (Instant::now(), there(folder));
    let kind = before.unwrap_or(kind);
    if kind == Kind::Overlay && size.is_some() {
        return Err(Error::GrowingOverlay);
    }
    let path = folder.join(if kind == Kind::Copy { file::DISK } else { file::OVERLAY });
    let fill = || -> Result<String, Error> {
        let io = |cause| Error::Io { path: path.clone(), cause };
        let mut summary = match (before, kind) {
            (Some(_), _) => "the one it had".to_owned(),
            (None, Kind::Copy) => duplicate(image, &path, observer).map_err(io)?,
            (None, Kind::Overlay) => overlay(image.metadata().map_err(io)?.len(), &path)?,
        };
        if let Some(size) = size {
            grow(&path, size)?;
            summary += &format!(", grown to {size}");
        }
        Ok(summary)
    };
    let filled = fill();
    if filled.is_err() && before.is_none() {
        // The failure is what counts; a file that cannot be deleted goes with its folder.
        let _ = fs::remove_file(&path);
    }
    observer.event(Event::Finished { stage: STAGE, summary: filled?, took: started.elapsed() });
    Ok(kind)
}

/// An empty overlay. Which image it lies on is said when it is used.
fn overlay(size: u64, path: &Path) -> Result<String, Error> {
    let arguments = ["create", "-q", "-f", "qcow2", &path.display().to_string(), &size.to_string()];
    QEMU_IMG.run(&arguments.map(str::to_owned), "", &[0])?;
    Ok("overlay on the image".to_owned())
}

/// Makes the disk and its filesystem larger. The check before is what resize2fs asks for; a kept disk may have a journal
/// to play back. Exit statuses of e2fsck(8): 0 and 1 say that the filesystem is sound.
fn grow(path: &Path, size: ByteSize) -> Result<(), Error> {
    let io = |cause| Error::Io { path: path.to_owned(), cause };
    let disk = OpenOptions::new().write(true).open(path).map_err(io)?;
    let there = disk.metadata().map_err(io)?.len();
    if size.0 < there {
        return Err(Error::Shrinks { there: ByteSize(there) });
    }
    disk.set_len(size.0).map_err(io)?;
    let disk = path.display().to_string();
    E2FSCK.run(&["-f".to_owned(), "-p".to_owned(), disk.clone()], "", &[0, 1])?;
    Ok(RESIZE2FS.run(&[disk], "", &[0])?)
}

/// Copies a file to `path`, which must not exist.
pub fn duplicate(image: &File, path: &Path, observer: &dyn Observer) -> io::Result<String> {
    let disk = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    if ioctl_ficlone(&disk, image).is_ok() {
        return Ok("shares the image's blocks".to_owned());
    }
    let metadata = image.metadata()?;
    // Blocks of stat(2) have 512 bytes.
    observer.event(Event::Started { stage: STAGE, total: Some(metadata.blocks() * 512), unit: Unit::Bytes });
    let size = metadata.len();
    ftruncate(&disk, size)?;
    let (mut at, mut copied) = (0, 0);
    while at < size {
        let start = match seek(image, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = seek(image, SeekFrom::Hole(start))?;
        for from in (start..end).step_by(PIECE) {
            let to = end.min(from + PIECE as u64);
            copy(image, &disk, from, to)?;
            copied += to - from;
            observer.event(Event::Advanced { stage: STAGE, done: copied });
        }
        at = end;
    }
    Ok(format!("sparse copy, {}", ByteSize(copied)))
}

/// How much is copied between two reports.
const PIECE: usize = 64 << 20;

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
    use crate::progress::Silent;
    use std::os::unix::fs::FileExt as _;

    fn image(folder: &Path) -> File {
        let path = folder.join("image");
        let file = File::create(&path).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"superblock", 1024).unwrap();
        file.write_all_at(&[7; 10_000], 40 << 20).unwrap();
        File::open(&path).unwrap()
    }

    #[test]
    fn a_disk_has_the_images_bytes_and_its_holes() {
        let folder = tempfile::tempdir().unwrap();
        let (image, disk) = (image(folder.path()), folder.path().join(file::DISK));
        make(&image, folder.path(), Kind::Copy, None, &Silent).unwrap();
        assert!(fs::read(folder.path().join("image")).unwrap() == fs::read(&disk).unwrap());
        assert!(fs::metadata(&disk).unwrap().blocks() * 512 < 1 << 20);
    }

    #[test]
    fn the_disk_that_is_there_is_taken_and_never_shrinks() {
        let folder = tempfile::tempdir().unwrap();
        let (image, disk) = (image(folder.path()), folder.path().join(file::DISK));
        fs::write(&disk, "mine").unwrap();
        assert_eq!(make(&image, folder.path(), Kind::Overlay, None, &Silent).unwrap(), Kind::Copy);
        let smaller = make(&image, folder.path(), Kind::Copy, Some(ByteSize(1)), &Silent);
        assert!(matches!(smaller, Err(Error::Shrinks { .. })));
        assert_eq!(fs::read(&disk).unwrap(), b"mine");
    }
}
