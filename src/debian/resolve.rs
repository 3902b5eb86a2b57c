//! Resolution: names asked for → the closure that `apt-get --no-install-recommends install` would install on an empty
//! system.
//!
//! As apt's classic resolver: asked packages are marked first; then, for the essential packages and after them for those
//! of the recipe, every dependency with a single solution is followed before any choice is made; a choice takes the
//! first listed alternative that conflicts with nothing chosen. The result is checked against every relation before it
//! becomes a lock. `tests/lock.rs` compares it with apt's own.

use super::index::{Candidate, IndexText, Universe};
use super::relation::Relation;
use super::release::Release;
use super::{Error, Lock, LockedArchive, LockedPackage, Role, index};
use crate::progress::{Event, Observer, Unit};
use crate::recipe::Recipe;
use crate::store::Store;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Instant, SystemTime};

/// The most names that are complained about: what is like each of them is looked for among all packages.
const MOST: usize = 100;

/// Packages that only feed the initrd.
const INITRD_PACKAGES: [&str; 1] = ["busybox-static"];

/// Resolves a recipe's packages against today's archives.
pub fn resolve(recipe: &Recipe, store: &Store, observer: &dyn Observer) -> Result<Lock, Error> {
    let started = Instant::now();
    observer.event(Event::Started { stage: "resolve", total: None, unit: Unit::Items });
    let mut archives = Vec::new();
    let mut texts: Vec<IndexText> = Vec::new();
    for (number, archive) in recipe.distribution.archives.iter().enumerate() {
        let release = Release::fetch(archive, SystemTime::now())?;
        texts.extend(index::fetch(archive, number, &release, recipe.architecture.as_str(), store, observer)?);
        archives.push(LockedArchive {
            mirror: archive.mirror.clone(),
            suite: archive.suite.clone(),
            snapshot: archive.snapshot.clone(),
            inrelease: release.digest,
            date: release.date,
        });
    }
    let universe = Universe::new(&texts);
    let mut packages = rootfs(&universe, recipe)?;
    packages.push(locked(kernel(&universe, &recipe.kernel_package)?, Role::Kernel));
    for name in INITRD_PACKAGES {
        packages.push(locked(known(&universe, name)?, Role::Initrd));
    }
    packages.sort_by(|a, b| (a.role, &a.name).cmp(&(b.role, &b.name)));
    let lock = Lock {
        recipe: recipe.packages_digest,
        architecture: recipe.architecture.as_str().to_owned(),
        epoch: archives.iter().map(|archive| archive.date).max().unwrap_or_default(),
        archives,
        packages,
    };
    let summary = format!("{} packages", lock.packages.len());
    observer.event(Event::Finished { stage: "resolve", summary, took: started.elapsed() });
    Ok(lock)
}

fn rootfs(universe: &Universe, recipe: &Recipe) -> Result<Vec<LockedPackage>, Error> {
    let essential =
        universe.candidates.values().filter(|candidate| candidate.essential).map(|candidate| candidate.name);
    let essential: Vec<&str> = essential.collect();
    let mut asked = Vec::new();
    let mut problems = Vec::new();
    for name in &recipe.packages {
        match pick_asked(universe, name) {
            Ok(name) => asked.push(name),
            Err(problem) if problems.len() < MOST => problems.push(problem),
            Err(_) => {
                problems.push("… and more".to_owned());
                break;
            }
        }
    }
    if !problems.is_empty() {
        return Err(Error::Unsolvable(problems));
    }
    let first = Solver::new(universe).solve(&[&essential]).map_err(Error::Unsolvable)?;
    let chosen = Solver::new(universe).solve(&[&essential, &asked]).map_err(Error::Unsolvable)?;
    let package = |candidate: &Candidate| LockedPackage {
        essential: first.contains_key(candidate.name),
        ..locked(candidate, Role::Rootfs)
    };
    Ok(chosen.values().map(|candidate| package(candidate)).collect())
}

/// The package meant by a name in the recipe: itself, or the only one that provides it.
fn pick_asked<'a>(universe: &Universe<'a>, name: &str) -> Result<&'a str, String> {
    let relation = Relation { name, version: None };
    if let Some(candidate) = universe.candidates.get(name) {
        return Ok(candidate.name);
    }
    match universe.solutions(&relation).as_slice() {
        [one] => Ok(one.name),
        [] => {
            let hint = universe.similar(name).map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
            Err(format!("there is no package `{name}` in the archives{hint}"))
        }
        many => {
            let names: Vec<_> = many.iter().map(|candidate| candidate.name).collect();
            Err(format!("`{name}` is a virtual package; name one of: {}", names.join(", ")))
        }
    }
}

