//! Everything in a filesystem, as values that can be compared.

use super::meter::{Meter, data_bytes, geometry};
use super::verity::{self, Source};
use super::view::Kind;
use super::{Error, acl};
use crate::door;
use crate::tree::{Content, NodeKind, Tree};
use crate::values::{GuestPath, Sha256};
use mkext4::reader::{FileExtent, Fs};
use mkext4::spec::{self, ExtentHeader, ExtentIdx, Inode, extent, inode::FileType};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The largest directory that is read, in bytes.
const MAX_DIRECTORY: u64 = 64 << 20;

/// A filesystem's nodes by path.
pub type Inventory = BTreeMap<GuestPath, Item>;

/// What one node is, content by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Its type.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since 1970.
    pub mtime: i64,
    /// Bytes of a regular file.
    pub size: u64,
    /// fs-verity digest of a regular file's bytes: holes cost nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Sha256>,
    /// A symbolic link's target; `major:minor` of a device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The first of all names of this file, where it has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_as: Option<GuestPath>,
    /// Extended attributes, values in hexadecimal.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
}

/// The inventory of a tree. Contents are read and digested.
pub fn of_tree(tree: &Tree) -> Result<Inventory, Error> {
    let mut inventory = Inventory::new();
    for (path, node) in tree.iter() {
        let (path, node) = match &node.kind {
            NodeKind::HardLink(first) => (path, tree.get(first).unwrap_or(node)),
            _ => (path, node),
        };
        let (kind, target) = match &node.kind {
            NodeKind::Directory => (Kind::Directory, None),
            NodeKind::File(_) | NodeKind::HardLink(_) => (Kind::File, None),
            NodeKind::Symlink(target) => (Kind::Symlink, Some(target.clone())),
            NodeKind::CharDevice(major, minor) => (Kind::CharDevice, Some(format!("{major}:{minor}"))),
            NodeKind::BlockDevice(major, minor) => (Kind::BlockDevice, Some(format!("{major}:{minor}"))),
            NodeKind::Fifo => (Kind::Fifo, None),
            NodeKind::Socket => (Kind::Socket, None),
        };
        let content = if let NodeKind::File(content) = &node.kind { Some(content) } else { None };
        let item = Item {
            kind,
            mode: node.meta.mode,
            uid: node.meta.uid,
            gid: node.meta.gid,
            mtime: node.meta.mtime,
            size: content.map_or(0, Content::len),
            digest: content.map(|content| digest(content, path)).transpose()?,
            target,
            same_as: None,
            xattrs: node.xattrs.iter().map(|(name, value)| (name.clone(), hex(value))).collect(),
        };
        inventory.insert(path.clone(), item);
    }
    let firsts = tree.iter().filter_map(|(path, node)| match &node.kind {
        NodeKind::HardLink(first) => Some((path.clone(), first.clone())),
        _ => None,
    });
    name_links(&mut inventory, firsts);
    Ok(inventory)
}

