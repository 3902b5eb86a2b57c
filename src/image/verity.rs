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
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes in a block of data or of hashes.
const BLOCK: u64 = 4096;
/// Hashes in a block, as a power of two: 4096 / 32 = 128.
const FANOUT_SHIFT: u32 = 7;
const FANOUT: u64 = 1 << FANOUT_SHIFT;
/// What one worker hashes at a time: the blocks below one hash block of the second level (64 MiB).
const CHUNK_BLOCKS: u64 = FANOUT * FANOUT;
/// How much is read at a time: what stays in a processor's cache until it is hashed.
const PIECE: usize = 128 << 10;

/// The fs-verity SHA-256 digest of the whole file. The file must not change meanwhile.
pub fn digest(file: &File) -> io::Result<Sha256> {
    let size = file.metadata()?.len();
    let zeros = Zeros::new();
    let root = if size == 0 { [0; 32] } else { root(file, size, &zeros)? };
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

/// The root hash of a file that is not empty.
fn root(file: &File, size: u64, zeros: &Zeros) -> io::Result<[u8; 32]> {
    let blocks = size.div_ceil(BLOCK);
    if blocks == 1 {
        // A single block's hash is the root itself: there is no hash block.
        let mut level = Level::new();
        hash_range(file, size, 0..1, zeros, &mut level)?;
        return Ok(level.hashes.first().copied().unwrap_or_default());
    }
    // Every chunk yields the hashes of its first-level hash blocks; a chunk of zeros costs nothing.
    let chunks = blocks.div_ceil(CHUNK_BLOCKS);
    let next = AtomicU64::new(0);
    let done: Mutex<Vec<(u64, Vec<[u8; 32]>)>> = Mutex::new(Vec::new());
    let worker = || -> io::Result<()> {
        loop {
            let chunk = next.fetch_add(1, Ordering::Relaxed);
            if chunk >= chunks {
                return Ok(());
            }
            let first = chunk * CHUNK_BLOCKS;
            let hashes = chunk_hashes(file, size, first..(first + CHUNK_BLOCKS).min(blocks), zeros)?;
            done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((chunk, hashes));
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
    let mut hashes: Vec<[u8; 32]> = done.into_iter().flat_map(|(_, hashes)| hashes).collect();
    while hashes.len() > 1 {
        hashes = hashes.chunks(FANOUT as usize).map(hash_block).collect();
    }
    Ok(hashes.first().copied().unwrap_or_default())
}

/// The hash of a block of hashes, filled up with zeros.
fn hash_block(hashes: &[[u8; 32]]) -> [u8; 32] {
    let mut block = [0; BLOCK as usize];
    for (place, hash) in block.chunks_exact_mut(32).zip(hashes) {
        place.copy_from_slice(hash);
    }
    Sha256::of(&block).0
}

/// The hashes of the first-level hash blocks over a chunk's data blocks.
fn chunk_hashes(file: &File, size: u64, blocks: std::ops::Range<u64>, zeros: &Zeros) -> io::Result<Vec<[u8; 32]>> {
    let full = blocks.end - blocks.start == CHUNK_BLOCKS;
    if full && data_start(file, blocks.start * BLOCK)?.is_none_or(|start| start >= blocks.end * BLOCK) {
        return Ok(vec![zeros.level(1); FANOUT as usize]);
    }
    let mut level = Level::new();
    hash_range(file, size, blocks, zeros, &mut level)?;
    level.flush();
    Ok(level.parents)
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
    fn zeros(&mut self, mut blocks: u64, zeros: &Zeros) {
        while blocks > 0 {
            if self.hashes.is_empty() && blocks >= FANOUT {
                self.parents.push(zeros.level(1));
                blocks -= FANOUT;
            } else {
                self.push(zeros.level(0));
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

fn hash_range(
    file: &File,
    size: u64,
    blocks: std::ops::Range<u64>,
    zeros: &Zeros,
    level: &mut Level,
) -> io::Result<()> {
    let end = (blocks.end * BLOCK).min(size);
    let mut at = blocks.start * BLOCK;
    let mut buffer = vec![0_u8; PIECE];
    while at < end {
        // Hashing works on whole blocks, whatever the host filesystem's are.
        let start = data_start(file, at)?.unwrap_or(end).min(end) / BLOCK * BLOCK;
        level.zeros((start - at) / BLOCK, zeros);
        at = start;
        if start == end {
            break;
        }
        let hole = match seek(file, SeekFrom::Hole(start)) {
            Ok(hole) => hole.next_multiple_of(BLOCK).min(end).max((start + BLOCK).min(end)),
            Err(Errno::INVAL) => end,
            Err(error) => return Err(error.into()),
        };
        while at < hole {
            let want = usize::try_from(hole - at).unwrap_or(usize::MAX).min(PIECE);
            let padded = want.next_multiple_of(BLOCK as usize);
            let piece = buffer.get_mut(..padded).unwrap_or_default();
            let (data, pad) = piece.split_at_mut(want);
            file.read_exact_at(data, at)?;
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
}
