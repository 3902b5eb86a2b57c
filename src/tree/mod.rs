//! The filesystem tree in memory: path, metadata, extended attributes, where the content is. And the operations
//! on it: overlays, users, unit enablement, hygiene. No file of the target is written here.
//!
//! In: nodes from packages, a layer, an overlay. Out: a [`Tree`] that `image` writes. Uses `network`, `values`.

mod berkeley;
mod capture;
mod error;
mod failures;
mod hooks;
mod hygiene;
mod identity;
mod keystore;
mod overlay;
mod owners;
mod sources;
mod ucf;
mod units;
mod users;

pub(crate) use capture::translate_acl;
pub use capture::{capture, capture_as};
pub use error::Error;
pub use failures::failures;
pub use hooks::hooks_of_apt;
pub use hygiene::hygiene;
pub use identity::renewable;
pub use overlay::overlay;
pub use owners::Owners;
pub use sources::Sources;
pub use units::apply as units;
pub use users::{apply as users, owner};

use crate::door;
use crate::network::{FileBytes, GuestFiles, MAX_FILE, SnapshotNode, expand};
use crate::values::GuestPath;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;

/// A whole root filesystem, in path order. Every node but the root has its parent directory in the tree.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tree {
    nodes: BTreeMap<GuestPath, Node>,
}

/// A file, directory, link or device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Owner, mode, time.
    pub meta: Metadata,
    /// Extended attributes by full name (`security.capability`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// What it is.
    pub kind: NodeKind,
}

/// Ownership, permissions, time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Permission bits with set-id and sticky, at most 0o7777.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since 1970. Whole seconds: that is what archives carry.
    pub mtime: i64,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeKind {
    /// A directory.
    Directory,
    /// A regular file.
    File(Content),
    /// Another name of the regular file at this path (itself not a hard link).
    HardLink(GuestPath),
    /// A symbolic link and its target.
    Symlink(String),
    /// A character device: major, minor.
    CharDevice(u32, u32),
    /// A block device: major, minor.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// Where a regular file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Here.
    Bytes(Arc<[u8]>),
    /// In a host file, from `offset`, `len` bytes.
    Host {
        /// The file.
        file: Arc<Path>,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
    },
}

/// The most that is read of one file into memory: accounts, units, kernel modules.
const MAX_READ: u64 = 64 << 20;

/// Symbolic links followed in one path, as Linux does (path_resolution(7)).
const MAX_LINKS: usize = 40;

impl Content {
    /// Number of bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Host { len, .. } => *len,
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All bytes. Fails when the host file is shorter than it was.
    pub fn read(&self) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.to_vec()),
            Self::Host { file, offset, len } => {
                let mut source = door::open(file, "a file of an image", u64::MAX)?.file;
                source.seek(SeekFrom::Start(*offset))?;
                let mut bytes = Vec::new();
                source.take(*len).read_to_end(&mut bytes)?;
                if bytes.len() as u64 == *len { Ok(bytes) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
            }
        }
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().into())
    }
}

impl Node {
    /// A node without extended attributes, owned by root.
    pub fn new(kind: NodeKind, mode: u16, mtime: i64) -> Self {
        Self { meta: Metadata { mode, uid: 0, gid: 0, mtime }, xattrs: BTreeMap::new(), kind }
    }

    /// Whether this is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == NodeKind::Directory
    }
}

impl Tree {
    /// An empty root directory.
    pub fn new(mtime: i64) -> Self {
        Self { nodes: BTreeMap::from([(GuestPath::root(), Node::new(NodeKind::Directory, 0o755, mtime))]) }
    }

    /// The node at exactly this path.
    pub fn get(&self, path: &GuestPath) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// The node at exactly this path, to change.
    pub fn get_mut(&mut self, path: &GuestPath) -> Option<&mut Node> {
        self.nodes.get_mut(path)
    }

    /// All nodes in path order.
    pub fn iter(&self) -> impl Iterator<Item = (&GuestPath, &Node)> {
        self.nodes.iter()
    }

    /// All nodes, to change.
    pub fn nodes_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.nodes.values_mut()
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether not even a root is there.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Bytes of all regular files.
    pub fn content_size(&self) -> u64 {
        let size = |node: &Node| match &node.kind {
            NodeKind::File(content) => content.len(),
            _ => 0,
        };
        self.nodes.values().map(size).sum()
    }

