//! Images that mean harm: whatever they hold, reading them ends soon, stays small and says what it could not read.

mod common;
#[path = "hostile/folder.rs"]
mod folder;
#[path = "hostile/inodes.rs"]
mod inodes;

use common::{need, succeed};
use goldsmith::boot::{KernelArgs, KernelFacts};
use goldsmith::image::{Error, View};
use goldsmith::network::{self, Evaluation, Inputs};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A tree with netplan and a lease on eth0, that a test adds to.
struct Evil(tempfile::TempDir);

impl Evil {
    fn new() -> Self {
        let evil = Self(tempfile::tempdir().unwrap());
        evil.file("etc/machine-id", b"");
        evil.file(
            "etc/netplan/01.yaml",
            b"network:\n  version: 2\n  ethernets:\n    eth0: {dhcp4: true, dhcp-identifier: mac}\n",
        );
        evil.file("usr/lib/systemd/system-generators/netplan", b"x");
        evil.file("usr/lib/systemd/system/systemd-networkd.service", b"[Service]\n");
        evil
    }

    fn path(&self, path: &str) -> PathBuf {
        let path = self.0.path().join("tree").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn file(&self, path: &str, bytes: &[u8]) {
        fs::write(self.path(path), bytes).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        symlink(target, self.path(path)).unwrap();
    }

    fn image(&self) -> PathBuf {
        self.image_of("2G")
    }

    /// The image, made by a program that is not ours.
    fn image_of(&self, size: &str) -> PathBuf {
        self.image_of_blocks(size, &[])
    }

    fn image_of_blocks(&self, size: &str, blocks: &[&str]) -> PathBuf {
        need("mke2fs", "apt-get install e2fsprogs");
        let image = self.0.path().join("rootfs.ext4");
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        let mut command = Command::new("mke2fs");
        command
            .env("PATH", path)
            .args(["-q", "-F", "-t", "ext4"])
            .args(blocks)
            .arg("-d")
            .arg(self.0.path().join("tree"));
        succeed(command.arg(&image).arg(size));
        image
    }

    fn judge(&self) -> Evaluation {
        judge(&self.image()).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Opens, reads and judges, within a time that a person would not notice.
fn judge(image: &Path) -> Result<Evaluation, Error> {
    let start = Instant::now();
    let view = View::open_path(image)?;
    let snapshot = network::capture("rootfs.ext4", &view)?;
    let args = KernelArgs::parse("net.ifnames=0");
    let evaluation = network::evaluate(&Inputs::new(snapshot, args, KernelFacts::default()));
    assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    Ok(evaluation)
}

fn rules(evaluation: &Evaluation) -> Vec<&str> {
    evaluation.findings.iter().map(|found| found.rule).collect()
}

#[test]
fn links_that_lead_round_or_out_lead_nowhere() {
    let evil = Evil::new();
    evil.link("etc/netplan/50-loop.yaml", "50-loop.yaml");
    evil.link("etc/netplan/60-a.yaml", "60-b.yaml");
    evil.link("etc/netplan/60-b.yaml", "60-a.yaml");
    evil.link("etc/systemd/network/05-out.network", "../../../../../../../etc/passwd");
    evil.link("etc/systemd/networkd.conf", "/proc/self/environ");
    evil.link("usr/local/lib", ".");
    evil.link("etc/network", "network");
    let evaluation = evil.judge();
    assert!(rules(&evaluation).contains(&"NET-N001"), "{:?}", evaluation.findings);
}

#[test]
fn a_huge_file_is_not_read() {
    let evil = Evil::new();
    let file = fs::File::create(evil.path("etc/netplan/99-big.yaml")).unwrap();
    file.set_len(1 << 30).unwrap();
    let evaluation = evil.judge();
    let found = evaluation.findings.iter().find(|found| found.rule == "NET-N001").expect("it is said");
    assert!(found.message.contains("reasonable size"), "{}", found.message);
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let evil = Evil::new();
    let fifo = evil.path("etc/netplan/02.yaml");
    succeed(Command::new("mkfifo").arg(&fifo));
    evil.file("etc/systemd/network/10.network/not-a-file", b"");
    let evaluation = evil.judge();
    assert!(rules(&evaluation).contains(&"NET-N001"), "{:?}", evaluation.findings);
    assert!(rules(&evaluation).contains(&"NET-G004"), "{:?}", evaluation.findings);
}

#[test]
fn bytes_that_are_no_text_are_judged_as_they_are() {
    let evil = Evil::new();
    evil.file("etc/netplan/50.yaml", b"\xff\xfe\x00network: {\x80}\n");
    evil.file("etc/systemd/network/10.network", b"[Match]\nName=\xff\xff*\n[Network]\nDHCP=\xc3\x28\n");
    evil.file("etc/machine-id", b"\xff\xff");
    let evaluation = evil.judge();
    assert!(rules(&evaluation).contains(&"NET-N001"), "{:?}", evaluation.findings);
}

#[test]
fn a_name_that_is_no_text_is_an_error_and_not_skipped() {
    let evil = Evil::new();
    let folder = evil.path("etc/netplan/x");
    fs::write(folder.with_file_name(OsStr::from_bytes(b"\xff.yaml")), "network: {}\n").unwrap();
    assert!(matches!(judge(&evil.image()), Err(Error::NotUtf8 { .. })));
}

#[test]
fn deep_folders_and_full_folders_are_bounded_and_said() {
    let evil = Evil::new();
    let deep = "d/".repeat(200);
    evil.file(&format!("etc/systemd/network/{deep}x.network"), b"[Match]\nName=*\n");
    for number in 0..600 {
        evil.file(&format!("usr/lib/systemd/network/{number:03}.network"), b"[Match]\nName=none\n");
    }
    let evaluation = evil.judge();
    let said = evaluation.findings.iter().find(|found| found.message.contains("more than 512 entries"));
    assert_eq!(said.expect("it is said").rule, "NET-G004");
}

#[test]
fn yaml_that_multiplies_is_refused() {
    let evil = Evil::new();
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x]\n");
    for (name, before) in ('b'..='i').zip('a'..='h') {
        bomb += &format!(
            "{name}: &{name} [*{before}, *{before}, *{before}, *{before}, *{before}, *{before}, *{before}, *{before}]\n"
        );
    }
    evil.file("etc/netplan/50-bomb.yaml", bomb.as_bytes());
    evil.file("etc/netplan/51-deep.yaml", "[".repeat(100_000).as_bytes());
    let evaluation = evil.judge();
    assert!(rules(&evaluation).contains(&"NET-N001"), "{:?}", evaluation.findings);
}

#[test]
fn a_superblock_that_names_more_than_the_file_holds_is_refused_before_memory_is_taken() {
    use std::os::unix::fs::FileExt as _;
    let evil = Evil::new();
    let image = evil.image_of("16M");
    let file = fs::OpenOptions::new().write(true).read(true).open(&image).unwrap();
    let mut whole = [0; 1024];
    file.read_exact_at(&mut whole, 1024).unwrap();
    // Offsets within the superblock: low and high half of the number of blocks, block size, blocks a group.
    for (at, value) in [(0x4, u32::MAX), (0x150, 0x7fff), (0x18, 40), (0x20, 1)] {
        file.write_all_at(&u32::to_le_bytes(value), 1024 + at).unwrap();
        let error = View::open_path(&image).err().unwrap().to_string();
        assert!(error.contains("cut off or damaged"), "{at:#x}: {error}");
        file.write_all_at(&whole, 1024).unwrap();
    }
    // A download that stopped half way.
    file.set_len(8 << 20).unwrap();
    let error = View::open_path(&image).err().unwrap().to_string();
    assert!(error.contains("speaks of 16M, the file has 8M"), "{error}");
}

#[test]
fn damaged_images_end_in_an_error_or_a_verdict() {
    let evil = Evil::new();
    evil.link("lib", "usr/lib");
    let whole = fs::read(evil.image_of("16M")).unwrap();
    let damaged = tempfile::NamedTempFile::new().unwrap();
    // A xorshift generator: the same damage in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % limit as u64) as usize
    };
    // Where mke2fs put something: damage elsewhere changes nothing.
    let used: Vec<usize> =
        (0..whole.len() / 1024).filter(|block| whole[block * 1024..][..1024].iter().any(|byte| *byte != 0)).collect();
    fs::write(damaged.path(), &whole).unwrap();
    let file = fs::OpenOptions::new().write(true).open(damaged.path()).unwrap();
    let mut verdicts = 0;
    for _ in 0..400 {
        let places: Vec<usize> = (0..4).map(|_| used[random(used.len())] * 1024 + random(1024)).collect();
        for place in &places {
            std::os::unix::fs::FileExt::write_all_at(&file, &[random(256) as u8], *place as u64).unwrap();
        }
        verdicts += usize::from(judge(damaged.path()).is_ok());
        for place in &places {
            std::os::unix::fs::FileExt::write_all_at(&file, &whole[*place..=*place], *place as u64).unwrap();
        }
    }
    assert!(verdicts > 0, "some damage does not matter");
}
