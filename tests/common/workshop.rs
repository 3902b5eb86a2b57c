//! A folder of a test's own: recipes, locks, images and a cache that shares downloads with all tests but nothing else.

use super::package::Package;
use super::{cache, goldsmith, recipes};
use goldsmith::debian::{Lock, LockedPackage, Role};
use goldsmith::values::Sha256;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The folder; deleted with the value.
pub struct Workshop {
    folder: tempfile::TempDir,
}

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Run {
    /// Exit status; none when a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Run {
    /// Asserts that the program failed with `status` and said all the `parts`.
    #[track_caller]
    pub fn failed(&self, status: i32, parts: &[&str]) {
        assert_eq!(self.status, Some(status), "{self:#?}");
        for part in parts {
            assert!(self.stderr.contains(part) || self.stdout.contains(part), "no {part:?} in {self:#?}");
        }
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
    }

    /// Asserts that the program succeeded.
    #[track_caller]
    pub fn succeeded(&self) {
        assert_eq!(self.status, Some(0), "{self:#?}");
    }
}

impl Workshop {
    /// An empty one, its cache empty too.
    pub fn empty() -> Self {
        // Not below /tmp, which may be a small file system in memory.
        Self { folder: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap() }
    }

    /// One with the shipped recipes and the lock of `minimal`; its cache has the shared downloads, and layers of its
    /// own.
    pub fn new() -> Self {
        super::image("minimal");
        let workshop = Self::empty();
        for folder in ["recipes", "overlays", "target"] {
            super::copy_folder(&recipes().join(folder), &workshop.path(folder));
        }
        fs::create_dir_all(workshop.cache("")).unwrap();
        symlink(cache().join("v1/files"), workshop.cache("files")).unwrap();
        workshop
    }

    /// Takes downloads out of the cache.
    pub fn without(self, digests: &[Sha256]) -> Self {
        self.with_own_files("recipes/minimal.lock", digests)
    }

    /// Gives the cache a folder of files of its own, which has the downloads of a lock but these.
    pub fn with_own_files(self, lock: &str, digests: &[Sha256]) -> Self {
        let own = self.cache("files");
        fs::remove_file(&own).unwrap();
        let lock = self.lock(lock);
        for digest in lock.packages.iter().map(|package| package.sha256).filter(|digest| !digests.contains(digest)) {
            let name = digest.to_string();
            fs::create_dir_all(own.join(&name[..2])).unwrap();
            symlink(cache().join("v1/files").join(&name[..2]).join(&name), own.join(&name[..2]).join(&name)).unwrap();
        }
        fs::create_dir_all(own).unwrap();
        self
    }

    /// One whose cache has the shared layers too. Nothing may be deleted from it.
    pub fn furnished() -> Self {
        let workshop = Self::new();
        symlink(cache().join("v1/layers"), workshop.cache("layers")).unwrap();
        // What is made there just now is locked there.
        symlink(cache().join("v1/locks"), workshop.cache("locks")).unwrap();
        workshop
    }

    /// Puts a package of the test's own into the cache, and returns what a lock says of it.
    pub fn fetched(&self, name: &str, package: Package) -> LockedPackage {
        let bytes = package.finish();
        let sha256 = Sha256::of(&bytes);
        let text = sha256.to_string();
        self.write(&format!("cache/v1/files/{}/{text}", &text[..2]), &bytes);
        LockedPackage {
            name: name.to_owned(),
            version: "1.0".to_owned(),
            architecture: "all".to_owned(),
            role: Role::Rootfs,
            essential: false,
            archive: 0,
            path: format!("pool/made/{name}.deb"),
            size: bytes.len() as u64,
            sha256,
        }
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A path in its cache.
    pub fn cache(&self, name: &str) -> PathBuf {
        self.path("cache/v1").join(name)
    }

    /// Writes a file, and the folders it is in.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// The binary under test, working in this folder.
    pub fn goldsmith(&self, arguments: &[&str]) -> Command {
        let mut command = goldsmith();
        command.args(arguments).current_dir(self.folder.path());
        command.env("GOLDSMITH_CACHE", self.path("cache")).env("GOLDSMITH_TIMEOUT", "2");
        command
    }

    /// Runs the binary under test here.
    pub fn run(&self, arguments: &[&str]) -> Run {
        self.goldsmith(arguments).output().unwrap().into()
    }

    /// A lock in it.
    pub fn lock(&self, name: &str) -> Lock {
        Lock::read(&self.path(name)).unwrap().unwrap()
    }

    /// Changes a lock in it.
    pub fn relock(&self, name: &str, change: impl FnOnce(&mut Lock)) {
        let mut lock = self.lock(name);
        change(&mut lock);
        lock.write(&self.path(name)).unwrap();
    }

    /// Names of everything in a folder of it, hidden things too.
    pub fn names(&self, folder: &str) -> Vec<String> {
        names(&self.path(folder))
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // Layers that an ordinary user made have files of other ids.
        if !rustix::process::geteuid().is_root() {
            let _ = self.goldsmith(&["clean", "--layers"]).output();
        }
    }
}

/// Names of everything in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