    /// The nodes below a directory, all levels, in path order.
    pub fn below<'t>(&'t self, directory: &GuestPath) -> impl Iterator<Item = (&'t GuestPath, &'t Node)> {
        let directory = directory.clone();
        let from = directory.clone();
        self.nodes
            .range(from..)
            .skip_while({
                let directory = directory.clone();
                move |(path, _)| **path == directory
            })
            // `/a-b` sorts between `/a` and `/a/b`, so siblings are passed over, not stopped at.
            .take_while({
                let directory = directory.clone();
                move |(path, _)| path.as_str().starts_with(directory.as_str())
            })
            .filter(move |(path, _)| path.starts_with(&directory))
    }

    /// The names in a directory, sorted.
    pub fn children(&self, directory: &GuestPath) -> Vec<&str> {
        let depth = directory.components().count() + 1;
        self.below(directory)
            .filter(|(path, _)| path.components().count() == depth)
            .map(|(path, _)| path.name())
            .collect()
    }

    /// Where a path leads: symbolic links among its parents are followed inside this tree, the last component is
    /// not. `..` in a link stops at the root, as in a chroot. None when a parent is missing, is no directory, or
    /// the links go in circles.
    pub fn locate(&self, path: &GuestPath) -> Option<GuestPath> {
        let mut waiting: Vec<String> = path.components().rev().map(str::to_owned).collect();
        let mut here = GuestPath::root();
        let mut links = 0;
        while let Some(name) = waiting.pop() {
            if name == ".." {
                here = here.parent().unwrap_or_else(GuestPath::root);
                continue;
            }
            let next = here.join(&name).ok()?;
            match self.nodes.get(&next).map(|node| &node.kind) {
                Some(NodeKind::Symlink(target)) if !waiting.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    if target.starts_with('/') {
                        here = GuestPath::root();
                    }
                    let parts = target.split('/').rev().filter(|part| !matches!(*part, "" | "."));
                    waiting.extend(parts.map(str::to_owned));
                }
                Some(NodeKind::Directory) => here = next,
                _ if waiting.is_empty() => return Some(next),
                _ => return None,
            }
        }
        Some(here)
    }

    /// Where a path leads when the last component is followed too.
    pub fn resolve(&self, path: &GuestPath) -> Option<GuestPath> {
        let mut place = self.locate(path)?;
        for _ in 0..MAX_LINKS {
            let Some(Node { kind: NodeKind::Symlink(target), .. }) = self.nodes.get(&place) else {
                return self.nodes.contains_key(&place).then_some(place);
            };
            let base = if target.starts_with('/') { GuestPath::root() } else { place.parent()? };
            let mut next = base;
            for part in target.split('/') {
                next = match part {
                    "" | "." => next,
                    ".." => next.parent().unwrap_or_else(GuestPath::root),
                    part => self.resolve_step(&next.join(part).ok()?)?,
                };
            }
            place = self.locate(&next)?;
        }
        None
    }

    /// A directory on the way may itself be a link; whatever is last is left for the caller.
    fn resolve_step(&self, path: &GuestPath) -> Option<GuestPath> {
        self.locate(path)
    }

    /// The bytes of the file that a path leads to, following links; none when there is no regular file.
    pub fn read(&self, path: &GuestPath) -> std::io::Result<Option<Vec<u8>>> {
        let Some(place) = self.resolve(path) else { return Ok(None) };
        match self.nodes.get(&place).map(|node| &node.kind) {
            Some(NodeKind::File(content)) if content.len() > MAX_READ => Err(std::io::ErrorKind::FileTooLarge.into()),
            Some(NodeKind::File(content)) => content.read().map(Some),
            Some(NodeKind::HardLink(first)) => self.read(first),
            _ => Ok(None),
        }
    }

    /// Gives a file other contents, and leaves the rest of it as it is.
    fn replace(&mut self, path: &GuestPath, bytes: Vec<u8>) {
        if let Some(node) = self.get_mut(path) {
            node.kind = NodeKind::File(Content::Bytes(bytes.into()));
        }
    }

    /// The paths that a pattern stands for, in which a `*` is any part of one name.
    fn expand(&self, pattern: &str) -> Result<Vec<GuestPath>, Error> {
        expand(pattern, &|folder| Ok(self.children(folder).into_iter().map(str::to_owned).collect()))
    }

    /// Puts a node where a path leads (links among its parents are followed), making missing parents with the node's
    /// time and mode 0755. Replaces what is there, but never a directory by something else or the other way round.
    /// Other names of a replaced file keep what it was.
    pub fn insert(&mut self, path: &GuestPath, node: Node) -> Result<GuestPath, Error> {
        let place = self.make_parents(path, node.meta.mtime)?;
        self.put(place.clone(), node)?;
        Ok(place)
    }

    /// Puts a node at exactly this path, whose parent is a directory of the tree.
    fn put(&mut self, place: GuestPath, node: Node) -> Result<(), Error> {
        match self.nodes.get(&place) {
            Some(old) if old.is_directory() != node.is_directory() => {
                Err(Error::Kind { path: place, old: old.is_directory() })
            }
            _ => {
                if let Some(old) = self.nodes.insert(place.clone(), node) {
                    self.hand_on(&place, old);
                }
                Ok(())
            }
        }
    }

    /// Puts a regular file of root's in place.
    pub fn insert_file(&mut self, path: &str, mode: u16, mtime: i64, content: impl Into<Content>) -> Result<(), Error> {
        let path: GuestPath = path.parse()?;
        self.insert(&path, Node::new(NodeKind::File(content.into()), mode, mtime)).map(|_| ())
    }

    /// Puts a symbolic link in place.
    pub fn insert_link(&mut self, path: &str, target: &str, mtime: i64) -> Result<(), Error> {
        let path: GuestPath = path.parse()?;
        self.insert(&path, Node::new(NodeKind::Symlink(target.to_owned()), 0o777, mtime)).map(|_| ())
    }

    /// Removes a node and everything below it. A file that other hard links name lives on under the next name.
    pub fn remove(&mut self, path: &GuestPath) {
        let Some(path) = self.locate(path) else { return };
        let doomed: Vec<_> =
            std::iter::once(path.clone()).chain(self.below(&path).map(|(path, _)| path.clone())).collect();
        for path in doomed {
            if let Some(node) = self.nodes.remove(&path) {
                self.hand_on(&path, node);
            }
        }
    }

    /// Gives a file that has left its path to the first of its other names.
    fn hand_on(&mut self, path: &GuestPath, node: Node) {
        if !matches!(node.kind, NodeKind::File(_)) {
            return;
        }
        let is_link = |node: &Node| matches!(&node.kind, NodeKind::HardLink(first) if first == path);
        let mut links = self.nodes.iter_mut().filter(|(_, node)| is_link(node));
        if let Some((heir, first)) = links.next() {
            *first = node;
            links.for_each(|(_, link)| link.kind = NodeKind::HardLink(heir.clone()));
        }
    }

    fn make_parents(&mut self, path: &GuestPath, mtime: i64) -> Result<GuestPath, Error> {
        if let Some(place) = self.locate(path) {
            return Ok(place);
        }
        let parent = path.parent().ok_or_else(|| Error::Parent(path.clone()))?;
        let place = self.make_parents(&parent, mtime)?;
        match self.nodes.get(&place) {
            None => {
                self.nodes.insert(place, Node::new(NodeKind::Directory, 0o755, mtime));
            }
            Some(node) if node.is_directory() => {}
            Some(_) => {
                // The parent is a link that leads nowhere yet: make what it names.
                let Some(target) = self.dangling(&place) else { return Err(Error::Parent(path.clone())) };
                self.make_parents(&target, mtime)?;
                self.nodes.entry(target).or_insert_with(|| Node::new(NodeKind::Directory, 0o755, mtime));
            }
        }
        self.locate(path).ok_or_else(|| Error::Parent(path.clone()))
    }

    fn dangling(&self, place: &GuestPath) -> Option<GuestPath> {
        match &self.nodes.get(place)?.kind {
            NodeKind::Symlink(target) if target.starts_with('/') => target.parse().ok(),
            NodeKind::Symlink(target) => place.parent()?.join(target).ok(),
            _ => None,
        }
    }
}

