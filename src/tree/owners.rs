//! Which package a path belongs to, by dpkg's lists of files.

use crate::values::GuestPath;
use std::collections::BTreeMap;

/// Where dpkg's lists are.
const LISTS: &str = "/var/lib/dpkg/info";

/// The directories that are links into `/usr`: lists name files by them.
const MERGED: [&str; 6] = ["/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/", "/libx32/"];

/// A folder of more packages than this is nobody's.
const FEW: usize = 3;

/// The packages of every path.
#[derive(Debug, Default)]
pub struct Owners {
    paths: BTreeMap<String, Vec<String>>,
    /// Each by its name, for paths that have it in them.
    names: BTreeMap<String, Vec<String>>,
}

impl Owners {
    /// From a filesystem: `names` gives those in a folder, `read` the bytes of a file.
    pub fn read<E>(
        names: impl Fn(&GuestPath) -> Result<Vec<String>, E>,
        read: impl Fn(&GuestPath) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Self, E> {
        let mut owners = Self::default();
        let Ok(folder) = LISTS.parse::<GuestPath>() else { return Ok(owners) };
        for name in names(&folder)? {
            let (Some(package), Ok(path)) = (name.strip_suffix(".list"), folder.join(&name)) else { continue };
            if let Some(text) = read(&path)? {
                owners.add(package.split(':').next().unwrap_or(package), &String::from_utf8_lossy(&text));
            }
        }
        Ok(owners)
    }

    fn add(&mut self, package: &str, list: &str) {
        self.names.insert(package.to_owned(), vec![package.to_owned()]);
        for path in list.lines() {
            let merged = MERGED.iter().any(|folder| path.starts_with(folder));
            let path = if merged { format!("/usr{path}") } else { path.to_owned() };
            self.paths.entry(path).or_default().push(package.to_owned());
        }
    }

    /// The packages that ship a path; of one that none ships, those of the nearest folder, or, if it is everybody's, the one
    /// whose name is in the path.
    pub fn of(&self, path: &GuestPath) -> &[String] {
        let known = |place: &GuestPath| self.paths.get(place.as_str());
        let nearest = std::iter::successors(Some(path.clone()), GuestPath::parent).find_map(|place| known(&place));
        let few = nearest.filter(|packages| packages.len() <= FEW);
        let stem = |part: &str| self.names.get(part).or_else(|| self.names.get(part.split_once('.')?.0));
        few.or_else(|| path.as_str().rsplit('/').find_map(stem)).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_its_packages_or_that_of_its_folder() {
        let mut owners = Owners::default();
        owners.add("kmod", "/.\n/bin\n/bin/kmod\n/etc\n/etc/depmod.d\n");
        for package in ["a", "b", "c"] {
            owners.add(package, "/etc\n");
        }
        for (path, expected) in [
            ("/usr/bin/kmod", &["kmod"][..]),
            ("/etc/depmod.d/made", &["kmod"]),
            ("/etc/depmod.d/deep/made", &["kmod"]),
            ("/etc/made", &[]),
            ("/etc/kmod.conf", &["kmod"]),
            ("/etc/b/kmod/x", &["kmod"]),
            ("/made", &[]),
        ] {
            assert_eq!(owners.of(&path.parse().unwrap()), expected, "{path}");
        }
    }
}
