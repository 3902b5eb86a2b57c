//! ext4 images with edits: a field of a structure has another value, and every checksum is right.

use crate::choices::Choices;
use crate::layout::{Layout, number};
use crate::files;
use goldsmith::image;
use goldsmith::progress::Silent;
use goldsmith::tree::{Content, Tree};
use std::collections::BTreeSet;
use std::io::Read as _;

/// The most edits of one image.
const MOST: usize = 16;

/// A sound image that edits start from.
pub struct Base {
    pub bytes: Vec<u8>,
    layout: Layout,
}

impl Base {
    fn new(bytes: Vec<u8>) -> Self {
        let layout = Layout::of(&bytes);
        // What is repaired without an edit is as it was: these checksums are those of whoever made the image.
        let mut same = bytes.clone();
        layout.repair(&mut same, &(0..layout.structures.len()).collect());
        assert!(same == bytes, "a checksum is computed in another way than by what made the image");
        Self { bytes, layout }
    }
}

/// Images by mke2fs (`fuzz/seed` makes them anew) and one by goldsmith.
pub fn bases() -> Vec<Base> {
    let made: [&[u8]; 4] = [
        include_bytes!("../images/extents.ext4.gz"),
        include_bytes!("../images/blocks.ext4.gz"),
        include_bytes!("../images/inline.ext4.gz"),
        include_bytes!("../images/meta.ext4.gz"),
    ];
    let unpacked = made.into_iter().map(|packed| {
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes).expect("an image");
        bytes
    });
    std::iter::once(own()).chain(unpacked).map(Base::new).collect()
}

/// An image that goldsmith writes.
pub fn own() -> Vec<u8> {
    let mut tree = Tree::new(0);
    let netplan = b"network:\n  version: 2\n  ethernets:\n    eth0: {addresses: [192.168.100.12/24]}\n";
    for (path, bytes) in [
        ("/etc/machine-id", &b""[..]),
        ("/etc/netplan/01-netcfg.yaml", netplan),
        ("/etc/systemd/network/10.network", b"[Match]\nName=e*\n[Network]\nDHCP=yes\n"),
        ("/usr/lib/systemd/system/systemd-networkd.service", b"[Service]\n"),
        ("/usr/lib/systemd/system-generators/netplan", b"x"),
        ("/usr/lib/large", &[7; 10_000]),
    ] {
        tree.insert_file(path, 0o600, 0, Content::Bytes(bytes.into())).expect("a tree");
    }
    let wants = "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service";
    tree.insert_link(wants, "/usr/lib/systemd/system/systemd-networkd.service", 0).expect("a tree");
    tree.insert_link("/lib", "usr/lib", 0).expect("a tree");
    for number in 0..80 {
        let path = format!("/var/many/{number:0>40}");
        tree.insert_file(&path, 0o644, 0, Content::Bytes(b"".as_slice().into())).expect("a tree");
    }
    let options = image::Options { size: 16 << 20, label: "golden".to_owned(), uuid: [7; 16], hash_seed: [1, 2, 3, 4], epoch: 0 };
    let folder = files::folder();
    let path = folder.path().join("image");
    image::write(&tree, &options, &path, &Silent).expect("an image");
    std::fs::read(&path).expect("an image")
}

/// An image with the edits that an input asks for.
pub fn edited(base: &Base, choices: &mut Choices) -> Vec<u8> {
    let mut image = base.bytes.clone();
    let mut changed = BTreeSet::new();
    let repair = choices.byte() < 240;
    for _ in 0..MOST {
        if choices.is_over() {
            break;
        }
        let index = choices.short() % base.layout.structures.len();
        let structure = &base.layout.structures[index];
        let how = choices.byte();
        let (at, width) = match how % 8 {
            // Any byte of it.
            0 => (choices.short() % structure.len, 1),
            _ => *choices.one(&structure.fields),
        };
        let place = structure.at + at;
        let old = number(&image, place, width);
        let value = match how / 8 % 4 {
            0 => choices.number(),
            1 => old.wrapping_add_signed(i64::from(choices.byte() as i8)),
            2 => old ^ 1 << (choices.byte() % 64),
            // What another structure of the same kind has there.
            _ => {
                let kind = std::mem::discriminant(&structure.kind);
                let kin: Vec<_> = base.layout.structures.iter().filter(|one| std::mem::discriminant(&one.kind) == kind).collect();
                number(&image, choices.one(&kin).at + at, width)
            }
        };
        image[place..place + width].copy_from_slice(&value.to_le_bytes()[..width]);
        changed.insert(index);
    }
    if repair {
        base.layout.repair(&mut image, &changed);
    }
    image
}
