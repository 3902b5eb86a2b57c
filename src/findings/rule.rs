//! What a rule says about itself.

use super::Severity;
use std::fmt::Write as _;

/// The documentation of a rule: `goldsmith explain`, SARIF and the web page come from this one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleDoc {
    /// Stable id, never reused: `REC-004`, `NET-K002`.
    pub id: &'static str,
    /// The id in words: `unknown-key`.
    pub slug: &'static str,
    /// The most its findings weigh.
    pub severity: Severity,
    /// One sentence: what it finds.
    pub title: &'static str,
    /// Why that is bad, an example, how to fix it. Markdown.
    pub text: &'static str,
}

impl RuleDoc {
    /// The rule's page, `docs/rules/NET-K002.md`.
    pub fn page(&self) -> String {
        let Self { id, slug, title, .. } = self;
        // Headings in the text stand below the page's own.
        let text: String = self.text.lines().map(str::trim).map(deeper).collect();
        format!("# {id} {slug}\n\n{title} ({})\n\n{}\n", self.severity.word(), text.trim())
    }
}

fn deeper(line: &str) -> String {
    if line.starts_with('#') { format!("#{line}\n\n") } else { format!("{line}\n") }
}

/// The index of the pages, `docs/rules/README.md`: one table for each family of rules.
pub fn index(rules: &[RuleDoc]) -> String {
    const FAMILIES: &[(&str, &str)] = &[
        ("REC-", "Recipes"),
        ("IMG-", "Image folders"),
        ("NET-K", "Kernel arguments"),
        ("NET-N", "netplan"),
        ("NET-D", "systemd-networkd and who starts at all"),
        ("NET-U", "ifupdown"),
        ("NET-M", "NetworkManager and others"),
        ("NET-C", "cloud-init"),
        ("NET-A", "Names"),
        ("NET-I", "Identity of clones"),
        ("NET-H", "The host"),
        ("NET-G", "The manifest's contract, and what cannot be known"),
    ];
    let mut out = String::from(
        "# Rules\n\nWhat goldsmith finds. `goldsmith explain NET-K002` prints a page; this folder is written by `goldsmith explain \
         --markdown docs/rules`.\n\nThe severity is the most that a finding of the rule weighs: what works all the same is a warning. `error` \
         refuses a build or a boot; `--allow RULE=REASON` lets it through and is recorded.\n",
    );
    for (start, name) in FAMILIES {
        let mut mine: Vec<_> = rules.iter().filter(|rule| rule.id.starts_with(start)).collect();
        mine.sort_by_key(|rule| rule.id);
        if mine.is_empty() {
            continue;
        }
        let _ = write!(out, "\n## {name}\n\n| rule | | |\n|---|---|---|\n");
        for rule in mine {
            let _ = writeln!(
                out,
                "| [{0}]({0}.md) {1} | {2} | {3} |",
                rule.id,
                rule.slug,
                rule.severity.word(),
                rule.title
            );
        }
    }
    out
}
