//! Reads `.deb` files. Source: deb(5): an `ar` archive of `debian-binary`, `control.tar.*`, `data.tar.*`.
//!
//! Nothing in a package is trusted: names never climb, sizes are bounded, a wrong byte is an error.

use crate::door;
use crate::values::GuestPath;
use liblzma::stream::Stream;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The most control data that is unpacked. The largest in Debian has a few MB.
const MAX_CONTROL: u64 = 64 << 20;
/// The most control files. Debian's packages have up to a few dozen.
const MAX_CONTROL_FILES: usize = 1000;
/// The most payload entries. The largest package in Debian has 60,000.
const MAX_FILES: usize = 2_000_000;
/// The most bytes that a payload unpacks to: 64 GiB.
const MAX_DATA: u64 = 64 << 30;
/// What an entry's header, name and attributes take in a tar archive at most: a long name is held in memory while it is read.
const MAX_EXTRA: u64 = 1 << 20;

/// The most memory that unpacking xz may take; `xz -9` makes files that need 65 MiB (xz(1)). The checksums within are not
/// looked at: a package has been compared with its SHA-256 before it is opened.
const XZ_MEMORY: u64 = 256 << 20;

/// An opened package.
#[derive(Debug)]
pub struct Deb {
    path: PathBuf,
    file: File,
    control: Member,
    data: Member,
}

/// A file, directory, link or device in a package's payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebFile {
    /// Where it goes.
    pub path: GuestPath,
    /// Permission bits with set-id and sticky.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// What it is.
    pub kind: DebFileKind,
}

/// What a payload entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DebFileKind {
    /// A directory.
    Directory,
    /// A regular file of this many bytes.
    File(u64),
    /// A symbolic link's target.
    Symlink(String),
    /// Another name of an earlier regular file.
    HardLink(GuestPath),
    /// A character device.
    CharDevice(u32, u32),
    /// A block device.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}

/// What is wrong with a package.
#[derive(Debug, thiserror::Error)]
#[error("package {}: {problem}", path.display())]
pub struct DebError {
    /// The file.
    pub path: PathBuf,
    /// One phrase.
    pub problem: String,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    offset: u64,
    len: u64,
    compression: Compression,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Xz,
    Zstd,
}

/// One control file: mode and bytes.
pub type ControlFile = (u16, Vec<u8>);

impl Deb {
    /// Opens a package and finds its members.
    pub fn open(path: &Path) -> Result<Self, DebError> {
        let fail = |problem: String| DebError { path: path.into(), problem };
        let file = door::open(path, "a package", u64::MAX).map_err(|error| fail(error.problem.to_string()))?.file;
        let members = members(&file).map_err(fail)?;
        let find = |stem: &str| {
            let mut found = members.iter().filter(|(name, _)| {
                name.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            });
            match (found.next(), found.next()) {
                (Some((name, member)), None) => compression(name).map(|compression| Member { compression, ..*member }),
                (None, _) => Err(format!("it has no {stem} member")),
                (Some(_), Some(_)) => Err(format!("it has two {stem} members")),
            }
        };
        if members.first().is_none_or(|(name, _)| name != "debian-binary") {
            return Err(fail("its first member is not debian-binary".to_owned()));
        }
        let (control, data) = (find("control.tar").map_err(fail)?, find("data.tar").map_err(fail)?);
        Ok(Self { path: path.into(), file, control, data })
    }

    /// The control files by name: `control`, `postinst`, `conffiles`, …
    pub fn control(&self) -> Result<BTreeMap<String, ControlFile>, DebError> {
        let mut files = BTreeMap::new();
        let mut archive = tar::Archive::new(self.reader(self.control).take(MAX_CONTROL));
        for entry in archive.entries().map_err(|error| self.error(&error))? {
            let mut entry = entry.map_err(|error| self.error(&error))?;
            let path = self.guest_path(&entry.path_bytes())?;
            if path.as_str() == "/" || !entry.header().entry_type().is_file() {
                continue;
            }
            let mode = entry.header().mode().map_err(|error| self.error(&error))?;
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(|error| self.error(&error))?;
            if files.len() == MAX_CONTROL_FILES {
                return Err(self.problem(format!("it has more than {MAX_CONTROL_FILES} control files")));
            }
            files.insert(path.relative().to_owned(), ((mode & 0o777) as u16, bytes));
        }
        Ok(files)
    }

    /// Visits every entry of the payload in order, with a reader for its bytes.
    pub fn visit<E: From<DebError>>(
        &self,
        mut visit: impl FnMut(DebFile, &mut dyn Read) -> Result<(), E>,
    ) -> Result<(), E> {
        let allowed = Rc::new(Cell::new(MAX_EXTRA));
        let metered = Metered { inner: self.reader(self.data).take(MAX_DATA), allowed: allowed.clone() };
        let mut archive = tar::Archive::new(metered);
        for (number, entry) in archive.entries().map_err(|error| self.error(&error))?.enumerate() {
            let mut entry = entry.map_err(|error| self.error(&error))?;
            if number == MAX_FILES {
                return Err(self.problem(format!("it has more than {MAX_FILES} files")).into());
            }
            // Its bytes, and what stands before the bytes of the next one.
            allowed.set(entry.size().saturating_add(MAX_EXTRA));
            let file = self.describe(&entry)?;
            visit(file, &mut entry)?;
        }
        Ok(())
    }

