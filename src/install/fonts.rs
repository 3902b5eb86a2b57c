//! The font cache, as the image will find it valid.
//!
//! `fc-cache` notes each folder's time, cut off at `SOURCE_DATE_EPOCH`, then deletes what does not match the times on
//! disk (fontconfig 2.14, `FcCacheTimeValid`): under a fixed epoch the cache that the package's own script makes would
//! always be deleted, and every guest would read all fonts anew. So the folders get the times of the image first.

use super::root::Root;
use super::step::{Subject, Watch};
use super::{Error, Limits, Sandbox};
use crate::values::GuestPath;
use rustix::fs::{AtFlags, Timespec, Timestamps, statat, utimensat};
use std::io;

/// Where fonts are, and what links among them lead to.
const FOLDERS: [&str; 2] = ["/usr/share", "/usr/local/share"];
const PROGRAM: &str = "/usr/bin/fc-cache";

/// Before the scripts: gives the folders the times that they have in the image, so that what fontconfig's script writes
/// stays valid.
pub(super) fn prepare(root: &Root, epoch: i64) -> Result<(), Error> {
    if !is_there(root) {
        return Ok(());
    }
    for folder in FOLDERS.iter().filter_map(|folder| folder.parse().ok()) {
        settle(root, &folder, epoch).map_err(|cause| Error::Io {
            what: "set the time of",
            path: root.path.join(folder.relative()),
            cause,
        })?;
    }
    Ok(())
}

/// After the scripts: the same again, for folders that they have changed, and a look at every cache. Only what is not valid
/// is written anew; `fc-cache` then sleeps for two seconds.
pub(super) fn cache(root: &Root, epoch: i64, limits: Limits, watch: &Watch) -> Result<(), Error> {
    if !is_there(root) {
        return Ok(());
    }
    prepare(root, epoch)?;
    let sandbox = Sandbox::new(&root.path, epoch, limits);
    watch.run(&sandbox, &[PROGRAM, "--system-only"], Subject::new("setting up", "fontconfig", "fc-cache"))
}

fn is_there(root: &Root) -> bool {
    root.has(PROGRAM.trim_start_matches('/'))
}

/// Cuts off the times of a folder and of those below it, as the image does.
fn settle(root: &Root, folder: &GuestPath, epoch: i64) -> io::Result<()> {
    let Some(names) = root.folders(folder)? else { return Ok(()) };
    for name in names {
        if let Ok(below) = folder.join(&name) {
            settle(root, &below, epoch)?;
        }
    }
    let opened = root.directory(folder)?;
    let status = statat(&opened, ".", AtFlags::empty())?;
    let time = Timespec { tv_sec: status.st_mtime.min(epoch), tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(&opened, ".", &times, AtFlags::empty())?)
}
