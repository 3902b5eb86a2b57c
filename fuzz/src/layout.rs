//! Where an ext4 image has what, and the checksums over it.
//!
//! Source: kernel `Documentation/filesystems/ext4/`. Only sound images are read here: those that edits start from.

use std::collections::BTreeSet;

const SUPERBLOCK: usize = 1024;
const METADATA_CSUM: u32 = 0x400;
const SEED_IN_SUPERBLOCK: u32 = 0x2000;
const WIDE: u32 = 0x80;
const EXTENTS: u32 = 0x8_0000;
const INLINE: u32 = 0x1000_0000;
const HASHED: u32 = 0x1000;

/// What a structure is: that says which checksum it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Super,
    Group(u32),
    Inode(u32),
    Extents(u32),
    Entries(u32),
    Hashes(u32, usize),
    Attributes(u64),
    Pointers,
}

/// A structure, and the fields in it that somebody reads: offset from its begin, and width.
#[derive(Debug, Clone)]
pub struct Structure {
    pub kind: Kind,
    pub at: usize,
    pub len: usize,
    pub fields: Vec<(usize, usize)>,
}

/// The structures of an image.
#[derive(Debug)]
pub struct Layout {
    pub structures: Vec<Structure>,
    block: usize,
    inode_size: usize,
    inode_tables: Vec<usize>,
    inodes_per_group: u32,
    sums: bool,
}

impl Layout {
    /// Finds everything in a sound image.
    pub fn of(image: &[u8]) -> Self {
        let long = |at: usize| number(image, SUPERBLOCK + at, 4) as u32;
        let short = |at: usize| number(image, SUPERBLOCK + at, 2) as usize;
        let block = 1024 << long(0x18);
        let wide = long(0x60) & WIDE != 0;
        let descriptor = if wide { short(0xfe) } else { 32 };
        let groups = (long(0x4) - long(0x14)).div_ceil(long(0x20));
        let table = (long(0x14) as usize + 1) * block;
        let mut layout = Self {
            structures: vec![superblock()],
            block,
            inode_size: short(0x58),
            inode_tables: Vec::new(),
            inodes_per_group: long(0x28),
            sums: long(0x64) & METADATA_CSUM != 0,
        };
        for group in 0..groups {
            let at = table + group as usize * descriptor;
            layout.inode_tables.push(number(image, at + 8, 4) as usize * block);
            let mut fields = vec![(0, 4), (4, 4), (8, 4), (12, 2), (14, 2), (16, 2), (18, 2), (28, 2)];
            if wide {
                fields.extend([(32, 4), (36, 4), (40, 4), (44, 2), (46, 2)]);
            }
            layout.structures.push(Structure { kind: Kind::Group(group), at, len: descriptor, fields });
        }
        for ino in 1..=layout.inodes_per_group * groups {
            let at = layout.inode(ino);
            // In use, and not one of the filesystem's own but the root.
            if number(image, at, 2) != 0 && (ino == 2 || ino > 10) {
                layout.inode_structures(image, ino, at);
            }
        }
        layout
    }

    fn inode(&self, ino: u32) -> usize {
        let (group, index) = ((ino - 1) / self.inodes_per_group, (ino - 1) % self.inodes_per_group);
        self.inode_tables[group as usize] + index as usize * self.inode_size
    }

    fn inode_structures(&mut self, image: &[u8], ino: u32, at: usize) {
        let mut fields = vec![(0, 2), (2, 2), (4, 4), (24, 2), (26, 2), (28, 4), (32, 4), (100, 4), (104, 4), (108, 4), (120, 2)];
        fields.extend((40..100).step_by(2).map(|at| (at, 2)));
        fields.extend((40..100).step_by(4).map(|at| (at, 4)));
        if self.inode_size > 128 {
            fields.extend([(128, 2), (136, 4)]);
            // Attributes in the inode: magic, then entries.
            fields.extend((160..208).map(|at| (at, 1)));
            fields.extend((160..208).step_by(4).map(|at| (at, 4)));
        }
        self.structures.push(Structure { kind: Kind::Inode(ino), at, len: self.inode_size, fields });
        let (mode, flags) = (number(image, at, 2), number(image, at + 32, 4) as u32);
        let acl = number(image, at + 104, 4);
        let known = self.structures.iter().any(|structure| structure.kind == Kind::Attributes(acl));
        if acl != 0 && !known {
            let fields = (0..80).map(|at| (at, 1)).chain((0..80).step_by(2).map(|at| (at, 2))).collect();
            self.structures.push(Structure { kind: Kind::Attributes(acl), at: acl as usize * self.block, len: self.block, fields });
        }
        let mut blocks = Vec::new();
        if flags & INLINE != 0 || mode & 0xf000 == 0xa000 && number(image, at + 28, 4) == 0 {
            return;
        } else if flags & EXTENTS != 0 {
            self.extents(image, ino, at + 40, &mut blocks);
        } else if mode & 0xf000 != 0x2000 && mode & 0xf000 != 0x6000 {
            self.pointers(image, at + 40, &mut blocks);
        }
        if mode & 0xf000 == 0x4000 {
            for (index, block) in blocks.into_iter().enumerate() {
                self.directory_block(image, ino, block, index == 0 && flags & HASHED != 0);
            }
        }
    }

