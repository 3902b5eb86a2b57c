//! A recipe's `run:` commands: in a copy of the customised tree, captured again, cached by what went in.

use super::root::{Root, outside};
use super::step::{RUN, Subject, Watch};
use super::{Error, hint, layer};
use crate::door;
use crate::progress::Observer;
use crate::sandbox::{Ids, Limits, Sandbox};
use crate::store::Store;
use crate::tree::{self, Content, Node, NodeKind, Tree};
use crate::values::{GuestPath, Hasher, Sha256};
use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The tree after the commands, or the tree itself when there are none. `shipped` are the digests of what lies outside.
pub fn run(
    tree: Tree,
    commands: &[Vec<String>],
    shipped: &[Sha256],
    epoch: i64,
    limits: Limits,
    store: &Store,
    observer: &dyn Observer,
) -> Result<Tree, Error> {
    if commands.is_empty() {
        return Ok(tree);
    }
    let mut hasher = Hasher::default();
    serde_json::to_writer(&mut hasher, &(&tree, commands, shipped, epoch, "run 3")).map_err(|error| Error::Io {
        what: "digest",
        path: "the tree".into(),
        cause: error.into(),
    })?;
    let key = hasher.finish();
    layer::cached(store, "run", &key, observer, |work| {
        let root = work.join("root");
        lay(&tree, &root)?;
        self::commands(&root, commands, epoch, limits, observer)?;
        layer::save(work, epoch, Ids::here()?)
    })
}

/// Runs commands in the tree that lies below `root`, one after the other, until one fails.
pub fn commands(
    root: &Path,
    commands: &[Vec<String>],
    epoch: i64,
    limits: Limits,
    observer: &dyn Observer,
) -> Result<(), Error> {
    let watch = Watch::new("customize", observer);
    for (index, command) in commands.iter().enumerate() {
        let argv: Vec<_> = command.iter().map(String::as_str).collect();
        let subject = Subject::new("running", RUN, &format!("step {} (`{}`)", index + 1, shown(command)));
        let result = watch.run(&Sandbox::new(root, epoch, limits), &argv, subject);
        result.map_err(|mut error| {
            if let Error::Step(failure) = &mut error {
                hint::add(failure, None);
            }
            error
        })?;
    }
    watch.summarise();
    Ok(())
}

/// The shell of the tree below `root`, by its path: bash, else sh.
pub fn shell(root: &Path) -> Result<Option<&'static str>, Error> {
    let root = Root::open(root, Ids::here()?)?;
    Ok(["/bin/bash", "/bin/sh"].into_iter().find(|path| root.has(path.trim_start_matches('/'))))
}

/// Writes a tree as files below `root`, for commands to run in.
pub fn lay(tree: &Tree, root: &Path) -> Result<(), Error> {
    materialise(tree, root, Ids::here()?)
}

/// A command as people recognise it: the first words of its first line.
fn shown(command: &[String]) -> String {
    const LONGEST: usize = 60;
    let whole = command.join(" ");
    let line: String = whole.lines().next().unwrap_or_default().chars().take(LONGEST).collect();
    if line.len() < whole.len() { format!("{line}…") } else { line }
}

/// Writes a tree as files below `root`, owned by `ids`.
fn materialise(tree: &Tree, root: &Path, ids: Ids) -> Result<(), Error> {
    for (path, node) in tree.iter() {
        let target = root.join(path.relative());
        create(path, node, root, &target, ids).map_err(|cause| Error::Io { what: "write", path: target, cause })?;
    }
    Ok(())
}

fn create(path: &GuestPath, node: &Node, root: &Path, target: &Path, ids: Ids) -> io::Result<()> {
    let mode = Mode::from_raw_mode(u32::from(node.meta.mode));
    let special = |kind, device| rustix::fs::mknodat(CWD, target, kind, mode, device);
    match &node.kind {
        NodeKind::Directory if path.as_str() == "/" => fs::create_dir_all(target)?,
        NodeKind::Directory => fs::create_dir(target)?,
        NodeKind::HardLink(first) => return fs::hard_link(root.join(first.relative()), target),
        NodeKind::Symlink(to) => std::os::unix::fs::symlink(to, target)?,
        NodeKind::File(Content::Bytes(bytes)) => fs::write(target, bytes)?,
        NodeKind::File(Content::Host { file, offset: 0, len }) if fs::metadata(file)?.len() == *len => {
            // Shares the bytes where the filesystem can (copy_file_range).
            io::copy(&mut door::open(file, "a file of an image", *len)?.file, &mut File::create(target)?)?;
        }
        NodeKind::File(content) => fs::write(target, content.read()?)?,
        NodeKind::Fifo => special(FileType::Fifo, 0)?,
        NodeKind::Socket => special(FileType::Socket, 0)?,
        NodeKind::CharDevice(major, minor) => special(FileType::CharacterDevice, rustix::fs::makedev(*major, *minor))?,
        NodeKind::BlockDevice(major, minor) => special(FileType::BlockDevice, rustix::fs::makedev(*major, *minor))?,
    }
    let (uid, gid) = outside(ids, node.meta.uid, node.meta.gid)?;
    rustix::fs::chownat(CWD, target, Some(uid), Some(gid), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    if !matches!(node.kind, NodeKind::Symlink(_)) {
        fs::set_permissions(target, fs::Permissions::from_mode(u32::from(node.meta.mode)))?;
    }
    for (name, value) in &node.xattrs {
        let mut value = value.clone();
        if !tree::translate_acl(name, &mut value, &|id| ids.outside(id)) {
            return Err(io::Error::other("its access control list names an owner that is not between 0 and 65535"));
        }
        rustix::fs::lsetxattr(target, name.as_str(), &value, XattrFlags::empty())?;
    }
    let time = Timespec { tv_sec: node.meta.mtime, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(CWD, target, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?)
}
