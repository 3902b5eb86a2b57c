//! The form for programs.

use super::super::{Finding, Severity};
use crate::values::escaped_json;
use schemars::JsonSchema;
use serde::Serialize;

/// What checks found, as programs read it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Report<'a> {
    /// Always `goldsmith.findings/v1`.
    pub schema: &'static str,
    /// How many findings refuse.
    pub errors: usize,
    /// How many are warnings.
    pub warnings: usize,
    /// How many are let through.
    pub waived: usize,
    /// The findings, refusals first.
    pub findings: &'a [Finding],
}

/// One document, `goldsmith.findings/v1`: the counts of what refuses, of warnings and of what is waived; then each
/// finding with the fields of [`Finding`]. Ends in a newline.
pub fn json(findings: &[Finding]) -> String {
    // Strings, numbers and lists only: there is nothing serde_json could refuse.
    escaped_json(&serde_json::to_string_pretty(&report(findings)).unwrap_or_default()).into_owned() + "\n"
}

/// The document that [`json`] prints.
pub fn report(findings: &[Finding]) -> Report<'_> {
    let count = |wanted: fn(&&Finding) -> bool| findings.iter().filter(wanted).count();
    Report {
        schema: "goldsmith.findings/v1",
        errors: count(|finding| finding.refuses()),
        warnings: count(|finding| finding.severity == Severity::Warning && finding.waived.is_none()),
        waived: count(|finding| finding.waived.is_some()),
        findings,
    }
}