impl GuestFiles for Tree {
    type Error = std::io::Error;

    fn node(&self, path: &GuestPath, read: bool) -> std::io::Result<Option<SnapshotNode>> {
        let Some(node) = self.locate(path).and_then(|place| self.nodes.get(&place)) else { return Ok(None) };
        Ok(Some(match &node.kind {
            NodeKind::Directory => SnapshotNode::Directory,
            NodeKind::Symlink(target) => SnapshotNode::Symlink(target.clone()),
            NodeKind::HardLink(first) => return self.node(first, read),
            NodeKind::File(content) => {
                let bytes = match content.len() {
                    len if !read => FileBytes::Present(len),
                    len if len > MAX_FILE => FileBytes::TooLarge(len),
                    _ => FileBytes::Known(content.read()?.into()),
                };
                SnapshotNode::File { mode: node.meta.mode, bytes }
            }
            _ => SnapshotNode::Special,
        }))
    }

    fn list(&self, path: &GuestPath) -> std::io::Result<Vec<String>> {
        let place = self.resolve(path);
        Ok(place.map(|place| self.children(&place).into_iter().map(str::to_owned).collect()).unwrap_or_default())
    }
}

/// Where packages make files of their own, besides those that they ship.
const MADE: [&str; 2] = ["/etc", "/var"];

