//! Debian packages: as they are, or put together from a control archive and a payload that are any bytes.
#![no_main]

use goldsmith::debian::{self, Deb, DebError};
use goldsmith_fuzz::choices::Choices;
use goldsmith_fuzz::files;
use libfuzzer_sys::fuzz_target;
use std::fs;
use std::io::Write as _;
use std::sync::LazyLock;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = files::folder();
    fs::write(folder.path().join("keyring"), KEYRING).expect("a file");
    folder
});
const KEYRING: &[u8] = include_bytes!("../images/key.asc");

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices(bytes);
    let how = choices.byte();
    if how & 0xf == 15 {
        return debian::fuzz::signed(choices.0, &FOLDER.path().join("keyring"));
    }
    let package = if how & 1 == 0 { choices.0.to_vec() } else { put_together(how, &mut choices) };
    let path = FOLDER.path().join("package.deb");
    fs::write(&path, package).expect("a file");
    let Ok(package) = Deb::open(&path) else { return };
    let _ = package.control();
    let _ = package.visit::<DebError>(|_, bytes| {
        let _ = std::io::copy(bytes, &mut std::io::sink());
        Ok(())
    });
});

/// Two archives of entries, in an `ar` archive, each compressed in one of four ways.
fn put_together(how: u8, choices: &mut Choices) -> Vec<u8> {
    let mut package = b"!<arch>\n".to_vec();
    member(&mut package, "debian-binary", b"2.0\n");
    let control = pack(how >> 4 & 3, &archive(choices));
    member(&mut package, &format!("control.tar{}", control.0), &control.1);
    let data = pack(how >> 6, &archive(choices));
    member(&mut package, &format!("data.tar{}", data.0), &data.1);
    package
}

fn member(package: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    let _ = write!(package, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, bytes.len());
    package.extend(bytes);
    package.resize(package.len().next_multiple_of(2), b'\n');
}

/// A tar archive whose headers are right but for what the input says: kind, name, link, size.
fn archive(choices: &mut Choices) -> Vec<u8> {
    let mut archive = Vec::new();
    for _ in 0..choices.byte() % 8 {
        let mut header = tar::Header::new_gnu();
        let kind = *choices.one(b"0000125LKxg3467S\0");
        header.set_entry_type(tar::EntryType::new(kind));
        let (name, link, bytes) = (choices.bytes(), choices.bytes(), choices.bytes());
        let raw = header.as_old_mut();
        let fit = |to: &mut [u8], from: &[u8]| to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        fit(&mut raw.name, name);
        fit(&mut raw.linkname, link);
        header.set_mode(0o644);
        header.set_uid(choices.number());
        header.set_gid(0);
        header.set_mtime(choices.number());
        let claimed = if choices.byte() < 200 { bytes.len() as u64 } else { choices.number() };
        header.set_size(claimed);
        header.set_cksum();
        archive.extend(header.as_bytes());
        archive.extend(bytes);
        // Zeros cost an input nothing.
        let zeros = if choices.byte() < 240 { 0 } else { choices.short() << 5 };
        archive.resize((archive.len() + zeros).next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

fn pack(how: u8, bytes: &[u8]) -> (&'static str, Vec<u8>) {
    match how {
        0 => ("", bytes.to_vec()),
        1 => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).expect("memory");
            (".gz", encoder.finish().expect("memory"))
        }
        2 => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
            encoder.write_all(bytes).expect("memory");
            (".xz", encoder.finish().expect("memory"))
        }
        _ => (".zst", zstd::encode_all(bytes, 1).expect("memory")),
    }
}
