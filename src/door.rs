//! Files that somebody else named: recipes and what they name, locks, manifests, image folders, keyrings, credentials.
//!
//! In: a path, what it is for, and the most bytes it may have. Out: an open regular file whose size is known, or its
//! bytes. Every other room opens such files here, so that nothing a path leads to can block (a FIFO), act when it is
//! opened (a device), grow without end (`/proc`, a file that is written meanwhile) or fill the memory. Own state
//! (`store`, `launch`'s folders) and the kernel's own files are read where they are used. Uses `values`.

use crate::values::FileName;
use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::{self, File, FileType, Metadata};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Why a file did not come in.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {problem}{}", path.display(), problem.help())]
pub struct Error {
    /// The file, as it was named.
    pub path: PathBuf,
    /// What was found, and what was expected.
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Nothing has this name.
    #[error("there is no such file")]
    Absent,
    /// Something that is not a regular file.
    #[error("it is {0}, not a file")]
    Kind(&'static str),
    /// More than may be read.
    #[error("it has {size} bytes; {what} has at most {limit}")]
    Large {
        /// What the file is for, with its article: `a recipe`.
        what: &'static str,
        /// Bytes that it says it has.
        size: u64,
        /// Bytes that it may have.
        limit: u64,
    },
    /// More came than its size said, and more than may be read.
    #[error("it has more bytes than the {size} it claims to have; {what} has at most {limit}")]
    Grows {
        /// What the file is for.
        what: &'static str,
        /// Bytes that it says it has.
        size: u64,
        /// Bytes that it may have.
        limit: u64,
    },
    /// A folder with too much in it.
    #[error("there are more than {0} files and folders")]
    Many(usize),
    /// Not text.
    #[error("it is not UTF-8 (byte {0})")]
    Text(usize),
    /// The system refused.
    #[error("{0}")]
    Io(io::Error),
}

impl Problem {
    /// The line that says what to do, where there is something to do.
    fn help(&self) -> &'static str {
        match self {
            Self::Kind(_) => "\nhelp: name a regular file; links are followed, pipes and devices are not read",
            _ => "",
        }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Absent,
            _ => Self::Io(error),
        }
    }
}

impl From<Error> for io::Error {
    /// For errors that name the file themselves.
    fn from(error: Error) -> Self {
        match error.problem {
            Problem::Absent => io::Error::new(io::ErrorKind::NotFound, error.problem.to_string()),
            Problem::Io(error) => error,
            problem => {
                let text = format!("{problem}{}", problem.help());
                io::Error::new(io::ErrorKind::InvalidInput, text)
            }
        }
    }
}

impl Error {
    /// Whether there is nothing of this name.
    pub fn is_absent(&self) -> bool {
        matches!(self.problem, Problem::Absent)
    }
}

/// An open regular file of a size that was allowed.
#[derive(Debug)]
pub struct Opened {
    /// The file, at its beginning.
    pub file: File,
    /// What it was when it was opened.
    pub stamp: Stamp,
    path: PathBuf,
    what: &'static str,
    limit: u64,
}

/// Which file it was, in which state: a later change shows. No program but the kernel sets `ctime` (inode(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes.
    pub len: u64,
    place: (u64, u64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            len: metadata.len(),
            place: (metadata.dev(), metadata.ino()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether `path` still leads to this file, unchanged.
    pub fn holds(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|metadata| Self::of(&metadata) == *self)
    }
}

/// Opens a regular file that has at most `limit` bytes. `what` is what it is for, with its article: `a recipe`.
pub fn open(path: &Path, what: &'static str, limit: u64) -> Result<Opened, Error> {
    let look = || rustix::fs::stat(path);
    enter(path, what, limit, look, |flags| rustix::fs::open(path, flags, Mode::empty()))
}

/// A folder that somebody else filled. Its files are opened by its descriptor and by plain names, and no link is followed: what
/// is opened is in this folder and nowhere else.
#[derive(Debug)]
pub struct Folder {
    folder: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder. Links to it are followed.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty());
        let fail = |errno| Error { path: path.to_owned(), problem: io::Error::from(errno).into() };
        Ok(Self { folder: folder.map_err(fail)?, path: path.to_owned() })
    }

    /// Opens the regular file of this name, which has at most `limit` bytes.
    pub fn file(&self, name: &FileName, what: &'static str, limit: u64) -> Result<Opened, Error> {
        let name = name.as_str();
        let look = || rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW);
        let open = |flags| rustix::fs::openat(&self.folder, name, flags | OFlags::NOFOLLOW, Mode::empty());
        enter(&self.path.join(name), what, limit, look, open)
    }
}