    fn extents(&mut self, image: &[u8], ino: u32, at: usize, blocks: &mut Vec<usize>) {
        let (count, depth) = (number(image, at + 2, 2) as usize, number(image, at + 6, 2));
        for entry in (1..=count).map(|index| at + 12 * index) {
            if depth > 0 {
                let leaf = (number(image, entry + 4, 4) | number(image, entry + 8, 2) << 32) as usize * self.block;
                let fields = (0..72).step_by(2).map(|at| (at, 2)).chain((12..72).step_by(4).map(|at| (at, 4))).collect();
                self.structures.push(Structure { kind: Kind::Extents(ino), at: leaf, len: self.block, fields });
                self.extents(image, ino, leaf, blocks);
            } else {
                let start = (number(image, entry + 8, 4) | number(image, entry + 6, 2) << 32) as usize;
                let len = (number(image, entry + 4, 2) as usize) & 0x7fff;
                blocks.extend((start..start + len).map(|block| block * self.block));
            }
        }
    }

    /// Direct blocks, and those behind one indirect one.
    fn pointers(&mut self, image: &[u8], at: usize, blocks: &mut Vec<usize>) {
        blocks.extend((0..12).map(|index| number(image, at + 4 * index, 4) as usize * self.block).filter(|block| *block != 0));
        let indirect = number(image, at + 48, 4) as usize * self.block;
        if indirect != 0 {
            let fields = (0..64).step_by(4).map(|at| (at, 4)).collect();
            self.structures.push(Structure { kind: Kind::Pointers, at: indirect, len: self.block, fields });
            let listed = (0..self.block / 4).map(|index| number(image, indirect + 4 * index, 4) as usize * self.block);
            blocks.extend(listed.filter(|block| *block != 0));
        }
    }

    fn directory_block(&mut self, image: &[u8], ino: u32, at: usize, hashed: bool) {
        let mut fields = Vec::new();
        let mut entry = 0;
        while entry + 8 <= self.block && fields.len() < 200 {
            let step = number(image, at + entry + 4, 2) as usize;
            fields.extend([(entry, 4), (entry + 4, 2), (entry + 6, 1), (entry + 7, 1), (entry + 8, 1)]);
            if step < 8 {
                break;
            }
            entry += step;
        }
        fields.retain(|(at, width)| at + width <= self.block);
        let kind = if hashed {
            // Hash version, length, levels; limit and count; the first hashes and blocks.
            fields.extend([(0x1c, 1), (0x1d, 1), (0x1e, 1), (0x1f, 1), (0x20, 2), (0x22, 2)]);
            fields.extend((0x24..0x60).step_by(4).map(|at| (at, 4)));
            Kind::Hashes(ino, 0x20)
        } else {
            Kind::Entries(ino)
        };
        self.structures.push(Structure { kind, at, len: self.block, fields });
    }

    /// Makes the checksums of structures right again; those of all of them after the superblock has changed.
    pub fn repair(&self, image: &mut [u8], changed: &BTreeSet<usize>) {
        if !self.sums {
            return;
        }
        let seed = if number(image, SUPERBLOCK + 0x60, 4) as u32 & SEED_IN_SUPERBLOCK != 0 {
            number(image, SUPERBLOCK + 0x270, 4) as u32
        } else {
            crc(u32::MAX, &image[SUPERBLOCK + 0x68..SUPERBLOCK + 0x78])
        };
        let all = changed.contains(&0);
        let of = |index: &usize| all || changed.contains(index);
        // Inodes first: their generation is in what belongs to them.
        for structure in self.structures.iter().enumerate().filter(|(index, _)| of(index)).map(|(_, structure)| structure) {
            self.sum(image, seed, structure);
        }
        for inode in changed.iter().filter_map(|index| match self.structures.get(*index)?.kind {
            Kind::Inode(ino) => Some(ino),
            _ => None,
        }) {
            let own = self.structures.iter().filter(|one| matches!(one.kind, Kind::Extents(n) | Kind::Entries(n) | Kind::Hashes(n, _) if n == inode));
            own.for_each(|structure| self.sum(image, seed, structure));
        }
    }

