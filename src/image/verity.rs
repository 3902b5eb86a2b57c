//! The fs-verity digest of a file: what `fsverity digest` prints and the kernel enforces.
//!
//! A Merkle tree of SHA-256 over 4 KiB blocks (version 1, no salt), whose root goes with the file's size into a
//! descriptor; the digest is the descriptor's SHA-256. Holes are never read: the hash of a block of zeros is known, and
//! so is the hash of a tree over nothing but such blocks, level by level.
//!
//! Source: kernel `Documentation/filesystems/fsverity.rst`, `include/uapi/linux/fsverity.h`.

use crate::values::Sha256;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};

/// Bytes in a block of data or of hashes.
const BLOCK: u64 = 4096;
/// Hashes in a block, as a power of two: 4096 / 32 = 128.
const FANOUT_SHIFT: u32 = 7;
const FANOUT: u64 = 1 << FANOUT_SHIFT;
/// What one worker hashes at a time: the blocks below one hash block of the second level (64 MiB).
const CHUNK_BLOCKS: u64 = FANOUT * FANOUT;
/// How much is read at a time: what stays in a processor's cache until it is hashed.
const PIECE: usize = 128 << 10;

/// The largest that is digested: what ext4 can hold. Its tree is kept as one hash for every 64 MiB, so memory is bounded too.
const MAX_SIZE: u64 = 16 << 40;

/// Bytes with holes.
pub(super) trait Source: Sync {
    /// How many there are.
    fn size(&self) -> u64;

    /// The next that may be other than zero, at or behind `from`; none when all the rest is zeros.
    fn data(&self, from: u64) -> io::Result<Option<Range<u64>>>;

    /// Those from `at` on, which are all there.
    fn read(&self, into: &mut [u8], at: u64) -> io::Result<()>;
}

/// A part of a file.
pub(super) struct Part<'f> {
    pub file: &'f File,
    pub offset: u64,
    pub len: u64,
}

impl Source for Part<'_> {
    fn size(&self) -> u64 {
        self.len
    }

    fn data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        let end = self.offset + self.len;
        let run = data_in(self.file, self.offset + from..end)?;
        Ok(run.map(|run| run.start - self.offset..run.end - self.offset))
    }

    fn read(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(into, self.offset + at)
    }
}

