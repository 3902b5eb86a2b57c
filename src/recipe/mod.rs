//! A recipe: YAML files → one typed, complete [`Recipe`].
//!
//! In: a path and `--set` values. Out: a [`Recipe`] in which every value is valid and every path absolute, or all
//! findings at once, each with file, line and column. Owns includes, parameters, the JSON Schema. Uses `boot`,
//! `findings`, `network`, `values`, `yaml`.

mod check;
mod decode;
mod keys;
mod load;
mod model;
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

/// A parameter type by its name in the recipe.
fn kind(name: &str) -> Option<ParameterKind> {
    Some(match name {
        "bool" => ParameterKind::Bool,
        "string" => ParameterKind::String,
        "integer" => ParameterKind::Integer,
        "port" => ParameterKind::Port,
        _ => return None,
    })
}

impl ParameterKind {
    /// The name of the type in recipes and manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Port => "port",
        }
    }

    /// Whether a text is a value of this type, and why not.
    pub fn accepts(self, text: &str) -> Result<(), String> {
        let (good, expected) = match self {
            Self::Bool => (matches!(text, "true" | "false"), "`true` or `false`"),
            Self::Integer => (text.parse::<i64>().is_ok(), "a whole number"),
            Self::Port => (text.parse::<u16>().is_ok_and(|port| port > 0), "a port, 1 to 65535"),
            Self::String => (
                !text.is_empty()
                    && text.len() <= 512
                    && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\''),
                "a text of printable ASCII without white space and quotes",
            ),
        };
        if good { Ok(()) } else { Err(format!("`{text}` is not {expected}")) }
    }
}

#[cfg(test)]
mod tests;
