//! Locked packages → the base [`Tree`], as dpkg itself would leave it; cached by lock digest.
//!
//! Payloads are unpacked here, in parallel; every maintainer script is run by dpkg's rules inside the sandbox. The
//! result is the same as that of `dpkg --install` one by one (`tests/install.rs` compares it with mmdebstrap's), in a
//! fraction of the time. Uses `debian`, `sandbox`, `store`, `tree`.

mod configure;
mod database;
mod debconf;
mod fonts;
mod hint;
mod layer;
mod local;
mod plan;
mod root;
mod run;
mod said;
mod step;
mod stop;
mod unpack;

pub use layer::unpacked;
pub use run::{commands, lay, run, shell};
pub use step::{FailedStep, Failure};
pub use stop::{Script, Side, Stop, until};

use crate::debian::{ControlFile, Deb, DebError, DebFileKind, FetchedPackage, Lock, Role, Templates};
use crate::progress::{Event, Observer, Unit};
use crate::sandbox::{self, Ids, Limits, Sandbox};
use crate::store::{self, Store, room};
use crate::tree::{self, Tree};
use crate::values::{Answer, GuestPath, Hasher, Sha256};
use database::Database;
use local::Local;
use plan::{Facts, Plan};
use root::Root;
use said::Said;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;
use step::{Subject, Watch};
use unpack::Ledger;

/// Changes whenever the same packages would give another layer.
const FORMAT: &str = "base 13";

const STAGE: &str = "install";

