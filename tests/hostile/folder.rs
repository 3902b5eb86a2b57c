//! Image folders that mean harm: a manifest that climbs, sizes that lie, links and pipes for files.

use super::Evil;
use super::common::goldsmith;
use goldsmith::boot::{KernelArgs, KernelFacts};
use goldsmith::image::{View, verity};
use goldsmith::network::{self, Inputs};
use goldsmith::values::Sha256;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// An image folder that the gate lets through, until a test does something to it.
struct Folder {
    evil: Evil,
    path: PathBuf,
    state: tempfile::TempDir,
}

const FILES: [(&str, &str); 4] = [
    ("/image", "rootfs.ext4"),
    ("/kernel/vmlinuz", "vmlinuz"),
    ("/kernel/vmlinux", "vmlinux"),
    ("/initrd", "initrd.img"),
];

impl Folder {
    fn new() -> Self {
        Self::called("image")
    }

    fn called(name: &str) -> Self {
        let evil = Evil::new();
        let image = evil.image_of("16M");
        let path = evil.path("../folders").join(name);
        fs::create_dir_all(&path).unwrap();
        fs::rename(image, path.join("rootfs.ext4")).unwrap();
        for (_, name) in &FILES[1..] {
            fs::write(path.join(name), name).unwrap();
        }
        let folder = Self { evil, path, state: tempfile::tempdir().unwrap() };
        folder.write(&folder.honest());
        folder
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The manifest of what is there.
    fn honest(&self) -> Value {
        let view = View::open_path(&self.file("rootfs.ext4")).unwrap();
        let snapshot = network::capture("rootfs.ext4", &view).unwrap();
        let files = snapshot.participants();
        let inputs = Inputs::new(snapshot, KernelArgs::parse("net.ifnames=0"), KernelFacts::default());
        let mut manifest = json!({
            "schema": "goldsmith.manifest/v1",
            "name": "evil",
            "architecture": "amd64",
            "image": { "filesystem": "ext4", "uuid": view.uuid(), "label": "golden" },
            "kernel": { "vmlinuz": {}, "vmlinux": {}, "release": "6.1.0", "facts": KernelFacts::default() },
            "initrd": {},
            "boot": { "args": ["net.ifnames=0"], "parameters": {} },
            "network": {
                "declared": { "interface": "eth0", "mode": "dhcp" },
                "files": files,
                "effective": network::evaluate(&inputs).effective(),
            },
            "packages": { "lock": Sha256::of(b""), "count": 0 },
            "artifacts": [],
            "probes": [{ "name": "agent", "http": { "port": 8080, "path": "/health" }, "timeout_seconds": 120 }],
            "waivers": {},
            "provenance": { "recipe": Sha256::of(b""), "overlays": Sha256::of(b""), "tool": "goldsmith", "epoch": 0 },
        });
        for (pointer, name) in FILES {
            let file = File::open(self.file(name)).unwrap();
            let place = manifest.pointer_mut(pointer).unwrap();
            place["file"] = name.into();
            place["size"] = file.metadata().unwrap().len().into();
            place["digest"] = verity::digest(&file).unwrap().to_string().into();
        }
        manifest
    }

    fn write(&self, manifest: &Value) {
        fs::write(self.file("manifest.json"), manifest.to_string()).unwrap();
    }

    /// Writes a manifest that differs in one value.
    fn lie(&self, pointer: &str, value: Value) {
        let mut manifest = self.honest();
        *manifest.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        self.write(&manifest);
    }

    /// Runs a verb on the folder with little memory, within a time that a person would wait.
    #[track_caller]
    fn run(&self, words: &[&str]) -> Output {
        let started = Instant::now();
        let limited = "ulimit -v 700000; exec \"$0\" \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", limited]).arg(goldsmith().get_program()).args(words).arg(&self.path);
        let output = command.env("GOLDSMITH_STATE", self.state.path()).env("NO_COLOR", "1").output().unwrap();
        assert!(started.elapsed() < Duration::from_secs(30), "{words:?} took {:?}", started.elapsed());
        output
    }

    /// What `verify` and `launch` say: both refuse with this in their words, and nothing was made.
    #[track_caller]
    fn refused(&self, part: &str) {
        for words in [&["verify"][..], LAUNCH, &["launch", "--accel", "emulation"]] {
            let output = self.run(words);
            let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
            assert!(matches!(output.status.code(), Some(1 | 3)), "{words:?}: {output:?}");
            assert!(said.contains(part), "{words:?}, expected {part:?}: {said}");
            assert!(!said.contains(|letter: char| letter.is_control() && letter != '\n'), "{said:?}");
            assert_eq!(names(&self.state.path().join("vms")), [""; 0], "{words:?}");
        }
    }
}

