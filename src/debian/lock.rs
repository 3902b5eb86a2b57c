//! The lock: exactly which packages an image is made of.

use crate::values::Sha256;
use serde::{Deserialize, Serialize};

/// A resolved package closure. Its file form is YAML, one package a line, sorted: readable in a diff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// The recipe's [`packages_digest`](crate::recipe::Recipe::packages_digest) when it was resolved; another value means stale.
    pub recipe: Sha256,
    /// Debian architecture.
    pub architecture: String,
    /// Seconds since 1970 of the newest signed archive metadata used: the image's epoch (`SOURCE_DATE_EPOCH`).
    pub epoch: i64,
    /// The archives, in the recipe's order.
    pub archives: Vec<LockedArchive>,
    /// Sorted by role, then name.
    pub packages: Vec<LockedPackage>,
}

/// One archive as it was when it was resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedArchive {
    /// Mirror URL without trailing slash.
    pub mirror: String,
    /// Suite.
    pub suite: String,
    /// Snapshot archive URL, where the recipe names one.
    pub snapshot: Option<String>,
    /// Digest of the `InRelease` file that was verified.
    pub inrelease: Sha256,
    /// Its `Date`, seconds since 1970.
    pub date: i64,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedPackage {
    /// Name.
    pub name: String,
    /// Full Debian version.
    pub version: String,
    /// `amd64` or `all`.
    pub architecture: String,
    /// What it is for.
    pub role: Role,
    /// Whether it is essential, or an essential package needs it: unpacked before any script runs.
    pub essential: bool,
    /// Index into [`Lock::archives`].
    pub archive: usize,
    /// `Filename`, relative to the mirror.
    pub path: String,
    /// Bytes of the `.deb`.
    pub size: u64,
    /// Its digest.
    pub sha256: Sha256,
}

/// What a locked package is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Installed into the root filesystem by dpkg.
    Rootfs,
    /// Its `/boot` and `/lib/modules` are used; dpkg never sees it.
    Kernel,
    /// Only feeds the initrd (busybox-static).
    Initrd,
}

impl Role {
    /// As it is written in the lock file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rootfs => "rootfs",
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
        }
    }
}
