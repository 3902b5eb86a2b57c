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
use std::path::Path;

/// The `schema:` value this version reads.
pub const SCHEMA: &str = "goldsmith/v1";

/// Reads a recipe with everything it includes. On failure: every problem there is, in the order of the files.
pub fn load(path: &Path, set: &[(String, String)]) -> Result<Recipe, Vec<Finding>> {
    let mut report = Report::default();
    let recipe = load::read(path, &mut report).map(|item| {
        let values = load::parameters(&item, set, &mut report);
        let item = load::apply(item, &values, &mut report);
        check::check(&item, &keys::Shape::Object(keys::RECIPE), "the recipe", &mut report);
        decode::decode(&item, &mut report)
    });
    match recipe {
        Some(recipe) if report.findings.iter().all(|finding| finding.severity != Severity::Error) => Ok(recipe),
        _ => Err(report.findings),
    }
}

#[cfg(test)]
mod tests;
