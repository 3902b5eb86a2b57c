//! LZ4 in its legacy frame: what `lz4 -l` writes and the kernel's build uses for `vmlinux`.
//!
//! Source: lz4's `doc/lz4_Block_format.md` and `lz4_Frame_format.md` ("Legacy frame"), `lib/decompress_unlz4.c`.

/// The frame's first four bytes.
pub const MAGIC: [u8; 4] = 0x184C_2102_u32.to_le_bytes();

/// The most bytes one block becomes.
const BLOCK: usize = 8 << 20;

/// Decompresses a whole frame into at most `limit` bytes.
pub fn decompress(frame: &[u8], limit: usize) -> Result<Vec<u8>, &'static str> {
    let mut input = Input(frame);
    let mut output = Vec::new();
    while !input.0.is_empty() {
        let head = input.take(4)?;
        if head == MAGIC {
            continue;
        }
        let size = u32::from_le_bytes(head.try_into().map_err(|_| CUT)?);
        block(Input(input.take(size as usize)?), &mut output)?;
        if output.len() > limit {
            return Err("it is larger than it says");
        }
    }
    Ok(output)
}

const CUT: &str = "it is cut off";

/// One independent block: sequences of literals and a match, the last without a match.
fn block(mut input: Input, output: &mut Vec<u8>) -> Result<(), &'static str> {
    let start = output.len();
    loop {
        let token = input.byte()?;
        let literals = input.length(token >> 4)?;
        output.extend_from_slice(input.take(literals)?);
        if input.0.is_empty() {
            return if output.len() - start <= BLOCK { Ok(()) } else { Err("a block is too large") };
        }
        let offset = usize::from(input.byte()?) | usize::from(input.byte()?) << 8;
        let length = input.length(token & 15)? + 4;
        if offset == 0 || offset > output.len() - start || output.len() - start + length > BLOCK {
            return Err("a match points outside its block");
        }
        repeat(output, offset, length);
    }
}

/// Appends `length` bytes from `offset` back; the two ranges may overlap. `1 ≤ offset ≤ output.len()`.
fn repeat(output: &mut Vec<u8>, offset: usize, mut length: usize) {
    let from = output.len() - offset;
    while length > 0 {
        let step = length.min(output.len() - from);
        output.extend_from_within(from..from + step);
        length -= step;
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(CUT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, &'static str> {
        self.take(1)?.first().copied().ok_or(CUT)
    }

    /// Four bits, and where they are all set, bytes to add until one is not 255.
    fn length(&mut self, nibble: u8) -> Result<usize, &'static str> {
        let mut length = usize::from(nibble);
        if nibble == 15 {
            loop {
                let more = self.byte()?;
                length += usize::from(more);
                if more != 255 {
                    break;
                }
            }
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(block: &[u8]) -> Vec<u8> {
        [&MAGIC[..], &(block.len() as u32).to_le_bytes(), block].concat()
    }

    #[test]
    fn literals_and_overlapping_matches_come_out() {
        // 2 literals `ab`, a match of 9 at offset 2, then the literal `!`.
        let bytes = frame(&[0x25, b'a', b'b', 2, 0, 0x10, b'!']);
        assert_eq!(decompress(&bytes, 100).unwrap(), b"abababababa!");
        assert!(decompress(&bytes, 5).is_err());
    }

    #[test]
    fn a_match_before_the_block_is_refused() {
        assert!(decompress(&frame(&[0x15, b'a', 2, 0, 0x10, b'!']), 100).is_err());
        assert!(decompress(&frame(&[0x15, b'a', 0, 0, 0x10, b'!']), 100).is_err());
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decompress(&frame(&bytes), 1 << 16);
            let _ = decompress(&bytes, 1 << 16);
        }
    }
}
