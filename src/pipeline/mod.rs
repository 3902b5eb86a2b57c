//! Recipe → finished image folder: runs the stages in order, writes beside the final name, renames when whole.
//! Uses every room but `gate` and `launch`.

mod contract;
mod customize;
mod error;
mod kernel;
mod log;
mod place;
mod staging;
mod step;
mod write;

pub use customize::Part;
pub use error::{Error, Failure};
pub use place::{NoPlace, Place, place};
pub use step::{Moment, Step, UnknownStep};

use crate::debian::{self, Lock, Role};
use crate::findings::{Evidence, Finding, Origin, Severity};
use crate::image::{self, Difference, View};
use crate::install;
use crate::progress::{Event, Observer, timed};
use crate::recipe::{self, Confinement, Recipe};
use crate::sandbox::{self, Limits};
use crate::store::Store;
use crate::tree::{self, Owners};
use crate::values::{ByteSize, Sha256};
use log::Log;
use staging::Staging;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use write::Parts;

/// What to build, and how strictly.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// The recipe file.
    pub recipe: PathBuf,
    /// Values of the recipe's parameters.
    pub set: Vec<(String, String)>,
    /// The folder that holds image folders.
    pub output: PathBuf,
    /// A missing or stale lock is an error instead of being resolved anew.
    pub locked: bool,
    /// Never touch the network.
    pub offline: bool,
    /// What one step (installing the packages, a command of `run:`) may take of the machine.
    pub limits: Limits,
    /// Where the files that the recipe names may lie.
    pub confinement: Confinement,
}

/// What was built.
#[derive(Debug, Clone)]
pub struct BuildReport {
    /// The image folder.
    pub folder: PathBuf,
    /// The recipe's name.
    pub name: String,
    /// Packages installed in the root filesystem.
    pub packages: usize,
    /// Bytes of file contents in the root filesystem.
    pub content: u64,
    /// Apparent bytes of the image.
    pub size: u64,
    /// Bytes of the initrd.
    pub initrd: u64,
}

/// Builds one image folder, `OUTPUT/NAME`. When a program in the sandbox fails, the log stays, as `OUTPUT/NAME.failed.log`.
pub fn build(options: &BuildOptions, observer: &dyn Observer) -> Result<BuildReport, Failure> {
    let recipe = load(options)?;
    let staging = begin(&options.output, &recipe.name, observer)?;
    let mut report = build_into(&staging, &recipe, options, &swept_store()?, observer)?;
    report.folder = publish(staging, &options.output, &recipe.name)?;
    Ok(report)
}

/// Builds twice, the second time from packages anew, and compares the results. Publishes the image when they are the
/// same; otherwise names the paths that differ, each with its package.
pub fn check(options: &BuildOptions, observer: &dyn Observer) -> Result<BuildReport, Failure> {
    let recipe = load(options)?;
    let first = begin(&options.output, &recipe.name, observer)?;
    let store = swept_store()?;
    let mut report = build_into(&first, &recipe, options, &store, observer)?;
    let again = again(&recipe.name);
    let second = begin(&options.output, &again, observer)?;
    observer.event(Event::Note("building a second time, from the packages".to_owned()));
    store.without_layers(|store| build_into(&second, &recipe, options, store, observer))?;
    for name in ["rootfs.ext4", "vmlinuz", "vmlinux", "initrd.img", "manifest.json", "sbom.spdx.json", "sbom.cdx.json"]
    {
        compare(&first.path(name), &second.path(name), name)?;
    }
    drop(second);
    report.folder = publish(first, &options.output, &recipe.name)?;
    Ok(report)
}

/// Resolves a recipe's packages and writes the lock beside it, whatever was there.
pub fn lock(
    recipe: &Path,
    set: &[(String, String)],
    confinement: &Confinement,
    observer: &dyn Observer,
) -> Result<(PathBuf, Lock), Error> {
    let recipe = recipe::load_confined(recipe, set, confinement).map_err(Error::Recipe)?;
    let lock = debian::resolve(&recipe, &Store::open()?, observer)?;
    let path = Lock::path_for(&recipe);
    lock.write(&path)?;
    Ok((path, lock))
}

