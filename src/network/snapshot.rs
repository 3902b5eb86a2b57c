//! The part of a guest's filesystem that decides its network, as plain values.

use crate::values::GuestPath;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The guest files that the model reads, by canonical path (no symbolic link among the parents). Captured from an
/// image, or from a tree that is being built; the model never sees the difference.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// What the findings call the image: `images/desktop/rootfs.ext4`.
    pub image: String,
    /// The captured nodes.
    pub nodes: BTreeMap<GuestPath, SnapshotNode>,
    /// What was left out, one sentence each.
    pub unread: Vec<String>,
    /// The unit that starts sshd, where it has no host keys and no unit of the image makes them.
    pub keyless_sshd: Option<String>,
}

/// One captured node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotNode {
    /// A directory; its entries are nodes of their own where they matter.
    Directory,
    /// A regular file.
    File {
        /// Permission bits.
        mode: u16,
        /// Its bytes, where they matter and are no more than [`MAX_FILE`].
        bytes: FileBytes,
    },
    /// A symbolic link's target.
    Symlink(String),
    /// A device, FIFO or socket.
    Special,
}

/// What is known of a file's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileBytes {
    /// All of them.
    Known(Arc<[u8]>),
    /// Only that the file exists, with this size: its content does not matter to the model.
    Present(u64),
    /// Larger than [`MAX_FILE`]: this many bytes. A rule that needs them says "unknown".
    TooLarge(u64),
}

/// The largest guest file that is read, in bytes: 1 MiB.
pub const MAX_FILE: u64 = 1 << 20;

/// A filesystem that a snapshot can be captured from: an image, a tree, a directory. Paths may have symbolic
/// links among their parents; an implementation follows them inside the guest's root and never out of it.
pub trait GuestFiles {
    /// Why reading failed.
    type Error;

    /// The node at `path` itself (a symbolic link is not followed). `read`: whether the bytes of a file matter.
    fn node(&self, path: &GuestPath, read: bool) -> Result<Option<SnapshotNode>, Self::Error>;

    /// The names in a directory, sorted; none when it does not exist or is no directory.
    fn list(&self, path: &GuestPath) -> Result<Vec<String>, Self::Error>;
}
