//! The content-addressed cache: downloads, verified files, build layers, locks between processes.
//!
//! Lives in `$GOLDSMITH_CACHE`, else `$XDG_CACHE_HOME/goldsmith`, else `~/.cache/goldsmith`. A file or folder is there
//! whole and verified, or not at all. Uses `interrupt`, `progress`, `values`.
//!
//! ```text
//! v1/files/ab/abcd…       a file named by its SHA-256 (a download in progress: abcd….partial)
//! v1/layers/KIND/KEY/     a folder made from content named by KEY, published by rename
//! v1/scratch/XXXXXX/      a folder of a process that is in it now; deleted after it
//! v1/again/               layers of a second build, `build --check`; deleted after it
//! v1/cleared/             what `clean` is deleting
//! v1/locks/NAME           flock files: two processes never make the same thing twice
//! ```

mod fetch;
mod scratch;

pub(crate) use fetch::get;
pub use fetch::{Download, Problem};
pub use scratch::Scratch;

use crate::interrupt;
use crate::values::Sha256;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The cache of one user.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    layers: PathBuf,
}

/// The folder for layers of a second build that must not see those of the first; also the lock of that folder.
const AGAIN: &str = "again";

/// What is being deleted from the cache.
const CLEARED: &str = "cleared";

/// The extension of a layer that is being made.
const PARTIAL: &str = "partial";

/// Held while something is made; other processes wait. Ends with its holder.
#[derive(Debug)]
pub struct Guard(#[allow(dead_code, reason = "held for its lock")] File);

/// Why the cache could not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nowhere to put the cache.
    #[error(
        "neither GOLDSMITH_CACHE nor XDG_CACHE_HOME nor HOME says where the cache is\nhelp: set GOLDSMITH_CACHE to a folder"
    )]
    NoHome,
    /// A file operation in the cache failed.
    #[error("cannot {what} {}{}", path.display(), room(cause))]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// Downloads failed; every problem is listed.
    #[error("{}", fetch::describe(.0))]
    Fetch(Vec<Problem>),
}

