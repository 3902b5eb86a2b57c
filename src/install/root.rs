//! The root folder that packages are unpacked into. Every path below it is opened by the kernel inside it (`openat2`
//! with `RESOLVE_IN_ROOT`): links are followed as the guest would see them, and lead nowhere else, whatever a package
//! or a script has put in place.

use super::Error;
use crate::sandbox::Ids;
use crate::values::GuestPath;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, openat2};
use rustix::io::Errno;
use std::fs::{File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// An opened root folder.
pub(super) struct Root {
    pub path: PathBuf,
    folder: OwnedFd,
    ids: Ids,
}

impl Root {
    /// Opens the folder; what is made in it belongs to `ids`.
    pub fn open(path: &Path, ids: Ids) -> Result<Self, Error> {
        let folder = File::open(path).map_err(|cause| Error::Io { what: "open", path: path.into(), cause })?;
        Ok(Self { path: path.into(), folder: folder.into(), ids })
    }

    /// Gives something in a folder to a user and group of the tree. Where the tree's ids are those of this machine, what
    /// root has made is root's already.
    pub fn give(&self, folder: impl AsFd, name: &str, uid: u32, gid: u32) -> io::Result<()> {
        if self.ids == Ids::OWN && (uid, gid) == (0, 0) {
            return Ok(());
        }
        let (uid, gid) = outside(self.ids, uid, gid)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
        Ok(rustix::fs::chownat(folder, name, Some(uid), Some(gid), flags)?)
    }

    /// Whether there is something by that name, links followed as the guest would.
    pub fn has(&self, path: &str) -> bool {
        self.at(path, OFlags::PATH).is_ok()
    }

    /// Whether something is there under this name, be it a link that leads nowhere.
    pub fn has_entry(&self, path: &str) -> bool {
        self.at(path, OFlags::PATH | OFlags::NOFOLLOW).is_ok()
    }

    /// Opens a directory, making it and its parents where they are missing.
    pub fn directory(&self, path: &GuestPath) -> io::Result<OwnedFd> {
        let open = || {
            let relative = if path.as_str() == "/" { "." } else { path.relative() };
            self.at(relative, OFlags::PATH | OFlags::DIRECTORY)
        };
        match open() {
            Err(Errno::NOENT) => {
                let parent = path.parent().ok_or(Errno::NOENT)?;
                let parent = self.directory(&parent)?;
                match rustix::fs::mkdirat(&parent, path.name(), Mode::from_raw_mode(0o755)) {
                    Ok(()) => self.give(&parent, path.name(), 0, 0)?,
                    Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                Ok(open()?)
            }
            result => Ok(result?),
        }
    }

    /// The names of the directories in a directory, links left out; none when there is no such directory.
    pub fn folders(&self, path: &GuestPath) -> io::Result<Option<Vec<String>>> {
        self.entries(path, FileType::Directory)
    }

    /// The names of the files in a directory, links left out; none when there is no such directory.
    pub fn files(&self, path: &GuestPath) -> io::Result<Option<Vec<String>>> {
        self.entries(path, FileType::RegularFile)
    }

    fn entries(&self, path: &GuestPath, kind: FileType) -> io::Result<Option<Vec<String>>> {
        let folder = match self.at(path.relative(), OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(Errno::NOENT) => return Ok(None),
            folder => folder?,
        };
        let mut names = Vec::new();
        for entry in Dir::new(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy();
            if entry.file_type() == kind && !matches!(&*name, "." | "..") {
                names.push(name.into_owned());
            }
        }
        Ok(Some(names))
    }

    /// The bytes of a file; none when there is no such file.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let read = |file: OwnedFd| {
            let mut bytes = Vec::new();
            File::from(file).read_to_end(&mut bytes).map(|_| Some(bytes))
        };
        let result = match self.at(path, OFlags::RDONLY | OFlags::NONBLOCK) {
            Err(Errno::NOENT) => Ok(None),
            opened => opened.map_err(io::Error::from).and_then(read),
        };
        result.map_err(|cause| self.error("read", path, cause))
    }

    /// Writes a file of root's, of exactly this mode.
    pub fn write(&self, path: &str, bytes: &[u8], mode: u16) -> Result<(), Error> {
        let write = || {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let mut file = File::from(self.at(path, flags)?);
            file.write_all(bytes)?;
            self.give(&file, "", 0, 0)?;
            file.set_permissions(Permissions::from_mode(u32::from(mode)))
        };
        write().map_err(|cause| self.error("write", path, cause))
    }

    /// Removes a file.
    pub fn remove(&self, path: &str) -> Result<(), Error> {
        self.unlink(path, AtFlags::empty())
    }

    /// Removes an empty folder.
    pub fn remove_folder(&self, path: &str) -> Result<(), Error> {
        self.unlink(path, AtFlags::REMOVEDIR)
    }

    fn unlink(&self, path: &str, flags: AtFlags) -> Result<(), Error> {
        let remove = || -> io::Result<()> {
            let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
            let parent = self.at(parent, OFlags::PATH | OFlags::DIRECTORY)?;
            Ok(rustix::fs::unlinkat(parent, name, flags)?)
        };
        remove().map_err(|cause| self.error("delete", path, cause))
    }

    fn at(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o600) } else { Mode::empty() };
        openat2(&self.folder, path, flags | OFlags::CLOEXEC, mode, ResolveFlags::IN_ROOT)
    }

    fn error(&self, what: &'static str, path: &str, cause: io::Error) -> Error {
        Error::Io { what, path: self.path.join(path), cause }
    }
}

/// Who owns on disk what this user and group own in a tree.
pub(super) fn outside(ids: Ids, uid: u32, gid: u32) -> io::Result<(Uid, Gid)> {
    let id = |id| ids.outside(id).ok_or_else(|| io::Error::other(format!("the owner {id} is not between 0 and 65535")));
    Ok((Uid::from_raw(id(uid)?), Gid::from_raw(id(gid)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_the_root_never_leads_out_of_it() {
        let (outside, inside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), inside.path().join("absolute")).unwrap();
        std::os::unix::fs::symlink("../../../../../..", inside.path().join("climbing")).unwrap();
        let root = Root::open(inside.path(), Ids::OWN).unwrap();
        assert!(root.write("absolute/file", b"x", 0o644).is_err());
        root.write("climbing/file", b"x", 0o640).unwrap();
        assert_eq!(root.read("file").unwrap(), Some(b"x".to_vec()));
        assert_eq!(std::fs::metadata(inside.path().join("file")).unwrap().permissions().mode() & 0o7777, 0o640);
        root.directory(&"/climbing/../../deep".parse().unwrap_or(GuestPath::root())).unwrap();
        root.remove("climbing/file").unwrap();
        assert_eq!(root.read("file").unwrap(), None);
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
