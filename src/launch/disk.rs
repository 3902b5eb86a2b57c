//! A VM's own disk: a copy of the golden image that shares its blocks where the filesystem can and leaves holes where it
//! cannot, or an overlay that holds only what differs. The image itself is only read, through the descriptor that the
//! gate has checked.

use super::tool::{self, Tool};
use super::vmm::{file, program};
use crate::image::{self, View};
use crate::progress::{Event, Observer, Unit};
use crate::values::{ByteSize, GuestPath};
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, ftruncate, ioctl_ficlone, seek};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What a VM's disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file with all the image's bytes.
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
    /// A larger disk would be of no use.
    #[error(
        "the image does not grow its filesystem to the size of its disk\nhelp: leave `--disk-size` out, or build it with \
         `growfs.service` enabled, as recipes/base.yaml does"
    )]
    DoesNotGrow,
    /// The image cannot be read.
    #[error(transparent)]
    Image(#[from] image::Error),
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

/// The link that starts what grows the root filesystem (recipes/base.yaml), and the one that masks it.
const GROWFS: &str = "/etc/systemd/system/local-fs.target.wants/growfs.service";
const MASK: &str = "/etc/systemd/system/growfs.service";

/// The disk in a VM's folder, and what it is.
pub fn there(folder: &Path) -> Option<Kind> {
    let kinds = [(file::DISK, Kind::Copy), (file::OVERLAY, Kind::Overlay)];
    kinds.into_iter().find(|(name, _)| folder.join(name).exists()).map(|(_, kind)| kind)
}

/// What a disk is that nobody chose, in a VM's folder: a copy where it can share the image's blocks; else an overlay,
/// which is made in no time, if the VMM reads those (`overlays`) and `qemu-img` is there to make it.
pub fn suited(image: &File, folder: &Path, overlays: bool) -> Kind {
    let shares = || tempfile::tempfile_in(folder).is_ok_and(|file| ioctl_ficlone(&file, image).is_ok());
    if overlays && program::find(QEMU_IMG.program).is_some() && !shares() { Kind::Overlay } else { Kind::Copy }
}

/// Makes sure that an image's filesystem grows when its disk has: the guest does that itself, while it is mounted, with
/// systemd-growfs(8), started by a unit of its own or by an option in its fstab.
pub fn must_grow(image: &File, name: &Path) -> Result<(), Error> {
    let io = |cause| Error::Io { path: name.to_owned(), cause };
    let view = View::open(image.try_clone().map_err(io)?, name)?;
    let path = |path: &str| path.parse::<GuestPath>().map_err(|error| io(io::Error::other(error)));
    if view.read_link(&path(GROWFS)?)?.is_some() && view.read_link(&path(MASK)?)?.is_none() {
        return Ok(());
    }
    let fstab = view.read(&path("/etc/fstab")?, 1 << 20)?.unwrap_or_default();
    let grows = String::from_utf8_lossy(&fstab).lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some("/") && words.nth(1).is_some_and(|list| list.split(',').any(|it| it == "x-systemd.growfs"))
    });
    if grows { Ok(()) } else { Err(Error::DoesNotGrow) }
}

/// Makes the disk in a VM's folder, or takes the one that a kept VM has; makes it as large as `size`. On failure a disk that was
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
    let path = folder.join(if kind == Kind::Copy { file::DISK } else { file::OVERLAY });
    let fill = || -> Result<String, Error> {
        let io = |cause| Error::Io { path: path.clone(), cause };
        let mut summary = match (before, kind) {
            (Some(_), _) => "the one it had".to_owned(),
            (None, Kind::Copy) => duplicate(image, &path, observer).map_err(io)?,
            (None, Kind::Overlay) => overlay(image.metadata().map_err(io)?.len(), &path)?,
        };
        if let Some(size) = size {
            grow(&path, kind, size)?;
            summary += &format!(", made {size} large");
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

/// Makes the disk larger.
fn grow(path: &Path, kind: Kind, size: ByteSize) -> Result<(), Error> {
    let io = |cause| Error::Io { path: path.to_owned(), cause };
    let disk = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
    let there = match kind {
        Kind::Copy => disk.metadata().map_err(io)?.len(),
        Kind::Overlay => {
            // The virtual size: bytes 24 to 31, big endian. Source: QEMU's docs/interop/qcow2.rst.
            let mut bytes = [0; 8];
            disk.read_exact_at(&mut bytes, 24).map_err(io)?;
            u64::from_be_bytes(bytes)
        }
    };
    if size.0 < there {
        return Err(Error::Shrinks { there: ByteSize(there) });
    }
    if kind == Kind::Copy {
        return disk.set_len(size.0).map_err(io);
    }
    let arguments = ["resize", "-q", "-f", "qcow2", &path.display().to_string(), &size.0.to_string()];
    Ok(QEMU_IMG.run(&arguments.map(str::to_owned), "", &[0])?)
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
    let (mut at, mut copied, mut buffer) = (0, 0, vec![0; PIECE]);
    while at < size {
        let start = match seek(image, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = seek(image, SeekFrom::Hole(start))?;
        match fallocate(&disk, FallocateFlags::empty(), start, end - start) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
        for from in (start..end).step_by(PIECE) {
            let piece = buffer.get_mut(..usize::try_from(end - from).unwrap_or(PIECE).min(PIECE)).unwrap_or_default();
            image.read_exact_at(piece, from)?;
            disk.write_all_at(piece, from)?;
            copied += piece.len() as u64;
            observer.event(Event::Advanced { stage: STAGE, done: copied });
        }
        at = end;
    }
    Ok(format!("sparse copy, {}", ByteSize(copied)))
}

/// How much is copied at a time: what stays in a processor's cache between reading and writing. 364 MB on ext4, the space
/// taken beforehand: 150 ms; in pieces of 1 MiB 250 ms, with `copy_file_range` up to 260 ms.
const PIECE: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

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
