//! Images against programs we did not write: e2fsck, the kernel, ext4_rs, debugfs, fsverity.

mod common;

use common::{need, succeed};
use goldsmith::image::{self, Options, View};
use goldsmith::network::GuestFiles;
use goldsmith::progress::Silent;
use goldsmith::tree::{Content, Node, NodeKind, Tree, capture};
use goldsmith::values::GuestPath;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

const EPOCH: i64 = 1_700_000_000;
const MIB: u64 = 1 << 20;

fn options(size: u64) -> Options {
    Options { size, label: "golden".into(), uuid: *b"goldsmith-tests!", hash_seed: [1, 2, 3, 4], epoch: EPOCH }
}

fn path(text: &str) -> GuestPath {
    text.parse().unwrap()
}

/// `e2fsck -fn` finds nothing to say.
fn assert_clean(image: &Path) {
    need("e2fsck", "apt-get install e2fsprogs");
    succeed(Command::new("e2fsck").arg("-fn").arg(image));
}

/// Real files and everything that is nasty.
fn nasty() -> Tree {
    let mut tree = capture(Path::new("/usr/share/perl5"), EPOCH).unwrap();
    let mut put = |at: &str, mode: u16, kind: NodeKind| {
        tree.insert(&path(at), Node::new(kind, mode, EPOCH)).unwrap();
    };
    let file = |bytes: Vec<u8>| NodeKind::File(Content::Bytes(bytes.into()));
    for size in [0, 1, 59, 60, 4095, 4096, 4097, 262_143, 262_144, 262_145, 3 * 1024 * 1024 + 5] {
        put(&format!("/sizes/{size}"), 0o644, file((0..size).map(|byte: u32| (byte % 251) as u8 + 1).collect()));
    }
    for length in [1, 59, 60, 61, 255, 256, 4094, 4095] {
        put(&format!("/links/{length}"), 0o777, NodeKind::Symlink("abc/".repeat(1024)[..length].to_owned()));
    }
    for index in 0..10_000 {
        put(&format!("/many/entry-number-{index}"), 0o600, file(Vec::new()));
    }
    put(&format!("/{}", "n".repeat(255)), 0o644, file(b"longest name".to_vec()));
    put("/names/ünïcödé – 日本語 ☃", 0o644, file(b"utf-8".to_vec()));
    put("/names/with space\tand\ncontrol", 0o644, file(b"odd".to_vec()));
    put("/modes/none", 0o000, file(b"nobody".to_vec()));
    put("/modes/setuid", 0o4755, file(b"su".to_vec()));
    put("/modes/sticky", 0o1777, NodeKind::Directory);
    put("/special/null", 0o666, NodeKind::CharDevice(1, 3));
    put("/special/big", 0o600, NodeKind::CharDevice(300, 70_000));
    put("/special/vda", 0o660, NodeKind::BlockDevice(254, 0));
    put("/special/fifo", 0o600, NodeKind::Fifo);
    put("/special/socket", 0o600, NodeKind::Socket);
    put("/hard/second", 0o644, file(b"three names".to_vec()));
    put("/hard/first", 0o644, NodeKind::HardLink(path("/hard/second")));
    put("/third", 0o644, NodeKind::HardLink(path("/hard/second")));
    let capability = vec![1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let ping = tree.get_mut(&path("/sizes/4097")).unwrap();
    ping.xattrs.insert("security.capability".into(), capability);
    ping.xattrs.insert("user.long".into(), vec![7; 2000]);
    (ping.meta.uid, ping.meta.gid) = (70_000, 80_000);
    let acl = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0\x04\0\x04\0\xff\xff\xff\xff\x10\0\x04\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";
    tree.get_mut(&path("/sizes/1")).unwrap().xattrs.insert("system.posix_acl_access".into(), acl.to_vec());
    tree
}

#[test]
fn a_tree_with_everything_reads_back_and_is_the_same_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one.ext4"), dir.path().join("two.ext4"));
    let tree = nasty();
    let summary = image::write(&tree, &options(512 * MIB), &one, &Silent).unwrap();
    assert_eq!(summary.content, tree.content_size());
    image::write(&tree, &options(512 * MIB), &two, &Silent).unwrap();
    let (a, b) = (File::open(&one).unwrap(), File::open(&two).unwrap());
    assert_eq!(image::first_difference(&a, &b).unwrap(), None);
    assert_eq!(image::verity::digest(&a).unwrap(), image::verity::digest(&b).unwrap());
    assert_clean(&one);
    let expected = image::of_tree(&tree).unwrap();
    let found = image::of_image(a, &one).unwrap();
    assert_eq!(image::diff(&expected, &found), []);
}

