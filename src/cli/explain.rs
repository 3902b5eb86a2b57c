//! `goldsmith explain`

use super::terminal;
use crate::findings::{RuleDoc, Severity};
use crate::values::did_you_mean;
use crate::{gate, recipe};
use std::process::ExitCode;

/// Explain a rule: what it finds, why that is bad, how to fix it
///
/// Without a rule, lists all of them.
///
/// Example: goldsmith explain NET-K002
#[derive(clap::Args)]
pub struct Args {
    /// The rule's id or name, as in NET-K002
    rule: Option<String>,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let mut rules: Vec<RuleDoc> = recipe::RULES.iter().copied().chain(gate::rules()).collect();
    rules.sort_by_key(|rule| rule.id);
    let Some(wanted) = args.rule else {
        let lines: String =
            rules.iter().map(|rule| format!("{:9} {:8} {}\n", rule.id, word(rule.severity), rule.title)).collect();
        return super::man::print(lines.as_bytes());
    };
    let found = rules.iter().find(|rule| rule.id.eq_ignore_ascii_case(&wanted) || rule.slug == wanted);
    if let Some(rule) = found {
        let text =
            format!("{} ({}), {}\n\n{}\n\n{}\n", rule.id, rule.slug, word(rule.severity), rule.title, rule.text.trim());
        return super::man::print(text.as_bytes());
    }
    let names = rules.iter().flat_map(|rule| [rule.id, rule.slug]);
    let help = did_you_mean(&wanted.to_ascii_uppercase(), names.clone())
        .or_else(|| did_you_mean(&wanted, names))
        .map_or_else(|| "`goldsmith explain` lists all rules".to_owned(), |name| format!("did you mean `{name}`?"));
    terminal::fail(&std::io::Error::other(format!("there is no rule `{wanted}`\nhelp: {help}")));
    ExitCode::from(2)
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}
