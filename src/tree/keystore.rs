//! Java's store of certificates (`/etc/ssl/certs/java/cacerts`, of ca-certificates-java): each entry has the time at which it was
//! added, and they stand in the order of a hash table. Only stores that anybody can read and that hold certificates alone.
//!
//! Source: `sun.security.provider.JavaKeyStore` of OpenJDK; the password is Java's default for `cacerts`.

use super::{Error, Tree};
use crate::values::GuestPath;
use sha1::{Digest as _, Sha1};

/// The largest store that is looked at, in bytes.
const MAX: u64 = 16 << 20;

const MAGIC: [u8; 8] = [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2];
const CERTIFICATE: [u8; 4] = [0, 0, 0, 2];
const PASSWORD: &str = "changeit";
/// What the digest at the end begins with, after the password.
const SALT: &[u8] = b"Mighty Aphrodite";
const DIGEST: usize = 20;

/// Sorts the entries of each store and dates them to `epoch` (seconds since 1970).
pub(super) fn settle(tree: &mut Tree, epoch: i64) -> Result<(), Error> {
    let named = |path: &GuestPath| path.name() == "cacerts" || path.name().ends_with(".jks");
    super::rewrite(tree, MAX, named, |_, bytes| settled(&bytes, epoch))
}

/// The same store, if it is one of those.
fn settled(bytes: &[u8], epoch: i64) -> Option<Vec<u8>> {
    let (body, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST)?)?;
    if self::digest(body) != digest {
        return None;
    }
    let mut rest = body.strip_prefix(&MAGIC)?;
    let count = rest.split_off(..4)?;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let tag = rest.split_off(..4)?;
        let alias = counted::<2>(&mut rest)?;
        let _date = rest.split_off(..8)?;
        let (kind, certificate) = (counted::<2>(&mut rest)?, counted::<4>(&mut rest)?);
        if tag != CERTIFICATE {
            return None;
        }
        entries.push((alias, kind, certificate));
    }
    entries.sort_unstable();
    let mut store = [&MAGIC[..], count].concat();
    let date = epoch.checked_mul(1000)?.to_be_bytes();
    for (alias, kind, certificate) in entries {
        store.extend([&CERTIFICATE[..], alias, &date, kind, certificate].concat());
    }
    let digest = self::digest(&store);
    store.extend(digest);
    Some(store)
}

fn digest(body: &[u8]) -> [u8; DIGEST] {
    let password: Vec<u8> = PASSWORD.encode_utf16().flat_map(u16::to_be_bytes).collect();
    Sha1::new().chain_update(password).chain_update(SALT).chain_update(body).finalize().into()
}

/// A field with its length before it, in so many bytes; both.
fn counted<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = rest
        .get(..N)?
        .iter()
        .try_fold(0usize, |length, byte| length.checked_mul(256)?.checked_add(usize::from(*byte)))?;
    rest.split_off(..N.checked_add(length)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(tag: u8, entries: &[(&str, u64)]) -> Vec<u8> {
        let mut bytes = [&MAGIC[..], &[0, 0, 0, entries.len() as u8]].concat();
        for (alias, date) in entries {
            bytes.extend([0, 0, 0, tag, 0, alias.len() as u8]);
            bytes.extend(alias.as_bytes());
            bytes.extend(date.to_be_bytes());
            bytes.extend(b"\0\x05X.509\0\0\0\x03der");
        }
        let digest = digest(&bytes);
        bytes.extend(digest);
        bytes
    }

    #[test]
    fn entries_are_sorted_and_have_one_date() {
        let expected = store(2, &[("a", 5000), ("b", 5000)]);
        for entries in [[("a", 1), ("b", 2)], [("b", 3), ("a", 4)]] {
            assert_eq!(settled(&store(2, &entries), 5).unwrap(), expected);
        }
        assert_eq!(settled(&expected, 5).unwrap(), expected);
    }

    #[test]
    fn what_is_not_understood_stays() {
        let good = store(2, &[("a", 1)]);
        let mut damaged = good.clone();
        damaged[20] ^= 1;
        let mut short = good[..good.len() - DIGEST - 1].to_vec();
        short.extend(digest(&short));
        for bytes in [&damaged[..], &short, &store(1, &[("a", 1)]), &good[..10], b""] {
            assert_eq!(settled(bytes, 5), None);
        }
    }
}
