//! Reading an image without mounting it.

use super::Error;
use super::meter::{Meter, geometry};
use super::walk::{Look, walk};
use crate::door;
use crate::network::{FileBytes, GuestFiles, MAX_FILE, SnapshotNode};
use crate::values::GuestPath;
use ext4_view::{Ext4, Ext4Error, Ext4Read, FileType, Metadata};
use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error as StdError;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The largest directory that is read, in bytes: some hundred thousand names.
const MAX_DIRECTORY: u64 = 64 << 20;
/// How many paths are remembered.
const MAX_SEEN: usize = 10_000;
/// The longest symbolic link target (Linux `PATH_MAX`).
const MAX_TARGET: u64 = 4096;

/// A read-only view of an ext4 image. Reads only the blocks it needs, by position; nothing is mounted, nothing is
/// trusted: sizes are bounded before anything is read, and links are followed inside the guest's root only.
pub struct View {
    fs: Ext4,
    name: PathBuf,
    /// Bytes of the file, and of the filesystem in it.
    size: u64,
    filesystem: u64,
    /// What was found at canonical paths: every look at a path asks for all the folders above it, one by one.
    seen: RefCell<HashMap<GuestPath, Option<Metadata>>>,
}

/// What a node in an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Its type.
    pub kind: Kind,
    /// Permission bits with set-id and sticky.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Modification time, seconds since 1970.
    pub mtime: i64,
}

/// The type of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Directory => "directory",
            Self::File => "file",
            Self::Symlink => "symbolic link",
            Self::CharDevice => "character device",
            Self::BlockDevice => "block device",
            Self::Fifo => "FIFO",
            Self::Socket => "socket",
        })
    }
}

/// Through a meter, the reader cannot be led in circles.
struct Metered(Meter);

impl Ext4Read for Metered {
    fn read(&mut self, start: u64, into: &mut [u8]) -> Result<(), Box<dyn StdError + Send + Sync + 'static>> {
        Ok(self.0.read(start, into)?)
    }
}

/// How often a view may read all data of an image: every look at a path reads the folders above it.
const TIMES: u64 = 16;
/// And how much besides, in small images.
const EXTRA: u64 = 1 << 30;

/// The image file that a path means: the one in a folder that a build wrote, else the path itself.
pub fn file_of(path: &Path) -> PathBuf {
    let inside = path.join("rootfs.ext4");
    if inside.is_file() { inside } else { path.to_owned() }
}

impl View {
    /// Opens an image that is already open. `name` is what errors call it.
    pub fn open(file: File, name: &Path) -> Result<Self, Error> {
        let filesystem = geometry(&file, name)?;
        let failed = |source| Error::Open { image: name.to_owned(), source };
        let size = file.metadata().map_err(failed)?.len();
        let meter = Meter::new(file, TIMES, EXTRA).map_err(failed)?;
        let fs = Ext4::load(Box::new(Metered(meter)))
            .map_err(|source| Error::NotAnImage { image: name.to_owned(), source })?;
        Ok(Self { fs, name: name.to_owned(), size, filesystem, seen: RefCell::default() })
    }

    /// Opens an image by its path. A FIFO or another special file is refused, not waited for.
    pub fn open_path(path: &Path) -> Result<Self, Error> {
        // Any size: no more is read than the filesystem says, and that is compared with the file's.
        let opened = door::open(path, "an image", u64::MAX);
        let opened = opened.map_err(|error| Error::Open { image: path.to_owned(), source: error.into() })?;
        Self::open(opened.file, path)
    }

    /// Fails when the file has more bytes than the filesystem in it: an image that was built has not.
    pub fn must_fill_its_file(&self) -> Result<(), Error> {
        let Self { name, size, filesystem, .. } = self;
        if size == filesystem {
            return Ok(());
        }
        Err(Error::Geometry { image: name.clone(), claimed: *filesystem, size: *size })
    }

    /// The filesystem's UUID, 8-4-4-4-12.
    pub fn uuid(&self) -> String {
        self.fs.uuid().to_string()
    }