impl Source for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        Ok((from < self.size()).then(|| from..self.size()))
    }

    fn read(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        let there = usize::try_from(at).ok().and_then(|at| self.get(at..)?.get(..into.len()));
        into.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// The fs-verity SHA-256 digest of the whole file. The file must not change meanwhile.
pub fn digest(file: &File) -> io::Result<Sha256> {
    digest_of(&Part { file, offset: 0, len: file.metadata()?.len() })
}

/// The digest of a source.
pub(super) fn digest_of<S: Source + ?Sized>(source: &S) -> io::Result<Sha256> {
    let size = source.size();
    if size > MAX_SIZE {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is larger than any ext4 file can be"));
    }
    let root = if size == 0 { [0; 32] } else { root(source, size)? };
    Ok(descriptor(size, &root))
}

/// The digest that the kernel enforces on every read of the file: it has fs-verity, with SHA-256. Blocks of another size or a
/// salt make it another digest than [`digest`] of the same bytes. None: the kernel has nothing to say.
pub fn enforced(file: &File) -> Option<Sha256> {
    /// `FS_IOC_MEASURE_VERITY`: `_IOWR('f', 134, struct fsverity_digest)`, whose fixed part has four bytes.
    const MEASURE: libc::c_ulong = 0xc004_6686;
    const SHA256: u16 = 1;
    #[repr(C)]
    struct Measured {
        algorithm: u16,
        size: u16,
        digest: [u8; 32],
    }
    let mut measured = Measured { algorithm: 0, size: 32, digest: [0; 32] };
    // SAFETY: the kernel writes at most `size` bytes behind the fixed part, and the struct lives until the call returns.
    let status = unsafe { libc::ioctl(file.as_raw_fd(), MEASURE, std::ptr::from_mut(&mut measured)) };
    (status == 0 && measured.algorithm == SHA256 && measured.size == 32).then_some(Sha256(measured.digest))
}

/// SHA-256 of `struct fsverity_descriptor`: version, hash algorithm (1: SHA-256), log2 of the block size, salt size
/// (0), 4 reserved bytes, data size (little endian), root hash (64 bytes), salt (32), 144 reserved: 256 bytes.
fn descriptor(size: u64, root: &[u8; 32]) -> Sha256 {
    let mut bytes = [0; 256];
    bytes[..4].copy_from_slice(&[1, 1, 12, 0]);
    bytes[8..16].copy_from_slice(&size.to_le_bytes());
    bytes[16..48].copy_from_slice(root);
    Sha256::of(&bytes)
}

/// Hashes of blocks that cover only zeros: at level 0 a block of data, above it a block full of such hashes.
struct Zeros(Vec<[u8; 32]>);

static ZEROS: LazyLock<Zeros> = LazyLock::new(Zeros::new);

impl Zeros {
    fn new() -> Self {
        let mut levels = vec![Sha256::of(&[0; BLOCK as usize]).0];
        // 2^63 bytes need (63 - 12) / 7 levels, rounded up, above the data.
        for _ in 0..8 {
            let below = levels.last().copied().unwrap_or_default();
            levels.push(Sha256::of(&below.repeat(FANOUT as usize)).0);
        }
        Self(levels)
    }

    fn level(&self, level: usize) -> [u8; 32] {
        self.0.get(level).copied().unwrap_or_default()
    }
}

/// The root hash of what is not empty.
fn root<S: Source + ?Sized>(source: &S, size: u64) -> io::Result<[u8; 32]> {
    let blocks = size.div_ceil(BLOCK);
    let chunks = blocks.div_ceil(CHUNK_BLOCKS);
    if chunks == 1 {
        let mut level = Level::new();
        hash_range(source, 0..blocks, &mut level)?;
        if blocks == 1 {
            // A single block's hash is the root itself: there is no hash block.
            return Ok(level.hashes.first().copied().unwrap_or_default());
        }
        level.flush();
        return Ok(reduce(level.parents));
    }
    // Every chunk yields the hash of its second-level hash block; a chunk of zeros costs nothing.
    let next = AtomicU64::new(0);
    let done: Mutex<Vec<(u64, [u8; 32])>> = Mutex::new(Vec::new());
    let worker = || -> io::Result<()> {
        loop {
            let chunk = next.fetch_add(1, Ordering::Relaxed);
            if chunk >= chunks {
                return Ok(());
            }
            let first = chunk * CHUNK_BLOCKS;
            let hash = chunk_hash(source, first..(first + CHUNK_BLOCKS).min(blocks))?;
            done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((chunk, hash));
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        handles
            .into_iter()
            .try_for_each(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_unstable_by_key(|(chunk, _)| *chunk);
    Ok(reduce(done.into_iter().map(|(_, hash)| hash).collect()))
}

/// The levels above, down to the one hash of the last.
fn reduce(mut hashes: Vec<[u8; 32]>) -> [u8; 32] {
    while hashes.len() > 1 {
        hashes = hashes.chunks(FANOUT as usize).map(hash_block).collect();
    }
    hashes.first().copied().unwrap_or_default()
}

/// The hash of a block of hashes, filled up with zeros.
fn hash_block(hashes: &[[u8; 32]]) -> [u8; 32] {
    let mut block = [0; BLOCK as usize];
    for (place, hash) in block.chunks_exact_mut(32).zip(hashes) {
        place.copy_from_slice(hash);
    }
    Sha256::of(&block).0
}

/// The hash of the second-level hash block over a chunk's data blocks.
fn chunk_hash<S: Source + ?Sized>(source: &S, blocks: Range<u64>) -> io::Result<[u8; 32]> {
    let full = blocks.end - blocks.start == CHUNK_BLOCKS;
    if full && source.data(blocks.start * BLOCK)?.is_none_or(|run| run.start >= blocks.end * BLOCK) {
        return Ok(ZEROS.level(2));
    }
    let mut level = Level::new();
    hash_range(source, blocks, &mut level)?;
    level.flush();
    Ok(hash_block(&level.parents))
}

/// Data block hashes on their way to hash blocks.
struct Level {
    hashes: Vec<[u8; 32]>,
    parents: Vec<[u8; 32]>,
}

impl Level {
    fn new() -> Self {
        Self { hashes: Vec::with_capacity(FANOUT as usize), parents: Vec::with_capacity(FANOUT as usize) }
    }

    fn push(&mut self, hash: [u8; 32]) {
        self.hashes.push(hash);
        if self.hashes.len() as u64 == FANOUT {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.hashes.is_empty() {
            self.parents.push(hash_block(&self.hashes));
            self.hashes.clear();
        }
    }

    /// Adds blocks of zeros, whole hash blocks at once.
    fn zeros(&mut self, mut blocks: u64) {
        while blocks > 0 {
            if self.hashes.is_empty() && blocks >= FANOUT {
                self.parents.push(ZEROS.level(1));
                blocks -= FANOUT;
            } else {
                self.push(ZEROS.level(0));
                blocks -= 1;
            }
        }
    }
}

/// Where the next data is, from `from` on; none when only holes follow. A filesystem without holes has data everywhere.
pub(super) fn data_start(file: &File, from: u64) -> io::Result<Option<u64>> {
    match seek(file, SeekFrom::Data(from)) {
        Ok(start) => Ok(Some(start)),
        Err(Errno::NXIO) => Ok(None),
        Err(Errno::INVAL) => Ok(Some(from)),
        Err(error) => Err(error.into()),
    }
}

/// The first run of data in a range of a file.
pub(super) fn data_in(file: &File, range: Range<u64>) -> io::Result<Option<Range<u64>>> {
    if range.is_empty() {
        return Ok(None);
    }
    let Some(start) = data_start(file, range.start)?.filter(|start| *start < range.end) else { return Ok(None) };
    let hole = match seek(file, SeekFrom::Hole(start)) {
        Ok(hole) => hole.min(range.end),
        Err(Errno::INVAL) => range.end,
        // It has been cut meanwhile: reading it will say so.
        Err(Errno::NXIO) => range.end,
        Err(error) => return Err(error.into()),
    };
    Ok(Some(start..hole.max(start + 1)))
}

fn hash_range<S: Source + ?Sized>(source: &S, blocks: Range<u64>, level: &mut Level) -> io::Result<()> {
    let end = (blocks.end * BLOCK).min(source.size());
    let mut at = blocks.start * BLOCK;
    let mut buffer = vec![0_u8; PIECE.min(usize::try_from(end - at).unwrap_or(PIECE).next_multiple_of(BLOCK as usize))];
    while at < end {
        // Hashing works on whole blocks, wherever the data begins and ends.
        let run = source.data(at)?.filter(|run| run.start < end).unwrap_or(end..end);
        let start = if run.start == end { (end - at).next_multiple_of(BLOCK) + at } else { run.start / BLOCK * BLOCK };
        level.zeros((start - at) / BLOCK);
        at = start;
        if run.start == end {
            break;
        }
        let stop = run.end.max(at + 1).next_multiple_of(BLOCK).min(end);
        while at < stop {
            let want = usize::try_from(stop - at).unwrap_or(usize::MAX).min(PIECE);
            let padded = want.next_multiple_of(BLOCK as usize);
            let piece = buffer.get_mut(..padded).unwrap_or_default();
            let (data, pad) = piece.split_at_mut(want);
            source.read(data, at)?;
            pad.fill(0);
            piece.chunks_exact(BLOCK as usize).for_each(|block| level.push(Sha256::of(block).0));
            at += want as u64;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_has_the_published_digest() {
        // `fsverity digest` of an empty file, fsverity-utils 1.5.
        let expected = "3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95";
        assert_eq!(digest(&tempfile::tempfile().unwrap()).unwrap().to_string(), expected);
    }

    #[test]
    fn holes_and_zeros_are_the_same_and_so_are_files_and_bytes() {
        for size in [1, 4095, 4096, 4097, 128 * 4096, 128 * 4096 + 1, 3 << 20, (64 << 20) + 5] {
            let file = tempfile::tempfile().unwrap();
            file.set_len(size).unwrap();
            let holes = digest(&file).unwrap();
            let mut bytes = vec![0_u8; usize::try_from(size).unwrap()];
            assert_eq!(digest_of(&bytes[..]).unwrap(), holes, "{size}");
            let middle = bytes.len() / 2;
            bytes[middle] = 7;
            file.write_all_at(&[7], middle as u64).unwrap();
            assert_eq!(digest_of(&bytes[..]).unwrap(), digest(&file).unwrap(), "{size}");
            assert_ne!(digest(&file).unwrap(), holes, "{size}");
        }
    }

    #[test]
    fn nothing_but_holes_costs_nothing_however_large() {
        let file = tempfile::tempfile().unwrap();
        let started = std::time::Instant::now();
        // What the filesystem of this host allows, if it is less.
        let size = [MAX_SIZE, 15 << 40, 1 << 40].into_iter().find(|size| file.set_len(*size).is_ok()).unwrap();
        digest(&file).unwrap();
        if file.set_len(MAX_SIZE + 1).is_ok() {
            assert!(digest(&file).is_err());
        }
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "{size}: {:?}", started.elapsed());
    }
}