fn digest(content: &Content, guest: &GuestPath) -> Result<Sha256, Error> {
    let failed = |source| {
        let host = match content {
            Content::Host { file, .. } => file.to_path_buf(),
            Content::Bytes(_) => guest.as_str().into(),
        };
        Error::Source { host, guest: guest.clone(), source }
    };
    let digest = || match content {
        Content::Bytes(bytes) => verity::digest_of(&bytes[..]),
        Content::Host { file, offset, len } => {
            let file = door::open(file, "a file of a folder", u64::MAX)?.file;
            if offset.checked_add(*len).is_none_or(|end| file.metadata().is_ok_and(|now| now.len() < end)) {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            verity::digest_of(&verity::Part { file: &file, offset: *offset, len: *len })
        }
    };
    digest().map_err(failed)
}

/// Notes for every name of a file with several the first of them in path order. `links` are (name, any other name).
fn name_links(inventory: &mut Inventory, links: impl Iterator<Item = (GuestPath, GuestPath)>) {
    let mut groups: BTreeMap<GuestPath, BTreeSet<GuestPath>> = BTreeMap::new();
    for (name, other) in links {
        groups.entry(other.clone()).or_insert_with(|| BTreeSet::from([other])).insert(name);
    }
    for names in groups.into_values() {
        let Some(first) = names.first().cloned() else { continue };
        for item in names.iter().filter(|name| **name != first) {
            if let Some(item) = inventory.get_mut(item) {
                item.same_as = Some(first.clone());
            }
        }
    }
}

/// The inventory of an image, read with mkext4's reader, which sees extended attributes, device numbers and inodes.
/// Every checksum it meets is verified; a reader that panics on a damaged image counts as damage. Holes are not read, and what
/// is read and kept is bounded by what the image holds.
pub fn of_image(file: File, name: &Path) -> Result<Inventory, Error> {
    geometry(&file, name)?;
    let failed = |source| Error::Open { image: name.to_owned(), source };
    let data = data_bytes(&file).map_err(failed)?;
    let meter = Meter::new(file.try_clone().map_err(failed)?, TIMES, EXTRA).map_err(failed)?;
    let damaged = || Error::Damaged { image: name.to_owned(), source: None };
    let read = std::panic::AssertUnwindSafe(|| Reading::all(&file, &meter, data + SLACK));
    let result = std::panic::catch_unwind(read).map_err(|_| damaged())?;
    result.map_err(|source| Error::Damaged { image: name.to_owned(), source: Some(source) })
}

/// How often metadata may be read, all of it, and how much besides.
const TIMES: u64 = 8;
const EXTRA: u64 = 64 << 20;
/// What files may have beyond the image's data: the ends of last blocks.
const SLACK: u64 = 1 << 20;
/// The most names, and the most bytes of names, targets and attributes, of one image.
const MAX_NAMES: usize = 1_000_000;
const MAX_TEXT: usize = 128 << 20;
/// The longest path (Linux `PATH_MAX`).
const MAX_PATH: usize = 4096;
/// The most extents of one file: half of what 8 GiB in single blocks have.
const MAX_EXTENTS: usize = 1 << 20;

struct Reading<'i> {
    fs: Fs<&'i Meter>,
    file: &'i File,
    /// Bytes of contents that may still be read: every block belongs to one file.
    contents: u64,
    /// Bytes of names and the like that may still be kept.
    text: usize,
    inventory: Inventory,
    names: BTreeMap<u32, GuestPath>,
    links: Vec<(GuestPath, GuestPath)>,
    todo: Vec<(GuestPath, u32)>,
    directories: BTreeSet<u32>,
}

impl<'i> Reading<'i> {
    fn all(file: &'i File, meter: &'i Meter, contents: u64) -> mkext4::Result<Inventory> {
        let root = GuestPath::root();
        let mut reading = Self {
            fs: Fs::open(meter)?,
            file,
            contents,
            text: MAX_TEXT,
            inventory: Inventory::new(),
            names: BTreeMap::new(),
            links: Vec::new(),
            todo: vec![(root, spec::ROOT_INO)],
            directories: BTreeSet::new(),
        };
        while let Some((path, number)) = reading.todo.pop() {
            // The filesystem's own.
            if path.as_str() != "/lost+found" {
                reading.node(path, number)?;
            }
        }
        let links = std::mem::take(&mut reading.links);
        name_links(&mut reading.inventory, links.into_iter());
        Ok(reading.inventory)
    }

    /// Counts what is kept.
    fn keep(&mut self, bytes: usize) -> mkext4::Result<()> {
        let left = self.text.checked_sub(bytes).filter(|_| self.inventory.len() + self.todo.len() <= MAX_NAMES);
        self.text =
            left.ok_or_else(|| damage(format!("it has more than {MAX_NAMES} names, or {MAX_TEXT} bytes of them")))?;
        Ok(())
    }

