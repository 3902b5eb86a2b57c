//! Everything in a filesystem, as values that can be compared.

use super::view::Kind;
use super::{Error, acl};
use crate::tree::{Content, NodeKind, Tree};
use crate::values::{GuestPath, Hasher, Sha256};
use mkext4::reader::Fs;
use mkext4::spec::{self, Inode, inode::FileType};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

/// The largest directory that is read, in bytes.
const MAX_DIRECTORY: u64 = 256 << 20;

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
    /// SHA-256 of a regular file's bytes.
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
    Ok(Sha256::of(&content.read().map_err(failed)?))
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
/// Every checksum it meets is verified; a reader that panics on a damaged image counts as damage.
pub fn of_image(file: File, name: &Path) -> Result<Inventory, Error> {
    let damaged = || Error::Damaged { image: name.to_owned(), source: None };
    let read = std::panic::AssertUnwindSafe(|| Reading::all(file));
    let result = std::panic::catch_unwind(read).map_err(|_| damaged())?;
    result.map_err(|source| Error::Damaged { image: name.to_owned(), source: Some(source) })
}

struct Reading {
    fs: Fs<File>,
    inventory: Inventory,
    names: BTreeMap<u32, GuestPath>,
    links: Vec<(GuestPath, GuestPath)>,
    todo: Vec<(GuestPath, u32)>,
    directories: BTreeSet<u32>,
}

impl Reading {
    fn all(file: File) -> mkext4::Result<Inventory> {
        let root = GuestPath::root();
        let mut reading = Self {
            fs: Fs::open(file)?,
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
                item.target = Some(String::from_utf8_lossy(&self.fs.symlink_target(number)?).into_owned());
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
        let entries = self.fs.read_dir(number)?;
        for entry in entries.into_iter().filter(|entry| entry.inode != 0 && entry.name != b"." && entry.name != b"..") {
            let name =
                String::from_utf8(entry.name).map_err(|_| damage(format!("{path} has a name that is not UTF-8")))?;
            let below = path.join(&name).map_err(|error| damage(error.to_string()))?;
            self.todo.push((below, entry.inode));
        }
        Ok(())
    }

    fn digest(&self, number: u32, inode: &Inode) -> mkext4::Result<Sha256> {
        let extents = self.fs.extents(number, inode)?;
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        while at < inode.size {
            let count = self.fs.read_file_at(inode, &extents, at, &mut buffer)?;
            hasher.update(buffer.get(..count).unwrap_or_default());
            at += count.max(1) as u64;
        }
        Ok(hasher.finish())
    }
}

fn damage(why: String) -> mkext4::Error {
    mkext4::Error::Corrupt { what: "filesystem", why }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
