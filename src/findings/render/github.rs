//! GitHub workflow commands.
//!
//! Source: `actions/toolkit`, `packages/core/src/command.ts`: data escapes `%`, CR and LF; properties also `:` and `,`.

use super::super::{Finding, Origin, Severity};
use crate::values::masked;
use std::fmt::Write as _;

/// One `::error …::message` line a finding; it annotates the first host file that the finding names.
pub fn github(findings: &[Finding]) -> String {
    findings.iter().map(command).collect()
}

fn command(finding: &Finding) -> String {
    let word = match finding.severity {
        _ if finding.waived.is_some() => "notice",
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "notice",
    };
    let mut out = format!("::{word} ");
    let file = finding.evidence.iter().find_map(|evidence| match &evidence.origin {
        Origin::File(file) => Some((file, evidence)),
        _ => None,
    });
    if let Some((file, at)) = file {
        let (line, column) = (at.line, at.column);
        let end = column + at.length;
        let _ = write!(out, "file={},line={line},col={column},endColumn={end},", property(file));
    }
    let _ = write!(out, "title={}::{}", property(finding.rule), data(&body(finding)));
    out + "\n"
}

/// The message, then every other place, note and the help, a line each.
fn body(finding: &Finding) -> String {
    let mut lines = vec![finding.message.clone()];
    lines.extend(finding.evidence.iter().skip(1).map(|evidence| {
        let label = if evidence.label.is_empty() { String::new() } else { format!(": {}", evidence.label) };
        super::place(evidence) + &label
    }));
    lines.extend(finding.notes.iter().cloned());
    lines.extend(finding.waived.iter().map(|reason| format!("waived: {reason}")));
    lines.extend(finding.help.iter().map(|help| format!("help: {help}")));
    lines.join("\n")
}

fn data(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(masked).collect();
    lines.join("\n").replace('%', "%25").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