/// Gives files of at most `max` bytes below [`MADE`], of the names asked for, the contents that `change` makes of theirs.
fn rewrite(
    tree: &mut Tree,
    max: u64,
    named: impl Fn(&GuestPath) -> bool,
    change: impl Fn(&GuestPath, Vec<u8>) -> Option<Vec<u8>>,
) -> Result<(), Error> {
    let mut changed = Vec::new();
    for folder in MADE {
        for (path, node) in tree.below(&folder.parse()?).filter(|(path, _)| named(path)) {
            let NodeKind::File(content) = &node.kind else { continue };
            let bytes = if content.len() <= max { content.read().ok() } else { None };
            changed.extend(bytes.and_then(|bytes| change(path, bytes)).map(|bytes| (path.clone(), bytes)));
        }
    }
    for (path, bytes) in changed {
        tree.replace(&path, bytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> GuestPath {
        text.parse().unwrap()
    }

    fn sample() -> Tree {
        let mut tree = Tree::new(0);
        tree.insert_file("/usr/bin/sh", 0o755, 0, "#!").unwrap();
        tree.insert_link("/bin", "usr/bin", 0).unwrap();
        tree.insert_link("/loop", "loop/x", 0).unwrap();
        tree.insert_link("/up", "../../../usr", 0).unwrap();
        tree.insert_file("/usr/bin-other/x", 0o644, 0, "x").unwrap();
        tree
    }

    #[test]
    fn paths_follow_links_inside_the_tree_and_never_out() {
        let tree = sample();
        assert_eq!(tree.locate(&path("/bin/sh")), Some(path("/usr/bin/sh")));
        assert_eq!(tree.resolve(&path("/up/bin/sh")), Some(path("/usr/bin/sh")));
        assert_eq!(tree.resolve(&path("/bin")), Some(path("/usr/bin")));
        assert_eq!(tree.locate(&path("/loop/x/y")), None);
        assert_eq!(tree.read(&path("/bin/sh")).unwrap(), Some(b"#!".to_vec()));
        assert_eq!(tree.children(&path("/usr")), ["bin", "bin-other"]);
        assert_eq!(tree.below(&path("/usr/bin")).count(), 1);
    }

    #[test]
    fn insertion_makes_parents_and_keeps_directories() {
        let mut tree = sample();
        tree.insert_file("/bin/new/tool", 0o755, 7, "").unwrap();
        assert!(tree.get(&path("/usr/bin/new")).is_some_and(Node::is_directory));
        assert!(tree.insert_file("/usr/bin", 0o644, 0, "").is_err());
        assert!(tree.insert_file("/usr/bin/sh/x", 0o644, 0, "").is_err());
        tree.insert_link("/lib64", "usr/lib64", 0).unwrap();
        tree.insert_file("/lib64/ld.so", 0o755, 0, "").unwrap();
        assert!(tree.get(&path("/usr/lib64/ld.so")).is_some());
    }

    #[test]
    fn replacing_a_file_leaves_its_other_names_alone() {
        let mut tree = sample();
        tree.insert(&path("/usr/bin/ash"), Node::new(NodeKind::HardLink(path("/usr/bin/sh")), 0o755, 0)).unwrap();
        tree.insert_file("/usr/bin/sh", 0o755, 0, "new").unwrap();
        assert_eq!(tree.read(&path("/bin/sh")).unwrap(), Some(b"new".to_vec()));
        assert_eq!(tree.read(&path("/bin/ash")).unwrap(), Some(b"#!".to_vec()));
    }

    #[test]
    fn removing_a_file_hands_its_content_to_the_next_hard_link() {
        let mut tree = sample();
        for name in ["/usr/bin/ash", "/usr/bin/dash"] {
            tree.insert(&path(name), Node::new(NodeKind::HardLink(path("/usr/bin/sh")), 0o755, 0)).unwrap();
        }
        tree.remove(&path("/bin/sh"));
        assert_eq!(tree.read(&path("/bin/ash")).unwrap(), Some(b"#!".to_vec()));
        assert_eq!(tree.get(&path("/usr/bin/dash")).unwrap().kind, NodeKind::HardLink(path("/usr/bin/ash")));
        tree.remove(&path("/usr"));
        assert_eq!(tree.len(), 4);
    }
}