impl Store {
    /// Opens (and creates) the cache.
    pub fn open() -> Result<Self, Error> {
        let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = folder("GOLDSMITH_CACHE")
            .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("goldsmith")))
            .or_else(|| folder("HOME").map(|home| home.join(".cache/goldsmith")))
            .ok_or(Error::NoHome)?;
        Self::at(&base)
    }

    /// Opens the cache in a folder of the caller's choice.
    pub fn at(base: &Path) -> Result<Self, Error> {
        let base = std::path::absolute(base).map_err(|cause| Error::Io { what: "find", path: base.into(), cause })?;
        let root = base.join("v1");
        let store = Self { layers: root.join("layers"), root };
        for folder in ["files", "layers", "locks"] {
            create_folder(&store.root.join(folder))?;
        }
        Ok(store)
    }

    /// Runs `work` with a cache that has the same downloads and not one layer. Its layers are deleted after.
    pub fn without_layers<T, E: From<Error>>(&self, work: impl FnOnce(&Self) -> Result<T, E>) -> Result<T, E> {
        let _guard = self.lock(AGAIN)?;
        let again = Self { layers: self.root.join(AGAIN), ..self.clone() };
        let _making = interrupt::folder(&again.layers);
        delete(&again.layers)?;
        let result = work(&again);
        delete(&again.layers)?;
        result
    }

    /// Deletes what killed builds have left half made, whatever they were building. What a build makes just now is locked.
    pub fn sweep(&self) -> Result<(), Error> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |cause| Error::Io { what: "read", path, cause }
        };
        for kind in fs::read_dir(&self.layers).map_err(io(&self.layers))? {
            let kind = kind.map_err(io(&self.layers))?.path();
            for layer in fs::read_dir(&kind).map_err(io(&kind))? {
                let layer = layer.map_err(io(&kind))?.path();
                let name = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                if layer.extension().is_some_and(|extension| extension == PARTIAL)
                    && let Some(_guard) = self.try_lock(&format!("{}-{}", name(&kind), name(&layer)))?
                {
                    delete(&layer)?;
                }
            }
        }
        if let Some(_guard) = self.try_lock(AGAIN)? {
            delete(&self.root.join(AGAIN))?;
        }
        self.sweep_scratch()?;
        delete(&self.root.join(CLEARED))
    }

    /// Deletes what is cached: everything, or only the layers. Waits for nobody: a build that is running meanwhile
    /// fails or fetches again, but publishes nothing half.
    pub fn clear(&self, layers_only: bool) -> Result<(), Error> {
        let folders: &[&str] = if layers_only { &["layers"] } else { &["layers", "files"] };
        for folder in folders {
            // Under another name first: half a layer is none.
            let (path, cleared) = (self.root.join(folder), self.root.join(CLEARED));
            delete(&cleared)?;
            fs::rename(&path, &cleared).map_err(|cause| Error::Io { what: "delete", path: path.clone(), cause })?;
            create_folder(&path)?;
            delete(&cleared)?;
        }
        self.sweep_scratch()?;
        delete(&self.root.join(AGAIN))
    }

    /// The cache's folder, format version included.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the file with this digest is, or would be.
    pub fn file(&self, digest: &Sha256) -> PathBuf {
        let name = digest.to_string();
        self.root.join("files").join(&name[..2]).join(name)
    }

    /// Where the layer of this kind and key is, or would be.
    pub fn layer(&self, kind: &str, key: &Sha256) -> PathBuf {
        self.layers.join(kind).join(key.to_string())
    }

    /// Waits until no other process holds `name`, then holds it.
    pub fn lock(&self, name: &str) -> Result<Guard, Error> {
        let path = self.root.join("locks").join(name);
        let fail = |cause: io::Error| Error::Io { what: "lock", path: path.clone(), cause };
        let file = File::create(&path).map_err(fail)?;
        flock(&file, FlockOperation::LockExclusive).map_err(|error| fail(error.into()))?;
        Ok(Guard(file))
    }

    /// Deletes a layer that turned out to be damaged, unless a build is making it.
    pub fn drop_layer<E: From<Error>>(
        &self,
        kind: &str,
        key: &Sha256,
        discard: impl Fn(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let _guard = self.lock(&format!("{kind}-{key}"))?;
        let layer = self.layer(kind, key);
        if !layer.exists() {
            return Ok(());
        }
        // Under another name first: half a layer is none.
        let work = layer.with_extension(PARTIAL);
        if work.exists() {
            discard(&work)?;
        }
        fs::rename(&layer, &work).map_err(|cause| Error::Io { what: "delete", path: layer.clone(), cause })?;
        discard(&work)
    }

    /// Holds `name`, unless another process does.
    fn try_lock(&self, name: &str) -> Result<Option<Guard>, Error> {
        let path = self.root.join("locks").join(name);
        let fail = |cause: io::Error| Error::Io { what: "lock", path: path.clone(), cause };
        let file = File::create(&path).map_err(fail)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Guard(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(fail(error.into())),
        }
    }

    /// The layer of this kind and key, made by `make` in an empty folder when it is missing. What an interrupted run
    /// left is handed to `discard` first (its files may belong to other user ids).
    pub fn make_layer<E: From<Error>>(
        &self,
        kind: &str,
        key: &Sha256,
        discard: impl Fn(&Path) -> Result<(), E>,
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        let layer = self.layer(kind, key);
        let _guard = self.lock(&format!("{kind}-{key}"))?;
        if layer.exists() {
            return Ok(layer);
        }
        let work = layer.with_extension(PARTIAL);
        if work.exists() {
            discard(&work)?;
        }
        create_folder(&work)?;
        let making = interrupt::folder(&work);
        let made = make(&work);
        if let Err(error) = made {
            discard(&work)?;
            return Err(error);
        }
        let renamed = making.finish(|| fs::rename(&work, &layer));
        renamed.map_err(|cause| Error::Io { what: "name", path: layer.clone(), cause })?;
        Ok(layer)
    }
}

/// What to do about a full disk, where the cache or an image is; nothing for any other failure.
pub(crate) fn room(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "\nhelp: the disk is full: type `goldsmith clean`, or set GOLDSMITH_CACHE to a folder on a larger one"
        }
        _ => "",
    }
}

/// Deletes a folder with all that is in it, if it is there.
fn delete(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(Error::Io { what: "delete", path: path.into(), cause })
        }
        _ => Ok(()),
    }
}

fn create_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|cause| Error::Io { what: "create", path: path.into(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_killed_builds_left_goes_and_what_is_being_made_stays() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path()).unwrap();
        let [done, left, making] = ["done", "left", "making"].map(|name| Sha256::of(name.as_bytes()));
        let partial = |key: &Sha256| store.layer("base", key).with_extension(PARTIAL);
        for path in [store.layer("base", &done), partial(&left), partial(&making)] {
            fs::create_dir_all(path.join("root")).unwrap();
        }
        for name in [AGAIN, CLEARED, "scratch"] {
            fs::create_dir_all(store.root().join(name).join("base")).unwrap();
        }
        let scratch = store.scratch().unwrap();
        let _making = store.lock(&format!("base-{making}")).unwrap();
        store.sweep().unwrap();
        assert!(store.layer("base", &done).exists() && partial(&making).exists() && !partial(&left).exists());
        assert_eq!(fs::read_dir(store.root().join("scratch")).unwrap().count(), 1);
        assert!(scratch.path().is_dir());
        drop(scratch);
        let names = fs::read_dir(store.root()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<std::collections::BTreeSet<_>>().len(), 3, "files, layers, locks");
        store.clear(true).unwrap();
        assert!(!store.layer("base", &done).exists() && !store.root().join(CLEARED).exists());
    }
}
