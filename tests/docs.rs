//! The documents stay true: every dependency has its reason, every manifest field is described, every link leads
//! somewhere.

#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The texts between back quotes.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn every_dependency_has_its_reason_and_none_is_left_over() {
    let text = read("docs/dependencies.md");
    let named: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split('|').next())
        // What stands in parentheses are features.
        .map(|cell| cell.split('(').next().unwrap_or_default())
        .flat_map(|cell| cell.split('`').step_by(2).map(|name| name.trim().to_owned()))
        .filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect();
    let mut wanted = BTreeSet::new();
    for manifest in ["Cargo.toml", "agent/Cargo.toml"] {
        let (text, mut inside) = (read(manifest), false);
        for line in text.lines() {
            if line.starts_with('[') {
                inside = matches!(line, "[dependencies]" | "[dev-dependencies]");
            } else if let Some((name, _)) = line.split_once('=').filter(|_| inside) {
                wanted.insert(name.trim().trim_end_matches(".workspace").to_owned());
            }
        }
    }
    let missing: Vec<_> = wanted.difference(&named).collect();
    assert!(missing.is_empty(), "docs/dependencies.md does not say why there is {missing:?}");
    let left: Vec<_> = named.difference(&wanted).collect();
    assert!(left.is_empty(), "docs/dependencies.md names {left:?}, which no Cargo.toml has");
}

#[test]
fn every_field_of_the_manifest_is_described() {
    fn names(value: &serde_json::Value, into: &mut BTreeSet<String>) {
        if let Some(properties) = value.get("properties").and_then(|properties| properties.as_object()) {
            into.extend(properties.keys().cloned());
        }
        match value {
            serde_json::Value::Object(map) => map.values().for_each(|value| names(value, into)),
            serde_json::Value::Array(items) => items.iter().for_each(|value| names(value, into)),
            _ => {}
        }
    }
    let mut fields = BTreeSet::new();
    names(&goldsmith::manifest::schema(), &mut fields);
    let text = read("docs/manifest.md");
    let words: BTreeSet<_> = quoted(&text).into_iter().flat_map(|text| text.split(['.', '[', ']'])).collect();
    // Those of `network.declared` are the recipe's own: docs/recipe.md.
    let recipe = ["interface", "mode", "address", "gateway"];
    let missing: Vec<_> =
        fields.iter().filter(|field| !words.contains(field.as_str()) && !recipe.contains(&field.as_str())).collect();
    assert!(missing.is_empty(), "docs/manifest.md does not describe {missing:?}");
}

#[test]
fn every_link_leads_to_a_file() {
    let mut documents: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].iter().map(|name| root().join(name)).collect();
    let folder = fs::read_dir(root().join("docs")).unwrap();
    documents.extend(folder.map(|entry| entry.unwrap().path()).filter(|path| path.extension() == Some("md".as_ref())));
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") || link.starts_with('#') {
                continue;
            }
            let target = document.parent().unwrap().join(link.split('#').next().unwrap_or_default());
            assert!(target.exists(), "{} links to {link}, which is not there", document.display());
        }
    }
}

/// What editors are told must be what the program says (`src/recipe/reference.rs` keeps the file fresh).
#[test]
fn every_recipe_names_the_schema_that_is_there() {
    for entry in fs::read_dir(root().join("recipes")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() == Some("yaml".as_ref()) {
            let text = fs::read_to_string(&path).unwrap();
            let first = text.lines().next().unwrap_or_default();
            let schema = first.strip_prefix("# yaml-language-server: $schema=");
            let schema = schema.unwrap_or_else(|| panic!("{} does not name its schema", path.display()));
            assert!(path.parent().unwrap().join(schema).exists(), "{}: {schema}", path.display());
        }
    }
}
