//! The list (`tests/data/packages.txt`).

use super::common::repository;

/// A package of the list.
pub struct Entry {
    pub heading: String,
    pub name: String,
    pub service: Option<Service>,
}

/// What is booted of a package.
pub struct Service {
    /// Services of one letter are booted together.
    pub group: String,
    /// `nginx.service`
    pub unit: String,
}

/// All of it, in its order.
pub fn read() -> Vec<Entry> {
    let text = std::fs::read_to_string(repository().join("tests/data/packages.txt")).unwrap();
    let mut heading = String::new();
    let mut entries = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("= ") {
            name.clone_into(&mut heading);
            continue;
        }
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let service = match words.as_slice() {
            [_] => None,
            [_, group, unit] => Some(Service { group: group.clone(), unit: unit.clone() }),
            _ => panic!("{line}"),
        };
        entries.push(Entry { heading: heading.clone(), name: words[0].clone(), service });
    }
    entries
}
