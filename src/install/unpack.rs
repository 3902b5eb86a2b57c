//! Payloads → files, in parallel, never outside the root.
//!
//! Every path is opened by the kernel inside the root (`openat2` with `RESOLVE_IN_ROOT`: links are followed as the
//! guest would see them and cannot lead out), and files are created without following a last link.

use super::local::Local;
use super::root::Root;
use super::{Error, MERGED, Package};
use crate::debian::{DebFile, DebFileKind};
use crate::values::GuestPath;
use md5::{Digest as _, Md5};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The MD5 of some bytes, as dpkg's database has it: a fingerprint of configuration files, not a protection.
pub(super) fn md5(bytes: &[u8]) -> String {
    hex(&Md5::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digests of a payload's files.
#[derive(Default)]
struct Sums {
    text: String,
    known: BTreeMap<String, String>,
}

impl Sums {
    /// Notes a file under the path that its package gives it; a further name has the digest of the first.
    fn add(&mut self, listed: &str, kind: &DebFileKind, digest: &str) {
        let digest = match kind {
            DebFileKind::File(_) => digest,
            DebFileKind::HardLink(first) => match self.known.get(first.as_str()) {
                Some(digest) => &digest.clone(),
                None => return,
            },
            _ => return,
        };
        self.text += &format!("{digest}  {}\n", listed.trim_start_matches('/'));
        self.known.insert(listed.to_owned(), digest.to_owned());
    }
}

/// Bytes on their way into a file, and their digest where one is wanted.
struct Hashed<'a> {
    bytes: &'a mut dyn Read,
    digest: Option<Md5>,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        if let Some(digest) = &mut self.digest {
            digest.update(buffer.get(..count).unwrap_or_default());
        }
        Ok(count)
    }
}

/// What is known of the paths unpacked so far; lives as long as the build.
#[derive(Default)]
pub(super) struct Ledger {
    /// Which package owns a path that is not a directory, and how its list calls it. By place after `/usr` was merged.
    owners: Mutex<BTreeMap<GuestPath, (String, String)>>,
    /// Paths that left their package's list because another one replaced them.
    replaced: Mutex<Vec<(String, String)>>,
    /// Whose files a package may take.
    replaces: BTreeMap<String, BTreeSet<String>>,
}

impl Ledger {
    /// Of packages that may take others' files.
    pub fn new(replaces: BTreeMap<String, BTreeSet<String>>) -> Self {
        Self { replaces, ..Self::default() }
    }

    /// Notes where the files have gone, or are to go, that packages diverted.
    pub fn divert(&self, local: &Local) {
        let mut owners = lock(&self.owners);
        for (from, to, keeper) in local.diversions() {
            if let Some(claim) = owners.remove(&merged(from)) {
                let place = if claim.0 == keeper { from } else { to };
                owners.insert(merged(place), claim);
            }
        }
    }

    /// Package and path of what was replaced since the last call.
    pub fn take_replaced(&self) -> Vec<(String, String)> {
        std::mem::take(&mut *lock(&self.replaced))
    }
}

/// What dpkg notes of a package's payload.
#[derive(Debug, Default)]
pub(super) struct Payload {
    /// Its paths.
    pub list: Vec<String>,
    /// `md5sums`, which dpkg makes for packages that bring none.
    pub sums: Option<String>,
}

/// Unpacks payloads below `root`, in parallel, and returns what dpkg notes of each. The outcome is
/// that of unpacking them one after the other in the order given. `bare`: as `dpkg-deb --extract` does, which is how the first
/// packages of a system come; others' configuration files are put in their place when they are set up, and scripts that run
/// before find none.
pub(super) fn unpack(
    packages: &[&Package],
    root: &Root,
    local: &Local,
    ledger: &Ledger,
    bare: bool,
    done: &(dyn Fn(&str) + Sync),
) -> Result<Vec<Payload>, Error> {
    let target = Target { root, local, ledger, bare, folders: Mutex::default() };
    // The largest first, so that no core waits for a straggler at the end.
    let mut order: Vec<usize> = (0..packages.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(packages.get(*at).map(|package| package.fetched.package.size)));
    let next = AtomicUsize::new(0);
    let results: Mutex<BTreeMap<usize, Result<Payload, Error>>> = Mutex::default();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Some(package) = packages.get(*at) else { break };
                    let result = target.package(*at, package);
                    if result.is_err() {
                        next.store(order.len(), Ordering::Relaxed);
                    }
                    lock(&results).insert(*at, result);
                    done(package.name());
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let lists = results.into_values().collect::<Result<Vec<_>, _>>()?;
    target.settle_folders()?;
    Ok(lists)
}

