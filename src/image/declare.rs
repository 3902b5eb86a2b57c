//! A tree → the layout of its ext4 filesystem: where every byte will be.

use super::{Error, Options, acl};
use crate::tree::{Metadata, Node, NodeKind, Tree};
use crate::values::GuestPath;
use mkext4::{FsBuilder, InodeCount, InodeHandle, Layout, Meta, SpecialKind};
use std::collections::BTreeMap;

/// Bytes per inode, as mke2fs has it by default.
const INODE_RATIO: u64 = 16384;
/// Inodes kept free where a tree has more files than the ratio foresees.
const SPARE_INODES: u64 = 4096;

/// A frozen layout and the files whose contents it awaits.
pub(super) struct Plan<'a> {
    pub(super) layout: Layout,
    pub(super) files: Vec<(&'a GuestPath, InodeHandle)>,
}

/// Lays out a tree: nodes in path order, hard links last. Only the options and the tree's metadata decide.
pub(super) fn plan<'a>(tree: &'a Tree, options: &Options) -> Result<Plan<'a>, Error> {
    check(options)?;
    match declare(tree, options, options.size) {
        Err(Error::Layout(error)) => Err(minimum(tree, options).unwrap_or(Error::Layout(error))),
        other => other,
    }
}

fn check(options: &Options) -> Result<(), Error> {
    // The smallest journal has 1024 blocks and may be a quarter of the image; block numbers have 32 bits.
    if !options.size.is_multiple_of(4096) || options.size < (16 << 20) || options.size > (16 << 40) - 8192 {
        return Err(Error::Size(options.size));
    }
    if options.label.len() > 16 || options.label.contains('\0') {
        return Err(Error::Label(options.label.clone()));
    }
    if u32::try_from(options.epoch).is_err() {
        return Err(Error::Epoch(options.epoch));
    }
    Ok(())
}

/// The smallest size (in MiB steps) at which the tree fits, as an error; none when size is not what is wrong.
fn minimum(tree: &Tree, options: &Options) -> Option<Error> {
    const STEP: u64 = 1 << 20;
    let fits = |steps: u64| declare(tree, options, steps * STEP).is_ok();
    let mut low = options.size / STEP;
    let mut high = (tree.content_size() / STEP + 64).max(low + 1);
    while !fits(high) {
        low = high;
        high = high.checked_mul(2).filter(|steps| *steps < (16 << 20))?;
    }
    while high - low > 1 {
        let middle = u64::midpoint(low, high);
        if fits(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(Error::TooSmall { size: options.size, needed: high * STEP })
}

fn declare<'a>(tree: &'a Tree, options: &Options, size: u64) -> Result<Plan<'a>, Error> {
    let mut mk = mkext4::Options::new(size, options.uuid, options.epoch);
    mk.hash_seed = options.hash_seed;
    mk.label = (!options.label.is_empty()).then(|| options.label.clone());
    let inodes = (tree.len() as u64 + SPARE_INODES).max(size / INODE_RATIO);
    mk.inodes = InodeCount::Exact(u32::try_from(inodes).unwrap_or(u32::MAX));
    let mut declaration = Declaration {
        builder: FsBuilder::new(mk).map_err(Error::Layout)?,
        directories: BTreeMap::from([("/", mkext4::ROOT)]),
        handles: BTreeMap::new(),
        files: Vec::new(),
    };
    for (path, node) in tree.iter() {
        declaration.node(path, node).map_err(|source| Error::Unstorable { path: path.clone(), source })?;
    }
    for (path, node) in tree.iter() {
        if let NodeKind::HardLink(target) = &node.kind {
            let broken = || Error::BrokenLink { path: path.clone(), target: target.clone() };
            let handle = *declaration.handles.get(target).ok_or_else(broken)?;
            let (parent, name) = declaration.place(path).map_err(Error::Layout)?;
            declaration
                .builder
                .hardlink(parent, name, handle)
                .map_err(|source| Error::Unstorable { path: path.clone(), source })?;
        }
    }
    let layout = declaration.builder.seal().map_err(Error::Layout)?;
    Ok(Plan { layout, files: declaration.files })
}

struct Declaration<'a> {
    builder: FsBuilder,
    directories: BTreeMap<&'a str, InodeHandle>,
    handles: BTreeMap<&'a GuestPath, InodeHandle>,
    files: Vec<(&'a GuestPath, InodeHandle)>,
}

impl<'a> Declaration<'a> {
    /// The handle of the directory a path is in, and its name there.
    fn place(&self, path: &'a GuestPath) -> mkext4::Result<(InodeHandle, &'a str)> {
        let (parent, name) = path.as_str().rsplit_once('/').unwrap_or(("", ""));
        let parent = if parent.is_empty() { "/" } else { parent };
        let missing = || mkext4::Error::Invalid(format!("{parent} is not in the tree"));
        Ok((*self.directories.get(parent).ok_or_else(missing)?, name))
    }

    fn node(&mut self, path: &'a GuestPath, node: &'a Node) -> mkext4::Result<()> {
        let meta = meta(&node.meta);
        if path.as_str() == "/" {
            self.builder.set_meta(mkext4::ROOT, meta)?;
            return self.xattrs(mkext4::ROOT, node);
        }
        if path.as_str() == "/lost+found" {
            // Every ext4 filesystem has its own.
            let error = || mkext4::Error::Invalid("ext4 keeps this directory for itself".to_owned());
            return if node.is_directory() { Ok(()) } else { Err(error()) };
        }
        let (parent, name) = self.place(path)?;
        let special = match &node.kind {
            NodeKind::HardLink(_) => return Ok(()),
            NodeKind::Directory => {
                let handle = self.builder.mkdir(parent, name, meta)?;
                self.directories.insert(path.as_str(), handle);
                return self.xattrs(handle, node);
            }
            NodeKind::File(content) => {
                let handle = self.builder.file(parent, name, meta, content.len())?;
                self.handles.insert(path, handle);
                if !content.is_empty() {
                    self.files.push((path, handle));
                }
                return self.xattrs(handle, node);
            }
            NodeKind::Symlink(target) => {
                let handle = self.builder.symlink(parent, name, target, meta)?;
                return self.xattrs(handle, node);
            }
            NodeKind::CharDevice(major, minor) => SpecialKind::Char { major: *major, minor: *minor },
            NodeKind::BlockDevice(major, minor) => SpecialKind::Block { major: *major, minor: *minor },
            NodeKind::Fifo => SpecialKind::Fifo,
            NodeKind::Socket => SpecialKind::Socket,
        };
        let handle = self.builder.mknod(parent, name, meta, special)?;
        self.xattrs(handle, node)
    }

    fn xattrs(&mut self, handle: InodeHandle, node: &Node) -> mkext4::Result<()> {
        for (name, value) in &node.xattrs {
            if acl::is_acl(name) {
                let bad = || mkext4::Error::Invalid(format!("{name} is no access control list"));
                self.builder.set_xattr(handle, name, &acl::to_disk(value).ok_or_else(bad)?)?;
            } else {
                self.builder.set_xattr(handle, name, value)?;
            }
        }
        Ok(())
    }
}

fn meta(meta: &Metadata) -> Meta {
    Meta::new(meta.mode, meta.uid, meta.gid, (meta.mtime, 0))
}
