//! Berkeley DB files (`/etc/aliases.db`, `/etc/sasldb2`): each has an identifier made of inode, clock and chance, which is other
//! in each build. Nothing but an environment shared by several processes compares it, and each file has its own.
//!
//! Source: Berkeley DB 5.3, `src/dbinc/db_page.h` (`DBMETA33`), `src/os/os_fid.c`; `db_load -r fileid` does the same.

use super::{Content, Error, NodeKind, Tree};
use crate::values::{GuestPath, Sha256};

/// Where packages make databases.
const FOLDERS: [&str; 2] = ["/etc", "/var"];

/// The largest database that is looked at, in bytes.
const MAX: u64 = 64 << 20;

/// Offsets in the first page: the kind of file, whether pages have checksums, the identifier.
const MAGIC: usize = 12;
const FLAGS: usize = 26;
const IDENTIFIER: std::ops::Range<usize> = 52..72;

/// Hash, B-tree, queue, heap.
const KINDS: [u32; 4] = [0x0006_1561, 0x0005_3162, 0x0004_2253, 0x0004_0988];

/// Pages have checksums, so none may be changed.
const CHECKSUMS: u8 = 1;

/// Gives each database an identifier that is made of its path.
pub(super) fn settle(tree: &mut Tree) -> Result<(), Error> {
    let named = |path: &GuestPath| path.name().ends_with(".db") || path.name() == "sasldb2";
    let mut changed = Vec::new();
    for folder in FOLDERS {
        for (path, node) in tree.below(&folder.parse()?).filter(|(path, _)| named(path)) {
            let NodeKind::File(content) = &node.kind else { continue };
            if content.len() <= MAX
                && let Ok(mut bytes) = content.read()
                && identify(&mut bytes, path).is_some()
            {
                changed.push((path.clone(), bytes));
            }
        }
    }
    for (path, bytes) in changed {
        if let Some(node) = tree.get_mut(&path) {
            node.kind = NodeKind::File(Content::Bytes(bytes.into()));
        }
    }
    Ok(())
}

fn identify(bytes: &mut [u8], path: &GuestPath) -> Option<()> {
    let magic = u32::from_le_bytes(bytes.get(MAGIC..MAGIC + 4)?.try_into().ok()?);
    let plain = KINDS.contains(&magic) && bytes.get(FLAGS)? & CHECKSUMS == 0;
    let place = bytes.get_mut(IDENTIFIER).filter(|_| plain)?;
    for (to, from) in place.iter_mut().zip(Sha256::of(path.as_str().as_bytes()).0) {
        *to = from;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_come_from_paths_and_nothing_else_changes() {
        let database = |magic: u32, flags: u8, chance: u8| {
            let mut bytes = vec![7; 4096];
            bytes[MAGIC..MAGIC + 4].copy_from_slice(&magic.to_le_bytes());
            bytes[FLAGS] = flags;
            bytes[IDENTIFIER].fill(chance);
            bytes
        };
        let settled = |path: &str, bytes: &[u8]| {
            let mut tree = Tree::new(0);
            tree.insert_file(path, 0o644, 0, Content::Bytes(bytes.into())).unwrap();
            settle(&mut tree).unwrap();
            tree.read(&path.parse().unwrap()).unwrap().unwrap()
        };
        for magic in KINDS {
            let [one, two] = [1, 2].map(|chance| settled("/etc/aliases.db", &database(magic, 0, chance)));
            assert_eq!(one, two);
            assert_ne!(one[IDENTIFIER], settled("/etc/other.db", &database(magic, 0, 1))[IDENTIFIER]);
            let rest = |bytes: &[u8]| [&bytes[..IDENTIFIER.start], &bytes[IDENTIFIER.end..]].concat();
            assert_eq!(rest(&one), rest(&database(magic, 0, 9)));
        }
        for other in [database(1, 0, 1), database(KINDS[0], CHECKSUMS, 1), vec![0; 16]] {
            assert_eq!(settled("/etc/aliases.db", &other), other);
        }
    }
}
