//! Overlay directories: their files are laid over the tree.

use super::{Content, Error, Node, NodeKind, Tree};
use crate::values::{GuestPath, Hasher};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Lays a directory over the tree. Everything becomes root's; files are 0644, or 0755 when their owner may execute
/// them (what version control keeps); times are `mtime`. Directories that exist keep their mode and owner. Returns a
/// digest over paths, modes and contents.
pub fn overlay(tree: &mut Tree, folder: &Path, mtime: i64) -> Result<crate::values::Sha256, Error> {
    let mut digest = Hasher::default();
    for entry in walkdir::WalkDir::new(folder).min_depth(1).sort_by_file_name() {
        let entry =
            entry.map_err(|error| Error::Host { path: error.path().unwrap_or(folder).into(), cause: error.into() })?;
        let host = entry.path();
        let relative = host.strip_prefix(folder).unwrap_or(host);
        let name = relative
            .to_str()
            .ok_or_else(|| Error::Unsupported { path: host.into(), what: "named in other than UTF-8" })?;
        let path = GuestPath::from_archive(name)?;
        let node = node(host, mtime)?;
        record(&mut digest, &path, &node).map_err(|cause| Error::Host { path: host.into(), cause })?;
        let place = tree.locate(&path);
        let existing = place.as_ref().and_then(|place| tree.resolve(place));
        match existing.and_then(|place| tree.get(&place)) {
            Some(old) if old.is_directory() && node.is_directory() => {}
            _ => {
                tree.insert(&path, node)?;
            }
        }
    }
    Ok(digest.finish())
}

fn node(host: &Path, mtime: i64) -> Result<Node, Error> {
    let fail = |cause| Error::Host { path: host.into(), cause };
    let metadata = fs::symlink_metadata(host).map_err(fail)?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        Ok(Node::new(NodeKind::Directory, 0o755, mtime))
    } else if kind.is_symlink() {
        let target = fs::read_link(host).map_err(fail)?.to_string_lossy().into_owned();
        Ok(Node::new(NodeKind::Symlink(target), 0o777, mtime))
    } else if kind.is_file() {
        let mode = if metadata.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
        let content = fs::read(host).map_err(fail)?;
        Ok(Node::new(NodeKind::File(Content::Bytes(content.into())), mode, mtime))
    } else {
        Err(Error::Unsupported { path: host.into(), what: "a device, pipe or socket" })
    }
}

fn record(digest: &mut Hasher, path: &GuestPath, node: &Node) -> std::io::Result<()> {
    digest.update(format!("{path}\0{:o}\0", node.meta.mode).as_bytes());
    match &node.kind {
        NodeKind::File(content) => {
            digest.update(&content.len().to_le_bytes());
            digest.update(&content.read()?);
        }
        NodeKind::Symlink(target) => digest.update(format!("{target}\0").as_bytes()),
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlay_follows_links_to_directories_and_keeps_modes() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("lib/tool")).unwrap();
        fs::write(folder.path().join("lib/tool/run"), "x").unwrap();
        fs::set_permissions(folder.path().join("lib/tool/run"), fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink("run", folder.path().join("lib/tool/alias")).unwrap();
        let mut tree = Tree::new(0);
        tree.insert(&"/usr/lib".parse().unwrap(), Node::new(NodeKind::Directory, 0o700, 0)).unwrap();
        tree.insert_link("/lib", "usr/lib", 0).unwrap();
        let digest = overlay(&mut tree, folder.path(), 9).unwrap();
        let get = |path: &str| tree.get(&path.parse().unwrap()).unwrap();
        assert_eq!(get("/usr/lib").meta.mode, 0o700);
        assert_eq!(get("/usr/lib/tool/run").meta.mode, 0o755);
        assert_eq!(get("/usr/lib/tool/alias").kind, NodeKind::Symlink("run".to_owned()));
        assert!(tree.get(&"/lib".parse().unwrap()).is_some_and(|node| matches!(node.kind, NodeKind::Symlink(_))));
        fs::write(folder.path().join("lib/tool/run"), "y").unwrap();
        assert_ne!(overlay(&mut tree, folder.path(), 9).unwrap(), digest);
    }

    #[test]
    fn a_file_never_replaces_a_directory() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("etc"), "x").unwrap();
        let mut tree = Tree::new(0);
        tree.insert_file("/etc/passwd", 0o644, 0, "").unwrap();
        assert!(matches!(overlay(&mut tree, folder.path(), 0), Err(Error::Kind { .. })));
    }
}
