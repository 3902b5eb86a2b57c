//! Locked packages → files in the store.

use super::{Error, Lock, LockedPackage};
use crate::progress::Observer;
use crate::store::{self, Download, Store};
use crate::values::utc;
use std::path::PathBuf;

/// A locked package and its verified file.
#[derive(Debug, Clone)]
pub struct FetchedPackage {
    /// Which.
    pub package: LockedPackage,
    /// Where.
    pub file: PathBuf,
}

/// The files of all locked packages; what is missing is downloaded from the mirror, or from the snapshot archive when
/// the mirror no longer has it.
pub fn fetch(lock: &Lock, store: &Store, offline: bool, observer: &dyn Observer) -> Result<Vec<FetchedPackage>, Error> {
    let downloads: Vec<_> = lock.packages.iter().map(|package| download(lock, package)).collect();
    if offline {
        let sound = store.sound(&downloads).into_iter();
        let missing: Vec<_> =
            downloads.iter().zip(sound).filter(|(_, sound)| !sound).map(|(wanted, _)| wanted.name.clone()).collect();
        if !missing.is_empty() {
            return Err(Error::NotCached(missing));
        }
    }
    let files = store.fetch("fetch", &downloads, observer).map_err(|error| gone(error, lock))?;
    Ok(lock.packages.iter().cloned().zip(files).map(|(package, file)| FetchedPackage { package, file }).collect())
}

fn download(lock: &Lock, package: &LockedPackage) -> Download {
    let urls = lock.archives.get(package.archive).map_or_else(Vec::new, |archive| {
        let live = format!("{}/{}", archive.mirror, package.path);
        let old = archive.snapshot.as_ref().map(|url| format!("{url}/{}/{}", timestamp(archive.date), package.path));
        std::iter::once(live).chain(old).collect()
    });
    Download { name: format!("{} {}", package.name, package.version), urls, size: package.size, sha256: package.sha256 }
}

/// Tells versions that left the mirror from a mirror that is down.
fn gone(error: store::Error, lock: &Lock) -> Error {
    let store::Error::Fetch(problems) = &error else { return error.into() };
    let left = |problem: &&store::Problem| problem.failures.iter().any(|(_, failure)| failure.contains("404"));
    let gone = problems.iter().filter(left).count();
    if gone == 0 {
        return error.into();
    }
    let snapshot = lock.archives.iter().find_map(|archive| archive.snapshot.clone());
    Error::Gone { cause: error, gone, snapshot: snapshot.unwrap_or_else(|| "an archive of old versions".to_owned()) }
}

/// `20260906T093318Z`, as snapshot archives name their states.
fn timestamp(seconds: i64) -> String {
    utc(seconds).replace(['-', ':'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshot_names_are_utc_time_stamps() {
        assert_eq!(timestamp(0), "19700101T000000Z");
        assert_eq!(timestamp(1_582_979_405), "20200229T123005Z");
    }
}