    /// The filesystem's label.
    pub fn label(&self) -> String {
        self.fs.label().to_str().unwrap_or_default().to_owned()
    }

    fn failure(&self, path: &GuestPath, source: Ext4Error) -> Error {
        Error::Read { image: self.name.clone(), path: path.clone(), source }
    }

    /// The metadata of a canonical path.
    fn metadata(&self, path: &GuestPath) -> Result<Option<Metadata>, Error> {
        if let Some(metadata) = self.seen.borrow().get(path) {
            return Ok(metadata.clone());
        }
        let metadata = self.look_up(path)?;
        let mut seen = self.seen.borrow_mut();
        if seen.len() >= MAX_SEEN {
            seen.clear();
        }
        seen.insert(path.clone(), metadata.clone());
        Ok(metadata)
    }

    fn look_up(&self, path: &GuestPath) -> Result<Option<Metadata>, Error> {
        match self.fs.symlink_metadata(path.as_str()) {
            Ok(metadata) if metadata.is_dir() && metadata.len() > MAX_DIRECTORY => {
                Err(self.too_large(path, metadata.len(), MAX_DIRECTORY))
            }
            Ok(metadata) => Ok(Some(metadata)),
            Err(Ext4Error::NotFound | Ext4Error::NotADirectory) => Ok(None),
            Err(error) => Err(self.failure(path, error)),
        }
    }

    fn too_large(&self, path: &GuestPath, size: u64, limit: u64) -> Error {
        Error::TooLarge { image: self.name.clone(), path: path.clone(), size, limit }
    }

    fn link_target(&self, path: &GuestPath, metadata: &Metadata) -> Result<String, Error> {
        if metadata.len() >= MAX_TARGET {
            return Err(self.too_large(path, metadata.len(), MAX_TARGET - 1));
        }
        let target = self.fs.read_link(path.as_str()).map_err(|error| self.failure(path, error))?;
        let text = target.to_str().map_err(|_| Error::NotUtf8 { image: self.name.clone(), directory: path.clone() })?;
        Ok(text.to_owned())
    }

    fn canonical(&self, path: &GuestPath, follow_last: bool) -> Result<Option<(GuestPath, Metadata)>, Error> {
        let look = |path: &GuestPath| {
            Ok(match self.metadata(path)? {
                Some(metadata) if metadata.is_symlink() => Look::Symlink(self.link_target(path, &metadata)?),
                Some(metadata) if !metadata.is_dir() => Look::Closed,
                _ => Look::Open,
            })
        };
        let Some(found) = walk(path, follow_last, look)? else { return Ok(None) };
        Ok(self.metadata(&found)?.map(|metadata| (found, metadata)))
    }

    /// The canonical path of what `path` leads to, all symbolic links followed. None when there is nothing.
    pub fn resolve(&self, path: &GuestPath) -> Result<Option<GuestPath>, Error> {
        Ok(self.canonical(path, true)?.map(|(path, _)| path))
    }

    /// The canonical path of `path` itself: links among its parents followed, a link at its end not.
    pub fn locate(&self, path: &GuestPath) -> Result<Option<GuestPath>, Error> {
        Ok(self.canonical(path, false)?.map(|(path, _)| path))
    }

    /// What is at `path`; a symbolic link at its end is not followed.
    pub fn stat(&self, path: &GuestPath) -> Result<Option<Stat>, Error> {
        Ok(self.canonical(path, false)?.map(|(_, metadata)| stat(&metadata)))
    }

    /// The target of the symbolic link at `path`; none when there is no such link.
    pub fn read_link(&self, path: &GuestPath) -> Result<Option<String>, Error> {
        match self.canonical(path, false)? {
            Some((path, metadata)) if metadata.is_symlink() => self.link_target(&path, &metadata).map(Some),
            _ => Ok(None),
        }
    }