#[test]
fn the_view_reads_every_path_back() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("x.ext4");
    let tree = nasty();
    image::write(&tree, &options(512 * MIB), &image, &Silent).unwrap();
    let view = View::open_path(&image).unwrap();
    assert_eq!((view.label().as_str(), view.uuid().as_str()), ("golden", "676f6c64-736d-6974-682d-746573747321"));
    for (place, node) in tree.iter().filter(|(path, _)| path.as_str() != "/special/big") {
        let stat = view.stat(place).unwrap().unwrap_or_else(|| panic!("{place} is missing"));
        let node = match &node.kind {
            NodeKind::HardLink(first) => tree.get(first).unwrap(),
            _ => node,
        };
        let meta = (stat.mode, stat.uid, stat.gid, stat.mtime);
        assert_eq!(meta, (node.meta.mode, node.meta.uid, node.meta.gid, node.meta.mtime), "{place}");
        match &node.kind {
            NodeKind::File(content) => {
                assert_eq!(view.read(place, u64::MAX).unwrap().unwrap(), content.read().unwrap(), "{place}");
            }
            NodeKind::Symlink(target) => assert_eq!(view.read_link(place).unwrap().as_ref(), Some(target), "{place}"),
            NodeKind::Directory => {
                let mut names = view.names(place).unwrap().unwrap();
                names.retain(|name| place.as_str() != "/" || name != "lost+found");
                assert_eq!(names, tree.children(place), "{place}");
            }
            _ => {}
        }
        // A tree and its image are the same guest.
        assert_eq!(view.node(place, true).unwrap(), tree.node(place, true).unwrap(), "{place}");
    }
}

#[test]
fn digests_are_what_fsverity_prints() {
    need("fsverity", "apt-get install fsverity");
    let dir = tempfile::tempdir().unwrap();
    let check = |name: &str, size: u64, data: &[(u64, &[u8])]| {
        let path = dir.path().join(name);
        let file = File::create_new(&path).unwrap();
        file.set_len(size).unwrap();
        data.iter().for_each(|(at, bytes)| file.write_all_at(bytes, *at).unwrap());
        let output = succeed(Command::new("fsverity").args(["digest", "--compact"]).arg(&path));
        let expected = String::from_utf8(output.stdout).unwrap();
        let digest = image::verity::digest(&File::open(&path).unwrap()).unwrap();
        assert_eq!(digest.to_string(), expected.trim(), "{name}: {size} bytes");
    };
    const BLOCK: u64 = 4096;
    let around = |size: u64| [size - 1, size, size + 1];
    let sizes = [0, 1].into_iter().chain([1, 2, 127, 128, 129, 16_384].into_iter().flat_map(|n| around(n * BLOCK)));
    for size in sizes {
        let bytes: Vec<u8> = (0..size).map(|byte| (byte % 253) as u8).collect();
        check(&format!("full-{size}"), size, &[(0, &bytes)]);
        check(&format!("hole-{size}"), size, &[]);
        if size > 2 * BLOCK {
            check(&format!("islands-{size}"), size, &[(BLOCK + 5, b"data"), (size - 2, b"xy")]);
        }
    }
    // Three levels, a chunk of nothing, and data behind it.
    check("large", 300 * MIB + 17, &[(3, b"start"), (200 * MIB + 4000, &[9; 9000]), (300 * MIB + 16, b"z")]);
}

