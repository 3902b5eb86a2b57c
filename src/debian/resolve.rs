//! Resolution: names asked for → the closure that `apt-get --no-install-recommends install` would install on an empty
//! system that has the recipe's kernel.

use super::index::{Candidate, IndexText};
use super::relation::Relation;
use super::release::Release;
use super::solver::Solver;
use super::universe::{Number, Universe};
use super::{Error, Lock, LockedArchive, LockedPackage, Role, index};
use crate::progress::{Event, Observer, Unit};
use crate::recipe::Recipe;
use crate::store::Store;
use std::collections::BTreeSet;
use std::time::{Instant, SystemTime};

/// The most names that are complained about: what is like each of them is looked for among all packages.
const MOST: usize = 100;

/// What the solver's stack may grow to.
const STACK: usize = 128 << 20;

/// Packages that only feed the initrd.
const INITRD_PACKAGES: [&str; 1] = ["busybox-static"];

/// Resolves a recipe's packages against today's archives.
pub fn resolve(recipe: &Recipe, store: &Store, observer: &dyn Observer) -> Result<Lock, Error> {
    let started = Instant::now();
    observer.event(Event::Started { stage: "resolve", total: None, unit: Unit::Items });
    let metadata = Metadata::fetch(recipe, store, observer)?;
    let lock = metadata.offer().lock(recipe)?;
    let summary = format!("{} packages", lock.packages.len());
    observer.event(Event::Finished { stage: "resolve", summary, took: started.elapsed() });
    Ok(lock)
}

/// The metadata of a recipe's archives, verified.
pub struct Metadata {
    archives: Vec<LockedArchive>,
    architecture: &'static str,
    texts: Vec<IndexText>,
}

impl Metadata {
    /// Today's, for the archives that a recipe names.
    pub fn fetch(recipe: &Recipe, store: &Store, observer: &dyn Observer) -> Result<Self, Error> {
        let architecture = recipe.architecture.as_str();
        let mut archives = Vec::new();
        let mut texts: Vec<IndexText> = Vec::new();
        for (number, archive) in recipe.distribution.archives.iter().enumerate() {
            let release = Release::fetch(archive, SystemTime::now())?;
            texts.extend(index::fetch(archive, number, &release, architecture, store, observer)?);
            archives.push(LockedArchive {
                mirror: archive.mirror.clone(),
                suite: archive.suite.clone(),
                snapshot: archive.snapshot.clone(),
                inrelease: release.digest,
                date: release.date,
            });
        }
        Ok(Self { archives, architecture, texts })
    }

    /// The packages that these metadata offer.
    pub fn offer(&self) -> Offered<'_> {
        Offered { archives: &self.archives, universe: Universe::new(&self.texts, self.architecture) }
    }
}

/// The packages that can be locked.
pub struct Offered<'a> {
    archives: &'a [LockedArchive],
    universe: Universe<'a>,
}

impl<'a> Offered<'a> {
    /// Locks the packages that a recipe asks for, with all that they need.
    pub fn lock(&self, recipe: &'a Recipe) -> Result<Lock, Error> {
        let universe = &self.universe;
        let (named, kernel) = named(universe, recipe)?;
        let chosen = rootfs(universe, &named, &kernel)?;
        let first = reach(universe, &essential(universe), &chosen);
        let package = |number: &Number| LockedPackage {
            essential: first.contains(number),
            ..locked(universe.package(*number), Role::Rootfs)
        };
        let mut packages: Vec<_> = chosen.iter().map(package).collect();
        packages.push(locked(universe.package(kernel.image), Role::Kernel));
        if kernel.package != kernel.image && leans_on(universe, &chosen, kernel.package) {
            packages.push(locked(universe.package(kernel.package), Role::Kernel));
        }
        for name in INITRD_PACKAGES {
            packages.push(locked(universe.package(known(universe, name)?), Role::Initrd));
        }
        packages.sort_by(|a, b| (a.role, &a.name).cmp(&(b.role, &b.name)));
        Ok(Lock {
            recipe: recipe.packages_digest,
            architecture: recipe.architecture.as_str().to_owned(),
            epoch: self.archives.iter().map(|archive| archive.date).max().unwrap_or_default(),
            archives: self.archives.to_vec(),
            packages,
        })
    }
}

/// The packages that a recipe names, and its kernel; all that is wrong with the names at once.
fn named<'a>(universe: &Universe<'a>, recipe: &'a Recipe) -> Result<(Vec<Number>, Kernel), Error> {
    let mut problems = Vec::new();
    let mut pick = |name: &'a String| {
        if problems.len() > MOST {
            return None;
        }
        let problem = match pick_asked(universe, name) {
            Ok(number) => return Some(number),
            Err(_) if problems.len() == MOST => "… and more".to_owned(),
            Err(problem) => placed(recipe, name, problem),
        };
        problems.push(problem);
        None
    };
    let packages = recipe.packages.iter().filter_map(&mut pick).collect();
    match pick(&recipe.kernel_package) {
        Some(package) if problems.is_empty() => Ok((packages, kernel(universe, package)?)),
        _ => Err(Error::Unsolvable(problems)),
    }
}

