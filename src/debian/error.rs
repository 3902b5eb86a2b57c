//! Why packages could not be resolved or read.

use crate::store;
use std::path::PathBuf;

/// Why packages could not be resolved, locked or fetched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cache or a download failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The keyring that signs the archive is not on this machine.
    #[error("the keyring {} is not there\nhelp: apt-get install debian-archive-keyring, or name another `keyring:` in the recipe", .0.display())]
    NoKeyring(PathBuf),
    /// The keyring cannot be read.
    #[error("the keyring {} cannot be read: {cause}", path.display())]
    Keyring {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// The mirror did not deliver the archive's metadata.
    #[error(
        "cannot get {url}: {cause}\nhelp: check the mirror and the suite in the recipe, and that this machine reaches it"
    )]
    Metadata {
        /// What was asked for.
        url: String,
        /// Why it did not come.
        cause: String,
    },
    /// The metadata came and are not to be trusted.
    #[error("{url} is not to be trusted: {cause}")]
    Untrusted {
        /// What was read.
        url: String,
        /// What is wrong.
        cause: String,
    },
    /// The network is needed and was forbidden.
    #[error("{0} needs the network, and --offline forbids it")]
    Offline(String),
    /// The packages asked for do not go together, or do not exist.
    #[error("the packages cannot be resolved{}", .0.iter().map(|line| format!("\n  {line}")).collect::<String>())]
    Unsolvable(Vec<String>),
    /// A lock file could not be read or written.
    #[error("cannot {what} {}", path.display())]
    LockFile {
        /// What was tried.
        what: &'static str,
        /// The lock file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// A lock file is damaged.
    #[error("{}: {cause}\nhelp: `goldsmith lock RECIPE` writes it anew", path.display())]
    LockSyntax {
        /// The lock file.
        path: PathBuf,
        /// What is wrong.
        cause: super::LockError,
    },
    /// Locked versions are no longer to be had.
    #[error(
        "{cause}\nhelp: {gone} locked versions have left the mirror; `goldsmith lock RECIPE` locks today's versions, or try again where {snapshot} can be reached"
    )]
    Gone {
        /// The failed downloads.
        cause: store::Error,
        /// How many.
        gone: usize,
        /// The archive of old versions.
        snapshot: String,
    },
    /// Offline, and packages are missing from the cache.
    #[error("{} locked packages are not in the cache ({}), and --offline forbids fetching them\nhelp: run once without --offline", .0.len(), first(.0))]
    NotCached(Vec<String>),
}

fn first(names: &[String]) -> String {
    let shown = names.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 5 { format!("{shown}, …") } else { shown }
}
