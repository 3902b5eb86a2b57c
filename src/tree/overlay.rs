//! Overlay directories: their files are laid over the tree.

use super::{Error, Node, NodeKind, Sources, Tree};
use crate::door::{self, Entry, MAX_ENTRIES};
use crate::values::{GuestPath, Hasher, Sha256};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Lays a directory over the tree. Everything becomes root's; files are 0644, or 0755 when their owner may execute
/// them (what version control keeps); times are `mtime`. Directories that exist keep their mode and owner. Returns a
/// digest over paths, modes and contents.
pub fn overlay(tree: &mut Tree, folder: &Path, mtime: i64, sources: &mut Sources) -> Result<Sha256, Error> {
    let mut digest = Hasher::default();
    // Where the folders on the way here lead in the tree, the outermost first: none of them is looked for again.
    let mut way = vec![(folder.to_owned(), GuestPath::root())];
    door::walk::<Error>(folder, MAX_ENTRIES, |entry| {
        while way.len() > 1 && way.last().is_some_and(|(host, _)| entry.path.parent() != Some(host)) {
            way.pop();
        }
        let unsupported = |what| Error::Unsupported { path: entry.path.clone(), what };
        let relative = entry.path.strip_prefix(folder).unwrap_or(&entry.path);
        let path = GuestPath::from_archive(relative.to_str().ok_or_else(|| unsupported("named in other than UTF-8"))?)?;
        let node = node(&entry, &path, mtime, &mut digest, sources)?;
        let parent = way.last().map_or_else(GuestPath::root, |(_, place)| place.clone());
        let place = parent.join(path.name())?;
        let there = match tree.get(&place).map(|old| &old.kind) {
            Some(NodeKind::Symlink(_)) => tree.resolve(&place),
            Some(_) => Some(place.clone()),
            None => None,
        };
        match there.filter(|there| node.is_directory() && tree.get(there).is_some_and(Node::is_directory)) {
            Some(there) => way.push((entry.path, there)),
            None => {
                if node.is_directory() {
                    way.push((entry.path, place.clone()));
                }
                tree.put(place, node)?;
            }
        }
        Ok(())
    })?;
    Ok(digest.finish())
}

/// The node of an entry; its path, mode and content go into the digest.
fn node(
    entry: &Entry,
    path: &GuestPath,
    mtime: i64,
    digest: &mut Hasher,
    sources: &mut Sources,
) -> Result<Node, Error> {
    let fail = |cause| Error::Host { path: entry.path.clone(), cause };
    if entry.kind.is_dir() {
        digest.update(format!("{path}\0{:o}\0", 0o755).as_bytes());
        Ok(Node::new(NodeKind::Directory, 0o755, mtime))
    } else if entry.kind.is_symlink() {
        let target = fs::read_link(&entry.path).map_err(fail)?.to_string_lossy().into_owned();
        digest.update(format!("{path}\0{:o}\0{target}\0", 0o777).as_bytes());
        Ok(Node::new(NodeKind::Symlink(target), 0o777, mtime))
    } else if entry.kind.is_file() {
        let metadata = fs::symlink_metadata(&entry.path).map_err(fail)?;
        let mode = if metadata.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
        digest.update(format!("{path}\0{mode:o}\0").as_bytes());
        digest.update(&metadata.len().to_le_bytes());
        let content = sources.content(&entry.path, "a file of an overlay", |bytes| digest.update(bytes))?;
        Ok(Node::new(NodeKind::File(content), mode, mtime))
    } else {
        Err(Error::Unsupported { path: entry.path.clone(), what: "a device, pipe or socket" })
    }
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
        let digest = overlay(&mut tree, folder.path(), 9, &mut Sources::new(10)).unwrap();
        let get = |path: &str| tree.get(&path.parse().unwrap()).unwrap();
        assert_eq!(get("/usr/lib").meta.mode, 0o700);
        assert_eq!(get("/usr/lib/tool/run").meta.mode, 0o755);
        assert_eq!(get("/usr/lib/tool/alias").kind, NodeKind::Symlink("run".to_owned()));
        assert!(tree.get(&"/lib".parse().unwrap()).is_some_and(|node| matches!(node.kind, NodeKind::Symlink(_))));
        fs::write(folder.path().join("lib/tool/run"), "y").unwrap();
        assert_ne!(overlay(&mut tree, folder.path(), 9, &mut Sources::new(10)).unwrap(), digest);
    }

    #[test]
    fn a_file_never_replaces_a_directory() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("etc"), "x").unwrap();
        let mut tree = Tree::new(0);
        tree.insert_file("/etc/passwd", 0o644, 0, "").unwrap();
        assert!(matches!(overlay(&mut tree, folder.path(), 0, &mut Sources::new(10)), Err(Error::Kind { .. })));
    }

    #[test]
    fn a_deep_overlay_takes_no_longer_than_a_flat_one() {
        let folder = tempfile::tempdir().unwrap();
        let deep: std::path::PathBuf =
            std::iter::once(folder.path().to_owned()).chain(std::iter::repeat_n("d".into(), 1500)).collect();
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), "x").unwrap();
        let mut tree = Tree::new(0);
        overlay(&mut tree, folder.path(), 0, &mut Sources::new(10)).unwrap();
        assert_eq!(tree.len(), 1502);
        let error = fs::create_dir_all(deep.join("d/".repeat(700)))
            .map_err(|cause| Error::Host { path: deep, cause })
            .and_then(|()| overlay(&mut tree, folder.path(), 0, &mut Sources::new(10)).map(drop))
            .unwrap_err();
        assert!(error.to_string().len() < 10_000);
    }
}
