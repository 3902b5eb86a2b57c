//! The tree of a build at one of its steps, for somebody to look around in. Nothing is published and no lock is written; layers
//! that a build would make are made and cached.

use super::customize::{Customizing, Part};
use super::step::{Moment, Steps, Target, UnknownStep};
use super::{BuildOptions, Error, Locking, current_lock, customize, kernel, load, swept_store};
use crate::debian::{self, FetchedPackage, Lock, Role};
use crate::install::{self, Side};
use crate::progress::{Observer, timed};
use crate::recipe::Recipe;
use crate::sandbox::Sandbox;
use crate::store::{Scratch, Store};
use crate::tree::Tree;
use std::path::Path;

/// A tree at a step. Deleted when dropped.
pub struct Place {
    /// Commands run here see what that step sees.
    pub sandbox: Sandbox,
    /// Where that is: `the tree of mail before postfix's postinst`.
    pub words: String,
    /// The shell that the tree has, bash or sh, by its path.
    pub shell: Option<&'static str>,
    _scratch: Scratch,
}

/// Why there is no such place.
#[derive(Debug, thiserror::Error)]
pub enum NoPlace {
    /// No step is called so.
    #[error(transparent)]
    Step(#[from] UnknownStep),
    /// The build does not come to it.
    #[error(transparent)]
    Build(Box<Error>),
}

impl<E: Into<Error>> From<E> for NoPlace {
    fn from(error: E) -> Self {
        Self::Build(Box::new(error.into()))
    }
}

/// What a place is made of.
struct Site<'a> {
    recipe: &'a Recipe,
    lock: &'a Lock,
    packages: &'a [FetchedPackage],
    options: &'a BuildOptions,
    store: &'a Store,
    observer: &'a dyn Observer,
}

/// Builds as far as to a moment.
pub fn place(options: &BuildOptions, moment: &Moment, observer: &dyn Observer) -> Result<Place, NoPlace> {
    let recipe = load(options)?;
    let store = swept_store()?;
    let lock = current_lock(&recipe, options, Locking::Never, &store, observer)?;
    let names: Vec<_> = lock.of_role(Role::Rootfs).map(|package| package.name.as_str()).collect();
    let target = Steps { packages: &names, commands: recipe.run.len() }.target(moment)?;
    let packages = debian::fetch(&lock, &store, options.offline, observer)?;
    let scratch = store.scratch()?;
    let root = scratch.path().join("root");
    let site = Site { recipe: &recipe, lock: &lock, packages: &packages, options, store: &store, observer };
    let (sandbox, words) = site.reach(&target, moment, &root)?;
    let shell = install::shell(&root)?;
    Ok(Place { sandbox, words: format!("the tree of {} {words}", recipe.name), shell, _scratch: scratch })
}

impl Site<'_> {
    /// Makes the tree below `root`; says how commands see it, and where it is.
    fn reach(&self, target: &Target, moment: &Moment, root: &Path) -> Result<(Sandbox, String), Error> {
        let Self { recipe, lock, options: BuildOptions { limits, .. }, observer, .. } = self;
        if let Target::Script(stop) = target {
            let sandbox = install::until(lock, self.packages, &recipe.debconf, *limits, (stop, root), *observer)?;
            let side = if stop.side == Side::Before { "before" } else { "after" };
            return Ok((sandbox, format!("{side} {}'s {}", stop.package, stop.script.name())));
        }
        let base = install::base(lock, self.packages, &recipe.debconf, *limits, self.store, *observer)?;
        let modules = kernel::modules(lock, self.packages, self.store, *observer)?;
        timed::<_, Error>("customize", *observer, || {
            let tree = self.customized(target, base, &modules)?;
            install::lay(&tree, root)?;
            if let Target::Run(count) = target {
                let commands = recipe.run.get(..*count).unwrap_or_default();
                install::commands(root, commands, lock.epoch, *limits, *observer)?;
            }
            Ok((format!("{} files and folders", tree.len()), ()))
        })?;
        Ok((Sandbox::new(root, lock.epoch, *limits), moment.to_string()))
    }

    /// The tree, before any command of `run:` that is not among all of them.
    fn customized(&self, target: &Target, base: Tree, modules: &Tree) -> Result<Tree, Error> {
        let Self { recipe, lock, options: BuildOptions { limits, .. }, store, observer, .. } = self;
        let last = match target {
            Target::Part(part) => *part,
            Target::Run(_) => Part::Units,
            Target::Script(_) | Target::Finished => {
                let custom = customize::customize(base, modules, recipe, lock.epoch, *limits, store, *observer)?;
                return Ok(custom.tree);
            }
        };
        let mut work = Customizing::begin(base, modules, recipe, lock.epoch)?;
        Part::ALL.into_iter().filter(|part| *part <= last).try_for_each(|part| work.apply(part))?;
        Ok(work.tree)
    }
}
