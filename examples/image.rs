//! Writes a directory as an ext4 image with goldsmith's own writer and digests it: what `make bench` measures beside
//! `mke2fs -d`, mkext4's example program and `dd`.
//!
//! Usage: image DIRECTORY IMAGE BYTES

use goldsmith::image::{self, Options};
use goldsmith::progress::Silent;
use goldsmith::tree::capture;
use std::fs::File;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, directory, dest, size] = &arguments[..] else { return Err("usage: image DIRECTORY IMAGE BYTES".into()) };
    let options = Options {
        size: size.parse()?,
        label: "golden".to_owned(),
        uuid: *b"goldsmith-sample",
        hash_seed: [1, 2, 3, 4],
        epoch: 1_700_000_000,
    };
    let start = Instant::now();
    let tree = capture(Path::new(directory), options.epoch)?;
    let captured = start.elapsed();
    let summary = image::write(&tree, &options, Path::new(dest), &Silent)?;
    let written = start.elapsed().checked_sub(captured).unwrap();
    let start = Instant::now();
    let digest = image::verity::digest(&File::open(dest)?)?;
    println!("capture {captured:?}, write {written:?}, digest {:?}: {digest}", start.elapsed());
    println!("{summary:?}");
    Ok(())
}
