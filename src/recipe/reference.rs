//! The documents that are made from the table of keys: `docs/recipe.md` (the part between its two marks) and
//! `docs/recipe.schema.json`. Only tests use this: they fail while a document is stale, and
//! `UPDATE_SCHEMA=1 cargo test --lib recipe::` writes it.

use super::keys::{Key, RECIPE, Shape};
use std::path::Path;

const BEGIN: &str = "<!-- keys: made from src/recipe/keys.rs by `UPDATE_SCHEMA=1 cargo test --lib recipe::` -->\n";
const END: &str = "<!-- end of keys -->\n";

/// One table a mapping: the recipe itself, then every mapping in it.
fn reference() -> String {
    let mut text = String::new();
    table("The recipe", "", RECIPE, &mut text);
    text
}

fn table(title: &str, prefix: &str, keys: &[Key], text: &mut String) {
    *text += &format!("\n### {title}\n\n| key | value | |\n|---|---|---|\n");
    for key in keys {
        let name = if key.required { format!("**`{}`**", key.name) } else { format!("`{}`", key.name) };
        *text += &format!("| {name} | {} | {} |\n", value(&key.shape), key.doc.replace('|', "\\|"));
    }
    for key in keys {
        if let Some((keys, form)) = mapping(&key.shape) {
            let path = format!("{prefix}{}{form}", key.name);
            table(&format!("`{path}`"), &format!("{path}."), keys, text);
        }
    }
}

/// The keys of a mapping inside a shape, and how its place is written after the key's name.
fn mapping(shape: &Shape) -> Option<(&'static [Key], &'static str)> {
    match shape {
        Shape::Object(keys) => Some((keys, "")),
        Shape::List(Shape::Object(keys)) => Some((keys, "[]")),
        Shape::Map(Shape::Object(keys)) => Some((keys, ".NAME")),
        _ => None,
    }
}

fn value(shape: &Shape) -> String {
    match shape {
        Shape::Scalar(form) => form.expected().to_owned(),
        Shape::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or "),
        Shape::List(Shape::Object(_)) => "a list of mappings".to_owned(),
        Shape::List(Shape::Words) => "a list of commands".to_owned(),
        Shape::List(item) => format!("a list, each {}", value(item)),
        Shape::Map(_) => "a mapping of names of your own".to_owned(),
        Shape::Object(_) => "a mapping".to_owned(),
        Shape::Words => "a command as a list of words".to_owned(),
    }
}

/// Compares a document with what it should be, after writing it when asked to.
fn fresh(path: &Path, wanted: &str) {
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, wanted).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == wanted, "{} is stale: type `UPDATE_SCHEMA=1 cargo test --lib recipe::`", path.display());
}

#[test]
fn the_reference_names_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipe.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("docs/recipe.md has the first mark");
    let (_, after) = rest.split_once(END).expect("docs/recipe.md has the second mark");
    fresh(&path, &format!("{before}{BEGIN}{}\n{END}{after}", reference()));
}

#[test]
fn the_committed_schema_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipe.schema.json");
    fresh(&path, &format!("{:#}\n", super::schema()));
}
