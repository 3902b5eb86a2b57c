//! Moving file contents to their places in an image: shared extents where the host filesystem can, copies by the
//! kernel for large files, gathered writes for small ones; all cores.

use super::Error;
use crate::door;
use crate::progress::{Event, Observer, Unit};
use crate::tree::{Content, NodeKind, Tree};
use crate::values::GuestPath;
use mkext4::{InodeHandle, Layout};
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

const BLOCK: u64 = 4096;
/// Files from this size on are moved by the kernel; smaller ones are gathered into large writes.
const LARGE: u64 = 256 << 10;
/// How much one worker takes at a time, and gathers before it writes.
const BATCH: u64 = 4 << 20;
/// What the observer calls this work.
const STAGE: &str = "write";

/// A run of a file's content and its place in the image.
pub(super) struct Job<'a> {
    path: &'a GuestPath,
    content: &'a Content,
    /// First byte within the content.
    from: u64,
    /// First byte within the image, a whole block.
    to: u64,
    len: u64,
}

/// What must be moved, ascending in the image.
pub(super) fn jobs<'a>(tree: &'a Tree, layout: &Layout, files: &[(&'a GuestPath, InodeHandle)]) -> Vec<Job<'a>> {
    let mut jobs = Vec::with_capacity(files.len());
    for (path, handle) in files {
        let Some(NodeKind::File(content)) = tree.get(path).map(|node| &node.kind) else { continue };
        let mut from = 0;
        for (to, len) in layout.extents(*handle) {
            jobs.push(Job { path, content, from, to, len });
            from += len;
        }
    }
    jobs.sort_by_key(|job| job.to);
    jobs
}

/// Moves everything; the bytes that are shared with their sources.
pub(super) fn run(jobs: &[Job<'_>], image: &File, dest: &Path, observer: &dyn Observer) -> Result<u64, Error> {
    let started = Instant::now();
    let total = jobs.iter().map(|job| job.len).sum();
    observer.event(Event::Started { stage: STAGE, total: Some(total), unit: Unit::Bytes });
    let work = Work {
        jobs,
        batches: batches(jobs),
        next: AtomicUsize::new(0),
        done: AtomicU64::new(0),
        shared: AtomicU64::new(0),
        can_share: AtomicBool::new(true),
        image,
        dest,
        observer,
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(work.batches.len().max(1));
    let results: Vec<Result<(), Error>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(|| work.worker())).collect();
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    results.into_iter().collect::<Result<(), Error>>()?;
    let shared = work.shared.into_inner();
    let summary = format!("{} files", jobs.len());
    observer.event(Event::Finished { stage: STAGE, summary, took: started.elapsed() });
    Ok(shared)
}

/// Cuts the list into pieces of about [`BATCH`] bytes.
fn batches(jobs: &[Job<'_>]) -> Vec<std::ops::Range<usize>> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, job) in jobs.iter().enumerate() {
        bytes += job.len;
        if bytes >= BATCH {
            batches.push(start..index + 1);
            (start, bytes) = (index + 1, 0);
        }
    }
    if start < jobs.len() {
        batches.push(start..jobs.len());
    }
    batches
}

struct Work<'a> {
    jobs: &'a [Job<'a>],
    batches: Vec<std::ops::Range<usize>>,
    next: AtomicUsize,
    done: AtomicU64,
    shared: AtomicU64,
    can_share: AtomicBool,
    image: &'a File,
    dest: &'a Path,
    observer: &'a dyn Observer,
}

/// Small contents on their way: consecutive bytes of the image.
struct Gather {
    start: u64,
    bytes: Vec<u8>,
}

impl Work<'_> {
    fn worker(&self) -> Result<(), Error> {
        let mut gather = Gather { start: 0, bytes: Vec::with_capacity((BATCH + LARGE) as usize) };
        while let Some(batch) = self.batches.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let result = self.batch(self.jobs.get(batch.clone()).unwrap_or_default(), &mut gather);
            if result.is_err() {
                // Nobody takes another batch: the image is lost.
                self.next.store(self.batches.len(), Ordering::Relaxed);
                return result;
            }
        }
        Ok(())
    }

    fn batch(&self, jobs: &[Job<'_>], gather: &mut Gather) -> Result<(), Error> {
        let mut bytes = 0;
        for job in jobs {
            bytes += job.len;
            match job.content {
                Content::Bytes(all) => {
                    let piece = slice(all, job).ok_or_else(|| job.failure(changed()))?;
                    self.gather(gather, job, |space| {
                        let _: () = space.extend_from_slice(piece);
                        Ok(())
                    })?;
                }
                Content::Host { file, offset, .. } => {
                    // Any size: just as many bytes as the tree says are read.
                    let opened = door::open(file, "a file of an image", u64::MAX);
                    let source = opened.map_err(|error| job.failure(error.into()))?.file;
                    let from = offset + job.from;
                    if job.len >= LARGE {
                        self.large(job, &source, from)?;
                    } else {
                        self.gather(gather, job, |space| read_exactly(&source, from, job.len, space))?;
                    }
                }
            }
        }
        self.flush(gather)?;
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.observer.event(Event::Advanced { stage: STAGE, done });
        Ok(())
    }

    fn written<T>(&self, result: io::Result<T>) -> Result<T, Error> {
        result.map_err(|source| Error::Write { path: self.dest.to_owned(), source })
    }

    /// Adds a small content to what is written next, behind zeros up to its block.
    fn gather(
        &self,
        gather: &mut Gather,
        job: &Job<'_>,
        read: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
    ) -> Result<(), Error> {
        let gap = job.to.checked_sub(gather.start + gather.bytes.len() as u64);
        if gather.bytes.len() as u64 >= BATCH || gap.is_none_or(|gap| gap >= BLOCK) {
            self.flush(gather)?;
        }
        if gather.bytes.is_empty() {
            gather.start = job.to;
        }
        let end = job.to - gather.start;
        gather.bytes.resize(end as usize, 0);
        read(&mut gather.bytes).map_err(|error| job.failure(error))
    }

    fn flush(&self, gather: &mut Gather) -> Result<(), Error> {
        self.written(self.image.write_all_at(&gather.bytes, gather.start))?;
        gather.bytes.clear();
        Ok(())
    }

    /// Moves a large content: shared as far as whole blocks go, holes left out, the rest copied by the kernel.
    fn large(&self, job: &Job<'_>, source: &File, from: u64) -> Result<(), Error> {
        let mut done = self.share(job, source, from);
        let end = from + job.len;
        while done < job.len {
            let (start, stop) = data_run(source, from + done, end).map_err(|error| job.failure(error))?;
            if start < stop {
                self.copy(job, source, start, job.to + (start - from), stop - start)?;
            }
            done = stop - from;
        }
        Ok(())
    }

    /// Shares whole blocks with the source where its filesystem is the image's and can; the bytes that are done.
    fn share(&self, job: &Job<'_>, source: &File, from: u64) -> u64 {
        let len = job.len / BLOCK * BLOCK;
        if len == 0 || !from.is_multiple_of(BLOCK) || !self.can_share.load(Ordering::Relaxed) {
            return 0;
        }
        match share_range(source, from, len, self.image, job.to) {
            Ok(()) => {
                self.shared.fetch_add(len, Ordering::Relaxed);
                len
            }
            Err(Errno::OPNOTSUPP | Errno::NOTTY) => {
                self.can_share.store(false, Ordering::Relaxed);
                0
            }
            Err(_) => 0,
        }
    }

    /// Copies by the kernel where it can, else through memory.
    fn copy(&self, job: &Job<'_>, source: &File, from: u64, to: u64, len: u64) -> Result<(), Error> {
        let mut done = 0;
        while done < len {
            let (mut start, mut place) = (from + done, to + done);
            let want = usize::try_from(len - done).unwrap_or(usize::MAX);
            match rustix::fs::copy_file_range(source, Some(&mut start), self.image, Some(&mut place), want) {
                Ok(0) => return Err(job.failure(changed())),
                Ok(moved) => done += moved as u64,
                Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => break,
                Err(error) => return self.written(Err(error.into())),
            }
        }
        let mut buffer = Vec::new();
        while done < len {
            let piece = (len - done).min(LARGE);
            buffer.clear();
            read_exactly(source, from + done, piece, &mut buffer).map_err(|error| job.failure(error))?;
            self.written(self.image.write_all_at(&buffer, to + done))?;
            done += piece;
        }
        Ok(())
    }
}

