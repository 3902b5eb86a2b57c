//! A package alone: as apt locks it, as mmdebstrap builds it, twice the same.

use super::common::apt::{self, Apt, Versions};
use super::common::cache;
use super::common::peer::{self, Explained};
use super::common::workshop::Workshop;
use super::record::Row;
use goldsmith::debian::{self, Lock, Metadata, Offered, Role};
use goldsmith::install;
use goldsmith::progress::Silent;
use goldsmith::recipe::{self, Recipe};
use goldsmith::sandbox::Limits;
use goldsmith::store::Store;
use goldsmith::tree::{self, Tree};
use std::error::Error;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::panic::catch_unwind;
use std::path::Path;
use std::process::Command;

/// A release of Debian: what it offers today, and apt beside it.
pub struct Suite {
    pub name: &'static str,
    pub recipe: Recipe,
    pub metadata: Metadata,
    pub apt: Apt,
}

impl Suite {
    /// Fetches its metadata.
    pub fn new(name: &'static str, store: &Store) -> Self {
        let workshop = Workshop::empty();
        let text = format!(
            "schema: goldsmith/v1\nname: alone\ndistribution: {{ name: debian, suite: {name}, updates: true, security: 'http://deb.debian.org/debian-security' }}\nimage: {{ size: 64M }}\nkernel: {{ package: linux-image-cloud-amd64 }}\nnetwork: {{ interface: eth0, mode: dhcp }}\npackages: []\n"
        );
        let recipe = recipe::load(&workshop.write("alone.yaml", text), &[]).unwrap();
        let metadata = Metadata::fetch(&recipe, store, &Silent).unwrap();
        let apt = Apt::of(name).beside_the_kernel_of(&recipe).0;
        Self { name, recipe, metadata, apt }
    }

    /// The recipe for the packages of another one.
    pub fn recipe_of(&self, file: &Path) -> Recipe {
        Recipe { packages: recipe::load(file, &[]).unwrap().packages, ..self.recipe.clone() }
    }

    /// The recipe for these packages.
    pub fn recipe(&self, packages: &[&str]) -> Recipe {
        Recipe { packages: packages.iter().map(|name| (*name).to_owned()).collect(), ..self.recipe.clone() }
    }
}

fn versions(lock: &Lock) -> Versions {
    lock.of_role(Role::Rootfs).map(|package| (package.name.clone(), package.version.clone())).collect()
}

/// What is locked for a recipe: its key, and what to say when it is not what apt would install.
pub fn lock<'a>(suite: &Suite, offered: &Offered<'a>, recipe: &'a Recipe) -> (Row, Option<Lock>) {
    let lock = match offered.lock(recipe) {
        Ok(lock) => lock,
        Err(error) => return (Row { locks: causes(&error), ..Row::default() }, None),
    };
    let ours = versions(&lock);
    let version = recipe.packages.first().and_then(|name| ours.get(name)).cloned().unwrap_or_default();
    let locks = apt::difference(Some(&ours), suite.apt.closure(&recipe.packages).as_ref()).into_iter().collect();
    (Row { key: apt::digest(Some(&ours)), version, packages: ours.len(), locks, ..Row::default() }, Some(lock))
}

/// Builds what was locked in a cache with layers of its own, which are gone with it.
pub fn build(row: &mut Row, lock: &Lock, recipe: &Recipe, more: &[Explained]) {
    let scratch = tempfile::tempdir().unwrap();
    // Others may pass: who runs scripts is nobody here.
    std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(scratch.path().join("v1")).unwrap();
    symlink(cache().join("v1/files"), scratch.path().join("v1/files")).unwrap();
    if let Err(error) = debian::fetch(lock, &Store::at(&cache()).unwrap(), false, &Silent) {
        row.builds = causes(&error);
        return;
    }
    compare(row, lock, recipe, more, scratch.path());
}

/// Builds what was locked and fetched, twice, and mmdebstrap's beside it; the first time only if the cache does not have it.
/// Files in `more` may differ from mmdebstrap's, and the second time.
pub fn compare(row: &mut Row, lock: &Lock, recipe: &Recipe, more: &[Explained], cache: &Path) {
    let store = Store::at(cache).unwrap();
    let packages = debian::fetch(lock, &store, true, &Silent).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("alone.lock");
    lock.write(&file).unwrap();
    let install = Path::new(env!("CARGO_BIN_EXE_goldsmith")).with_file_name("examples").join("install");
    assert!(install.exists(), "this test needs {}: type `cargo build --examples`", install.display());
    let output = Command::new(install).arg(&file).arg(cache).output().unwrap();
    let lines = |text: &[u8]| String::from_utf8_lossy(text).lines().map(str::to_owned).collect::<Vec<_>>();
    if !output.status.success() {
        row.builds = lines(&output.stderr);
        if catch_unwind(|| peer::tree(&packages, &recipe.packages, lock.epoch)).is_err() {
            row.builds.push("mmdebstrap cannot build it either".to_owned());
        }
        return;
    }
    let known = |line: &String| {
        let path = line.split(' ').nth(1).unwrap_or_default().trim_end_matches(':');
        more.iter().any(|(pattern, ..)| peer::covers(pattern, path))
    };
    row.twice = lines(&output.stdout).into_iter().filter(|line| !known(line)).collect();
    // What was built just now.
    let ours = install::base(lock, &packages, &[], Limits::default(), &store, &Silent).unwrap();
    // As images have them: without what no image has.
    let clean = |tree: &Tree| {
        let mut tree = tree.clone();
        let renew = tree::renewable(&tree).unwrap();
        tree::hygiene(&mut tree, &renew, lock.epoch).unwrap();
        tree
    };
    let differences = |include: &[String]| {
        let theirs = catch_unwind(|| peer::tree(&packages, include, lock.epoch));
        theirs.map_or_else(
            |_| vec!["mmdebstrap cannot build it".to_owned()],
            |theirs| peer::differences(&clean(&theirs), &clean(&ours), lock.epoch, more),
        )
    };
    row.tree = differences(&recipe.packages);
    if !row.tree.is_empty() {
        // Offered only what is locked, its apt may have chosen among alternatives otherwise.
        row.tree = differences(&lock.of_role(Role::Rootfs).map(|package| package.name.clone()).collect::<Vec<_>>());
    }
}

/// An error and what caused it, a line each.
fn causes(error: &(dyn Error + 'static)) -> Vec<String> {
    std::iter::successors(Some(error), |error| (*error).source()).map(ToString::to_string).collect()
}