fn known<'u, 'a>(universe: &'u Universe<'a>, name: &str) -> Result<&'u Candidate<'a>, Error> {
    let name = pick_asked(universe, name).map_err(|problem| Error::Unsolvable(vec![problem]))?;
    universe.candidates.get(name).ok_or_else(|| Error::Unsolvable(vec![format!("there is no package `{name}`")]))
}

/// The package that holds the kernel: the one a meta package depends on, or itself.
fn kernel<'u, 'a>(universe: &'u Universe<'a>, name: &str) -> Result<&'u Candidate<'a>, Error> {
    let package = known(universe, name)?;
    let image = package.needs().into_iter().flatten().find(|relation| relation.name.starts_with("linux-image-"));
    match image {
        Some(image) => known(universe, image.name),
        None => Ok(package),
    }
}

fn locked(candidate: &Candidate, role: Role) -> LockedPackage {
    LockedPackage {
        name: candidate.name.to_owned(),
        version: candidate.version.to_owned(),
        architecture: candidate.architecture.to_owned(),
        role,
        essential: candidate.essential,
        archive: candidate.archive,
        path: candidate.path.to_owned(),
        size: candidate.size,
        sha256: candidate.sha256,
    }
}

pub(super) struct Solver<'u, 'a> {
    universe: &'u Universe<'a>,
    chosen: BTreeMap<&'a str, &'u Candidate<'a>>,
    /// Who brought a package in, for explanations.
    reason: BTreeMap<&'a str, &'a str>,
    /// The names that chosen packages have or provide, with the version each is had at.
    offered: BTreeMap<&'a str, Vec<Offer<'u, 'a>>>,
    /// What chosen packages cannot be installed beside, by the name they reject.
    rejected: BTreeMap<&'a str, Vec<(&'a str, Relation<'a>)>>,
    /// Packages whose dependencies are still to be looked at.
    fresh: VecDeque<&'u Candidate<'a>>,
    /// Choices put off until everything without a choice is in.
    choices: VecDeque<(&'a str, Vec<Relation<'a>>)>,
}