impl Job<'_> {
    fn failure(&self, source: io::Error) -> Error {
        let host = match self.content {
            Content::Host { file, .. } => file.to_path_buf(),
            Content::Bytes(_) => PathBuf::from(self.path.as_str()),
        };
        Error::Source { host, guest: self.path.clone(), source }
    }
}

fn changed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while the image was written")
}

fn slice<'a>(all: &'a [u8], job: &Job<'_>) -> Option<&'a [u8]> {
    all.get(job.from as usize..(job.from + job.len) as usize)
}

/// Appends `len` bytes of a file.
fn read_exactly(source: &File, from: u64, len: u64, into: &mut Vec<u8>) -> io::Result<()> {
    let start = into.len();
    into.resize(start + len as usize, 0);
    match source.read_exact_at(&mut into[start..], from) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(changed()),
        other => other,
    }
}

/// The next run of data in `from..end` of a file: its first byte and its end (both `end` when only holes are left).
fn data_run(file: &File, from: u64, end: u64) -> io::Result<(u64, u64)> {
    let start = match seek(file, SeekFrom::Data(from)) {
        Ok(start) => start.min(end),
        Err(Errno::NXIO) if file.metadata()?.len() >= end => end,
        Err(Errno::NXIO) => return Err(changed()),
        Err(Errno::INVAL) => return Ok((from, end)),
        Err(error) => return Err(error.into()),
    };
    let stop = if start < end { seek(file, SeekFrom::Hole(start))?.min(end) } else { end };
    Ok((start, stop))
}

/// Lets `len` bytes of `image` from `to` share the storage of `source` from `from` on (`ioctl_ficlonerange(2)`).
fn share_range(source: &File, from: u64, len: u64, image: &File, to: u64) -> Result<(), Errno> {
    let range = libc::file_clone_range {
        src_fd: source.as_raw_fd().into(),
        src_offset: from,
        src_length: len,
        dest_offset: to,
    };
    // SAFETY: FICLONERANGE reads one `file_clone_range`, which lives until the call returns; both descriptors are open.
    let result = unsafe { libc::ioctl(image.as_raw_fd(), libc::FICLONERANGE, &raw const range) };
    if result == 0 { Ok(()) } else { Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)) }
}
