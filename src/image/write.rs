//! Writing an image.

use super::declare::{Plan, plan};
use super::{Error, transfer};
use crate::progress::Observer;
use crate::tree::Tree;
use mkext4::RegionSink;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What an image is besides its tree. Same tree, same options: same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Bytes; a multiple of 4096.
    pub size: u64,
    /// Volume label, at most 16 bytes.
    pub label: String,
    /// Filesystem UUID.
    pub uuid: [u8; 16],
    /// Seed of the directory hash.
    pub hash_seed: [u32; 4],
    /// Seconds since 1970 for everything that is the filesystem's own.
    pub epoch: i64,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Apparent size in bytes.
    pub size: u64,
    /// Bytes of file contents.
    pub content: u64,
    /// Bytes of them that share storage with the files they come from.
    pub shared: u64,
    /// Bytes of metadata that were written.
    pub metadata: u64,
    /// Regular files with contents.
    pub files: usize,
}

/// The sink for metadata: positioned writes into a file that is all holes. Neighbours are written together.
struct Metadata<'a> {
    file: &'a File,
    start: u64,
    pending: Vec<u8>,
    written: u64,
}

impl Metadata<'_> {
    const MOST: usize = 1 << 20;

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.pending, self.start)?;
        self.written += self.pending.len() as u64;
        self.start += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

impl RegionSink for Metadata<'_> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset != self.start + self.pending.len() as u64 || self.pending.len() + bytes.len() > Self::MOST {
            self.flush()?;
            self.start = offset;
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    fn zeros(&mut self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }
}

/// Writes `tree` as an ext4 image to `dest`, which is created or truncated; sparse where the image is zero. The
/// caller renames it into place when everything is well; after an error `dest` is incomplete.
///
/// mkext4 lays the filesystem out and emits its metadata. The contents are moved here, to the places the layout
/// names, because sharing extents and parallel copies are not possible through a writer that takes bytes in order:
/// its data pass (`fill`, `finish`) only checks that every declared file was supplied, which
/// `transfer` does by itself.
pub fn write(tree: &Tree, options: &Options, dest: &Path, observer: &dyn Observer) -> Result<Summary, Error> {
    let Plan { layout, files } = plan(tree, options)?;
    let failed = |source| Error::Write { path: dest.to_owned(), source };
    let file = File::create(dest).map_err(failed)?;
    file.set_len(options.size).map_err(failed)?;
    let content = tree.content_size();
    let mut sink = Metadata { file: &file, start: 0, pending: Vec::new(), written: 0 };
    let emitted = match layout.writer(&mut sink) {
        Ok(_) => sink.flush(),
        Err(mkext4::Error::Io(error)) => Err(error),
        Err(error) => return Err(Error::Layout(error)),
    };
    let metadata = sink.written;
    let full = |error: Error| enough_space(error, dest, content + metadata);
    emitted.map_err(failed).map_err(full)?;
    let jobs = transfer::jobs(tree, &layout, &files);
    let shared = transfer::run(&jobs, &file, dest, observer).map_err(full)?;
    Ok(Summary { size: options.size, content, shared, metadata, files: files.len() })
}

/// Says how much space is missing when that is what went wrong.
fn enough_space(error: Error, dest: &Path, needed: u64) -> Error {
    match error {
        Error::Write { path, source } if source.kind() == io::ErrorKind::StorageFull => {
            let free = rustix::fs::statvfs(dest).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
            let written = std::fs::metadata(dest).map_or(0, |meta| std::os::unix::fs::MetadataExt::blocks(&meta) * 512);
            Error::Full { path, needed: needed.saturating_sub(written), available: free }
        }
        other => other,
    }
}