fn enter(
    path: &Path,
    what: &'static str,
    limit: u64,
    look: impl FnOnce() -> Result<Stat, Errno>,
    open: impl FnOnce(OFlags) -> Result<OwnedFd, Errno>,
) -> Result<Opened, Error> {
    let fail = |problem| Error { path: path.to_owned(), problem };
    // Looked at first: to open a device may already do something (a tape rewinds, a watchdog starts).
    let found = look().map_err(|errno| fail(io::Error::from(errno).into()))?;
    if !rustix::fs::FileType::from_raw_mode(found.st_mode).is_file() {
        return Err(fail(Problem::Kind(word(rustix::fs::FileType::from_raw_mode(found.st_mode)))));
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(open(flags).map_err(|errno| fail(io::Error::from(errno).into()))?);
    // Looked at again: it may have been replaced meanwhile.
    let metadata = file.metadata().map_err(|error| fail(error.into()))?;
    regular(metadata.file_type()).map_err(fail)?;
    let stamp = Stamp::of(&metadata);
    if stamp.len > limit {
        return Err(fail(Problem::Large { what, size: stamp.len, limit }));
    }
    Ok(Opened { file, stamp, path: path.to_owned(), what, limit })
}

/// A file's bytes.
pub fn read(path: &Path, what: &'static str, limit: u64) -> Result<Vec<u8>, Error> {
    open(path, what, limit)?.read()
}

/// A file's text.
pub fn read_text(path: &Path, what: &'static str, limit: u64) -> Result<String, Error> {
    String::from_utf8(read(path, what, limit)?)
        .map_err(|error| Error { path: path.to_owned(), problem: Problem::Text(error.utf8_error().valid_up_to()) })
}

impl Opened {
    /// All bytes. A file whose size says less than it holds (`/proc`, one that grows) is read up to the limit as well.
    pub fn read(self) -> Result<Vec<u8>, Error> {
        let Self { file, stamp, path, what, limit } = self;
        let mut bytes = Vec::new();
        let outcome = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        let problem = match outcome {
            Err(error) => error.into(),
            Ok(count) if count as u64 > limit => Problem::Grows { what, size: stamp.len, limit },
            Ok(_) => return Ok(bytes),
        };
        Err(Error { path, problem })
    }

    /// Hands the bytes to `take`, piece by piece. They must be as many as the file had when it was opened.
    pub fn stream(&mut self, mut take: impl FnMut(&[u8])) -> Result<(), Error> {
        let fail = |problem| Error { path: self.path.clone(), problem };
        let mut buffer = vec![0; 128 << 10];
        let mut left = self.stamp.len;
        loop {
            let count = match self.file.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(|error| fail(error.into()))?,
            };
            let Some(rest) = left.checked_sub(count as u64) else {
                return Err(fail(Problem::Grows { what: self.what, size: self.stamp.len, limit: self.limit }));
            };
            left = rest;
            match count {
                0 if left == 0 => return Ok(()),
                0 => return Err(fail(Problem::Io(io::ErrorKind::UnexpectedEof.into()))),
                _ => take(buffer.get(..count).unwrap_or_default()),
            }
        }
    }
}

/// The most files and folders that come in at once: all overlays of a recipe.
pub const MAX_ENTRIES: usize = 250_000;

/// Something in a folder.
#[derive(Debug)]
pub struct Entry {
    /// Where it is.
    pub path: PathBuf,
    /// What it is itself; links are not followed.
    pub kind: FileType,
}

/// What is in a folder, all levels, a folder before what is in it, names in order. Links are not followed. At most
/// `limit` entries are listed, and no folder with more is held in memory.
pub fn walk<E: From<Error>>(
    folder: &Path,
    limit: usize,
    mut visit: impl FnMut(Entry) -> Result<(), E>,
) -> Result<(), E> {
    let mut seen = 0;
    let mut waiting = list(folder, &mut seen, limit)?;
    while let Some(entry) = waiting.pop() {
        let below = if entry.kind.is_dir() { list(&entry.path, &mut seen, limit)? } else { Vec::new() };
        visit(entry)?;
        waiting.extend(below);
    }
    Ok(())
}

