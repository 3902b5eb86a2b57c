//! What differs between two filesystems, path by path.

use super::{Error, Inventory, Item};
use crate::values::GuestPath;
use serde::Serialize;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A path that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where.
    pub path: GuestPath,
    /// How.
    #[serde(flatten)]
    pub change: Change,
}

/// How a path differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum Change {
    /// Only in the second.
    Added {
        /// What it is there.
        new: Item,
    },
    /// Only in the first.
    Removed {
        /// What it was.
        old: Item,
    },
    /// In both, not the same.
    Changed {
        /// Each field that differs.
        fields: Vec<Field>,
    },
}

/// A field of a node that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// `type`, `mode`, `owner`, `size`, `content`, `mtime`, `target`, `hard link`, or an attribute's name.
    pub name: String,
    /// In the first.
    pub old: String,
    /// In the second.
    pub new: String,
}

/// Everything that differs, in path order; nothing when both hold the same.
pub fn diff(old: &Inventory, new: &Inventory) -> Vec<Difference> {
    let mut differences = Vec::new();
    for (path, item) in old {
        let change = match new.get(path) {
            None => Change::Removed { old: item.clone() },
            Some(other) if other == item => continue,
            Some(other) => Change::Changed { fields: fields(item, other) },
        };
        differences.push(Difference { path: path.clone(), change });
    }
    let added = new.iter().filter(|(path, _)| !old.contains_key(*path));
    differences.extend(
        added.map(|(path, item)| Difference { path: path.clone(), change: Change::Added { new: item.clone() } }),
    );
    differences.sort_by(|a, b| a.path.cmp(&b.path));
    differences
}

fn fields(old: &Item, new: &Item) -> Vec<Field> {
    let text = |value: Option<&dyn fmt::Display>| value.map_or_else(|| "none".to_owned(), ToString::to_string);
    let digest = |item: &Item| text(item.digest.as_ref().map(|digest| digest as _));
    let mut fields = Vec::new();
    let mut compare = |name: &str, old: String, new: String| {
        if old != new {
            fields.push(Field { name: name.to_owned(), old, new });
        }
    };
    compare("type", old.kind.to_string(), new.kind.to_string());
    compare("mode", format!("{:04o}", old.mode), format!("{:04o}", new.mode));
    compare("owner", format!("{}:{}", old.uid, old.gid), format!("{}:{}", new.uid, new.gid));
    compare("size", old.size.to_string(), new.size.to_string());
    compare("content", digest(old), digest(new));
    compare("mtime", old.mtime.to_string(), new.mtime.to_string());
    compare("target", text(old.target.as_ref().map(|t| t as _)), text(new.target.as_ref().map(|t| t as _)));
    compare("hard link", text(old.same_as.as_ref().map(|t| t as _)), text(new.same_as.as_ref().map(|t| t as _)));
    let names: std::collections::BTreeSet<_> = old.xattrs.keys().chain(new.xattrs.keys()).collect();
    for name in names {
        let value = |item: &Item| text(item.xattrs.get(name).map(|value| value as _));
        compare(name, value(old), value(new));
    }
    fields
}

impl fmt::Display for Difference {
    /// `+ path`, `- path`, or `~ path: mode 0644 -> 0600, …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.change {
            Change::Added { new } => write!(f, "+ {} ({})", self.path, new.kind),
            Change::Removed { old } => write!(f, "- {} ({})", self.path, old.kind),
            Change::Changed { fields } => {
                write!(f, "~ {}:", self.path)?;
                for (index, field) in fields.iter().enumerate() {
                    let short = |text: &str| text.chars().take(64).collect::<String>();
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma} {} {} -> {}", field.name, short(&field.old), short(&field.new))?;
                }
                Ok(())
            }
        }
    }
}

/// The offset of the first byte that differs between two files; none when they are the same. A file that ends early
/// differs where it ends. Parts that are holes in both are not read.
pub fn first_difference(a: &File, b: &File) -> Result<Option<u64>, Error> {
    compare_bytes(a, b).map_err(Error::Compare)
}

fn compare_bytes(a: &File, b: &File) -> io::Result<Option<u64>> {
    const PIECE: u64 = 1 << 20;
    let (size, other) = (a.metadata()?.len(), b.metadata()?.len());
    let end = size.min(other);
    let (mut left, mut right) = (vec![0; PIECE as usize], vec![0; PIECE as usize]);
    let mut at = 0;
    while at < end {
        let next = |file| Ok::<_, io::Error>(super::verity::data_start(file, at)?.unwrap_or(end).min(end));
        at = next(a)?.min(next(b)?);
        let count = (end - at).min(PIECE) as usize;
        let (left, right) = (left.get_mut(..count).unwrap_or_default(), right.get_mut(..count).unwrap_or_default());
        a.read_exact_at(left, at)?;
        b.read_exact_at(right, at)?;
        if let Some(index) = left.iter().zip(right.iter()).position(|(a, b)| a != b) {
            return Ok(Some(at + index as u64));
        }
        at += count as u64;
    }
    Ok((size != other).then_some(end))
}
