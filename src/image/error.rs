//! What can go wrong with images.

use crate::values::{ByteSize, GuestPath};
use std::io;
use std::path::PathBuf;

/// Why writing or reading an image failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The size is no whole number of blocks, or outside what ext4 images can have.
    #[error("an image of {0} bytes cannot be made: the size must be a multiple of 4096, from 16 MiB to 16 TiB")]
    Size(u64),
    /// The label is too long for the superblock.
    #[error("the label `{0}` does not fit: ext4 labels have at most 16 bytes, none of them NUL")]
    Label(String),
    /// The time stamp does not fit into the superblock.
    #[error("the time stamp {0} does not fit into an ext4 superblock (1970 to 2106)")]
    Epoch(i64),
    /// The tree does not fit.
    #[error(
        "the image is too small: its contents need {}, the image has {}: {} are missing\nhelp: write `image: {{ size: {}M }}` or more into the recipe",
        ByteSize(*needed), ByteSize(*size), ByteSize(needed.saturating_sub(*size)), needed.div_ceil(1 << 20))]
    TooSmall {
        /// The size asked for, in bytes.
        size: u64,
        /// The smallest size that works, in bytes.
        needed: u64,
    },
    /// The tree has something that an ext4 filesystem cannot hold.
    #[error("{path} cannot be stored in an ext4 filesystem")]
    Unstorable {
        /// What.
        path: GuestPath,
        /// Why.
        source: mkext4::Error,
    },
    /// The layout could not be made.
    #[error("the ext4 layout cannot be made")]
    Layout(#[source] mkext4::Error),
    /// A hard link in the tree points at nothing.
    #[error("{path} is another name of {target}, which is not a regular file")]
    BrokenLink {
        /// The link.
        path: GuestPath,
        /// Its target.
        target: GuestPath,
    },
    /// The disk is full.
    #[error("no space left for {}: {} more have to be written, {} are free\nhelp: make room, or name a folder on a larger disk with --output", path.display(), ByteSize(*needed), ByteSize(*available))]
    Full {
        /// The image file.
        path: PathBuf,
        /// Bytes of metadata and contents that the whole image needs.
        needed: u64,
        /// Bytes free on its filesystem.
        available: u64,
    },
    /// The image file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The image file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that goes into the image could not be read.
    #[error("cannot read {} for {guest} in the image", host.display())]
    Source {
        /// The host file.
        host: PathBuf,
        /// Where it goes.
        guest: GuestPath,
        /// Why.
        source: io::Error,
    },
    /// The image file could not be opened.
    #[error("cannot open {}", image.display())]
    Open {
        /// The image file.
        image: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not an ext4 filesystem that can be read.
    #[error("{} is not a readable ext4 image", image.display())]
    NotAnImage {
        /// The image file.
        image: PathBuf,
        /// Why.
        source: ext4_view::Ext4Error,
    },
    /// There is no superblock.
    #[error("{} is not an ext4 image: it has no ext4 superblock", image.display())]
    NoFilesystem {
        /// The image file.
        image: PathBuf,
    },
    /// The superblock speaks of a filesystem that this file cannot hold.
    #[error("{} is cut off or damaged: its superblock speaks of {}, the file has {}", image.display(), ByteSize(*claimed), ByteSize(*size))]
    Geometry {
        /// The image file.
        image: PathBuf,
        /// Bytes that the filesystem would need.
        claimed: u64,
        /// Bytes of the file.
        size: u64,
    },
    /// Something in the image cannot be read: it is damaged, or made to look so.
    #[error("cannot read {path} in {}", image.display())]
    Read {
        /// The image file.
        image: PathBuf,
        /// Where in it.
        path: GuestPath,
        /// Why.
        source: ext4_view::Ext4Error,
    },
    /// Something in the image is larger than what is read.
    #[error("{path} in {} has {size} bytes; at most {limit} are read", image.display())]
    TooLarge {
        /// The image file.
        image: PathBuf,
        /// Where in it.
        path: GuestPath,
        /// Its size.
        size: u64,
        /// The most that is read.
        limit: u64,
    },
    /// A name or link target is not UTF-8.
    #[error("{directory} in {} has a name that is not UTF-8", image.display())]
    NotUtf8 {
        /// The image file.
        image: PathBuf,
        /// Where in it.
        directory: GuestPath,
    },
    /// What was read could not be passed on.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    /// An image is damaged, so that not everything in it can be read.
    #[error("{} is damaged or is no ext4 image", image.display())]
    Damaged {
        /// The image file.
        image: PathBuf,
        /// What the reader says, where it says something.
        source: Option<mkext4::Error>,
    },
    /// Two images could not be compared byte by byte.
    #[error("the images cannot be compared")]
    Compare(#[source] io::Error),
}
