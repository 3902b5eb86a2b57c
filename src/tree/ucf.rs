//! What ucf(1) keeps of the configuration files that it has put in place: a copy of each, and its MD5.

use super::{Error, Tree};
use crate::values::GuestPath;
use md5::{Digest as _, Md5};

/// MD5 and path of each file, a line each.
const DIGESTS: &str = "/var/lib/ucf/hashfile";
/// Copies, named by their paths with `:` for `/`.
const COPIES: &str = "/var/lib/ucf/cache";

/// A file that ucf has put in place is changed from `old` to `new`, as if it had been made so.
pub(super) fn replace(tree: &mut Tree, path: &GuestPath, old: &[u8], new: &[u8]) -> Result<(), Error> {
    let copy = format!("{COPIES}/{}", path.as_str().replace('/', ":")).parse()?;
    if tree.read(&copy).is_ok_and(|copy| copy.is_some_and(|copy| copy == old)) {
        tree.replace(&copy, new.to_vec());
    }
    let digests = DIGESTS.parse()?;
    let Ok(Some(bytes)) = tree.read(&digests) else { return Ok(()) };
    let line = |bytes: &[u8]| format!("{:x}  {path}\n", Md5::digest(bytes));
    if let Ok(text) = String::from_utf8(bytes) {
        tree.replace(&digests, text.replace(&line(old), &line(new)).into_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_and_digest_follow() {
        let mut tree = Tree::new(0);
        let path: GuestPath = "/etc/a/b.php".parse().unwrap();
        tree.insert_file("/var/lib/ucf/cache/:etc:a:b.php", 0o600, 0, "old").unwrap();
        tree.insert_file(DIGESTS, 0o600, 0, "149603e6c03516362a8da23f624db945  /etc/a/b.php\n0  /etc/c\n").unwrap();
        replace(&mut tree, &path, b"old", b"new").unwrap();
        let read = |path: &str| String::from_utf8(tree.read(&path.parse().unwrap()).unwrap().unwrap()).unwrap();
        assert_eq!(read("/var/lib/ucf/cache/:etc:a:b.php"), "new");
        assert_eq!(read(DIGESTS), "22af645d1859cb5ca6da0c484f1f37ea  /etc/a/b.php\n0  /etc/c\n");
    }
}
