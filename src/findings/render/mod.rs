//! Findings as text for people, JSON, SARIF 2.1.0 and GitHub annotations.

mod github;
mod human;
mod json;
mod sarif;

pub use github::github;
pub use human::human;
pub use json::{Report, json, report};
pub use sarif::sarif;

use super::{Evidence, Finding, Origin, RuleDoc};

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// `goldsmith.findings/v1`, for programs.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// GitHub workflow commands: annotations on the lines at fault.
    Github,
}

impl Format {
    /// Renders findings. `rules` documents the rules that may appear in them; `color` is for [`Format::Human`] only.
    pub fn render(self, findings: &[Finding], rules: &[RuleDoc], color: bool) -> String {
        match self {
            Self::Human => human(findings, color),
            Self::Json => json(findings),
            Self::Sarif => sarif(findings, rules),
            Self::Github => github(findings),
        }
    }
}

/// Where a piece of evidence is, as `file:line:column` wherever that means something.
fn place(evidence: &Evidence) -> String {
    let (line, column) = (evidence.line, evidence.column);
    match &evidence.origin {
        Origin::File(file) => format!("{file}:{line}:{column}"),
        Origin::Guest { image, path } => format!("{image}:{path}:{line}:{column}"),
        Origin::Arguments => format!("boot args, column {column}"),
        Origin::Manifest(file) => format!("{file}:{line}:{column}"),
        Origin::Host(name) => format!("host, {name}"),
    }
}

#[cfg(test)]
mod tests;