    fn node(&mut self, path: GuestPath, number: u32) -> mkext4::Result<()> {
        let inode = self.fs.inode(number)?;
        let device = || inode.dev_numbers().map(|(major, minor)| format!("{major}:{minor}"));
        let mut item = Item {
            kind: Kind::File,
            mode: inode.mode & 0o7777,
            uid: inode.uid,
            gid: inode.gid,
            mtime: Inode::timestamp(inode.mtime, inode.mtime_extra).0,
            size: 0,
            digest: None,
            target: None,
            same_as: None,
            xattrs: self.xattrs(number)?,
        };
        self.keep(item.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum())?;
        match inode.file_type() {
            FileType::Dir => {
                item.kind = Kind::Directory;
                self.directory(&path, number, &inode)?;
            }
            FileType::Regular => {
                item.size = inode.size;
                match self.names.get(&number).cloned() {
                    Some(first) => {
                        item.digest = self.inventory.get(&first).and_then(|item| item.digest);
                        self.links.push((path.clone(), first));
                    }
                    None => {
                        item.digest = Some(self.digest(number, &inode)?);
                        if inode.links_count > 1 {
                            self.names.insert(number, path.clone());
                        }
                    }
                }
            }
            FileType::Symlink => {
                item.kind = Kind::Symlink;
                self.extents(number, &inode)?;
                let target = self.fs.symlink_target(number)?;
                self.keep(target.len())?;
                item.target = Some(String::from_utf8_lossy(&target).into_owned());
            }
            FileType::CharDev => (item.kind, item.target) = (Kind::CharDevice, device()),
            FileType::BlockDev => (item.kind, item.target) = (Kind::BlockDevice, device()),
            FileType::Fifo => item.kind = Kind::Fifo,
            FileType::Socket => item.kind = Kind::Socket,
            FileType::Unknown => return Err(damage(format!("{path} has no known type"))),
        }
        self.inventory.insert(path, item);
        Ok(())
    }

    fn xattrs(&self, number: u32) -> mkext4::Result<BTreeMap<String, String>> {
        let mut found = BTreeMap::new();
        for entry in self.fs.xattrs(number)? {
            let Some(name) = entry.full_name() else { continue };
            let name = String::from_utf8_lossy(&name).into_owned();
            let spoken = if acl::is_acl(&name) { acl::from_disk(&entry.value) } else { None };
            found.insert(name, hex(&spoken.unwrap_or(entry.value)));
        }
        Ok(found)
    }

    fn directory(&mut self, path: &GuestPath, number: u32, inode: &Inode) -> mkext4::Result<()> {
        if !self.directories.insert(number) || inode.size > MAX_DIRECTORY {
            return Err(damage(format!("{path} is a directory that contains itself, or has {} bytes", inode.size)));
        }
        self.extents(number, inode)?;
        let entries = self.fs.read_dir(number)?;
        for entry in entries.into_iter().filter(|entry| entry.inode != 0 && entry.name != b"." && entry.name != b"..") {
            let name =
                String::from_utf8(entry.name).map_err(|_| damage(format!("{path} has a name that is not UTF-8")))?;
            let below = path.join(&name).map_err(|error| damage(error.to_string()))?;
            if below.as_str().len() > MAX_PATH {
                return Err(damage(format!("folders are nested deeper than a path may be long ({MAX_PATH} bytes)")));
            }
            self.keep(below.as_str().len())?;
            self.todo.push((below, entry.inode));
        }
        Ok(())
    }

    /// A file's extents in order. The tree is counted first: one that names its own nodes again and again has billions.
    fn extents(&self, number: u32, inode: &Inode) -> mkext4::Result<Vec<FileExtent>> {
        let mut count = 0;
        if let Some(root) = inode.extent_root() {
            self.count(root, MAX_DEPTH, &mut count)?;
        }
        let mut extents = self.fs.extents(number, inode)?;
        extents.sort_unstable_by_key(|extent| extent.logical);
        let end = |extent: &FileExtent| u64::from(extent.logical) + u64::from(extent.len);
        if extents.iter().zip(extents.iter().skip(1)).any(|(one, next)| end(one) > u64::from(next.logical)) {
            return Err(damage(format!("inode {number} has two blocks in one place")));
        }
        Ok(extents)
    }