#[test]
fn a_difference_is_named_with_its_fields() {
    let dir = tempfile::tempdir().unwrap();
    let old = nasty();
    let mut new = old.clone();
    new.remove(&path("/special/fifo"));
    new.insert_file("/added", 0o644, EPOCH, "x").unwrap();
    new.get_mut(&path("/modes/none")).unwrap().meta.mode = 0o600;
    new.get_mut(&path("/sizes/4097")).unwrap().xattrs.remove("security.capability");
    new.insert_file("/sizes/1", 0o644, EPOCH, "y").unwrap();
    let write = |tree: &Tree, name: &str| {
        let image = dir.path().join(name);
        image::write(tree, &options(512 * MIB), &image, &Silent).unwrap();
        image::of_image(File::open(&image).unwrap(), &image).unwrap()
    };
    let found: Vec<String> =
        image::diff(&write(&old, "a"), &write(&new, "b")).iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 5, "{found:#?}");
    assert_eq!(found[0], "+ /added (file)");
    assert_eq!(found[1], "~ /modes/none: mode 0000 -> 0600");
    assert!(
        found[2].starts_with("~ /sizes/1: content ") && found[2].contains("system.posix_acl_access"),
        "{}",
        found[2]
    );
    assert!(found[3].starts_with("~ /sizes/4097: security.capability 0100"), "{}", found[3]);
    assert_eq!(found[4], "- /special/fifo (FIFO)");
}

#[test]
fn an_image_that_is_too_small_says_by_how_much() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("x.ext4");
    let mut tree = capture(Path::new("/usr/share/perl5"), EPOCH).unwrap();
    let large = NodeKind::File(Content::Bytes(vec![1; 40 << 20].into()));
    tree.insert(&path("/large"), Node::new(large, 0o644, EPOCH)).unwrap();
    let error = image::write(&tree, &options(16 * MIB), &image, &Silent).unwrap_err();
    let image::Error::TooSmall { size, needed } = error else { panic!("{error}") };
    assert_eq!(size, 16 * MIB);
    image::write(&tree, &options(needed), &image, &Silent).unwrap();
    assert_clean(&image);
    assert!(image::write(&tree, &options(needed - MIB), &image, &Silent).is_err());
    let error = image::write(&tree, &options(16 * MIB + 1), &image, &Silent).unwrap_err();
    assert!(error.to_string().contains("multiple of 4096"), "{error}");
}

#[test]
fn what_is_no_image_is_refused_and_never_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x");
    fs::write(&file, "not an image").unwrap();
    assert!(View::open_path(&file).is_err());
    assert!(image::of_image(File::open(&file).unwrap(), &file).is_err());
    let fifo = dir.path().join("fifo");
    succeed(Command::new("mkfifo").arg(&fifo));
    assert!(View::open_path(&fifo).is_err());
    assert!(View::open_path(dir.path()).is_err());
}

#[test]
fn the_kernel_mounts_it_read_write_and_sees_the_tree() {
    if !common::is_root("mounting an image") {
        return;
    }
    need("mount", "apt-get install mount");
    let dir = tempfile::tempdir().unwrap();
    let (image, mount) = (dir.path().join("x.ext4"), dir.path().join("mnt"));
    let tree = nasty();
    image::write(&tree, &options(512 * MIB), &image, &Silent).unwrap();
    fs::create_dir(&mount).unwrap();
    succeed(Command::new("mount").args(["-o", "loop,rw"]).args([&image, &mount]));
    let seen = std::panic::catch_unwind(|| {
        let mut seen = capture(&mount, i64::MAX).unwrap();
        seen.remove(&path("/lost+found"));
        let differences = image::diff(&image::of_tree(&tree).unwrap(), &image::of_tree(&seen).unwrap());
        fs::write(mount.join("written"), "by the kernel").unwrap();
        differences
    });
    succeed(Command::new("umount").arg(&mount));
    assert_eq!(seen.unwrap(), []);
    let view = View::open_path(&image).unwrap();
    assert_eq!(view.read(&path("/written"), 99).unwrap().unwrap(), b"by the kernel");
    assert_clean(&image);
}

/// An image file for `ext4_rs`, which reads a block at a time and a little beyond, and divides by the superblock's
/// descriptor size even where the format leaves it 0 and means 32.
struct Disk(File);

impl ext4_rs::BlockDevice for Disk {
    fn read_offset(&self, offset: usize) -> Vec<u8> {
        let mut bytes = vec![0; 4096 + 512];
        let mut read = 0;
        while let Ok(count @ 1..) = self.0.read_at(&mut bytes[read..], (offset + read) as u64) {
            read += count;
        }
        if offset == 1024 {
            bytes[0xfe..0x100].copy_from_slice(&32_u16.to_le_bytes());
        }
        bytes
    }

    fn write_offset(&self, _: usize, _: &[u8]) {
        panic!("a reader writes");
    }
}