type Problems = Vec<String>;
/// A package, and a version that it offers a name at.
type Offer<'u, 'a> = (&'u Candidate<'a>, Option<&'a str>);

fn meets(relation: &Relation, version: Option<&str>) -> bool {
    relation.version.is_none() || version.is_some_and(|version| relation.accepts(version))
}

impl<'u, 'a> Solver<'u, 'a> {
    pub fn new(universe: &'u Universe<'a>) -> Self {
        Self {
            universe,
            chosen: BTreeMap::new(),
            reason: BTreeMap::new(),
            offered: BTreeMap::new(),
            rejected: BTreeMap::new(),
            fresh: VecDeque::new(),
            choices: VecDeque::new(),
        }
    }

    /// Everything asked for is chosen from the start; one group after the other brings in what it depends on.
    pub fn solve(mut self, groups: &[&[&'a str]]) -> Result<BTreeMap<&'a str, &'u Candidate<'a>>, Problems> {
        for name in groups.iter().copied().flatten() {
            if let Some(candidate) = self.universe.candidates.get(name) {
                self.choose(candidate, None);
            }
        }
        for group in groups {
            self.fresh = group.iter().filter_map(|name| self.chosen.get(name).copied()).collect();
            self.settle()?;
        }
        self.verify()?;
        Ok(self.chosen)
    }

    /// Follows dependencies until there are none left: those without a choice first.
    fn settle(&mut self) -> Result<(), Problems> {
        loop {
            if let Some(package) = self.fresh.pop_front() {
                self.follow(package)?;
            } else if let Some((package, group)) = self.choices.pop_front() {
                self.decide(package, &group)?;
            } else {
                return Ok(());
            }
        }
    }

    fn choose(&mut self, candidate: &'u Candidate<'a>, reason: Option<&'a str>) {
        if self.chosen.insert(candidate.name, candidate).is_some() {
            return;
        }
        if let Some(reason) = reason {
            self.reason.insert(candidate.name, reason);
        }
        for (name, version) in names(candidate) {
            self.offered.entry(name).or_default().push((candidate, version));
        }
        for relation in candidate.rejects() {
            self.rejected.entry(relation.name).or_default().push((candidate.name, relation));
        }
        self.fresh.push_back(candidate);
    }

    /// The chosen packages that satisfy a relation, by their own name or by one they provide.
    fn offers(&self, relation: &Relation) -> impl Iterator<Item = &'u Candidate<'a>> {
        let offers = self.offered.get(relation.name).into_iter().flatten();
        offers.filter(|(_, version)| meets(relation, *version)).map(|(candidate, _)| *candidate)
    }

    /// Takes every dependency of a package that has one solution; puts the others off.
    fn follow(&mut self, package: &'u Candidate<'a>) -> Result<(), Problems> {
        for group in package.needs() {
            if self.is_satisfied(&group) {
                continue;
            }
            match self.solutions(&group).as_slice() {
                [] => return Err(vec![self.unsatisfiable(package.name, &group)]),
                [one] => self.choose(one, Some(package.name)),
                _ => self.choices.push_back((package.name, group)),
            }
        }
        Ok(())
    }

    /// Takes the first alternative that goes together with what is chosen.
    fn decide(&mut self, package: &'a str, group: &[Relation<'a>]) -> Result<(), Problems> {
        if self.is_satisfied(group) {
            return Ok(());
        }
        let solutions = self.solutions(group);
        let free = solutions.iter().find(|candidate| !self.clashes(candidate)).or(solutions.first());
        let candidate = *free.ok_or_else(|| vec![self.unsatisfiable(package, group)])?;
        self.choose(candidate, Some(package));
        Ok(())
    }

    fn is_satisfied(&self, group: &[Relation]) -> bool {
        group.iter().any(|relation| self.offers(relation).next().is_some())
    }

    fn solutions(&self, group: &[Relation<'a>]) -> Vec<&'u Candidate<'a>> {
        let mut solutions: Vec<&Candidate> = Vec::new();
        for candidate in group.iter().flat_map(|relation| self.universe.solutions(relation)) {
            if let Some(candidate) = self.universe.candidates.get(candidate.name)
                && solutions.iter().all(|known| known.name != candidate.name)
            {
                solutions.push(candidate);
            }
        }
        solutions
    }

    /// Whether a chosen package cannot be installed beside `candidate`, in either direction.
    fn clashes(&self, candidate: &Candidate) -> bool {
        let rejects = |relation: Relation| self.offers(&relation).any(|other| other.name != candidate.name);
        let rejected = |(name, version): (&str, Option<&str>)| {
            let by = self.rejected.get(name).into_iter().flatten();
            by.into_iter().any(|(other, relation)| *other != candidate.name && meets(relation, version))
        };
        candidate.rejects().into_iter().any(rejects) || names(candidate).any(rejected)
    }

    /// Checks the finished choice against every relation of every package.
    fn verify(&self) -> Result<(), Problems> {
        let mut problems = Vec::new();
        for package in self.chosen.values() {
            for group in package.needs().iter().filter(|group| !self.is_satisfied(group)) {
                problems.push(self.unsatisfiable(package.name, group));
            }
            for relation in package.rejects() {
                for other in self.offers(&relation).filter(|other| other.name != package.name) {
                    problems.push(format!(
                        "{} {} conflicts with {} {} ({relation})\n    {}\n    {}",
                        package.name,
                        package.version,
                        other.name,
                        other.version,
                        self.why(package.name),
                        self.why(other.name)
                    ));
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn unsatisfiable(&self, package: &str, group: &[Relation]) -> String {
        let group: Vec<_> = group.iter().map(ToString::to_string).collect();
        format!("{package} depends on {}, which no archive has\n    {}", group.join(" | "), self.why(package))
    }

    /// The chain from what was asked for: `a, asked for by the recipe → b → c`.
    fn why(&self, package: &str) -> String {
        let mut chain = vec![package];
        let mut current = package;
        while let Some(reason) = self.reason.get(current) {
            chain.push(reason);
            current = reason;
        }
        chain.reverse();
        format!("because: {}", chain.join(" → "))
    }
}

/// The names a package has: its own, then those it provides.
fn names<'a>(candidate: &Candidate<'a>) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
    std::iter::once((candidate.name, Some(candidate.version))).chain(candidate.provides())
}
