//! Doors to the readers of this room, for `fuzz/` only.

use super::index::IndexText;
use super::release::{self, Release};
use super::resolve;
use super::universe::Universe;
use crate::recipe::Archive;
use crate::values::Sha256;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A `Packages` file, resolved: everything in it is asked for.
pub fn packages(text: &str) {
    let texts = [IndexText { archive: 0, text: text.to_owned() }];
    let universe = Universe::new(&texts, "amd64");
    let asked: Vec<_> = universe.numbers().collect();
    for number in &asked {
        let _ = universe.similar(universe.package(*number).name);
    }
    let _ = resolve::solve(&universe, &[], &asked);
}

/// The text that an `InRelease` signs.
pub fn release(text: &[u8]) {
    let _ = Release::parse(text, &archive(Path::new("")), now(), Sha256([0; 32]));
}

/// A signed message, compared with a keyring.
pub fn signed(message: &[u8], keyring: &Path) {
    let _ = release::verify(message, &archive(keyring), now());
}

fn archive(keyring: &Path) -> Archive {
    Archive {
        mirror: "http://mirror".to_owned(),
        suite: "bookworm".to_owned(),
        components: vec!["main".to_owned()],
        snapshot: None,
        keyring: keyring.to_owned(),
    }
}

/// The same for every input.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_000_000)
}