#[test]
fn an_independent_reader_finds_every_path_and_content() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("x.ext4");
    let tree = nasty();
    image::write(&tree, &options(512 * MIB), &image, &Silent).unwrap();
    let fs = ext4_rs::Ext4::open(std::sync::Arc::new(Disk(File::open(&image).unwrap())));
    let mut found = 0;
    let mut todo = vec![(GuestPath::root(), 2)];
    while let Some((directory, number)) = todo.pop() {
        for entry in fs.ext4_dir_get_entries(number) {
            let name = entry.get_name();
            if entry.inode == 0 || matches!(name.as_str(), "." | ".." | "lost+found") {
                continue;
            }
            let place = directory.join(&name).unwrap();
            let node = tree.get(&place).unwrap_or_else(|| panic!("{place} is not in the tree"));
            found += 1;
            match &node.kind {
                NodeKind::Directory => todo.push((place, entry.inode)),
                NodeKind::File(content) if !content.is_empty() => {
                    let read = fs.ext4_file_read(entry.inode.into(), content.len() as u32, 0).unwrap();
                    assert!(read == content.read().unwrap(), "{place}");
                }
                _ => {}
            }
        }
    }
    assert_eq!(found, tree.len() - 1);
}

#[test]
fn debugfs_agrees_about_an_inode() {
    need("debugfs", "apt-get install e2fsprogs");
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("x.ext4");
    image::write(&nasty(), &options(512 * MIB), &image, &Silent).unwrap();
    let output = succeed(Command::new("debugfs").args(["-R", "stat /sizes/4097"]).arg(&image));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for expected in ["Mode:  0644", "User: 70000", "Group: 80000", "Size: 4097", "security.capability", "0x6553f100"] {
        assert!(text.contains(expected), "{expected} is missing from\n{text}");
    }
}

#[test]
fn a_full_disk_says_how_much_is_missing() {
    if !common::is_root("a disk that is full") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut tree = Tree::new(EPOCH);
    let large = NodeKind::File(Content::Bytes(vec![1; 30 << 20].into()));
    tree.insert(&path("/large"), Node::new(large, 0o644, EPOCH)).unwrap();
    succeed(Command::new("mount").args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"]).arg(dir.path()));
    let result = image::write(&tree, &options(64 * MIB), &dir.path().join("x.ext4"), &Silent);
    succeed(Command::new("umount").arg(dir.path()));
    let error = result.unwrap_err();
    let image::Error::Full { needed, .. } = error else { panic!("{error}") };
    assert!(needed > 18 * MIB && needed < 31 * MIB, "{needed}");
}

#[test]
fn damaged_images_are_errors_and_never_panics_or_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("x.ext4");
    let mut tree = Tree::new(EPOCH);
    for index in 0..300 {
        tree.insert_file(&format!("/etc/{index}/file"), 0o644, EPOCH, "text").unwrap();
        tree.insert_link(&format!("/link-{index}"), "etc/1/file", EPOCH).unwrap();
    }
    image::write(&tree, &options(16 * MIB), &image, &Silent).unwrap();
    let file = File::options().read(true).write(true).open(&image).unwrap();
    // Without the feature bit no checksum protects the reader.
    let mut features = [0; 4];
    file.read_exact_at(&mut features, 1024 + 0x64).unwrap();
    let open_features = u32::from_le_bytes(features) & !0x400;
    file.write_all_at(&open_features.to_le_bytes(), 1024 + 0x64).unwrap();
    let mut clean = vec![0; 16 << 20];
    file.read_exact_at(&mut clean, 0).unwrap();
    let used: Vec<usize> =
        (0..clean.len() / 4096).filter(|block| clean[block * 4096..][..4096].iter().any(|byte| *byte != 0)).collect();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..300 {
        let block = used[random(used.len())];
        for _ in 0..=random(8) {
            let at = block * 4096 + random(4096);
            file.write_all_at(&[random(256) as u8], at as u64).unwrap();
        }
        if let Ok(view) = View::open_path(&image) {
            for (place, _) in tree.iter() {
                let _ = view.read(place, MIB);
                let _ = view.names(place);
                let _ = view.read_link(place);
            }
        }
        file.write_all_at(&clean[block * 4096..][..4096], (block * 4096) as u64).unwrap();
    }
}