fn essential(universe: &Universe) -> Vec<Number> {
    universe.numbers().filter(|number| universe.package(*number).essential).collect()
}

/// What is installed for the packages that are named.
fn rootfs(universe: &Universe, named: &[Number], kernel: &Kernel) -> Result<BTreeSet<Number>, Error> {
    let asked = [&essential(universe), named].concat();
    // The kernel is there, though not in the root filesystem; unless it is asked for there, too.
    let kernel = [kernel.package, kernel.image];
    let present: &[Number] = if kernel.iter().any(|number| asked.contains(number)) { &[] } else { &kernel };
    solve(universe, present, &asked).map_err(Error::Unsolvable)
}

/// Whether some of the chosen packages need what another one offers and none of them does: a kernel's meta package says
/// which modules it has.
fn leans_on(universe: &Universe, chosen: &BTreeSet<Number>, other: Number) -> bool {
    chosen.iter().flat_map(|number| &universe.relations(*number).needs).any(|group| {
        let offers: Vec<_> = group.iter().flat_map(|relation| universe.offers(relation)).collect();
        offers.contains(&other) && !offers.iter().any(|offer| chosen.contains(offer))
    })
}

/// Runs the solver where it has room to go deep: a chain of packages that need one another is as long as an archive makes it.
pub(super) fn solve(
    universe: &Universe,
    present: &[Number],
    asked: &[Number],
) -> Result<BTreeSet<Number>, Vec<String>> {
    std::thread::scope(|scope| {
        let solver = std::thread::Builder::new().stack_size(STACK);
        let solver = solver.spawn_scoped(scope, || Solver::new(universe, present).solve(asked));
        let failed = |problem: &str| Err(vec![format!("the solver {problem}")]);
        match solver {
            Ok(solver) => solver.join().unwrap_or_else(|_| failed("came to an end")),
            Err(error) => failed(&format!("cannot start: {error}")),
        }
    })
}

/// Those of the chosen packages that some of them need, with themselves; of several that would do, the most important.
fn reach(universe: &Universe, from: &[Number], chosen: &BTreeSet<Number>) -> BTreeSet<Number> {
    let mut reached: BTreeSet<Number> = from.iter().copied().collect();
    let mut fresh = from.to_vec();
    let mut next = 0;
    while let Some(&number) = fresh.get(next) {
        next += 1;
        for group in &universe.relations(number).needs {
            let offers: Vec<Number> = group.iter().flat_map(|relation| universe.offers(relation)).collect();
            if !offers.iter().any(|offer| reached.contains(offer)) {
                let able = offers.into_iter().filter(|offer| chosen.contains(offer));
                let best = able.min_by_key(|offer| universe.package(*offer).priority);
                fresh.extend(best.filter(|offer| reached.insert(*offer)));
            }
        }
    }
    reached
}

/// A problem with a name, after the place in the recipe that has the name.
fn placed(recipe: &Recipe, name: &str, problem: String) -> String {
    match recipe.package_places.get(name) {
        Some(place) => format!("{place}: {problem}"),
        None => problem,
    }
}

/// The package meant by a name in the recipe: itself, or the only one that provides it.
fn pick_asked<'a>(universe: &Universe<'a>, name: &'a str) -> Result<Number, String> {
    if let Some(number) = universe.number(name) {
        return Ok(number);
    }
    let providers: BTreeSet<Number> = universe.offers(&Relation { name, architecture: None, version: None }).collect();
    let providers: Vec<Number> = providers.into_iter().collect();
    match providers.as_slice() {
        [one] => Ok(*one),
        [] => {
            let hint = universe.similar(name).map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
            Err(format!("there is no package `{name}` in the archives{hint}"))
        }
        many => {
            let mut names: Vec<_> = many.iter().map(|number| universe.package(*number).name).collect();
            names.sort_unstable();
            Err(format!("`{name}` is a virtual package; name one of: {}", names.join(", ")))
        }
    }
}

fn known<'a>(universe: &Universe<'a>, name: &'a str) -> Result<Number, Error> {
    pick_asked(universe, name).map_err(|problem| Error::Unsolvable(vec![problem]))
}

/// The recipe's kernel.
struct Kernel {
    /// The package that the recipe names.
    package: Number,
    /// The one that holds the kernel: what a meta package depends on, or itself.
    image: Number,
}

fn kernel(universe: &Universe, package: Number) -> Result<Kernel, Error> {
    let mut needs = universe.relations(package).needs.iter().flatten();
    let image = match needs.find(|relation| relation.name.starts_with("linux-image-")) {
        Some(image) => known(universe, image.name)?,
        None => package,
    };
    Ok(Kernel { package, image })
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