struct Target<'a> {
    root: &'a Root,
    local: &'a Local,
    ledger: &'a Ledger,
    bare: bool,
    /// The directories made here: which package decides on their mode, owner and time, and how many ship them.
    folders: Mutex<BTreeMap<GuestPath, Folder>>,
}

struct Folder {
    rank: usize,
    entry: DebFile,
    shared: bool,
}

/// The directory last written to: most entries of a payload follow their directory.
struct Place {
    path: GuestPath,
    folder: OwnedFd,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Target<'_> {
    fn package(&self, rank: usize, package: &Package) -> Result<Payload, Error> {
        let mut list = Vec::new();
        let mut sums = (!package.control.contains_key("md5sums")).then(Sums::default);
        let mut place = None;
        let conffiles = package.text("conffiles").unwrap_or_default();
        let conffiles: BTreeSet<&str> = conffiles.lines().map(str::trim).collect();
        package.deb.visit(|file, bytes| {
            let listed = if file.path.as_str() == "/" { "/.".to_owned() } else { file.path.to_string() };
            let out = self.local.leaves_out(&file);
            let path = self.local.place(package.name(), &file.path);
            let file = self.local.overridden(DebFile { path, ..file });
            if out {
                list.push(listed);
                return Ok::<_, Error>(());
            }
            let claim = match &file.kind {
                DebFileKind::Directory => Claim::Shared,
                _ => self.claim(package.name(), &file.path, &listed)?,
            };
            if claim == Claim::Refused {
                return Ok(());
            }
            // A folder cannot be one; what a package takes from another was that one's configuration file.
            let waits = claim == Claim::First && conffiles.contains(listed.as_str());
            let waits = waits && (!self.bare || self.root.has_entry(file.path.relative()));
            let file = if waits { DebFile { path: waiting(&file.path), ..file } } else { file };
            let entry = Entry { file: &file, package: package.name(), rank, waits };
            let mut hashed = Hashed { bytes, digest: sums.is_some().then(Md5::new) };
            self.entry(&entry, &mut hashed, &mut place).map_err(|cause| Error::Unpack {
                package: package.name().to_owned(),
                path: file.path.clone(),
                cause,
            })?;
            if let (Some(sums), Some(digest)) = (&mut sums, hashed.digest) {
                sums.add(&listed, &file.kind, &hex(&digest.finalize()));
            }
            list.push(listed);
            Ok(())
        })?;
        Ok(Payload { list, sums: sums.map(|sums| sums.text) })
    }

    /// Notes that a package owns a path, unless another one that replaces it owns it already.
    fn claim(&self, package: &str, path: &GuestPath, listed: &str) -> Result<Claim, Error> {
        let mut owners = lock(&self.ledger.owners);
        let replaces = |a: &str, b: &str| self.ledger.replaces.get(a).is_some_and(|names| names.contains(b));
        let claim = (package.to_owned(), listed.to_owned());
        let first = !owners.contains_key(&merged(path));
        match owners.get(&merged(path)) {
            None => {}
            Some((owner, _)) if owner == package => {}
            Some(old) if replaces(package, &old.0) => lock(&self.ledger.replaced).push(old.clone()),
            Some((owner, _)) if replaces(owner, package) => return Ok(Claim::Refused),
            Some((owner, _)) => {
                let (first, second) = (owner.clone(), package.to_owned());
                return Err(Error::Overlap { path: path.clone(), first, second });
            }
        }
        owners.insert(merged(path), claim);
        Ok(if first { Claim::First } else { Claim::Shared })
    }

