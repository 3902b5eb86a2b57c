//! `goldsmith explain`

use super::terminal;
use crate::findings::{RuleDoc, index};
use crate::values::did_you_mean;
use crate::{gate, recipe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Explain a rule: what it finds, why that is bad, how to fix it
///
/// Without a rule, lists all of them.
///
/// Example: goldsmith explain NET-K002
#[derive(clap::Args)]
pub struct Args {
    /// The rule's id or name, as in NET-K002
    #[arg(conflicts_with = "markdown")]
    rule: Option<String>,
    /// Write a page for every rule, and an index, into a folder
    #[arg(long, value_name = "DIR")]
    markdown: Option<PathBuf>,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let rules = all();
    if let Some(folder) = args.markdown {
        return match write(&folder, &rules) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                terminal::fail(&error);
                ExitCode::FAILURE
            }
        };
    }
    let Some(wanted) = args.rule else {
        let lines: String =
            rules.iter().map(|rule| format!("{:9} {:8} {}\n", rule.id, rule.severity.word(), rule.title)).collect();
        return super::man::print(lines.as_bytes());
    };
    let found = rules.iter().find(|rule| rule.id.eq_ignore_ascii_case(&wanted) || rule.slug == wanted);
    if let Some(rule) = found {
        let body: String = rule.text.trim().lines().map(|line| format!("{}\n", line.trim())).collect();
        let text = format!("{} ({}), {}\n\n{}\n\n{body}", rule.id, rule.slug, rule.severity.word(), rule.title);
        return super::man::print(text.as_bytes());
    }
    let names = rules.iter().flat_map(|rule| [rule.id, rule.slug]);
    let help = did_you_mean(&wanted.to_ascii_uppercase(), names.clone())
        .or_else(|| did_you_mean(&wanted, names))
        .map_or_else(|| "`goldsmith explain` lists all rules".to_owned(), |name| format!("did you mean `{name}`?"));
    terminal::fail(&std::io::Error::other(format!("there is no rule `{wanted}`\nhelp: {help}")));
    ExitCode::from(2)
}

/// Every rule, by id.
fn all() -> Vec<RuleDoc> {
    let mut rules: Vec<RuleDoc> = recipe::RULES.iter().copied().chain(gate::rules()).collect();
    rules.sort_by_key(|rule| rule.id);
    rules
}

/// The pages, by file name.
fn pages(rules: &[RuleDoc]) -> Vec<(String, String)> {
    let pages = rules.iter().map(|rule| (format!("{}.md", rule.id), rule.page()));
    pages.chain(std::iter::once(("README.md".to_owned(), index(rules)))).collect()
}

fn write(folder: &Path, rules: &[RuleDoc]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    pages(rules).into_iter().try_for_each(|(name, text)| std::fs::write(folder.join(name), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_pages_are_fresh() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rules");
        let help = "type `cargo run -- explain --markdown docs/rules`";
        let pages = pages(&all());
        for (name, text) in &pages {
            let committed = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
            assert_eq!(&committed, text, "docs/rules/{name} is stale: {help}");
        }
        let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let stray: Vec<_> = names.filter(|name| !pages.iter().any(|(page, _)| page == name)).collect();
        assert!(stray.is_empty(), "docs/rules holds pages of no rule: {stray:?}");
    }

    #[test]
    fn a_page_says_why_and_what_to_do() {
        let rules = all();
        let page = rules.iter().find(|rule| rule.id == "NET-K002").unwrap().page();
        assert!(
            page.starts_with("# NET-K002 static-ip-vs-dhcp\n\nA static address on the kernel command line meets DHCP")
        );
        assert!(page.contains("\n## Why it is refused\n\n") && page.contains("\n## Fix\n\n"));
    }
}
