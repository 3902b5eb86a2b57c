//! A recipe with packages of a test's own.

use super::package::Package;
use super::workshop::{Run, Workshop};
use super::{cache, recipes};
use goldsmith::debian::{self, Deb, FetchedPackage, Lock, Role};
use goldsmith::progress::Silent;
use goldsmith::store::Store;
use std::collections::BTreeSet;
use std::fs;

/// A workshop whose recipe `made` installs, besides what `roots` need, packages of the test's own.
pub struct Made {
    /// Where it is built.
    pub workshop: Workshop,
}

impl Made {
    /// With all packages of the minimal image when no roots are given; else with the essential ones and the roots'.
    pub fn new(roots: &[&str]) -> Self {
        let workshop = Workshop::new().without(&[]);
        let text = "schema: goldsmith/v1\nname: made\ninclude: [minimal.yaml]\n";
        workshop.write("recipes/made.yaml", text);
        let lock = Lock::read(&recipes().join("recipes/minimal.lock")).unwrap().unwrap();
        let packages = debian::fetch(&lock, &Store::at(&cache()).unwrap(), true, &Silent).unwrap();
        let kept = if roots.is_empty() { None } else { Some(closure(&packages, roots)) };
        fs::copy(workshop.path("recipes/minimal.lock"), workshop.path("recipes/made.lock")).unwrap();
        workshop.relock("recipes/made.lock", |lock| {
            lock.packages.retain(|package| {
                package.role != Role::Rootfs || kept.as_ref().is_none_or(|kept| kept.contains(&package.name))
            });
        });
        Self { workshop }
    }

    /// Takes the packages made so far away and adds these.
    pub fn with(&self, packages: Vec<(&str, Package)>) -> &Self {
        self.workshop.relock("recipes/made.lock", |lock| {
            lock.packages.retain(|package| !package.path.starts_with("pool/made/"));
            for (name, package) in packages {
                lock.packages.push(self.workshop.fetched(name, package));
            }
        });
        self
    }

    /// Builds.
    pub fn build(&self, more: &[&str]) -> Run {
        let arguments = ["build", "recipes/made.yaml", "--offline"].iter().chain(more).copied().collect::<Vec<_>>();
        self.workshop.run(&arguments)
    }

    /// Builds, which fails with exactly this first line.
    #[track_caller]
    pub fn fails(&self, first: &str, parts: &[&str]) -> Run {
        let run = self.build(&[]);
        run.failed(1, parts);
        let error = run.stderr.lines().find(|line| line.starts_with("error: ")).unwrap();
        assert_eq!(error, format!("error: {first}"), "{run:#?}");
        // Nothing of what goldsmith itself gives to a shell.
        for own in ["mkfifo", "xargs", "status-fd", "processing: ", "layers/base"] {
            assert!(!run.stderr.contains(own), "{own} in {run:#?}");
        }
        run
    }
}

/// The essential packages, the named ones, and all that they depend on.
fn closure(packages: &[FetchedPackage], roots: &[&str]) -> BTreeSet<String> {
    let installed: Vec<_> = packages.iter().filter(|fetched| fetched.package.role == Role::Rootfs).collect();
    let field = |control: &str, name: &str| {
        let line = control.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_default().to_owned()
    };
    let controls: Vec<_> = installed
        .iter()
        .map(|fetched| {
            let control = Deb::open(&fetched.file).unwrap().control().unwrap();
            (fetched.package.name.clone(), String::from_utf8(control["control"].1.clone()).unwrap())
        })
        .collect();
    let provider = |name: &str| {
        let provides =
            |control: &str| field(control, "Provides").split(", ").any(|p| p.split(' ').next() == Some(name));
        let known = controls.iter().find(|(package, control)| package == name || provides(control));
        known.map(|(package, _)| package.clone())
    };
    let essential = installed.iter().filter(|fetched| fetched.package.essential);
    let mut waiting: Vec<_> = essential.map(|fetched| fetched.package.name.clone()).collect();
    waiting.extend(roots.iter().map(|name| (*name).to_owned()));
    let mut found = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        let Some((_, control)) = controls.iter().find(|(package, _)| *package == name) else { continue };
        if found.insert(name) {
            let needs = field(control, "Depends") + ", " + &field(control, "Pre-Depends");
            for group in needs.split(", ") {
                let mut names = group.split(" | ").filter_map(|one| one.split([' ', ':']).next());
                waiting.extend(names.find_map(provider));
            }
        }
    }
    found
}

/// A maintainer script.
pub fn script(lines: &str) -> String {
    format!("#!/bin/sh\nset -e\n{lines}\n")
}
