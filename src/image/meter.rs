//! How much of a foreign image is read: no more than it can hold, whatever it says.
//!
//! Every reader of an image reads through a [`Meter`]. A sane filesystem has each block once; one that names the same blocks
//! again and again (extent trees that multiply, folders that share their blocks) uses its allowance up and is an error.

use super::Error;
use super::verity::data_in;
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Where the superblock is. Source, also of what is in it: kernel `Documentation/filesystems/ext4/super.rst`.
const SUPERBLOCK: u64 = 1024;
/// The fewest blocks that a block group has (mke2fs(8), `-g`).
const MIN_GROUP: u64 = 256;
/// The most block groups: readers take memory for each. 64 TiB in groups of 128 MiB.
const MAX_GROUPS: u64 = 1 << 19;
/// The largest block: 1024 bytes, doubled six times.
const MAX_LOG: u64 = 6;

/// An image file that lets only so many bytes be read.
pub(super) struct Meter {
    file: File,
    left: Cell<u64>,
}

impl Meter {
    /// For readers that may read all data `times` times, and another `extra` bytes.
    pub fn new(file: File, times: u64, extra: u64) -> io::Result<Self> {
        let left = data_bytes(&file)?.saturating_mul(times).saturating_add(extra);
        Ok(Self { file, left: Cell::new(left) })
    }

    /// Takes so many bytes off what may still be read.
    pub fn charge(&self, bytes: u64) -> io::Result<()> {
        let left = self.left.get().checked_sub(bytes).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "it names the same blocks again and again: more than the image holds",
            )
        })?;
        self.left.set(left);
        Ok(())
    }

    /// Positioned, so that whoever shares the descriptor never sees its offset move.
    pub fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.charge(into.len() as u64)?;
        self.file.read_exact_at(into, at)
    }
}

impl mkext4::reader::ReadAt for &Meter {
    fn read_exact_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.read(offset, into)
    }
}

/// How many bytes of a file are no holes.
pub(super) fn data_bytes(file: &File) -> io::Result<u64> {
    let (end, mut at, mut bytes) = (file.metadata()?.len(), 0, 0_u64);
    while let Some(run) = data_in(file, at..end)? {
        bytes += run.end - run.start;
        at = run.end;
    }
    Ok(bytes)
}

/// Reads the superblock and returns how many bytes its filesystem has. One that does not fit into the file is refused, as by the
/// kernel, and so is one with a geometry that no mke2fs makes.
pub(super) fn geometry(file: &File, name: &Path) -> Result<u64, Error> {
    let mut block = [0; 1024];
    let size = file.metadata().map_err(|source| Error::Open { image: name.to_owned(), source })?.len();
    if file.read_exact_at(&mut block, SUPERBLOCK).is_err() {
        // Too short for any: the reader says so.
        return Ok(size);
    }
    let number = |at: usize, bytes: usize| {
        let bytes = block.get(at..at + bytes).unwrap_or_default();
        bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    if number(0x38, 2) != 0xef53 {
        return Err(Error::NoFilesystem { image: name.to_owned() });
    }
    let (blocks, log, group) = (number(0x150, 4) << 32 | number(0x4, 4), number(0x18, 4), number(0x20, 4));
    let claimed = (log <= MAX_LOG).then(|| blocks.checked_mul(1024 << log)).flatten().unwrap_or(u64::MAX);
    let groups = blocks.checked_div(group).unwrap_or(u64::MAX);
    let odd = blocks > MIN_GROUP && group < MIN_GROUP || groups > MAX_GROUPS;
    if claimed > size || odd {
        return Err(Error::Geometry { image: name.to_owned(), claimed, size });
    }
    Ok(claimed)
}