/// Why packages could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cache failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A package is damaged or hostile.
    #[error(transparent)]
    Package(#[from] DebError),
    /// A package's script or a `run:` command of the recipe failed.
    #[error(transparent)]
    Step(Box<Failure>),
    /// Answers that fit no question, each with its place.
    #[error("{}", .0.join("\n"))]
    Debconf(Vec<String>),
    /// There is no sandbox to run scripts in.
    #[error(transparent)]
    Sandbox(sandbox::Error),
    /// Two packages ship the same path and neither says that it replaces the other.
    #[error("{first} and {second} both ship {path}, and neither replaces the other")]
    Overlap {
        /// The path.
        path: GuestPath,
        /// A package.
        first: String,
        /// Another.
        second: String,
    },
    /// A payload could not be unpacked.
    #[error("cannot unpack {package}: {path}{}", room(cause))]
    Unpack {
        /// The package.
        package: String,
        /// The path in the image.
        path: GuestPath,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// A file operation failed.
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
    /// The finished tree could not be read.
    #[error(transparent)]
    Tree(#[from] tree::Error),
    /// There is no range of ids for the tree's files.
    #[error(transparent)]
    Ids(#[from] sandbox::Problem),
}

/// A package on its way into the tree.
struct Package<'a> {
    fetched: &'a FetchedPackage,
    deb: Deb,
    control: BTreeMap<String, ControlFile>,
    facts: Facts,
}

impl<'a> Package<'a> {
    fn open(fetched: &'a FetchedPackage) -> Result<Self, Error> {
        let deb = Deb::open(&fetched.file)?;
        let control = deb.control()?;
        let essential = fetched.package.essential;
        let facts = Facts { essential, control: String::new() };
        let mut package = Self { fetched, deb, control, facts };
        package.facts.control = package.text("control").unwrap_or_default();
        Ok(package)
    }

    fn name(&self) -> &str {
        &self.fetched.package.name
    }

    /// A control file as text.
    fn text(&self, name: &str) -> Option<String> {
        self.control.get(name).map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned())
    }
}

/// The base tree of a lock's root filesystem packages, whose questions are answered. Only the first call for a lock takes
/// seconds.
pub fn base(
    lock: &Lock,
    packages: &[FetchedPackage],
    answers: &[Answer],
    limits: Limits,
    store: &Store,
    observer: &dyn Observer,
) -> Result<Tree, Error> {
    let started = Instant::now();
    let wanted = of_role(packages, Role::Rootfs);
    let total = wanted.len();
    // Each is unpacked and set up.
    observer.event(Event::Started { stage: STAGE, total: Some(2 * total as u64), unit: Unit::Items });
    let kernel = of_role(packages, Role::Kernel);
    let key = key(lock, &wanted, &kernel, answers);
    let folder = store.layer("base", &key);
    let cached = folder.exists();
    if cached {
        said::again(&folder, observer);
    }
    let tree = layer::cached(store, "base", &key, observer, |work| {
        let said = Said::new(observer);
        make(lock, &wanted, &kernel, answers, limits, work, &said)?;
        said.save(work)
    })?;
    let summary = format!("{total} packages{}", if cached { ", from the cache" } else { "" });
    observer.event(Event::Finished { stage: STAGE, summary, took: started.elapsed() });
    Ok(tree)
}

/// What has a role, of what is fetched. The kernel's files come into the image by another way, but others may depend on it.
fn of_role(packages: &[FetchedPackage], role: Role) -> Vec<&FetchedPackage> {
    packages.iter().filter(|fetched| fetched.package.role == role).collect()
}

fn key(lock: &Lock, packages: &[&FetchedPackage], kernel: &[&FetchedPackage], answers: &[Answer]) -> Sha256 {
    let mut hasher = Hasher::default();
    hasher.update(format!("{FORMAT}\n{}\n", lock.epoch).as_bytes());
    for fetched in packages.iter().chain(kernel) {
        hasher.update(&fetched.package.sha256.0);
    }
    answers.iter().for_each(|answer| hasher.update(answer.line().as_bytes()));
    hasher.finish()
}

fn discard(path: &Path) -> Result<(), Error> {
    fs::remove_dir_all(path).map_err(|cause| Error::Io { what: "delete", path: path.into(), cause })
}

fn make(
    lock: &Lock,
    wanted: &[&FetchedPackage],
    kernel: &[&FetchedPackage],
    answers: &[Answer],
    limits: Limits,
    work: &Path,
    observer: &dyn Observer,
) -> Result<(), Error> {
    let mut build = Build::begin(lock, wanted, kernel, answers, limits, &work.join("root"), observer)?;
    match build.all() {
        Err(Halt::Failed(error)) => return Err(error),
        Err(Halt::Reached) | Ok(()) => {}
    }
    fonts::cache(&build.root, lock.epoch, limits, &build.watch)?;
    build.watch.summarise();
    build.name_unanswered();
    build.root.remove(POLICY)?;
    if build.root.read(RESOLVER)?.is_some_and(|text| text.is_empty()) {
        build.root.remove(RESOLVER)?;
    }
    build.root.remove_folder(CONTROL)?;
    layer::save(work, lock.epoch, Ids::here()?)
}

/// The directories that are links into `/usr`.
const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Which of them are there before the first package. Since Debian 13 `base-files` ships those that the architecture has, and its
/// postinst makes the others where they lead somewhere; before, debootstrap and mmdebstrap made all.
fn links(packages: &[Package<'_>]) -> Result<Vec<&'static str>, DebError> {
    let mut shipped = Vec::new();
    if let Some(base) = packages.iter().find(|package| package.name() == "base-files") {
        base.deb.visit(|entry, _| {
            if matches!(entry.kind, DebFileKind::Symlink(_)) {
                shipped.extend(MERGED.into_iter().filter(|name| entry.path.as_str().strip_prefix('/') == Some(name)));
            }
            Ok::<_, DebError>(())
        })?;
    }
    Ok(if shipped.is_empty() { MERGED.to_vec() } else { shipped })
}

/// What a root filesystem has before the first package: a merged `/usr`, dpkg's folders, and a policy that no service
/// starts.
fn skeleton(root: &Root, links: &[&str]) -> io::Result<()> {
    let top = root.directory(&GuestPath::root())?;
    root.give(&top, "", 0, 0)?;
    let folder =
        |path: String| GuestPath::from_archive(&path).map_err(io::Error::other).and_then(|path| root.directory(&path));
    for name in links {
        folder(format!("/usr/{name}"))?;
        rustix::fs::symlinkat(format!("usr/{name}"), &top, *name)?;
        root.give(&top, name, 0, 0)?;
    }
    for name in ["info", "triggers", "updates", "alternatives", "parts", "tmp.ci"] {
        folder(format!("/var/lib/dpkg/{name}"))?;
    }
    for path in ["/usr/sbin", "/etc"] {
        folder(path.to_owned())?;
    }
    Ok(())
}

/// Asked by invoke-rc.d before it starts a service; 101 forbids it.
const POLICY: &str = "usr/sbin/policy-rc.d";

/// Names no server. Scripts expect it to be there: postfix calls a machine without one `localhost.UNKNOWN`.
const RESOLVER: &str = "etc/resolv.conf";

/// Where dpkg has a package's control files while its `preinst` runs. debconf looks for the templates of its questions
/// there. Source: `CONTROLDIRTMP` in dpkg's `lib/dpkg/dpkg.h`; `Debconf::ConfModule`.
const CONTROL: &str = "var/lib/dpkg/tmp.ci";

struct Build<'a> {
    lock: &'a Lock,
    limits: Limits,
    root: Root,
    watch: Watch<'a>,
    packages: Vec<Package<'a>>,
    ledger: Ledger,
    database: Database,
    unpacked: BTreeSet<usize>,
    configured: BTreeSet<usize>,
    templates: Templates,
    answers: Vec<&'a Answer>,
    answered: bool,
    stop: Option<&'a Stop>,
}

/// Why an installation does not go on.
enum Halt {
    /// It has come to where it was to stop.
    Reached,
    /// Something failed.
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl<'a> Build<'a> {
    /// Prepares a folder, which is made, for packages.
    fn begin(
        lock: &'a Lock,
        wanted: &[&'a FetchedPackage],
        kernel: &[&'a FetchedPackage],
        answers: &'a [Answer],
        limits: Limits,
        folder: &Path,
        observer: &'a dyn Observer,
    ) -> Result<Self, Error> {
        let io = |what| move |cause| Error::Io { what, path: folder.into(), cause };
        fs::create_dir(folder).map_err(io("create"))?;
        let root = Root::open(folder, Ids::here()?)?;
        let packages = wanted.iter().map(|fetched| Package::open(fetched)).collect::<Result<Vec<_>, Error>>()?;
        skeleton(&root, &links(&packages)?).map_err(io("prepare"))?;
        root.write(POLICY, b"#!/bin/sh\nexit 101\n", 0o755)?;
        root.write(RESOLVER, b"", 0o644)?;
        let (templates, answers) = debconf::fitting(&packages, answers)?;
        let facts: Vec<_> = packages.iter().map(|package| &package.facts).collect();
        let kernel = kernel.iter().map(|fetched| Package::open(fetched)).collect::<Result<Vec<_>, Error>>()?;
        let offered: Vec<_> = kernel.iter().map(|package| &package.facts).collect();
        for at in plan::needed(&facts, &offered) {
            kernel.get(at).map_or(Ok(()), |package| Database::pretend(package, &root))?;
        }
        let ledger = Ledger::new(plan::replaces(&facts));
        let (database, watch) = (Database::default(), Watch::new(STAGE, observer));
        let (unpacked, configured) = (BTreeSet::new(), BTreeSet::new());
        let (answered, stop) = (false, None);
        Ok(Self {
            lock,
            limits,
            root,
            watch,
            packages,
            ledger,
            database,
            unpacked,
            configured,
            templates,
            answers,
            answered,
            stop,
        })
    }

    /// Unpacks all packages and sets them up.
    fn all(&mut self) -> Result<(), Halt> {
        let facts: Vec<_> = self.packages.iter().map(|package| &package.facts).collect();
        let Plan { waves, before } = plan::plan(&facts);
        for (number, wave) in waves.iter().enumerate() {
            if number == 0 {
                // Nothing can run before the essential packages are there: their scripts come after their payloads.
                self.unpack(wave)?;
                self.preinst(wave)?;
                self.configure()?;
            } else {
                self.settle(wave, &before)?;
                self.preinst(wave)?;
                self.unpack(wave)?;
            }
        }
        fonts::prepare(&self.root, self.lock.epoch)?;
        self.configure()
    }

    fn unpack(&mut self, wave: &[usize]) -> Result<(), Error> {
        let packages: Vec<_> = wave.iter().filter_map(|at| self.packages.get(*at)).collect();
        let local = Local::read(&self.root)?;
        self.ledger.divert(&local);
        let done = |name: &str| self.watch.unpacked(name);
        let payloads = unpack::unpack(&packages, &self.root, &local, &self.ledger, self.unpacked.is_empty(), &done)?;
        self.database.add(&packages, &payloads, &local, &self.root)?;
        for (name, path) in self.ledger.take_replaced() {
            if let Some(package) = self.packages.iter().find(|package| package.name() == name) {
                Database::disown(package, &path, &self.root)?;
            }
        }
        self.unpacked.extend(wave);
        self.answer()
    }

    /// Where scripts of packages run.
    fn sandbox(&self) -> Sandbox {
        let (name, value) = debconf::TALK;
        Sandbox::new(&self.root.path, self.lock.epoch, self.limits).with(name, value)
    }

    /// Runs the `preinst` of every package that has one, as dpkg would on a first installation.
    fn preinst(&self, wave: &[usize]) -> Result<(), Halt> {
        let mut order: Vec<_> = wave.iter().filter_map(|at| self.packages.get(*at)).collect();
        // base-passwd's creates the user and group files that others need.
        order.sort_by_key(|package| package.name() != "base-passwd");
        for package in order {
            let here = |side| self.is_stop(package, Script::Preinst, side);
            if !package.control.contains_key("preinst") && !here(Side::Before) {
                if here(Side::After) {
                    return Err(Halt::Reached);
                }
                continue;
            }
            let files = package.control.iter().filter(|(name, _)| database::is_file_name(name));
            for (name, (mode, bytes)) in files.clone() {
                self.root.write(&format!("{CONTROL}/{name}"), bytes, *mode)?;
            }
            if here(Side::Before) {
                return Err(Halt::Reached);
            }
            let (name, value) = debconf::TALK;
            let sandbox = self.for_preinst(package).with(name, value);
            let subject = Subject::new("preparing", package.name(), "preinst");
            let result = self.watch.run(&sandbox, &[&format!("/{CONTROL}/preinst"), "install"], subject);
            for (name, _) in files {
                self.root.remove(&format!("{CONTROL}/{name}"))?;
            }
            result.map_err(|error| self.explained(error))?;
            if here(Side::After) {
                return Err(Halt::Reached);
            }
        }
        Ok(())
    }

    /// The sandbox with the variables that dpkg sets for a `preinst`. Source: `maintscript_exec` in dpkg's `src/main/script.c`.
    fn for_preinst(&self, package: &Package) -> Sandbox {
        let version = self.packages.iter().find(|package| package.name() == "dpkg");
        let version = version.map_or("", |dpkg| &dpkg.fetched.package.version);
        Sandbox::new(&self.root.path, self.lock.epoch, self.limits)
            .with("DPKG_MAINTSCRIPT_PACKAGE", package.name())
            .with("DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT", "1")
            .with("DPKG_MAINTSCRIPT_NAME", "preinst")
            .with("DPKG_MAINTSCRIPT_ARCH", &package.fetched.package.architecture)
            .with("DPKG_MAINTSCRIPT_DEBUG", "0")
            .with("DPKG_ADMINDIR", "/var/lib/dpkg")
            .with("DPKG_ROOT", "")
            .with("DPKG_RUNNING_VERSION", version)
    }

    /// Sets up what the packages of a wave pre-depend on (Debian Policy 7.2). Those that
    /// wait for each other in a circle get what can be had.
    fn settle(&mut self, wave: &[usize], before: &[BTreeSet<usize>]) -> Result<(), Halt> {
        let needs = wave.iter().filter_map(|at| before.get(*at)).filter(|needs| needs.is_subset(&self.unpacked));
        let needs: BTreeSet<usize> = needs.flatten().copied().collect();
        self.configure_only(&needs.difference(&self.configured).copied().collect())
    }

    /// Adds what may help to the failure of a package's script.
    fn explained(&self, mut error: Error) -> Error {
        if let Error::Step(failure) = &mut error {
            let package = self.packages.iter().find(|package| package.name() == failure.name);
            hint::add(failure, package);
        }
        error
    }
}
