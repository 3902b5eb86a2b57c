//! A directory on the host → a tree. Links are never followed.

use super::{Content, Error, Metadata, Node, NodeKind, Tree};
use crate::values::GuestPath;
use rustix::fs::{lgetxattr, lgetxattr_query, llistxattr, llistxattr_query};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;

/// Captures a directory: owners, modes, whole-second times no later than `latest`, extended attributes, hard links,
/// devices. Contents stay in the directory's files.
pub fn capture(root: &Path, latest: i64) -> Result<Tree, Error> {
    let mut tree = Tree::default();
    let mut links = BTreeMap::new();
    let entries = walkdir::WalkDir::new(root).sort_by_file_name();
    for entry in entries {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(root).to_owned();
            Error::Host { path, cause: error.into() }
        })?;
        let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let name = relative
            .to_str()
            .ok_or_else(|| Error::Unsupported { path: entry.path().into(), what: "named in other than UTF-8" })?;
        let path = GuestPath::from_archive(name)?;
        let node = node(entry.path(), &path, latest, &mut links)?;
        tree.nodes.insert(path, node);
    }
    Ok(tree)
}

type Links = BTreeMap<(u64, u64), GuestPath>;

fn node(host: &Path, path: &GuestPath, latest: i64, links: &mut Links) -> Result<Node, Error> {
    let fail = |cause| Error::Host { path: host.into(), cause };
    let metadata = fs::symlink_metadata(host).map_err(fail)?;
    let kind = metadata.file_type();
    let (major, minor) = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
    let kind = if kind.is_dir() {
        NodeKind::Directory
    } else if kind.is_symlink() {
        let target = fs::read_link(host).map_err(fail)?;
        let target = target.into_os_string().into_string();
        NodeKind::Symlink(
            target.map_err(|_| Error::Unsupported { path: host.into(), what: "a link to a name that is not UTF-8" })?,
        )
    } else if kind.is_file() {
        let inode = (metadata.dev(), metadata.ino());
        match links.get(&inode) {
            Some(first) => NodeKind::HardLink(first.clone()),
            None => {
                if metadata.nlink() > 1 {
                    links.insert(inode, path.clone());
                }
                NodeKind::File(Content::Host { file: Arc::from(host), offset: 0, len: metadata.len() })
            }
        }
    } else if kind.is_char_device() {
        NodeKind::CharDevice(major, minor)
    } else if kind.is_block_device() {
        NodeKind::BlockDevice(major, minor)
    } else if kind.is_fifo() {
        NodeKind::Fifo
    } else {
        NodeKind::Socket
    };
    let meta = Metadata {
        mode: (metadata.mode() & 0o7777) as u16,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: metadata.mtime().min(latest),
    };
    let xattrs = if matches!(kind, NodeKind::HardLink(_)) { BTreeMap::new() } else { xattrs(host).map_err(fail)? };
    Ok(Node { meta, xattrs, kind })
}

/// The extended attributes that belong to the image: file capabilities, ACLs and the user's own.
fn xattrs(path: &Path) -> std::io::Result<BTreeMap<String, Vec<u8>>> {
    let size = match llistxattr_query(path) {
        Ok(0) | Err(rustix::io::Errno::OPNOTSUPP) => return Ok(BTreeMap::new()),
        Ok(size) => size,
        Err(error) => return Err(error.into()),
    };
    let mut names = vec![0; size];
    let size = llistxattr(path, &mut names[..])?;
    names.truncate(size);
    let mut found = BTreeMap::new();
    for name in names.split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok()) {
        if !["security.capability", "system.posix_acl"].iter().any(|known| name.starts_with(known))
            && !name.starts_with("user.")
        {
            continue;
        }
        let size = lgetxattr_query(path, name)?;
        let mut value = vec![0; size];
        let size = lgetxattr(path, name, &mut value[..])?;
        value.truncate(size);
        found.insert(name.to_owned(), if name == "security.capability" { plain_capability(value) } else { value });
    }
    Ok(found)
}

/// File capabilities set inside a user namespace carry the namespace's root id (revision 3); the image needs the form
/// without it (revision 2). Source: capabilities(7), `include/uapi/linux/capability.h`.
fn plain_capability(mut value: Vec<u8>) -> Vec<u8> {
    const REVISION_2: u8 = 2;
    const REVISION_3: u8 = 3;
    if value.len() == 24 && value.get(3) == Some(&REVISION_3) {
        value.truncate(20);
        if let Some(revision) = value.get_mut(3) {
            *revision = REVISION_2;
        }
    }
    value
}