    /// Whether no other package has replaced the path since it was claimed.
    fn still_owns(&self, entry: &Entry) -> bool {
        if entry.waits {
            return true;
        }
        lock(&self.ledger.owners).get(&merged(&entry.file.path)).is_some_and(|(owner, _)| owner == entry.package)
    }

    fn entry(&self, entry: &Entry, bytes: &mut dyn Read, place: &mut Option<Place>) -> io::Result<()> {
        let file = entry.file;
        let Some(parent) = file.path.parent() else { return Ok(()) };
        if place.as_ref().is_none_or(|place| place.path != parent) {
            *place = Some(Place { folder: self.root.directory(&parent)?, path: parent });
        }
        let Some(Place { folder, .. }) = place else { return Ok(()) };
        let (folder, name) = (folder.as_fd(), file.path.name());
        match &file.kind {
            DebFileKind::Directory => return self.make_directory(folder, name, entry),
            DebFileKind::File(_) => return self.regular(folder, entry, bytes),
            DebFileKind::HardLink(first) => {
                let first = self.local.place(entry.package, first);
                let waiting = waiting(&first);
                let first = if self.root.has_entry(waiting.relative()) { waiting } else { first };
                let from = self.root.directory(&first.parent().unwrap_or_else(GuestPath::root))?;
                let link = || rustix::fs::linkat(&from, first.name(), folder, name, AtFlags::empty());
                if self.fresh(folder, entry, link)? {
                    // As dpkg does: the last name decides, that of a link too.
                    self.root.give(folder, name, file.uid, file.gid)?;
                    rustix::fs::chmodat(folder, name, Mode::from_raw_mode(u32::from(file.mode)), AtFlags::empty())?;
                    time(folder, name, file)?;
                }
                return Ok(());
            }
            DebFileKind::Symlink(target) => {
                if is_directory(folder, name) {
                    // As dpkg does: a link never takes the place of a directory.
                    return Ok(());
                }
                self.fresh(folder, entry, || rustix::fs::symlinkat(target.as_str(), folder, name))?;
            }
            DebFileKind::Fifo => {
                let mode = Mode::from_raw_mode(u32::from(file.mode));
                if self.fresh(folder, entry, || rustix::fs::mknodat(folder, name, FileType::Fifo, mode, 0))? {
                    rustix::fs::chmodat(folder, name, mode, AtFlags::empty())?;
                }
            }
            DebFileKind::CharDevice(..) | DebFileKind::BlockDevice(..) => return Err(io::Error::other(DEVICE)),
        }
        self.root.give(folder, name, file.uid, file.gid)?;
        time(folder, name, file)
    }

