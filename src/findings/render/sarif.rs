//! SARIF 2.1.0 (OASIS), the subset that code scanning services read.

use super::super::{Evidence, Finding, Origin, RuleDoc, Severity};
use crate::values::escaped_json;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// One log with one run. `rules` documents the rules; those without findings are left out.
pub fn sarif(findings: &[Finding], rules: &[RuleDoc]) -> String {
    let used: BTreeSet<&str> = findings.iter().map(|finding| finding.rule).collect();
    let descriptors: Vec<_> = used.iter().map(|id| descriptor(id, rules)).collect();
    let results: Vec<_> = findings.iter().map(result).collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "goldsmith",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": descriptors,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    escaped_json(&format!("{log:#}\n")).into_owned()
}

fn descriptor(id: &str, rules: &[RuleDoc]) -> Value {
    match rules.iter().find(|rule| rule.id == id) {
        Some(rule) => json!({
            "id": id,
            "name": rule.slug,
            "shortDescription": { "text": rule.title },
            "help": { "text": rule.text, "markdown": rule.text },
            "defaultConfiguration": { "level": level(rule.severity) },
        }),
        None => json!({ "id": id }),
    }
}

fn result(finding: &Finding) -> Value {
    let mut text = finding.message.clone();
    for line in finding.notes.iter().chain(&finding.help) {
        let _ = write!(text, "\n{line}");
    }
    let mut places = finding.evidence.iter().map(location);
    let mut result = json!({
        "ruleId": finding.rule,
        "level": level(finding.severity),
        "message": { "text": text },
        "locations": places.next().into_iter().collect::<Vec<_>>(),
        "relatedLocations": places.collect::<Vec<_>>(),
    });
    if let (Some(reason), Some(result)) = (&finding.waived, result.as_object_mut()) {
        result.insert("suppressions".into(), json!([{ "kind": "external", "justification": reason }]));
    }
    result
}

fn location(evidence: &Evidence) -> Value {
    let region = json!({
        "startLine": evidence.line.max(1),
        "startColumn": evidence.column.max(1),
        "endColumn": evidence.column.max(1) + evidence.length.max(1),
        "snippet": { "text": evidence.text },
    });
    let physical = |file: &str| json!({ "artifactLocation": { "uri": uri(file) }, "region": region });
    let logical = |name: &str| json!([{ "fullyQualifiedName": name }]);
    let message = json!({ "text": if evidence.label.is_empty() { "here" } else { evidence.label.as_str() } });
    match &evidence.origin {
        Origin::File(file) | Origin::Manifest(file) => {
            json!({ "physicalLocation": physical(file), "message": message })
        }
        Origin::Guest { image, path } => json!({
            "physicalLocation": { "artifactLocation": { "uri": uri(image) } },
            "logicalLocations": logical(&format!("{path}:{}:{}", evidence.line, evidence.column)),
            "message": message,
        }),
        Origin::Arguments => json!({
            "logicalLocations": logical(&format!("boot arguments, column {}", evidence.column)),
            "message": message,
        }),
        Origin::Host(name) => json!({ "logicalLocations": logical(name), "message": message }),
    }
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

/// A path as a URI reference (RFC 3986): what is not unreserved or a slash is percent-encoded.
fn uri(path: &str) -> String {
    let mut out = if path.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
