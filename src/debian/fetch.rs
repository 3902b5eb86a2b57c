//! Locked packages → files in the store.

use super::{Error, Lock, LockedPackage};
use crate::progress::Observer;
use crate::store::{self, Download, Store};
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
        let missing = |wanted: &&Download| !store.file(&wanted.sha256).exists();
        let missing: Vec<_> = downloads.iter().filter(missing).map(|wanted| wanted.name.clone()).collect();
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
pub(crate) fn timestamp(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // The civil calendar from days, with March as the first month (Howard Hinnant, "chrono-compatible date algorithms").
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (year, month) =
        (year_of_era + era * 400 + i64::from(month >= 10), if month < 10 { month + 3 } else { month - 9 });
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
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
