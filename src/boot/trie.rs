//! The binary index that libkmod searches: a radix tree written children first.
//!
//! Source: kmod's `libkmod/libkmod-index.h` and `tools/depmod.c` (`index_write`). libkmod reads only this form;
//! without it, udev and modprobe find no module at all.

use std::collections::BTreeMap;

const MAGIC: u32 = 0xB007_F457;
const VERSION: u32 = 0x0002_0001;
const PREFIX: u32 = 0x8000_0000;
const VALUES: u32 = 0x4000_0000;
const CHILDREN: u32 = 0x2000_0000;

/// Keys beyond libkmod's own path buffer can never be asked for; leaving them out bounds the depth.
const MAX_KEY: usize = 4096;

/// A value and its priority.
type Ranked = (u32, Vec<u8>);

/// A set of keys, each with values in order of priority.
#[derive(Default)]
pub(super) struct Trie {
    keys: BTreeMap<Vec<u8>, Vec<Ranked>>,
}

impl Trie {
    /// Adds a value. Of values with one priority the last one added is found first. Keys that are not printable ASCII
    /// do not fit the format and are passed over.
    pub fn insert(&mut self, key: &str, value: &str, priority: u32) {
        if key.len() > MAX_KEY || !key.bytes().all(|byte| (1..128).contains(&byte)) || value.contains('\0') {
            return;
        }
        let values = self.keys.entry(key.as_bytes().to_vec()).or_default();
        let place = values.partition_point(|(other, _)| *other < priority);
        values.insert(place, (priority, value.as_bytes().to_vec()));
    }

    /// The index file.
    pub fn write(&self) -> Vec<u8> {
        let mut out = [MAGIC.to_be_bytes(), VERSION.to_be_bytes(), [0; 4]].concat();
        let keys: Vec<_> = self.keys.iter().map(|(key, values)| (key.as_slice(), values.as_slice())).collect();
        let root = node(&keys, 0, &mut out);
        out.splice(8..12, root.to_be_bytes());
        out
    }
}

/// Writes the node of the sorted `keys`, which share their first `depth` bytes; returns its offset and flags.
fn node(keys: &[(&[u8], &[Ranked])], depth: usize, out: &mut Vec<u8>) -> u32 {
    let rest = |key: &'_ [u8]| key.get(depth..).unwrap_or_default().to_vec();
    let (first, last) = (keys.first().map(|key| rest(key.0)), keys.last().map(|key| rest(key.0)));
    let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
    // Sorted, so what the outermost two share all share. depmod gives the root no prefix.
    let shared = if depth == 0 { 0 } else { first.iter().zip(&last).take_while(|(a, b)| a == b).count() };
    let end = depth + shared;
    let (own, children) = match keys.split_first() {
        Some((own, rest)) if own.0.len() == end => (own.1, rest),
        _ => (&[][..], keys),
    };
    let mut table: BTreeMap<u8, u32> = BTreeMap::new();
    for group in children.chunk_by(|a, b| a.0.get(end) == b.0.get(end)) {
        let byte = group.first().and_then(|key| key.0.get(end)).copied().unwrap_or_default();
        table.insert(byte, node(group, end + 1, out));
    }
    let mut offset = out.len() as u32;
    if shared > 0 {
        out.extend(first.iter().take(shared));
        out.push(0);
        offset |= PREFIX;
    }
    if let (Some((low, _)), Some((high, _))) = (table.first_key_value(), table.last_key_value()) {
        out.extend([*low, *high]);
        for byte in *low..=*high {
            out.extend(table.get(&byte).copied().unwrap_or_default().to_be_bytes());
        }
        offset |= CHILDREN;
    }
    if !own.is_empty() {
        out.extend((own.len() as u32).to_be_bytes());
        for (priority, value) in own {
            out.extend(priority.to_be_bytes());
            out.extend(value);
            out.push(0);
        }
        offset |= VALUES;
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks a key up as `index_mm_search` does.
    fn search(index: &[u8], key: &str) -> Vec<String> {
        let long = |at: usize| u32::from_be_bytes(index[at..at + 4].try_into().unwrap());
        let mut key = key.as_bytes();
        let mut offset = long(8);
        loop {
            let mut at = (offset & 0x0fff_ffff) as usize;
            if offset & PREFIX != 0 {
                let end = at + index[at..].iter().position(|byte| *byte == 0).unwrap();
                let Some(rest) = key.strip_prefix(&index[at..end]) else { return Vec::new() };
                (key, at) = (rest, end + 1);
            }
            let children = at;
            if offset & CHILDREN != 0 {
                at += 2 + 4 * (usize::from(index[at + 1]) - usize::from(index[at]) + 1);
            }
            let Some((byte, rest)) = key.split_first() else {
                if offset & VALUES == 0 {
                    return Vec::new();
                }
                let count = long(at);
                at += 4;
                let value = |_| {
                    let end = at + 4 + index[at + 4..].iter().position(|byte| *byte == 0).unwrap();
                    let value = String::from_utf8(index[at + 4..end].to_vec()).unwrap();
                    at = end + 1;
                    value
                };
                return (0..count).map(value).collect();
            };
            if offset & CHILDREN == 0 || !(index[children]..=index[children + 1]).contains(byte) {
                return Vec::new();
            }
            offset = long(children + 2 + 4 * usize::from(byte - index[children]));
            key = rest;
            if offset == 0 {
                return Vec::new();
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn every_key_is_found_and_no_other(
            keys in proptest::collection::btree_set("[ab:_*]{0,6}", 0..20),
            other in "[ab:_*]{0,6}",
        ) {
            let mut trie = Trie::default();
            for key in &keys {
                trie.insert(key, &format!("{key}-second"), 2);
                trie.insert(key, &format!("{key}-first"), 1);
            }
            let index = trie.write();
            for key in &keys {
                assert_eq!(search(&index, key), [format!("{key}-first"), format!("{key}-second")]);
            }
            if !keys.is_empty() && !keys.contains(&other) {
                assert!(search(&index, &other).is_empty());
            }
        }
    }
}
