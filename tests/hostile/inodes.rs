//! Images whose inodes lie: the commands end soon, stay small, and say what is wrong.

use super::Evil;
use super::common::{goldsmith, need, succeed};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// An image in blocks of 4 KiB, with a file of `size` bytes of data, edited with debugfs(8).
fn image(evil: &Evil, size: usize, edits: &str) -> PathBuf {
    need("debugfs", "apt-get install e2fsprogs");
    evil.file("big", &b"data".repeat(size / 4));
    let image = evil.image_of_blocks("64M", &["-b", "4096"]);
    let script = evil.path("../edits");
    fs::write(&script, edits).unwrap();
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    succeed(Command::new("debugfs").env("PATH", path).arg("-w").arg("-f").arg(script).arg(&image));
    image
}

/// Runs a verb with at most 700 MB of address space, and waits a time that a person would.
#[track_caller]
fn run(words: &[&str], image: &Path) -> Output {
    let started = Instant::now();
    let limited = "ulimit -v 700000; exec \"$0\" \"$@\"";
    let program = goldsmith().get_program().to_owned();
    let output = Command::new("sh").args(["-c", limited]).arg(program).args(words).arg(image).output().unwrap();
    assert!(started.elapsed() < Duration::from_secs(30), "{words:?} took {:?}", started.elapsed());
    assert!(output.status.code().is_some_and(|code| code < 100), "{words:?}: {output:?}");
    output
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

/// The largest file that ext4 has: 2^32 blocks less one.
const HUGE: &str = "sif /big size 17592186040320\n";

#[test]
fn a_file_of_16_tib_is_compared_by_its_data() {
    let evil = Evil::new();
    let image = image(&evil, 1 << 20, HUGE);
    let same = run(&["diff", image.to_str().unwrap()], &image);
    assert_eq!(said(&same), "the same\n");
    let cat =
        Command::new(goldsmith().get_program()).args(["inspect", "cat"]).arg(&image).arg("/big").output().unwrap();
    assert!(!cat.status.success() && said(&cat).contains("/big in"), "{}", said(&cat));
    assert!(said(&cat).contains("17592186040320 bytes; at most 67108864 are read"), "{}", said(&cat));
    for words in [&["verify"][..], &["inspect", "net"], &["inspect", "ls"]] {
        run(words, &image);
    }
}

#[test]
fn a_size_that_no_file_can_have_is_damage() {
    let evil = Evil::new();
    let image = image(&evil, 4096, "sif /big size 0x7fffffffffffffff\n");
    let output = run(&["diff", image.to_str().unwrap()], &image);
    assert!(said(&output).contains("is damaged"), "{}", said(&output));
}

#[test]
fn files_that_share_their_blocks_are_read_once_and_then_refused() {
    let evil = Evil::new();
    let copies: String =
        (0..200).map(|number| format!("write /dev/null f{number}\ncopy_inode /big /f{number}\n")).collect();
    let image = image(&evil, 16 << 20, &copies);
    let output = run(&["diff", image.to_str().unwrap()], &image);
    assert!(said(&output).contains("more than the image holds"), "{}", said(&output));
}

#[test]
fn an_extent_tree_that_names_itself_is_counted_and_refused() {
    use std::os::unix::fs::FileExt as _;
    let evil = Evil::new();
    let image = image(&evil, 4096, "sif /big size 1099511627776\nsif /big blocks 8\n");
    // Without checksums, so that what is written below is believed.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    succeed(Command::new("tune2fs").env("PATH", &path).args(["-O", "^metadata_csum"]).arg(&image));
    let imap = succeed(Command::new("debugfs").env("PATH", &path).args(["-R", "imap /big"]).arg(&image));
    let text = String::from_utf8_lossy(&imap.stdout).into_owned();
    let number = |word: &str, radix: u32| {
        let (_, rest) = text.rsplit_once(word).unwrap_or_else(|| panic!("{text}"));
        let digits: String = rest.trim_start_matches("0x").chars().take_while(|digit| digit.is_digit(radix)).collect();
        u64::from_str_radix(&digits, radix).unwrap()
    };
    let inode = number("block ", 10) * 4096 + number("offset ", 16);
    let node = |entries: u16, max: u16, depth: u16, child: u32| {
        let mut bytes = [0xf30a_u16, entries, max, depth, 0, 0].map(u16::to_le_bytes).concat();
        for index in 0..u32::from(entries) {
            bytes.extend_from_slice(&index.to_le_bytes());
            bytes.extend_from_slice(&child.to_le_bytes());
            bytes.extend_from_slice(&[0; 4]);
        }
        bytes
    };
    // Five levels of 340 entries each, every one the same block: 340 to the fifth leaves.
    let file = fs::OpenOptions::new().write(true).open(&image).unwrap();
    let free = 16_000_u32;
    file.write_all_at(&node(4, 4, 5, free), inode + 0x28).unwrap();
    for depth in 0..5_u16 {
        let block = free + u32::from(4 - depth);
        file.write_all_at(&node(340, 340, depth, block + 1), u64::from(block) * 4096).unwrap();
    }
    let output = run(&["diff", image.to_str().unwrap()], &image);
    assert!(said(&output).contains("more extents than a file can have"), "{}", said(&output));
    let cat =
        Command::new(goldsmith().get_program()).args(["inspect", "cat"]).arg(&image).arg("/big").output().unwrap();
    assert!(!cat.status.success(), "{}", said(&cat));
}
