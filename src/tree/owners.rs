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
pub struct Owners(BTreeMap<String, Vec<String>>);

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
        for path in list.lines() {
            let merged = MERGED.iter().any(|folder| path.starts_with(folder));
            let path = if merged { format!("/usr{path}") } else { path.to_owned() };
            self.0.entry(path).or_default().push(package.to_owned());
        }
    }

    /// The packages that ship a path; of one that none ships, those of the nearest folder, unless it is everybody's.
    pub fn of(&self, path: &GuestPath) -> &[String] {
        let mut path = Some(path.clone());
        while let Some(place) = path {
            match self.0.get(place.as_str()) {
                Some(packages) if packages.len() <= FEW => return packages,
                Some(_) => return &[],
                None => path = place.parent(),
            }
        }
        &[]
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
            ("/made", &[]),
        ] {
            assert_eq!(owners.of(&path.parse().unwrap()), expected, "{path}");
        }
    }
}