const LAUNCH: &[&str] = &["launch", "--dry-run", "--accel", "emulation", "--quiet"];

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_name_that_climbs_or_injects_is_refused_and_nothing_is_made() {
    let folder = Folder::new();
    let (below, outside) = (folder.state.path().join("precious"), folder.evil.path("../ESCAPED"));
    fs::write(&below, "x").unwrap();
    for name in [
        format!("{}/../evil,process=pwn", outside.display()),
        "../precious".to_owned(),
        "..".to_owned(),
        "/abs/evil".to_owned(),
        "a,debug-threads=on".to_owned(),
        "a b".to_owned(),
        "\u{1b}]0;pwned\u{7}".to_owned(),
        "x".repeat(64),
    ] {
        folder.lie("/name", json!(name));
        folder.refused("at `/name`: `");
    }
    assert!(below.exists() && !outside.exists());
}

#[test]
fn a_probe_that_asks_somebody_else_or_waits_for_ever_is_refused() {
    let folder = Folder::new();
    for path in ["@127.0.0.1:19999/latest/meta-data", "//127.0.0.1:19999/", "\\@x/", "health", "/a\r\nX: y"] {
        folder.lie("/probes/0/http/path", json!(path));
        folder.refused("at `/probes/0/http/path`: `");
    }
    for seconds in [u64::MAX, i64::MAX as u64, 86_401, 0] {
        folder.lie("/probes/0/timeout_seconds", json!(seconds));
        folder.refused("at `/probes/0/timeout_seconds`: ");
    }
    folder.lie("/boot/args/0", json!("a\u{1b}[2Jb"));
    folder.refused("at `/boot/args/0`: `a\\u{1b}[2Jb` is not one kernel argument");
}

#[test]
fn links_pipes_and_devices_are_no_files_of_an_image() {
    for (_, name) in FILES {
        let folder = Folder::new();
        let (file, elsewhere) = (folder.file(name), folder.evil.path("../elsewhere"));
        fs::rename(&file, &elsewhere).unwrap();
        symlink(&elsewhere, &file).unwrap();
        folder.refused("it is a symbolic link, not a file");
        fs::remove_file(&file).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        folder.refused("it is a pipe, not a file");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        folder.refused("it is a folder, not a file");
    }
    let folder = Folder::new();
    folder.lie("/kernel/vmlinux/file", json!("/etc/shadow"));
    folder.refused("at `/kernel/vmlinux/file`: `/etc/shadow` is not a plain file name");
}

#[test]
fn an_image_whose_sizes_lie_is_refused_before_it_is_hashed() {
    let folder = Folder::new();
    let file = File::options().write(true).read(true).open(folder.file("rootfs.ext4")).unwrap();
    let digest = json!(Sha256::of(b""));
    // What its filesystem allows; ext4 has files of at most 16 TiB less a block.
    for size in [1_u64 << 50, 15 << 40, 17 << 20] {
        if file.set_len(size).is_err() {
            continue;
        }
        let mut manifest = folder.honest_but(&digest);
        manifest["image"]["size"] = json!(size);
        folder.write(&manifest);
        folder.refused(if size > 16 << 40 { "at `/image/size`" } else { "its superblock speaks of 16M, the file has" });
    }
    file.set_len(8 << 20).unwrap();
    let mut manifest = folder.honest_but(&digest);
    manifest["image"]["size"] = json!(8 << 20);
    folder.write(&manifest);
    folder.refused("speaks of 16M, the file has 8M");
    file.write_all_at(&[0; 1024], 1024).unwrap();
    folder.refused("no ext4 superblock");
    file.set_len(100).unwrap();
    folder.refused("rootfs.ext4");
}

#[test]
fn a_superblock_that_agrees_with_a_sparse_giant_takes_no_memory() {
    let folder = Folder::new();
    let honest = folder.honest_but(&json!(Sha256::of(b"")));
    let file = File::options().write(true).read(true).open(folder.file("rootfs.ext4")).unwrap();
    let (size, block) = (4_u64 << 40, 1024);
    if file.set_len(size).is_err() {
        return;
    }
    // 2^32 blocks of 1 KiB, in groups of 8192: what the superblock says agrees with the file and with the manifest.
    let low = u32::try_from(size / block - 1).unwrap_or(u32::MAX);
    file.write_all_at(&low.to_le_bytes(), 1024 + 4).unwrap();
    let size = u64::from(low) * block;
    file.set_len(size).unwrap();
    let mut manifest = honest;
    manifest["image"]["size"] = json!(size);
    folder.write(&manifest);
    folder.refused("rootfs.ext4");
}

#[test]
fn a_comma_in_a_folders_name_begins_no_option() {
    let folder = Folder::called("a,b=c,file.locking=off");
    let output = folder.run(&[LAUNCH, &["--disk", "overlay"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line: Vec<String> = serde_json::from_slice(&output.stdout).unwrap();
    let golden = line.iter().find(|word| word.contains("file.filename=")).unwrap();
    assert!(golden.ends_with("/a,,b=c,,file.locking=off/rootfs.ext4"), "{golden}");
    assert_eq!(line.iter().filter(|word| word.contains("guest=evil-1")).count(), 1, "{line:?}");
}

impl Folder {
    /// The manifest of what was there, with another digest of the image.
    fn honest_but(&self, digest: &Value) -> Value {
        let mut manifest: Value = serde_json::from_slice(&fs::read(self.file("manifest.json")).unwrap()).unwrap();
        manifest["image"]["digest"] = digest.clone();
        manifest
    }
}
