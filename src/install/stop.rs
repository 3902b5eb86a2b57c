//! An installation that ends early: right before or after one script, with the tree as that script sees or leaves it.
//!
//! dpkg decides itself in which order it sets packages up. So that it comes just as far as in a build, it runs as there, and
//! finds in place of the package's `postinst` one that puts the real one back and kills dpkg. Its database then says what it
//! says while a `postinst` runs.

use super::step::Subject;
use super::{Build, Error, Halt, Package, STAGE, database, plan};
use crate::debian::{FetchedPackage, Lock, Role};
use crate::progress::{Event, Observer, Unit};
use crate::sandbox::{Limits, Sandbox};
use crate::values::Answer;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

/// Which script of a package. The place is there whether or not the package has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Script {
    /// Before it is unpacked; of an essential package, after it.
    Preinst,
    /// When it is set up.
    Postinst,
}

impl Script {
    /// `preinst`, `postinst`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Preinst => "preinst",
            Self::Postinst => "postinst",
        }
    }
}

/// On which side of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It has not begun.
    Before,
    /// It has succeeded.
    After,
}

/// Where an installation ends early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The package.
    pub package: String,
    /// Its script.
    pub script: Script,
    /// Before or after that.
    pub side: Side,
}

/// Where the real `postinst` waits, from the root; what stands in for it; and the variables that this was given.
pub(super) const HELD: &str = "var/lib/dpkg/tmp.ci/held";
const STAND_IN: &str = "\
#!/bin/sh
env -0 >/var/lib/dpkg/tmp.ci/environment
mv /var/lib/dpkg/tmp.ci/held \"$0\"
kill -KILL \"$PPID\"
";
const ENVIRONMENT: &str = "var/lib/dpkg/tmp.ci/environment";

/// What sets up the one package whose turn it was: `$1` is that, `$2` an option for one in a circle, which dpkg has broken for it.
const ALONE: &str = r#"exec dpkg --status-fd 3 --abort-after=1 --force-unsafe-io --force-confdef --force-confold \
    --no-triggers $2 --configure "$1" 3>&1"#;

/// Installs into the empty folder `root`, whose tree then is as it is there; nothing is cached. Commands run in the sandbox
/// that is returned see what the script sees, the variables that dpkg sets for it too.
///
/// # Errors
/// As [`super::base`]: what comes before the stop may fail.
pub fn until(
    lock: &Lock,
    packages: &[FetchedPackage],
    answers: &[Answer],
    limits: Limits,
    (stop, root): (&Stop, &Path),
    observer: &dyn Observer,
) -> Result<Sandbox, Error> {
    let started = Instant::now();
    let wanted = super::of_role(packages, Role::Rootfs);
    observer.event(Event::Started { stage: STAGE, total: Some(2 * wanted.len() as u64), unit: Unit::Items });
    let kernel = super::of_role(packages, Role::Kernel);
    let mut build = Build::begin(lock, &wanted, &kernel, answers, limits, root, observer)?;
    build.stop = Some(stop);
    match build.all() {
        Err(Halt::Failed(error)) => return Err(error),
        Err(Halt::Reached) | Ok(()) => {}
    }
    let package = build.packages.iter().find(|package| package.name() == stop.package);
    let variables = build.root.read(ENVIRONMENT)?;
    variables.as_ref().map(|_| build.root.remove(ENVIRONMENT)).transpose()?;
    let plain = Sandbox::new(root, lock.epoch, limits);
    let sandbox = match (package, stop.script, stop.side) {
        (Some(package), Script::Preinst, Side::Before) => build.for_preinst(package),
        (_, Script::Postinst, Side::Before) => {
            dpkgs_own(&variables.unwrap_or_default()).fold(plain, |all, (name, value)| all.with(name, value))
        }
        _ => plain,
    };
    let Stop { package, script, side } = stop;
    let side = if *side == Side::Before { "up to" } else { "through" };
    let summary = format!("{} packages unpacked, {side} {package}'s {}", build.unpacked.len(), script.name());
    observer.event(Event::Finished { stage: STAGE, summary, took: started.elapsed() });
    Ok(sandbox)
}

impl<'a> Build<'a> {
    /// Whether the installation ends at this place.
    pub(super) fn is_stop(&self, package: &Package, script: Script, side: Side) -> bool {
        self.stop.is_some_and(|stop| stop.package == package.name() && stop.script == script && stop.side == side)
    }

    /// The package before or after whose `postinst` the installation ends, if it is one of these.
    pub(super) fn held(&self, packages: &BTreeSet<usize>) -> Option<&Package<'a>> {
        let stop = self.stop.filter(|stop| stop.script == Script::Postinst)?;
        packages.iter().filter_map(|at| self.packages.get(*at)).find(|package| package.name() == stop.package)
    }

    /// Puts the stand-in in place of a package's `postinst`.
    pub(super) fn hold(&self, package: &Package) -> Result<(), Error> {
        let real = package.control.get("postinst");
        let (mode, bytes) = real.map_or((0o755, &[][..]), |(mode, bytes)| (*mode, bytes.as_slice()));
        self.root.write(HELD, bytes, mode)?;
        self.root.write(&postinst(package), STAND_IN.as_bytes(), 0o755)
    }

    /// Whether dpkg has come to the stand-in.
    pub(super) fn is_reached(&self) -> bool {
        !self.root.has(HELD)
    }

    /// What remains to be done once dpkg has come to it.
    pub(super) fn reach(&self, package: &Package) -> Result<(), Error> {
        if !package.control.contains_key("postinst") {
            self.root.remove(&postinst(package))?;
        }
        if self.is_stop(package, Script::Postinst, Side::After) {
            let subject = Subject::new("setting up", package.name(), "postinst");
            let facts: Vec<_> = self.packages.iter().map(|package| &package.facts).collect();
            let at = self.packages.iter().position(|other| other.name() == package.name());
            let circle = at.is_some_and(|at| plan::is_in_a_circle(&facts, at));
            let option = if circle { "--force-depends" } else { "" };
            let name = database::info_name(package);
            self.watch.run(&self.sandbox(), &["sh", "-c", ALONE, "sh", &name, option], subject)?;
        }
        Ok(())
    }
}

/// The variables that dpkg sets for scripts, of all those they have.
fn dpkgs_own(variables: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    let all = variables.split(|byte| *byte == 0).filter_map(|line| str::from_utf8(line).ok()?.split_once('='));
    all.filter(|(name, _)| name.starts_with("DPKG_"))
}

/// Where dpkg has a package's `postinst`, from the root.
fn postinst(package: &Package) -> String {
    format!("var/lib/dpkg/info/{}.postinst", database::info_name(package))
}
