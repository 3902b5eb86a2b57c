//! The form for programs.

use super::super::{Finding, Severity};
use serde::Serialize;

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    errors: usize,
    warnings: usize,
    waived: usize,
    findings: &'a [Finding],
}

/// One document, `goldsmith.findings/v1`: the counts of what refuses, of warnings and of what is waived; then each
/// finding with the fields of [`Finding`]. Ends in a newline.
pub fn json(findings: &[Finding]) -> String {
    let count = |wanted: fn(&&Finding) -> bool| findings.iter().filter(wanted).count();
    let report = Report {
        schema: "goldsmith.findings/v1",
        errors: count(|finding| finding.refuses()),
        warnings: count(|finding| finding.severity == Severity::Warning && finding.waived.is_none()),
        waived: count(|finding| finding.waived.is_some()),
        findings,
    };
    // Strings, numbers and lists only: there is nothing serde_json could refuse.
    serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
}