    fn count(&self, node: &[u8], depth: u16, count: &mut usize) -> mkext4::Result<()> {
        let header = ExtentHeader::decode(node)?;
        let room = node.len().saturating_sub(ExtentHeader::LEN) / ExtentHeader::ENTRY_LEN;
        *count += usize::from(header.entries).max(1);
        if *count > MAX_EXTENTS || header.depth > depth || usize::from(header.entries) > room {
            return Err(damage("a file has more extents than a file can have".to_owned()));
        }
        if header.depth == 0 {
            return Ok(());
        }
        for index in 0..usize::from(header.entries) {
            let child = ExtentIdx::decode(extent::entry(node, index)).leaf;
            self.count(&self.fs.read_block(child)?, header.depth - 1, count)?;
        }
        Ok(())
    }

    fn digest(&mut self, number: u32, inode: &Inode) -> mkext4::Result<Sha256> {
        let most = self.fs.superblock().block_size() << 32;
        if inode.size > most {
            return Err(damage(format!("inode {number} says it has {} bytes, more than a file can have", inode.size)));
        }
        let contents = Contents {
            file: self.file,
            size: inode.size,
            block: self.fs.superblock().block_size(),
            extents: self.extents(number, inode)?.into_iter().filter(|extent| !extent.unwritten).collect(),
        };
        let bytes = contents.data_bytes()?;
        self.contents = self.contents.checked_sub(bytes).ok_or_else(|| {
            damage(format!("inode {number} and others before it name the same blocks: more than the image holds"))
        })?;
        Ok(verity::digest_of(&contents)?)
    }
}

/// The deepest extent tree (kernel `fs/ext4/ext4_extents.h`, `EXT4_MAX_EXTENT_DEPTH`).
const MAX_DEPTH: u16 = 5;

/// The bytes of a regular file in an image: what its extents say, but for the holes of the image itself.
struct Contents<'i> {
    file: &'i File,
    size: u64,
    block: u64,
    /// By their places in the file, none over another.
    extents: Vec<FileExtent>,
}

impl Contents<'_> {
    /// The first extent that ends behind a byte of the file, and the ones after it.
    fn from(&self, at: u64) -> &[FileExtent] {
        let ended = |extent: &FileExtent| (u64::from(extent.logical) + u64::from(extent.len)) * self.block <= at;
        self.extents.get(self.extents.partition_point(ended)..).unwrap_or_default()
    }

    /// Where an extent is, in the file and in the image.
    fn place(&self, extent: &FileExtent) -> std::io::Result<(Range<u64>, u64)> {
        let start = u64::from(extent.logical) * self.block;
        let end = (start + u64::from(extent.len) * self.block).min(self.size).max(start);
        let physical = extent.physical.checked_mul(self.block).filter(|at| at.checked_add(end - start).is_some());
        Ok((start..end, physical.ok_or(std::io::ErrorKind::InvalidData)?))
    }

    fn data_bytes(&self) -> std::io::Result<u64> {
        let (mut at, mut bytes) = (0, 0_u64);
        while let Some(run) = self.data(at)? {
            bytes += run.end - run.start;
            at = run.end;
        }
        Ok(bytes)
    }
}

impl Source for Contents<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn data(&self, from: u64) -> std::io::Result<Option<Range<u64>>> {
        for extent in self.from(from) {
            let (range, physical) = self.place(extent)?;
            let skip = from.max(range.start) - range.start;
            let end = physical + (range.end - range.start);
            if let Some(run) = verity::data_in(self.file, physical + skip..end)? {
                return Ok(Some(range.start + (run.start - physical)..range.start + (run.end - physical)));
            }
        }
        Ok(None)
    }

    fn read(&self, into: &mut [u8], at: u64) -> std::io::Result<()> {
        into.fill(0);
        let end = at + into.len() as u64;
        for extent in self.from(at) {
            let (range, physical) = self.place(extent)?;
            let (first, last) = (range.start.max(at), range.end.min(end));
            if range.start >= end {
                break;
            }
            let piece = into.get_mut((first - at) as usize..(last.max(first) - at) as usize).unwrap_or_default();
            self.file.read_exact_at(piece, physical + (first - range.start))?;
        }
        Ok(())
    }
}

fn damage(why: String) -> mkext4::Error {
    mkext4::Error::Corrupt { what: "filesystem", why }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
