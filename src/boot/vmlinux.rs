//! The ELF kernel inside a bzImage: what Firecracker boots.
//!
//! Source: the kernel's `Documentation/arch/x86/boot.rst` (setup header; `payload_offset` and `payload_length`
//! since boot protocol 2.08), `scripts/Makefile.lib` (`size_append`: all methods but gzip are followed by the
//! unpacked size, which in gzip's trailer stands at the same place).

use super::{Error, lz4};
use std::io::Read;

/// The most that a kernel may unpack to. Debian's is about 55 MB.
const MAX_VMLINUX: usize = 256 << 20;

/// xz and lzma dictionaries may take this much memory: the kernel's build asks for 128 MiB at most (`scripts/xz_wrap.sh`).
const MAX_MEMORY: u64 = 160 << 20;

/// Unpacks the ELF x86-64 kernel in a bzImage.
pub fn extract_vmlinux(bzimage: &[u8]) -> Result<Vec<u8>, Error> {
    let payload = payload(bzimage)?;
    let (data, size) = payload.split_last_chunk::<4>().ok_or(Error::NotBzImage("its payload is empty"))?;
    let size = u32::from_le_bytes(*size) as usize;
    if size > MAX_VMLINUX {
        return Err(Error::NotBzImage("its payload says that it unpacks to more than 256 MiB"));
    }
    let vmlinux = if payload.starts_with(b"\x7fELF") {
        payload.to_vec() // CONFIG_KERNEL_UNCOMPRESSED
    } else {
        let (method, unpacked) = decompress(data, payload, size)?;
        if unpacked.len() != size {
            let found = unpacked.len();
            return Err(Error::Payload(format!("{method} data of {found} bytes that should have {size}")));
        }
        unpacked
    };
    // ELF64, little-endian; e_machine EM_X86_64.
    match (vmlinux.get(..6), vmlinux.get(18..20)) {
        (Some(b"\x7fELF\x02\x01"), Some([62, 0])) => Ok(vmlinux),
        _ => Err(Error::NotElf),
    }
}

/// The compressed kernel, with the size behind it.
fn payload(bzimage: &[u8]) -> Result<&[u8], Error> {
    let number = |offset: usize, len: usize| -> Result<usize, Error> {
        let bytes = bzimage.get(offset..offset + len).ok_or(Error::NotBzImage("it is too short"))?;
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte)))
    };
    if bzimage.get(0x202..0x206) != Some(b"HdrS") {
        return Err(Error::NotBzImage("it has no setup header"));
    }
    if number(0x206, 2)? < 0x208 {
        return Err(Error::NotBzImage("its boot protocol is older than 2.08"));
    }
    // "If the setup_sects field contains 0, the real value is 4"; one more sector is the boot sector.
    let sectors = match number(0x1f1, 1)? {
        0 => 4,
        sectors => sectors,
    };
    let start = (sectors + 1) * 512 + number(0x248, 4)?;
    let end = start + number(0x24c, 4)?;
    bzimage.get(start..end).ok_or(Error::NotBzImage("it is shorter than its header says"))
}

