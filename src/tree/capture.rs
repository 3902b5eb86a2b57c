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
    capture_as(root, latest, &Some)
}

/// The same of a directory whose files belong to other ids on disk: `owner` gives the tree's id for a user or group id, or
/// none where such a file has no place in the tree.
pub fn capture_as(root: &Path, latest: i64, owner: &dyn Fn(u32) -> Option<u32>) -> Result<Tree, Error> {
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
        let mut node = node(entry.path(), &path, latest, &mut links)?;
        let (Some(uid), Some(gid)) = (owner(node.meta.uid), owner(node.meta.gid)) else {
            return Err(Error::Unsupported { path: entry.path().into(), what: "owned by a user of this machine" });
        };
        (node.meta.uid, node.meta.gid) = (uid, gid);
        for (name, value) in &mut node.xattrs {
            if !translate_acl(name, value, owner) {
                return Err(Error::Unsupported { path: entry.path().into(), what: "open to a user of this machine" });
            }
        }
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

/// Puts other ids into an access control list; false when one of them has none. Other attributes stay as they are.
/// Source: `include/uapi/linux/posix_acl_xattr.h`: a version of four bytes, then entries of tag, permissions and id.
pub(crate) fn translate_acl(name: &str, value: &mut [u8], id: &dyn Fn(u32) -> Option<u32>) -> bool {
    const USER: u8 = 2;
    const GROUP: u8 = 8;
    if !name.starts_with("system.posix_acl") {
        return true;
    }
    value.get_mut(4..).unwrap_or_default().chunks_exact_mut(8).all(|entry| {
        let [tag, _, _, _, number @ ..] = entry else { return true };
        if !matches!(*tag, USER | GROUP) {
            return true;
        }
        let known = <[u8; 4]>::try_from(&*number).ok().and_then(|bytes| id(u32::from_le_bytes(bytes)));
        known.is_some_and(|id| {
            number.copy_from_slice(&id.to_le_bytes());
            true
        })
    })
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