/// Everything that is wrong with a recipe and its lock, without fetching or building.
pub fn examine(path: &Path, set: &[(String, String)], confinement: &Confinement) -> Vec<Finding> {
    let recipe = match recipe::load_confined(path, set, confinement) {
        Ok(recipe) => recipe,
        Err(findings) => return findings,
    };
    let lock = Lock::path_for(&recipe);
    let shown = path.with_file_name(lock.file_name().unwrap_or_default());
    let problem = match Lock::read(&lock) {
        Ok(Some(lock)) if lock.recipe == recipe.packages_digest || !set.is_empty() => return Vec::new(),
        Ok(Some(_)) => format!("{} belongs to other packages than the recipe asks for", shown.display()),
        Ok(None) => format!("{} is missing", shown.display()),
        Err(error) => {
            let mut message = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                message += &format!(": {error}");
                cause = error.source();
            }
            message
        }
    };
    let place = Evidence::new(Origin::File(path.display().to_string()), (1, 1, 1), "", "");
    let help = format!("goldsmith lock {}", path.display());
    vec![Finding::new(recipe::STALE_LOCK, Severity::Warning, problem).at(place).help(help)]
}

/// The recipe, once everything that it ships has been looked at.
fn load(options: &BuildOptions) -> Result<Recipe, Error> {
    let recipe = recipe::load_confined(&options.recipe, &options.set, &options.confinement).map_err(Error::Recipe)?;
    customize::inputs(&recipe)?;
    Ok(recipe)
}

fn compare(first: &Path, second: &Path, name: &str) -> Result<(), Error> {
    let open = |path: &Path| File::open(path).map_err(|cause| Error::Folder { path: path.into(), cause });
    let Some(offset) = image::first_difference(&open(first)?, &open(second)?)? else { return Ok(()) };
    let mut what = format!("{name} at byte {offset}");
    if name == "rootfs.ext4" {
        let inventory = |path: &Path| image::of_image(open(path)?, path).map_err(Error::from);
        let differences = image::diff(&inventory(first)?, &inventory(second)?);
        what += &differing(&differences, &owners(first)?);
    }
    Err(Error::NotReproducible { what })
}

/// Paths that differ and are named.
const NAMED: usize = 20;

/// The most bytes of one of dpkg's lists that are read.
const LIST: u64 = 16 << 20;

/// The packages of an image's paths.
fn owners(file: &Path) -> Result<Owners, image::Error> {
    let view = View::open_path(file)?;
    Owners::read(|folder| Ok(view.names(folder)?.unwrap_or_default()), |path| view.read(path, LIST))
}

/// The paths that differ, a line each, with the packages at fault.
fn differing(differences: &[Difference], owners: &Owners) -> String {
    let line = |difference: &Difference| match owners.of(&difference.path) {
        [] => format!("\n  {difference}"),
        packages => format!("\n  {}: {difference}", packages.join(", ")),
    };
    let named: String = differences.iter().take(NAMED).map(line).collect();
    let more = differences.len().saturating_sub(NAMED);
    if more == 0 { named } else { format!("{named}\n  … and {more} more paths") }
}

fn begin(output: &Path, name: &str, observer: &dyn Observer) -> Result<Staging, Error> {
    let waiting = || observer.event(Event::Note(format!("another build of {name} is running; waiting for it")));
    let begin = || {
        let staging = Staging::begin(output, name, waiting)?;
        // Nobody else builds it now, so whoever was building it twice is no more.
        Staging::clear(output, &again(name))?;
        Ok(staging)
    };
    begin().map_err(|cause| Error::Folder { path: output.join(name), cause })
}

/// What a second build of an image is called while it is there.
fn again(name: &(impl std::fmt::Display + ?Sized)) -> String {
    format!("{name}.again")
}

/// The cache, without what killed builds have left in it and beside it.
fn swept_store() -> Result<Store, Error> {
    sandbox::sweep();
    let store = Store::open()?;
    store.sweep()?;
    Ok(store)
}

fn publish(staging: Staging, output: &Path, name: &str) -> Result<PathBuf, Error> {
    staging.publish().map_err(|cause| Error::Folder { path: output.join(name), cause })
}

const LOG: &str = "build.log";

fn build_into(
    staging: &Staging,
    recipe: &Recipe,
    options: &BuildOptions,
    store: &Store,
    observer: &dyn Observer,
) -> Result<BuildReport, Failure> {
    let _ = fs::remove_file(failed_log(options, recipe));
    stages(staging, recipe, options, store, observer).map_err(|error| {
        let program = matches!(error, Error::Install(install::Error::Step(_)));
        let log = program.then(|| failed_log(options, recipe));
        let log = log.filter(|log| fs::rename(staging.path(LOG), log).is_ok());
        Failure { error: Box::new(error), log }
    })
}