fn decompress(data: &[u8], payload: &[u8], size: usize) -> Result<(&'static str, Vec<u8>), Error> {
    use liblzma::read::XzDecoder;
    use liblzma::stream::Stream;

    let stream = |method, reader: Result<Box<dyn Read + '_>, String>| {
        let damaged = |problem| Error::Payload(format!("{method}: {problem}"));
        // It grows with what comes, not with what is announced.
        let mut unpacked = Vec::new();
        // One byte more than announced is enough to see that there is too much.
        let read = reader.map_err(damaged)?.take(size as u64 + 1).read_to_end(&mut unpacked);
        read.map_err(|error| damaged(error.to_string())).map(|_| (method, unpacked))
    };
    match payload {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            let decoder = Stream::new_stream_decoder(MAX_MEMORY, 0).map_err(|error| error.to_string());
            stream("xz", decoder.map(|decoder| Box::new(XzDecoder::new_stream(data, decoder)) as _))
        }
        [0x5d, 0, 0, ..] => {
            let decoder = Stream::new_lzma_decoder(MAX_MEMORY).map_err(|error| error.to_string());
            stream("lzma", decoder.map(|decoder| Box::new(XzDecoder::new_stream(data, decoder)) as _))
        }
        // gzip's own trailer ends with the size, so its data is the whole payload.
        [0x1f, 0x8b, ..] => stream("gzip", Ok(Box::new(flate2::read::GzDecoder::new(payload)))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let decoder = zstd::stream::read::Decoder::with_buffer(data).map_err(|error| error.to_string());
            stream("zstd", decoder.map(|decoder| Box::new(decoder.single_frame()) as _))
        }
        _ if data.starts_with(&lz4::MAGIC) => {
            let unpacked = lz4::decompress(data, size);
            unpacked.map(|unpacked| ("lz4", unpacked)).map_err(|problem| Error::Payload(format!("lz4: {problem}")))
        }
        [a, b, c, d, ..] => Err(Error::Compression([*a, *b, *c, *d])),
        _ => Err(Error::NotBzImage("its payload is empty")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;

    /// A bzImage with nothing but what is read here.
    fn bzimage(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 1024 + 16];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
        image[0x248..0x24c].copy_from_slice(&16_u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        image.extend_from_slice(payload);
        image.extend_from_slice(b"code behind the payload");
        image
    }

    fn elf() -> Vec<u8> {
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(64, 0);
        elf[18] = 62;
        elf.extend((0..10_000_u32).flat_map(|number| (number / 7).to_le_bytes()));
        elf
    }

    fn sized(mut compressed: Vec<u8>) -> Vec<u8> {
        compressed.extend_from_slice(&(elf().len() as u32).to_le_bytes());
        compressed
    }

    fn payloads() -> Vec<(&'static str, Vec<u8>)> {
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
        xz.write_all(&elf()).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&elf()).unwrap();
        let options = liblzma::stream::LzmaOptions::new_preset(6).unwrap();
        let encoder = liblzma::stream::Stream::new_lzma_encoder(&options).unwrap();
        let mut lzma = liblzma::write::XzEncoder::new_stream(Vec::new(), encoder);
        lzma.write_all(&elf()).unwrap();
        vec![
            ("xz", sized(xz.finish().unwrap())),
            ("gzip", gzip.finish().unwrap()),
            ("zstd", sized(zstd::encode_all(&elf()[..], 19).unwrap())),
            ("lzma", sized(lzma.finish().unwrap())),
        ]
    }

    #[test]
    fn every_supported_compression_gives_the_elf_back() {
        for (method, payload) in payloads() {
            assert_eq!(extract_vmlinux(&bzimage(&payload)).unwrap(), elf(), "{method}");
        }
    }

    #[test]
    fn damage_is_an_error_that_names_the_method() {
        for (method, payload) in payloads() {
            let cut = [&payload[..payload.len() / 2], &payload[payload.len() - 4..]].concat();
            let error = extract_vmlinux(&bzimage(&cut)).unwrap_err().to_string();
            assert!(error.contains(method), "{error}");
            let mut huge = payload.clone();
            let len = huge.len();
            huge[len - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
            assert!(extract_vmlinux(&bzimage(&huge)).is_err());
        }
    }

    #[test]
    fn what_is_no_bzimage_is_refused() {
        for (bytes, word) in [
            (Vec::new(), "setup header"),
            (vec![0; 4096], "setup header"),
            (bzimage(b"BZh9 and more\0\0\0\0"), "42, 5a, 68"),
            (bzimage(b"plain text\0\0\0\0"), "not supported"),
            (bzimage(&sized(zstd::encode_all(&vec![7; elf().len()][..], 3).unwrap())), "not an x86-64 ELF"),
            (bzimage(b"xyz1")[..1042].to_vec(), "shorter"),
        ] {
            let error = extract_vmlinux(&bytes).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(word), "{word}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(
            payload in proptest::collection::vec(any::<u8>(), 0..64),
            header in proptest::collection::vec(any::<u8>(), 0..8),
        ) {
            for magic in [&b"\xfd7zXZ\0"[..], &[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd], &lz4::MAGIC, &[0x5d, 0, 0]] {
                let mut image = bzimage(&[magic, &payload[..], &[0, 1, 0, 0]].concat());
                let _ = extract_vmlinux(&image);
                image[0x248..0x248 + header.len()].copy_from_slice(&header);
                let _ = extract_vmlinux(&image);
            }
        }
    }
}
