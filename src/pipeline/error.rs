//! Why a build did not finish.

use super::Step;
use crate::findings::Finding;
use crate::install::FailedStep;
use crate::values::ByteSize;
use crate::{boot, debian, image, install, store, tree};
use std::io;
use std::path::PathBuf;

/// Why a build did not finish. Nothing was published; an older image is untouched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The recipe has problems.
    #[error("the recipe cannot be built: {} problems", .0.len())]
    Recipe(Vec<Finding>),
    /// The image that would result refuses itself.
    #[error("the image would be refused at launch: {} problems", .0.len())]
    Refused(Vec<Finding>),
    /// The cache failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Packages could not be resolved or fetched.
    #[error(transparent)]
    Debian(#[from] debian::Error),
    /// Packages could not be installed.
    #[error(transparent)]
    Install(#[from] install::Error),
    /// The tree could not be customised.
    #[error("{what} cannot be applied")]
    Tree {
        /// What part of the recipe.
        what: String,
        /// Why not.
        #[source]
        cause: tree::Error,
    },
    /// The image could not be written.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// The kernel cannot be used.
    #[error("the kernel of {package} cannot be used")]
    Kernel {
        /// The kernel's package.
        package: String,
        /// Why not.
        #[source]
        cause: boot::Error,
    },
    /// The kernel's package does not hold what is needed.
    #[error("{package} has no {what}")]
    NoKernel {
        /// The package.
        package: String,
        /// What was looked for.
        what: &'static str,
    },
    /// There is no lock for this recipe, and it must not be made.
    #[error("{} is {state}, and --locked forbids writing it\nhelp: goldsmith lock {}", lock.display(), recipe.display())]
    Lock {
        /// The lock file.
        lock: PathBuf,
        /// `missing` or `stale`.
        state: &'static str,
        /// The recipe.
        recipe: PathBuf,
    },
    /// A built file that the recipe ships is not there.
    #[error("the artifact {} is not built{}", path.display(), .hint.as_ref().map(|hint| format!("\nhelp: type `{hint}`")).unwrap_or_default())]
    Artifact {
        /// The host file.
        path: PathBuf,
        /// What makes it.
        hint: Option<String>,
    },
    /// The contents are larger than the recipe allows.
    #[error("the image's files take up {used}, the recipe's size_budget is {budget}: {} too much\nhelp: raise size_budget, or drop packages", ByteSize(used.0 - budget.0))]
    Budget {
        /// Bytes of contents.
        used: ByteSize,
        /// Bytes allowed.
        budget: ByteSize,
    },
    /// The output folder could not be written.
    #[error("cannot write {}{}", path.display(), full(cause))]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// Two builds of the same inputs differ.
    #[error("two builds of the same recipe differ: {what}")]
    NotReproducible {
        /// What differs: a file and the place in it, and the paths at fault.
        what: String,
    },
}

impl Error {
    /// The step that failed, if somebody can look around before it.
    pub fn step(&self) -> Option<Step> {
        let Self::Install(install::Error::Step(failure)) = self else { return None };
        Some(match failure.step()? {
            FailedStep::Script(package, script) => Step::Script(package.to_owned(), script),
            FailedStep::Run(number) => Step::Run(number),
        })
    }
}

/// A build that did not finish, and where the words of what failed in it are kept.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// Why not.
    #[source]
    pub error: Box<Error>,
    /// The log, when a program in the sandbox failed.
    pub log: Option<PathBuf>,
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: Box::new(error.into()), log: None }
    }
}

/// What to do when the disk that takes the image is full.
fn full(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "\nhelp: the disk is full: make room, or name a folder on a larger one with --output"
        }
        _ => "",
    }
}