    fn describe(&self, entry: &tar::Entry<impl Read>) -> Result<DebFile, DebError> {
        let header = entry.header();
        let number = |value: io::Result<u64>| {
            let value = value.map_err(|error| self.error(&error))?;
            u32::try_from(value).map_err(|_| self.problem(format!("an id of {value}")))
        };
        let device = || -> Result<(u32, u32), DebError> {
            let major = header.device_major().map_err(|error| self.error(&error))?.unwrap_or_default();
            let minor = header.device_minor().map_err(|error| self.error(&error))?.unwrap_or_default();
            Ok((major, minor))
        };
        let path = self.guest_path(&entry.path_bytes())?;
        let link = || entry.link_name_bytes().ok_or_else(|| self.problem(format!("{path} is a link to nothing")));
        let kind = match header.entry_type() {
            tar::EntryType::Directory => DebFileKind::Directory,
            tar::EntryType::Regular | tar::EntryType::Continuous => DebFileKind::File(entry.size()),
            tar::EntryType::Symlink => DebFileKind::Symlink(self.text(&link()?)?),
            tar::EntryType::Link => DebFileKind::HardLink(self.guest_path(&link()?)?),
            tar::EntryType::Char => device().map(|(major, minor)| DebFileKind::CharDevice(major, minor))?,
            tar::EntryType::Block => device().map(|(major, minor)| DebFileKind::BlockDevice(major, minor))?,
            tar::EntryType::Fifo => DebFileKind::Fifo,
            other => return Err(self.problem(format!("{path} is of the unknown kind {other:?}"))),
        };
        Ok(DebFile {
            mode: (header.mode().map_err(|error| self.error(&error))? & 0o7777) as u16,
            uid: number(header.uid())?,
            gid: number(header.gid())?,
            mtime: header.mtime().map_err(|error| self.error(&error))?.cast_signed(),
            path,
            kind,
        })
    }

    fn reader(&self, member: Member) -> Box<dyn Read + '_> {
        let raw =
            io::BufReader::with_capacity(256 << 10, Window { file: &self.file, at: member.offset, left: member.len });
        match member.compression {
            Compression::None => Box::new(raw),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(raw)),
            Compression::Xz => match Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::IGNORE_CHECK) {
                Ok(stream) => Box::new(liblzma::bufread::XzDecoder::new_stream(raw, stream)),
                Err(error) => Box::new(Failing(Some(error.into()))),
            },
            Compression::Zstd => match zstd::stream::read::Decoder::with_buffer(raw) {
                Ok(decoder) => Box::new(decoder),
                Err(error) => Box::new(Failing(Some(error))),
            },
        }
    }

    fn guest_path(&self, bytes: &[u8]) -> Result<GuestPath, DebError> {
        GuestPath::from_archive(&self.text(bytes)?).map_err(|error| self.problem(error.to_string()))
    }

    fn text(&self, bytes: &[u8]) -> Result<String, DebError> {
        let text = std::str::from_utf8(bytes).map_err(|_| {
            self.problem(format!("the name `{}` is not UTF-8", String::from_utf8_lossy(bytes).escape_debug()))
        })?;
        Ok(text.to_owned())
    }

    fn error(&self, error: &io::Error) -> DebError {
        self.problem(error.to_string())
    }

    fn problem(&self, problem: String) -> DebError {
        DebError { path: self.path.clone(), problem }
    }
}

fn compression(name: &str) -> Result<Compression, String> {
    match name.split_once(".tar").map(|(_, suffix)| suffix) {
        Some("") => Ok(Compression::None),
        Some(".gz") => Ok(Compression::Gzip),
        Some(".xz") => Ok(Compression::Xz),
        Some(".zst") => Ok(Compression::Zstd),
        _ => Err(format!("{name} is compressed in a way that is not supported (gz, xz, zst are)")),
    }
}

/// The members of an `ar` archive. Source: ar(5), the common variant that deb(5) asks for.
fn members(file: &File) -> Result<Vec<(String, Member)>, String> {
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    let mut magic = [0; 8];
    file.read_exact_at(&mut magic, 0).map_err(|_| "it is too short to be a package".to_owned())?;
    if &magic != b"!<arch>\n" {
        return Err("it is not an ar archive".to_owned());
    }
    let mut members = Vec::new();
    let mut offset = 8;
    while offset < size && members.len() < 16 {
        let mut header = [0; 60];
        file.read_exact_at(&mut header, offset).map_err(|_| "it is cut off in a member's header".to_owned())?;
        let field = |range| {
            std::str::from_utf8(header.get::<std::ops::Range<usize>>(range).unwrap_or_default())
                .unwrap_or_default()
                .trim()
        };
        let name = field(0..16).trim_end_matches('/').to_owned();
        let len: u64 = field(48..58).parse().map_err(|_| format!("the size of {name} is not a number"))?;
        offset += 60;
        if header.get(58..60) != Some(b"`\n") || offset.checked_add(len).is_none_or(|end| end > size) {
            return Err(format!("it is cut off or damaged at the member {name}"));
        }
        members.push((name, Member { offset, len, compression: Compression::None }));
        offset += len + len % 2;
    }
    Ok(members)
}

/// A reader that fails behind a number of bytes that is set anew from time to time.
struct Metered<R> {
    inner: R,
    allowed: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let left = self.allowed.get().checked_sub(count as u64);
        self.allowed.set(left.ok_or_else(|| io::Error::other("a name or header in it is longer than any"))?);
        Ok(count)
    }
}

/// A part of a file, read without moving the file's own position.
struct Window<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read_at(buffer.get_mut(..most).unwrap_or_default(), self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// A reader that could not be made.
struct Failing(Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}