    /// The bytes of the regular file that `path` leads to, at most `limit`. None when there is no regular file.
    pub fn read(&self, path: &GuestPath, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        match self.canonical(path, true)? {
            Some((path, metadata)) if metadata.file_type().is_regular_file() => {
                self.read_at(&path, &metadata, limit).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn read_at(&self, path: &GuestPath, metadata: &Metadata, limit: u64) -> Result<Vec<u8>, Error> {
        if metadata.len() > limit {
            return Err(self.too_large(path, metadata.len(), limit));
        }
        self.fs.read(path.as_str()).map_err(|error| self.failure(path, error))
    }

    /// Copies the regular file that `path` leads to into `out`, piece by piece; the number of bytes, or none when
    /// there is no regular file. A file that says it has more bytes than the whole image is refused: the rest is holes.
    pub fn copy(&self, path: &GuestPath, out: &mut dyn std::io::Write) -> Result<Option<u64>, Error> {
        let Some((path, metadata)) = self.canonical(path, true)? else { return Ok(None) };
        if !metadata.file_type().is_regular_file() {
            return Ok(None);
        }
        if metadata.len() > self.size {
            return Err(self.too_large(&path, metadata.len(), self.size));
        }
        let mut file = self.fs.open(path.as_str()).map_err(|error| self.failure(&path, error))?;
        let mut buffer = vec![0; 64 << 10];
        let mut total = 0;
        loop {
            match file.read_bytes(&mut buffer).map_err(|error| self.failure(&path, error))? {
                0 => return Ok(Some(total)),
                count => {
                    let piece = buffer.get(..count).unwrap_or_default();
                    out.write_all(piece).map_err(Error::Output)?;
                    total += count as u64;
                }
            }
        }
    }

    /// The names in the directory that `path` leads to, sorted; none when there is no directory.
    pub fn names(&self, path: &GuestPath) -> Result<Option<Vec<String>>, Error> {
        let Some((path, metadata)) = self.canonical(path, true)? else { return Ok(None) };
        if !metadata.is_dir() {
            return Ok(None);
        }
        let mut names = Vec::new();
        for entry in self.fs.read_dir(path.as_str()).map_err(|error| self.failure(&path, error))? {
            let entry = entry.map_err(|error| self.failure(&path, error))?;
            let name = entry.file_name();
            // Not skipped: a guest would read a file that nobody here can name.
            let name =
                name.as_str().map_err(|_| Error::NotUtf8 { image: self.name.clone(), directory: path.clone() })?;
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(Some(names))
    }
}

fn stat(metadata: &Metadata) -> Stat {
    let kind = match metadata.file_type() {
        FileType::Directory => Kind::Directory,
        FileType::Regular => Kind::File,
        FileType::Symlink => Kind::Symlink,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
    };
    Stat {
        kind,
        mode: metadata.mode(),
        uid: metadata.uid(),
        gid: metadata.gid(),
        size: metadata.len(),
        mtime: metadata.modified().seconds(),
    }
}

impl GuestFiles for View {
    type Error = Error;

    fn node(&self, path: &GuestPath, read: bool) -> Result<Option<SnapshotNode>, Error> {
        let Some((path, metadata)) = self.canonical(path, false)? else { return Ok(None) };
        Ok(Some(match metadata.file_type() {
            FileType::Directory => SnapshotNode::Directory,
            FileType::Symlink => SnapshotNode::Symlink(self.link_target(&path, &metadata)?),
            FileType::Regular => {
                let bytes = match metadata.len() {
                    len if !read => FileBytes::Present(len),
                    len if len > MAX_FILE => FileBytes::TooLarge(len),
                    _ => FileBytes::Known(self.read_at(&path, &metadata, MAX_FILE)?.into()),
                };
                SnapshotNode::File { mode: metadata.mode(), bytes }
            }
            _ => SnapshotNode::Special,
        }))
    }

    fn list(&self, path: &GuestPath) -> Result<Vec<String>, Error> {
        Ok(self.names(path)?.unwrap_or_default())
    }
}