/// A folder's entries, the first name last.
fn list(folder: &Path, seen: &mut usize, limit: usize) -> Result<Vec<Entry>, Error> {
    let fail = |error: io::Error| Error { path: folder.to_owned(), problem: error.into() };
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        *seen += 1;
        if *seen > limit {
            return Err(Error { path: folder.to_owned(), problem: Problem::Many(limit) });
        }
        entries.push(Entry { path: entry.path(), kind: entry.file_type().map_err(fail)? });
    }
    entries.sort_by(|a, b| b.path.file_name().cmp(&a.path.file_name()));
    Ok(entries)
}

fn regular(kind: FileType) -> Result<(), Problem> {
    if kind.is_file() { Ok(()) } else { Err(Problem::Kind(kind_of(kind))) }
}

fn word(kind: rustix::fs::FileType) -> &'static str {
    use rustix::fs::FileType as Kind;
    match kind {
        Kind::Directory => "a folder",
        Kind::Fifo => "a pipe",
        Kind::Socket => "a socket",
        Kind::Symlink => "a symbolic link",
        _ => "a device",
    }
}

/// What a file that is not a regular one is, with its article.
pub fn kind_of(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_symlink() {
        "a symbolic link"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn problem(path: &Path) -> String {
        open(path, "a test", 10).unwrap_err().problem.to_string()
    }

    #[test]
    fn only_regular_files_come_in_and_nothing_waits() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let _listener = UnixListener::bind(at("socket")).unwrap();
        std::os::unix::fs::symlink("pipe", at("link")).unwrap();
        std::os::unix::fs::symlink("loop", at("loop")).unwrap();
        assert_eq!(problem(&at("absent")), "there is no such file");
        assert_eq!(problem(folder.path()), "it is a folder, not a file");
        assert_eq!(problem(&at("pipe")), "it is a pipe, not a file");
        assert_eq!(problem(&at("link")), "it is a pipe, not a file");
        assert_eq!(problem(&at("socket")), "it is a socket, not a file");
        assert_eq!(problem(Path::new("/dev/zero")), "it is a device, not a file");
        assert!(problem(&at("loop")).contains("symbolic links"));
    }

    #[test]
    fn a_folder_gives_only_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "x").unwrap();
        fs::create_dir(at("below")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", at("out")).unwrap();
        std::os::unix::fs::symlink("file", at("in")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let inside = Folder::open(folder.path()).unwrap();
        let open = |name: &str| inside.file(&name.parse().unwrap(), "a test", 10);
        assert_eq!(open("file").unwrap().read().unwrap(), b"x");
        for (name, problem) in [
            ("out", "it is a symbolic link, not a file"),
            ("in", "it is a symbolic link, not a file"),
            ("pipe", "it is a pipe, not a file"),
            ("below", "it is a folder, not a file"),
            ("absent", "there is no such file"),
        ] {
            assert_eq!(open(name).unwrap_err().problem.to_string(), problem, "{name}");
        }
    }

    #[test]
    fn no_more_than_the_limit_comes_in_whatever_the_size_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "ten bytes.").unwrap();
        assert_eq!(read_text(&path, "a test", 10).unwrap(), "ten bytes.");
        File::options().write(true).open(&path).unwrap().set_len(5 << 40).unwrap();
        assert_eq!(problem(&path), format!("it has {} bytes; a test has at most 10", 5_u64 << 40));
        // A file of /proc says that it has no bytes.
        let maps = read(Path::new("/proc/self/maps"), "a test", 10).unwrap_err();
        assert!(matches!(maps.problem, Problem::Grows { size: 0, limit: 10, .. }), "{maps}");
        fs::write(&path, b"ab\xff").unwrap();
        assert!(matches!(read_text(&path, "a test", 10).unwrap_err().problem, Problem::Text(2)));
    }

    #[test]
    fn what_is_streamed_has_the_size_that_was_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "four").unwrap();
        let mut opened = open(&path, "a test", 10).unwrap();
        let mut seen = Vec::new();
        opened.stream(|bytes| seen.extend_from_slice(bytes)).unwrap();
        assert_eq!(seen, b"four");
        assert!(opened.stamp.holds(&path));
        for (now, part) in [("fourteen", "more bytes than the 4"), ("fo", "end of file")] {
            fs::write(&path, "four").unwrap();
            let mut opened = open(&path, "a test", 10).unwrap();
            fs::write(&path, now).unwrap();
            let error = opened.stream(|_| {}).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
            assert!(!opened.stamp.holds(&path));
        }
    }
}