    fn sum(&self, image: &mut [u8], seed: u32, Structure { kind, at, len, .. }: &Structure) {
        let (at, len) = (*at, *len);
        let of_inode = |image: &[u8], ino: u32| {
            let generation = self.inode(ino) + 100;
            crc(crc(seed, &ino.to_le_bytes()), &image[generation..generation + 4])
        };
        match *kind {
            Kind::Super => {
                let sum = crc(u32::MAX, &image[at..at + 0x3fc]);
                image[at + 0x3fc..at + 0x400].copy_from_slice(&sum.to_le_bytes());
            }
            Kind::Group(group) => {
                image[at + 30..at + 32].fill(0);
                let sum = crc(crc(seed, &group.to_le_bytes()), &image[at..at + len]);
                image[at + 30..at + 32].copy_from_slice(&(sum as u16).to_le_bytes());
            }
            Kind::Inode(ino) => {
                let high = len > 128 && number(image, at + 128, 2) >= 4;
                image[at + 0x7c..at + 0x7e].fill(0);
                if high {
                    image[at + 0x82..at + 0x84].fill(0);
                }
                let sum = crc(of_inode(image, ino), &image[at..at + len]);
                image[at + 0x7c..at + 0x7e].copy_from_slice(&(sum as u16).to_le_bytes());
                if high {
                    image[at + 0x82..at + 0x84].copy_from_slice(&((sum >> 16) as u16).to_le_bytes());
                }
            }
            Kind::Extents(ino) => {
                let tail = 12 + 12 * number(image, at + 4, 2) as usize;
                self.tail(image, of_inode(image, ino), at, tail, &[]);
            }
            Kind::Entries(ino) => self.tail(image, of_inode(image, ino), at, len - 12, &[0; 8]),
            Kind::Hashes(ino, base) => {
                let (limit, count) = (number(image, at + base, 2) as usize, number(image, at + base + 2, 2) as usize);
                let (end, tail) = (base + 8 * count, base + 8 * limit);
                if end <= len && tail + 8 <= len {
                    let sum = crc(of_inode(image, ino), &image[at..at + end]);
                    let sum = crc(crc(sum, &image[at + tail..at + tail + 4]), &[0; 4]);
                    image[at + tail + 4..at + tail + 8].copy_from_slice(&sum.to_le_bytes());
                }
            }
            Kind::Attributes(block) => {
                image[at + 16..at + 20].fill(0);
                let sum = crc(crc(seed, &block.to_le_bytes()), &image[at..at + len]);
                image[at + 16..at + 20].copy_from_slice(&sum.to_le_bytes());
            }
            Kind::Pointers => {}
        }
    }

    /// A checksum that stands `skip` bytes behind what it is over.
    fn tail(&self, image: &mut [u8], seed: u32, at: usize, end: usize, skip: &[u8]) {
        let place = at + end + skip.len();
        if end + skip.len() + 4 <= self.block {
            let sum = crc(seed, &image[at..at + end]);
            image[place..place + 4].copy_from_slice(&sum.to_le_bytes());
        }
    }
}

fn superblock() -> Structure {
    let longs = [
        0x0, 0x4, 0x8, 0xc, 0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x28, 0x4c, 0x54, 0x5c, 0x60, 0x64, 0xe0, 0xe8, 0xec, 0x100, 0x150,
        0x154, 0x158, 0x160, 0x170, 0x270,
    ];
    let shorts = [0x38, 0x3a, 0x3c, 0x3e, 0x58, 0x5a, 0xce, 0xfe, 0x15c, 0x15e];
    let bytes = [0xfc, 0xfd, 0x174, 0x175, 0x176, 0x68, 0x78];
    let fields = longs.map(|at| (at, 4)).into_iter().chain(shorts.map(|at| (at, 2))).chain(bytes.map(|at| (at, 1))).collect();
    Structure { kind: Kind::Super, at: SUPERBLOCK, len: 1024, fields }
}

/// A little-endian number.
pub fn number(image: &[u8], at: usize, width: usize) -> u64 {
    image[at..at + width].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// CRC-32C as ext4 has it: not inverted at the end.
fn crc(start: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    bytes.iter().fold(start, |sum, byte| sum >> 8 ^ TABLE[(sum as u8 ^ byte) as usize])
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let (mut sum, mut bit) = (index as u32, 0);
        while bit < 8 {
            sum = sum >> 1 ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 };
            bit += 1;
        }
        table[index] = sum;
        index += 1;
    }
    table
}
