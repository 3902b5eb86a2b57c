//! What integration tests share: required programs, the binary under test, an image that is really built, a network
//! of the test's own.
#![allow(dead_code, missing_docs)]

pub mod apt;
pub mod archive;
pub mod dice;
pub mod host;
pub mod http;
pub mod lab;
pub mod made;
pub mod mirror;
pub mod package;
pub mod peer;
pub mod processes;
pub mod user;
pub mod workshop;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Fails with the line to type when a program is missing. A skipped test is not a passed test.
pub fn need(program: &str, install: &str) {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let found = path.split(':').any(|folder| Path::new(folder).join(program).exists());
    assert!(found, "this test needs `{program}`: type `{install}`");
}

/// Whether this test may do what only root may (loop mounts). In CI it must; elsewhere it says that it did not run.
pub fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    assert!(root || std::env::var_os("CI").is_none(), "{what} needs root: run `sudo -E make test`");
    if !root {
        eprintln!("NOT RUN: {what} needs root: run `sudo -E make test`");
    }
    root
}

/// The binary under test, with a cache that all tests share.
pub fn goldsmith() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_goldsmith"));
    command.env("GOLDSMITH_CACHE", cache()).env("NO_COLOR", "1");
    command
}

/// The tests' package and layer cache; survives between runs.
pub fn cache() -> PathBuf {
    std::env::var_os("GOLDSMITH_TEST_CACHE")
        .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"), PathBuf::from)
}

/// Runs a command, asserting that it succeeds; its output is shown when it does not.
#[track_caller]
pub fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A copy of the shipped recipes whose locks are resolved today: tests must stay green when an old version has
/// left the mirror, and they must not touch the committed locks.
pub fn recipes() -> &'static Path {
    static COPY: OnceLock<PathBuf> = OnceLock::new();
    COPY.get_or_init(|| {
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
        sweep(scratch);
        let copy = scratch.join(format!("recipes-{}", std::process::id()));
        for folder in ["recipes", "overlays"] {
            copy_folder(&repository().join(folder), &copy.join(folder));
        }
        let agent = repository().join("target/guest/oauth-agent");
        assert!(agent.exists(), "this test needs target/guest/oauth-agent: type `make agent`");
        std::fs::create_dir_all(copy.join("target/guest")).unwrap();
        std::fs::copy(agent, copy.join("target/guest/oauth-agent")).unwrap();
        for entry in std::fs::read_dir(copy.join("recipes")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "lock") {
                std::fs::remove_file(path).unwrap();
            }
        }
        copy
    })
}

/// Builds a shipped recipe and returns its image folder. Only the first call of a test process builds, and only the
/// first build of a recipe takes more than seconds.
pub fn image(recipe: &str) -> PathBuf {
    static BUILT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let images = recipes().join("images");
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if !built.contains(recipe) {
        let file = recipes().join(format!("recipes/{recipe}.yaml"));
        let (lock, shared) = (file.with_extension("lock"), locks().join(format!("{recipe}.lock")));
        if !lock.exists() && fresh(&shared) {
            std::fs::copy(&shared, &lock).unwrap();
        }
        succeed(goldsmith().arg("build").arg(file).arg("--output").arg(&images));
        if !fresh(&shared) {
            let new = tempfile::NamedTempFile::new_in(locks()).unwrap();
            std::fs::copy(&lock, new.path()).unwrap();
            new.persist(shared).unwrap();
        }
        built.insert(recipe.to_owned());
    }
    images.join(recipe)
}

/// Locks of shipped recipes that a test process has resolved, for those after it.
fn locks() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("locks");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Whether a lock was resolved in this run of the suite, or in one shortly before.
fn fresh(lock: &Path) -> bool {
    const HOURS: u64 = 3;
    let age = lock.metadata().ok().and_then(|data| data.modified().ok()).and_then(|time| time.elapsed().ok());
    age.is_some_and(|age| age.as_secs() < HOURS * 3600)
}

/// Deletes the copies of test processes that are over: each holds images.
fn sweep(scratch: &Path) {
    for entry in std::fs::read_dir(scratch).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let over = |process: &str| !Path::new("/proc").join(process).exists();
        if name.strip_prefix("recipes-").is_some_and(over) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

pub fn copy_folder(from: &Path, to: &Path) {
    succeed(Command::new("mkdir").arg("-p").arg(to));
    succeed(Command::new("cp").arg("-a").arg(from.join(".")).arg(to));
}
