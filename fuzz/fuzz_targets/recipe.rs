//! `check`: recipes with what they include. Files are parted by 0xff.
#![no_main]

use goldsmith::findings::render::Format;
use goldsmith::recipe;
use goldsmith_fuzz::choices::Choices;
use goldsmith_fuzz::files;
use libfuzzer_sys::fuzz_target;
use std::fs;
use std::sync::LazyLock;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(files::folder);
const NAMES: [&str; 4] = ["recipe.yaml", "base.yaml", "more.yaml", "overlay"];

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices(bytes);
    for name in NAMES {
        fs::write(FOLDER.path().join(name), choices.bytes()).expect("a file");
    }
    let set = [("port".to_owned(), "1".to_owned())];
    if let Err(findings) = recipe::load(&FOLDER.path().join("recipe.yaml"), &set) {
        for format in [Format::Human, Format::Json, Format::Sarif, Format::Github] {
            let text = format.render(&findings, recipe::RULES, true);
            assert!(text.len() < 16 << 20, "{} findings in {} bytes", findings.len(), text.len());
        }
    }
});