/// Where the log of a build that failed is kept until the next one.
fn failed_log(options: &BuildOptions, recipe: &Recipe) -> PathBuf {
    options.output.join(format!("{}.failed.log", recipe.name))
}

fn stages(
    staging: &Staging,
    recipe: &Recipe,
    options: &BuildOptions,
    store: &Store,
    observer: &dyn Observer,
) -> Result<BuildReport, Error> {
    let path = staging.path(LOG);
    let log = Log::create(&path, observer).map_err(|cause| Error::Folder { path, cause })?;
    let observer: &dyn Observer = &log;
    let lock = current_lock(recipe, options, Locking::WhenMissing, store, observer)?;
    let packages = debian::fetch(&lock, store, options.offline, observer)?;
    // Side by side: maintainer scripts run one after the other and leave a core to the kernel,
    // which is nice to the rest.
    let (base, kernel) = std::thread::scope(|scope| {
        let kernel = scope.spawn(|| {
            let _ = rustix::process::setpriority_process(None, 10);
            kernel::stages(&lock, &packages, store, observer)
        });
        let base = install::base(&lock, &packages, &recipe.debconf, options.limits, store, observer);
        (base, kernel.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let (base, kernel) = (base?, kernel?);
    let custom = timed::<_, Error>("customize", observer, || {
        let custom = customize::customize(base, &kernel.modules, recipe, lock.epoch, options.limits, store, observer)?;
        let used = ByteSize(custom.tree.content_size());
        match recipe.size_budget {
            Some(budget) if used > budget => Err(Error::Budget { used, budget }),
            _ => Ok((format!("{} files and folders, {used}", custom.tree.len()), custom)),
        }
    })?;
    let hooks = tree::hooks_of_apt(&custom.tree).map_err(|cause| Error::Folder { path: LOG.into(), cause })?;
    if !hooks.is_empty() {
        let hooks = hooks.join(", ");
        observer.event(Event::Note(format!("no apt runs in a build, nor do its hooks: {hooks}")));
    }
    let lock_digest = Sha256::of(lock.render(&Lock::path_for(recipe)).as_bytes());
    let network = contract::contract(&custom.tree, kernel.facts, recipe, observer)?;
    let parts = Parts { recipe, lock: &lock, lock_digest, kernel: &kernel, custom: &custom, network };
    let sizes = write::write(&parts, staging, observer)?;
    Ok(BuildReport {
        folder: PathBuf::new(),
        name: recipe.name.to_string(),
        packages: lock.of_role(Role::Rootfs).count(),
        content: sizes.content,
        size: recipe.image.size.0,
        initrd: sizes.initrd,
    })
}

/// Whether a lock that had to be made is written beside its recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Locking {
    WhenMissing,
    Never,
}

/// The recipe's lock. A missing or stale one is resolved and written, unless that is forbidden. With parameters
/// that change the packages, today's closure is used and the lock of the defaults stays as it is.
fn current_lock(
    recipe: &Recipe,
    options: &BuildOptions,
    locking: Locking,
    store: &Store,
    observer: &dyn Observer,
) -> Result<Lock, Error> {
    let path = Lock::path_for(recipe);
    let found = Lock::read(&path)?;
    let state = match found {
        Some(lock) if lock.recipe == recipe.packages_digest => return Ok(lock),
        Some(_) => "stale",
        None => "missing",
    };
    if options.locked {
        return Err(Error::Lock { lock: path, state, recipe: options.recipe.clone() });
    }
    if options.offline {
        return Err(debian::Error::Offline(format!("resolving packages ({} is {state})", path.display())).into());
    }
    let lock = debian::resolve(recipe, store, observer)?;
    if locking == Locking::Never {
        observer
            .event(Event::Note(format!("{} is {state}: packages of today, and no lock is written", path.display())));
    } else if options.set.is_empty() || state == "missing" {
        lock.write(&path)?;
        observer.event(Event::Note(format!("wrote {}", path.display())));
    }
    Ok(lock)
}

/// A text as manifests have it. The recipe's are checked; others come from packages.
fn typed<T: std::str::FromStr<Err = crate::values::TextError>>(text: &str) -> Result<T, Error> {
    let fail = |error| Error::Folder { path: "manifest.json".into(), cause: std::io::Error::other(error) };
    text.parse().map_err(fail)
}
