//! Whose files a tree's files are on disk: a range of ids that belongs to nobody else, the builder least of all.
//!
//! In the sandbox the range is 0 to 65,535. A step that gets hold of something outside its tree, by whatever fault, is
//! there a user who owns nothing and may do nothing. Source: user_namespaces(7), subuid(5).

use super::user::{IDS, Problem};
use std::fs;

/// Where the range begins for root when `/etc/subuid` gives root none: the last 65,536 ids of those that systemd sets
/// aside for containers and never gives to a user. Source: systemd `docs/UIDS-GIDS.md`.
const SET_ASIDE: u32 = 0x6fff_0000;

/// The range, as this process counts ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    first: u32,
    count: u32,
}

impl Ids {
    /// The ids as they are: of a tree that no sandbox enters.
    pub const OWN: Self = Self { first: 0, count: u32::MAX };

    /// The range for trees that this process builds. Inside a user namespace it is whatever that has beyond its root.
    pub fn here() -> Result<Self, Problem> {
        let maps =
            ["/proc/self/uid_map", "/proc/self/gid_map"].map(|file| fs::read_to_string(file).map(|text| blocks(&text)));
        let [uids, gids] = maps;
        let (uids, gids) = (uids?, gids?);
        if [&uids, &gids].iter().all(|map| matches!(map[..], [(0, u32::MAX)])) {
            let given = super::user::range("/etc/subuid", "root").ok();
            let given =
                given.filter(|first| super::user::range("/etc/subgid", "root").is_ok_and(|other| other == *first));
            return Ok(Self { first: given.unwrap_or(SET_ASIDE), count: IDS });
        }
        beyond_root(&uids, &gids).ok_or(Problem::NoIds)
    }

    /// An id of the tree → the id on disk.
    pub fn outside(self, id: u32) -> Option<u32> {
        (id < self.count).then(|| self.first.checked_add(id)).flatten()
    }

    /// An id on disk → the id of the tree.
    pub fn inside(self, id: u32) -> Option<u32> {
        id.checked_sub(self.first).filter(|id| *id < self.count)
    }

    /// A line of `uid_map` for the sandbox, as seen by the process that writes it.
    pub(super) fn map(self) -> String {
        format!("0 {} {}\n", self.first, self.count)
    }
}

/// What a map covers, as (first id inside, how many).
fn blocks(map: &str) -> Vec<(u32, u32)> {
    let block = |line: &str| {
        let fields: Vec<u32> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
        let [inside, _outside, count] = fields[..] else { return None };
        Some((inside, count))
    };
    let mut blocks: Vec<(u32, u32)> = map.lines().filter_map(block).collect();
    blocks.sort_unstable();
    // Neighbours are one block: `0 1000 1` and `1 100000 65536` cover 0 to 65,536.
    blocks.dedup_by(|next, block| {
        let joined = block.0.checked_add(block.1) == Some(next.0);
        if joined {
            block.1 = block.1.saturating_add(next.1);
        }
        joined
    });
    blocks
}

/// The first range beyond id 0 that both maps cover. One id less will do: 65,535 is nobody's (it means "no id").
fn beyond_root(uids: &[(u32, u32)], gids: &[(u32, u32)]) -> Option<Ids> {
    let end = |(first, count): (u32, u32)| first.saturating_add(count);
    uids.iter().flat_map(|uid| gids.iter().map(move |gid| (*uid, *gid))).find_map(|(uid, gid)| {
        let first = uid.0.max(gid.0).max(1);
        let count = end(uid).min(end(gid)).saturating_sub(first).min(IDS);
        (count >= IDS - 1).then_some(Ids { first, count })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(uids: &str, gids: &str) -> Option<(u32, u32)> {
        beyond_root(&blocks(uids), &blocks(gids)).map(|ids| (ids.first, ids.count))
    }

    #[test]
    fn the_range_is_what_a_namespace_has_beyond_its_root() {
        let ours = "         0       1000          1\n         1     100000      65536\n";
        assert_eq!(within(ours, ours), Some((1, 65_536)));
        let rootless = "0 1000 1\n1 100000 65535\n";
        assert_eq!(within(rootless, rootless), Some((1, 65_535)));
        let container = "0 100000 1000000\n";
        assert_eq!(within(container, container), Some((1, 65_536)));
        assert_eq!(within("0 1000 1\n", "0 1000 1\n"), None);
        assert_eq!(within(container, "0 1000 1\n"), None);
        assert_eq!(blocks("0 0 4294967295\n"), [(0, u32::MAX)]);
    }

    #[test]
    fn an_id_goes_out_and_comes_back() {
        let ids = Ids { first: SET_ASIDE, count: IDS };
        assert_eq!(ids.outside(0), Some(SET_ASIDE));
        assert_eq!(ids.outside(65_536), None);
        assert_eq!(ids.inside(SET_ASIDE + 104), Some(104));
        assert_eq!(ids.inside(0), None, "a file of the builder's is no file of the tree's");
        assert_eq!(Ids::OWN.outside(1000), Some(1000));
    }
}