    /// A directory that exists (or a link to one) keeps its mode and owner: the first package decides, first in the
    /// order given, not in time.
    fn make_directory(&self, folder: BorrowedFd, name: &str, entry: &Entry) -> io::Result<()> {
        let file = entry.file;
        let mut folders = lock(&self.folders);
        match rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => {
                let made = Folder { rank: entry.rank, entry: file.clone(), shared: false };
                folders.insert(merged(&file.path), made);
            }
            Err(Errno::EXIST) => match folders.get_mut(&merged(&file.path)) {
                Some(known) => {
                    known.shared = true;
                    if known.rank <= entry.rank {
                        return Ok(());
                    }
                    (known.rank, known.entry) = (entry.rank, file.clone());
                }
                None => return self.root.directory(&file.path).map(|_| ()),
            },
            Err(error) => return Err(error.into()),
        }
        drop(folders);
        self.root.give(folder, name, file.uid, file.gid)?;
        rustix::fs::chmodat(folder, name, Mode::from_raw_mode(u32::from(file.mode)), AtFlags::empty())?;
        time(folder, name, file)
    }

    /// Gives directories that several packages ship the mode, owner and time they have when the first package in the
    /// order given makes them: threads came in any order.
    fn settle_folders(&self) -> Result<(), Error> {
        for (path, Folder { entry, .. }) in lock(&self.folders).iter().filter(|(_, folder)| folder.shared) {
            self.settle(path, entry).map_err(|cause| Error::Io {
                what: "set the owner of",
                path: self.root.path.join(path.relative()),
                cause,
            })?;
        }
        Ok(())
    }

    fn settle(&self, path: &GuestPath, entry: &DebFile) -> io::Result<()> {
        let parent = self.root.directory(&path.parent().unwrap_or_else(GuestPath::root))?;
        let name = path.name();
        self.root.give(&parent, name, entry.uid, entry.gid)?;
        rustix::fs::chmodat(&parent, name, Mode::from_raw_mode(u32::from(entry.mode)), AtFlags::empty())?;
        let folder = rustix::fs::openat(&parent, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let empty = rustix::fs::Dir::read_from(&folder)?
            .flatten()
            .all(|entry| matches!(entry.file_name().to_bytes(), b"." | b".."));
        let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        let times = if empty { times(entry) } else { Timestamps { last_access: now, last_modification: now } };
        Ok(rustix::fs::futimens(&folder, &times)?)
    }

    fn regular(&self, folder: BorrowedFd, entry: &Entry, bytes: &mut dyn Read) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = entry.file;
        let mut target = None;
        self.fresh(folder, entry, || {
            target = Some(rustix::fs::openat(folder, file.path.name(), flags, Mode::from_raw_mode(0o600))?);
            Ok(())
        })?;
        let Some(target) = target else { return Ok(()) };
        let mut target = BufWriter::with_capacity(COPY_BUFFER, File::from(target));
        io::copy(bytes, &mut target)?;
        let target = target.into_inner()?;
        self.root.give(&target, "", file.uid, file.gid)?;
        rustix::fs::fchmod(&target, Mode::from_raw_mode(u32::from(file.mode)))?;
        rustix::fs::futimens(&target, &times(file))?;
        Ok(())
    }

    /// Creates something; what another package or a script left under the name is replaced. False when a package that
    /// replaces this one came in between.
    fn fresh(
        &self,
        folder: BorrowedFd,
        entry: &Entry,
        mut create: impl FnMut() -> Result<(), Errno>,
    ) -> io::Result<bool> {
        match create() {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) if !self.still_owns(entry) => Ok(false),
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(folder, entry.file.path.name(), AtFlags::empty())?;
                Ok(create().map(|()| true)?)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A device node on this machine's disk is this machine's device, whoever made it.
const DEVICE: &str = "the package ships a device node, which is not made on the build machine\nhelp: devices appear in the guest's own /dev; make others there, by udev or tmpfiles.d";

/// Bytes moved at once from a decoder into a file.
const COPY_BUFFER: usize = 256 << 10;

/// A payload's entry on its way to its place.
struct Entry<'a> {
    file: &'a DebFile,
    package: &'a str,
    rank: usize,
    /// A configuration file that no package owned: what is there stays, and dpkg decides when it sets up the package.
    waits: bool,
}

/// Where dpkg puts a configuration file until it has decided. Source: `DPKGNEWEXT` in dpkg's `lib/dpkg/dpkg.h`.
pub(super) const NEW: &str = ".dpkg-new";

/// A configuration file's path until then.
fn waiting(path: &GuestPath) -> GuestPath {
    GuestPath::from_archive(&format!("{path}{NEW}")).unwrap_or_else(|_| path.clone())
}

/// Whose a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// This package's, and no other package has had it.
    First,
    /// This package's, and others' before or beside it.
    Shared,
    /// Another package's that replaces this one.
    Refused,
}

/// Where a path is once `/bin`, `/lib` and so on are links into `/usr`.
fn merged(path: &GuestPath) -> GuestPath {
    let top = path.components().next().unwrap_or_default();
    if MERGED.contains(&top) && path.name() != top {
        GuestPath::from_archive(&format!("/usr{path}")).unwrap_or_else(|_| path.clone())
    } else {
        path.clone()
    }
}

fn is_directory(folder: BorrowedFd, name: &str) -> bool {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::Directory)
}

fn time(folder: BorrowedFd, name: &str, file: &DebFile) -> io::Result<()> {
    Ok(rustix::fs::utimensat(folder, name, &times(file), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn times(file: &DebFile) -> Timestamps {
    let time = Timespec { tv_sec: file.mtime, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}
