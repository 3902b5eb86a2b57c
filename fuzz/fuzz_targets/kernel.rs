//! Kernels and their modules: bzImage, ELF with a configuration in it, module folders.
#![no_main]

use goldsmith::boot::{index, initrd, probe};
use goldsmith::values::GuestPath;
use goldsmith_fuzz::choices::Choices;
use libfuzzer_sys::fuzz_target;
use std::io::Write as _;

const RELEASE: &str = "6.1.0-1-amd64";
const NAMES: &[&str] = &["virtio_blk", "virtio_net", "ext4", "virtio_mmio", "jbd2", "mbcache", "crc16", "a", "b-c", "virtio-pci"];

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices(bytes);
    match choices.byte() % 4 {
        0 => drop(probe(choices.0)),
        1 => drop(probe(&configured(&mut choices))),
        2 => drop(probe(&bzimage(&mut choices))),
        _ => modules(&mut choices),
    }
});

/// An ELF kernel that carries its configuration.
fn configured(choices: &mut Choices) -> Vec<u8> {
    let mut kernel = b"\x7fELF\x02\x01....Linux version ".to_vec();
    kernel.extend(choices.bytes());
    kernel.extend(b"IKCFG_ST");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(choices.0).expect("memory");
    kernel.extend(encoder.finish().expect("memory"));
    kernel
}

/// A setup header that is right but for what the input says, and a payload that begins as a known one does.
fn bzimage(choices: &mut Choices) -> Vec<u8> {
    const BEGINS: [&[u8]; 7] =
        [b"\x7fELF\x02\x01", b"\xfd7zXZ\0", b"\x5d\0\0", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x02\x21\x4c\x18", b""];
    let mut kernel = vec![0; 1024];
    kernel[0x1f1] = 1;
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
    let edit = choices.byte();
    let begin = *choices.one(&BEGINS);
    let size = choices.number() as u32;
    let mut payload = [begin, choices.0].concat();
    if edit & 1 == 1 {
        payload = zstd::encode_all(&payload[..], 1).expect("memory");
    }
    payload.extend(size.to_le_bytes());
    kernel[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    kernel.extend(payload);
    if edit > 200 {
        let at = 0x1f0 + usize::from(edit) % 0x60;
        kernel[at] ^= edit;
    }
    kernel
}

/// Modules that need each other, as files of a kernel package.
fn modules(choices: &mut Choices) {
    let mut files: Vec<(GuestPath, Vec<u8>)> = Vec::new();
    let mut put = |path: String, bytes: Vec<u8>| {
        if let Ok(path) = GuestPath::from_archive(&path) {
            files.push((path, bytes));
        }
    };
    for name in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        put(format!("/usr/lib/modules/{RELEASE}/{name}"), choices.bytes().to_vec());
    }
    let mut number = 0;
    while !choices.is_over() && number < 24 {
        let how = choices.byte();
        let name = NAMES.get(number).map_or_else(|| String::from_utf8_lossy(choices.bytes()).into_owned(), |name| (*name).to_owned());
        let (end, bytes) = match how & 7 {
            0 => (".ko.xz", choices.bytes().to_vec()),
            1 => (".ko.zst", zstd::encode_all(&module(choices)[..], 1).expect("memory")),
            2 => (".ko.gz", choices.bytes().to_vec()),
            3 => (".ko", choices.bytes().to_vec()),
            _ => (".ko", module(choices)),
        };
        put(format!("/usr/lib/modules/{RELEASE}/kernel/{name}{end}"), bytes);
        number += 1;
    }
    let paths: Vec<_> = files.iter().map(|(path, _)| path.clone()).collect();
    let read = |path: &GuestPath| files.iter().find(|(other, _)| other == path).map(|(_, bytes)| bytes.clone());
    let _ = index(RELEASE, &paths, &read);
    let _ = initrd::build(&initrd::Input { release: RELEASE, busybox: b"#!", paths: &paths, read: &read, epoch: 0 });
}

/// A relocatable file with a `.modinfo` and a `.strtab`; the input has lines for NULs.
fn module(choices: &mut Choices) -> Vec<u8> {
    let names = b"\0.modinfo\0.strtab\0";
    let lines = |bytes: &[u8]| bytes.iter().map(|byte| if *byte == b'\n' { 0 } else { *byte }).collect::<Vec<_>>();
    let sections = [names.to_vec(), lines(choices.bytes()), lines(choices.bytes())];
    let mut file = vec![0; 64];
    file[..6].copy_from_slice(b"\x7fELF\x02\x01");
    let places: Vec<_> = sections.iter().map(|bytes| { file.extend(bytes); (file.len() - bytes.len(), bytes.len()) }).collect();
    let table = file.len() as u64;
    file[0x28..0x30].copy_from_slice(&table.to_le_bytes());
    file[0x3a..0x40].copy_from_slice(&[64, 0, 3, 0, 0, 0]);
    for ((start, len), name) in places.into_iter().zip([0_u32, 1, 10]) {
        let mut header = [0; 64];
        header[..4].copy_from_slice(&name.to_le_bytes());
        header[0x18..0x20].copy_from_slice(&(start as u64).to_le_bytes());
        header[0x20..0x28].copy_from_slice(&(len as u64).to_le_bytes());
        file.extend(header);
    }
    if choices.byte() > 230 {
        let at = choices.short() % file.len();
        file[at] ^= choices.byte();
    }
    file
}
