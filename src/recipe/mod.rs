//! A recipe: YAML files → one typed, complete [`Recipe`].
//!
//! In: a path and `--set` values. Out: a [`Recipe`] in which every value is valid and every path absolute, or all
//! findings at once, each with file, line and column. Owns includes, parameters, the JSON Schema. Uses `boot`,
//! `door`, `findings`, `network`, `values`, `yaml`.

mod check;
mod decode;
mod keys;
mod load;
mod model;
#[cfg(test)]
mod reference;
mod rules;
mod schema;
mod source;

pub use model::*;
pub use rules::RULES;
pub(crate) use rules::STALE_LOCK;
pub use schema::schema;

use crate::findings::{Finding, Severity};
use source::Report;
use std::path::{Path, PathBuf};

/// The `schema:` value this version reads.
pub const SCHEMA: &str = "goldsmith/v1";

/// Where a recipe's files may lie.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Confinement {
    /// Anywhere that whoever builds can read.
    #[default]
    Anywhere,
    /// Below the recipe's repository: the nearest folder above it with a `.git`, else its own folder.
    Repository,
    /// Below this folder.
    Folder(PathBuf),
}

impl Confinement {
    /// The folder for a recipe, without links; none for anywhere.
    fn boundary(&self, recipe: &Path) -> Option<PathBuf> {
        let folder = match self {
            Self::Anywhere => return None,
            Self::Folder(folder) => return Some(source::real(folder)),
            Self::Repository => source::real(std::path::absolute(recipe).ok()?.parent()?),
        };
        let repository = folder.ancestors().find(|folder| folder.join(".git").exists());
        Some(repository.unwrap_or(&folder).to_owned())
    }
}

/// Reads a recipe with everything it includes. On failure: every problem there is, in the order of the files.
pub fn load(path: &Path, set: &[(String, String)]) -> Result<Recipe, Vec<Finding>> {
    load_confined(path, set, &Confinement::Anywhere)
}

/// The same; whatever the recipe names must lie within `confinement`.
pub fn load_confined(path: &Path, set: &[(String, String)], confinement: &Confinement) -> Result<Recipe, Vec<Finding>> {
    let mut report = Report::within(confinement.boundary(path));
    let recipe = load::read(path, &mut report).map(|item| {
        let values = load::parameters(&item, set, &mut report);
        let item = load::apply(item, &values, &mut report);
        // What is beside the recipe under this name is read as its lock.
        let lock = report.folder(item.place).join(format!("{}.lock", item.text_of("name").unwrap_or_default()));
        report.confined(&lock, item.place, "the lock");
        check::check(&item, &keys::Shape::Object(keys::RECIPE), "the recipe", &mut report);
        decode::decode(&item, &mut report)
    });
    match recipe {
        Some(recipe) if report.findings.iter().all(|finding| finding.severity != Severity::Error) => Ok(recipe),
        _ => Err(report.finish()),
    }
}

#[cfg(test)]
mod tests;
