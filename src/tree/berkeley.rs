//! Berkeley DB files (`/etc/aliases.db`, `/etc/sasldb2`): each has an identifier made of inode, clock and chance, which is other
//! in each build. Nothing but an environment shared by several processes compares it, and each file has its own. Maps of postfix
//! say besides when they were made, which nothing reads but NIS.
//!
//! Source: Berkeley DB 5.3, `src/dbinc/db_page.h` (`DBMETA33`, `HKEYDATA`), `src/os/os_fid.c` (`db_load -r fileid` does the same);
//! postfix, `src/util/mkmap_open.c`.

use super::{Error, Tree};
use crate::values::{GuestPath, Sha256};

/// The largest database that is looked at, in bytes.
const MAX: u64 = 64 << 20;

/// Offsets in the first page of a database: its kind, the bytes of a page, whether pages have checksums, the identifier.
const MAGIC: usize = 12;
const PAGE: usize = 20;
const FLAGS: usize = 26;
const IDENTIFIER: std::ops::Range<usize> = 52..72;

/// The bytes of a page are a power of two of this range.
const PAGES: std::ops::RangeInclusive<usize> = 512..=65536;

/// Hash, B-tree, queue, heap.
const KINDS: [u32; 4] = [0x0006_1561, 0x0005_3162, 0x0004_2253, 0x0004_0988];

/// Pages have checksums, so none may be changed.
const CHECKSUMS: u8 = 1;

/// What stands right after the time at which a map was made, ten digits: a pair's value is below its key.
const MADE: &[u8] = b"\x01YP_LAST_MODIFIED";
const DIGITS: usize = 10;

/// Gives each database an identifier that is made of its path, and maps the time `epoch` (seconds since 1970).
pub(super) fn settle(tree: &mut Tree, epoch: i64) -> Result<(), Error> {
    let named = |path: &GuestPath| path.name().ends_with(".db") || path.name() == "sasldb2";
    super::rewrite(tree, MAX, named, |path, mut bytes| settled(&mut bytes, path, epoch).map(|()| bytes))
}

/// Pages that were first ones once, and databases inside of this one, have its identifier too.
fn settled(bytes: &mut [u8], path: &GuestPath, epoch: i64) -> Option<()> {
    let size = first(bytes)?;
    let chance = bytes.get(IDENTIFIER)?.to_vec();
    let known = chance.iter().any(|byte| *byte != 0);
    let identifier = Sha256::of(path.as_str().as_bytes()).0;
    for page in bytes.chunks_exact_mut(size) {
        let place = page.get_mut(IDENTIFIER)?;
        if known && *place == *chance {
            place.copy_from_slice(identifier.get(..IDENTIFIER.len())?);
        }
    }
    date(bytes, epoch);
    Some(())
}

/// The bytes of a page, if this begins a database whose pages can be changed.
fn first(page: &[u8]) -> Option<usize> {
    let number = |at: usize| Some(u32::from_le_bytes(page.get(at..at + 4)?.try_into().ok()?));
    let size = usize::try_from(number(PAGE)?).ok()?;
    let plain = KINDS.contains(&number(MAGIC)?) && page.get(FLAGS)? & CHECKSUMS == 0;
    (plain && size.is_power_of_two() && PAGES.contains(&size)).then_some(size)
}

fn date(bytes: &mut [u8], epoch: i64) {
    let Some(key) = bytes.windows(MADE.len()).position(|window| window == MADE) else { return };
    let end = if key.checked_sub(1).and_then(|at| bytes.get(at)) == Some(&0) { key - 1 } else { key };
    let time = format!("{epoch:0DIGITS$}");
    let Some(place) = end.checked_sub(DIGITS).and_then(|start| bytes.get_mut(start..end)) else { return };
    if place.iter().all(u8::is_ascii_digit) && time.len() == DIGITS {
        place.copy_from_slice(time.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::Content;
    use super::*;

    const SIZE: usize = 4096;

    /// One whose last page was a first one once.
    fn database(magic: u32, flags: u8, chance: u8, time: &str) -> Vec<u8> {
        let mut bytes = vec![7; 3 * SIZE];
        bytes[MAGIC..MAGIC + 4].copy_from_slice(&magic.to_le_bytes());
        bytes[PAGE..PAGE + 4].copy_from_slice(&(SIZE as u32).to_le_bytes());
        bytes[FLAGS] = flags;
        for page in [0, 2] {
            bytes[page * SIZE..][IDENTIFIER].fill(chance);
        }
        let pair = format!("\x01{time}\x01YP_LAST_MODIFIED\0");
        bytes[2 * SIZE - pair.len()..2 * SIZE].copy_from_slice(pair.as_bytes());
        bytes
    }

    fn settled(path: &str, bytes: &[u8]) -> Vec<u8> {
        let mut tree = Tree::new(0);
        tree.insert_file(path, 0o644, 0, Content::Bytes(bytes.into())).unwrap();
        settle(&mut tree, 1_700_000_000).unwrap();
        tree.read(&path.parse().unwrap()).unwrap().unwrap()
    }

    #[test]
    fn identifiers_come_from_paths_and_times_from_the_epoch() {
        for magic in KINDS {
            let [one, two] = [(1, "1764367891\0"), (2, "1764367892\0")]
                .map(|(chance, time)| settled("/etc/aliases.db", &database(magic, 0, chance, time)));
            assert_eq!(one, two);
            assert_ne!(one[IDENTIFIER], settled("/etc/other.db", &database(magic, 0, 1, ""))[IDENTIFIER]);
            let identifier = one[IDENTIFIER][0];
            let mut expected = database(magic, 0, identifier, "1700000000\0");
            for page in [0, 2] {
                expected[page * SIZE..][IDENTIFIER].copy_from_slice(&one[IDENTIFIER]);
            }
            assert!(one == expected);
        }
    }

    #[test]
    fn what_is_not_understood_stays() {
        let time = "1764367891";
        let mut odd = database(KINDS[0], 0, 1, time);
        odd[PAGE] = 1;
        for other in [database(1, 0, 1, time), database(KINDS[0], CHECKSUMS, 1, time), odd, vec![0; 16], vec![]] {
            assert!(settled("/etc/aliases.db", &other) == other);
        }
        let not_a_time = database(KINDS[0], 0, 1, "17643678x1");
        assert_eq!(settled("/etc/aliases.db", &not_a_time)[SIZE..2 * SIZE], not_a_time[SIZE..2 * SIZE]);
    }
}
