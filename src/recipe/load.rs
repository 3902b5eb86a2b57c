//! Reading: files, includes, parameters → one merged item tree.

use super::rules::{INCLUDE_CYCLE, PARAMETER, SYNTAX, UNKNOWN_KEY, UNREADABLE, WRONG_TYPE};
use super::source::{Item, ItemValue, Place, Report, Source};
use crate::door;
use crate::findings::{Finding, Severity};
use crate::values::{ParameterKind, did_you_mean};
use crate::yaml::{self, MAX_TEXT, Span};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Parameter values by name, with their types.
pub(super) type Values = BTreeMap<String, (ParameterKind, String)>;

const START: Span = Span { line: 1, column: 1, length: 1 };

/// Reads a recipe and everything it includes; none when the file itself cannot be used.
pub(super) fn read(path: &Path, report: &mut Report) -> Option<Item> {
    file(path, path.to_string_lossy().into_owned(), None, &mut Vec::new(), report)
}

fn file(
    path: &Path,
    shown: String,
    from: Option<Place>,
    chain: &mut Vec<PathBuf>,
    report: &mut Report,
) -> Option<Item> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = fs::canonicalize(path).unwrap_or_else(|_| absolute.clone());
    if let (Some(place), Some(start)) = (from, chain.iter().position(|known| *known == real)) {
        let names: Vec<_> = chain
            .iter()
            .skip(start)
            .chain([&real])
            .map(|path| path.file_name().unwrap_or_default().to_string_lossy())
            .collect();
        report.error(
            INCLUDE_CYCLE,
            place,
            format!("{shown} includes itself: {}", names.join(" → ")),
            "closes the circle",
            None,
        );
        return None;
    }
    let text = match door::read_text(path, "a recipe", MAX_TEXT as u64) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("cannot read {shown}: {}", error.problem);
            match from {
                Some(place) => report.error(UNREADABLE, place, message, "included here", None),
                None => report.findings.push(Finding::new(UNREADABLE, Severity::Error, message)),
            }
            return None;
        }
    };
    let source = report.sources.len();
    report.sources.push(Source { shown, path: absolute, text });
    let place = |span| Place { source, span };
    let parsed = yaml::parse(report.sources.get(source).map(|source| source.text.as_str()).unwrap_or_default());
    let item = match parsed {
        Ok(node) => Item::from_node(&node, source),
        Err(error) => {
            report.error(SYNTAX, place(error.span), error.message, "here", None);
            return None;
        }
    };
    match &item.value {
        ItemValue::Map(_) => {}
        ItemValue::Null => {
            report.error(
                WRONG_TYPE,
                place(START),
                "the recipe is empty",
                "nothing here",
                Some("a recipe begins with `schema: goldsmith/v1`".to_owned()),
            );
            return None;
        }
        _ => {
            report.error(
                WRONG_TYPE,
                item.place,
                format!("the recipe is {}, expected a mapping", item.kind()),
                "not a mapping",
                None,
            );
            return None;
        }
    }
    chain.push(real);
    let below = includes(&item, path, chain, report);
    chain.pop();
    Some(match below {
        Some(below) => item.over(below),
        None => item,
    })
}

/// All included files, merged in order.
fn includes(item: &Item, path: &Path, chain: &mut Vec<PathBuf>, report: &mut Report) -> Option<Item> {
    let mut merged: Option<Item> = None;
    for include in item.items_of("include") {
        let Some(name) = include.text() else { continue };
        let target = path.parent().unwrap_or(Path::new("")).join(name);
        let shown = target.to_string_lossy().into_owned();
        let Some(mut next) = file(&target, shown, Some(include.place), chain, report) else { continue };
        if let ItemValue::Map(entries) = &mut next.value {
            // What a file includes and what it is called is its own affair.
            entries.retain(|entry| !matches!(entry.key.as_str(), "include" | "name"));
        }
        merged = Some(match merged {
            Some(below) => next.over(below),
            None => next,
        });
    }
    merged
}

/// The values of all declared parameters: from `--set`, else their defaults.
pub(super) fn parameters(item: &Item, set: &[(String, String)], report: &mut Report) -> Values {
    let mut values = Values::new();
    let declared = item.get("parameters");
    for entry in declared.map(Item::entries).unwrap_or_default() {
        let Some(kind) = entry.item.text_of("type").and_then(ParameterKind::from_name) else { continue };
        let chosen = set.iter().rev().find(|(name, _)| *name == entry.key).map(|(_, value)| value.as_str());
        match chosen.or_else(|| entry.item.text_of("default")) {
            None => {
                let help = format!("give it a default, or `--set {}=VALUE`", entry.key);
                report.error(
                    PARAMETER,
                    entry.place,
                    format!("the parameter `{}` has no value", entry.key),
                    "no default",
                    Some(help),
                );
            }
            Some(value) => match kind.accepts(value) {
                Ok(()) => {
                    values.insert(entry.key.clone(), (kind, value.to_owned()));
                }
                Err(problem) => report.error(
                    PARAMETER,
                    entry.place,
                    format!("the parameter `{}`: {problem}", entry.key),
                    "declared here",
                    None,
                ),
            },
        }
    }
    let names: Vec<_> =
        declared.map(Item::entries).unwrap_or_default().iter().map(|entry| entry.key.as_str()).collect();
    for (name, _) in set.iter().filter(|(name, _)| !names.contains(&name.as_str())) {
        let mut finding =
            Finding::new(PARAMETER, Severity::Error, format!("`--set {name}`: the recipe declares no such parameter"));
        finding.help = Some(match did_you_mean(name, names.iter().copied()) {
            Some(similar) => format!("did you mean `{similar}`?"),
            None if names.is_empty() => "this recipe has no parameters".to_owned(),
            None => format!("its parameters are: {}", names.join(", ")),
        });
        report.findings.push(finding);
    }
    values
}

/// Applies parameters: conditional list entries and `${NAME}` in texts.
pub(super) fn apply(item: Item, values: &Values, report: &mut Report) -> Item {
    let Item { place, value } = item;
    let value = match value {
        ItemValue::Scalar { text, quoted } => {
            ItemValue::Scalar { text: substitute(&text, place, values, report), quoted }
        }
        ItemValue::List(items) => {
            let items = items.into_iter().flat_map(|item| branch(item, values, report)).collect::<Vec<_>>();
            ItemValue::List(items.into_iter().map(|item| apply(item, values, report)).collect())
        }
        ItemValue::Map(entries) => ItemValue::Map(
            entries
                .into_iter()
                .map(|entry| match entry.key.as_str() {
                    "parameters" => entry,
                    _ => super::source::Entry { item: apply(entry.item, values, report), ..entry },
                })
                .collect(),
        ),
        ItemValue::Null => ItemValue::Null,
    };
    Item { place, value }
}

/// A list entry, or the entries of a conditional one whose parameter is true. `not NAME` negates.
fn branch(item: Item, values: &Values, report: &mut Report) -> Vec<Item> {
    let (Some(condition), Some(then)) = (item.get("when"), item.get("then")) else { return vec![item] };
    let Some(text) = condition.text() else { return vec![item] };
    for entry in item.entries().iter().filter(|entry| !matches!(entry.key.as_str(), "when" | "then")) {
        let message = format!("unknown key `{}` in a conditional entry", entry.key);
        let help = did_you_mean(&entry.key, ["when", "then"]).map_or_else(
            || "the keys of a conditional entry are: when, then".to_owned(),
            |name| format!("did you mean `{name}`?"),
        );
        report.error(UNKNOWN_KEY, entry.place, message, "unknown", Some(help));
    }
    if !matches!(then.value, ItemValue::List(_) | ItemValue::Null) {
        let help = then.text().map(|text| format!("write `[{text}]`"));
        let message = format!("then is {}, expected a list", then.kind());
        report.error(WRONG_TYPE, then.place, message, &format!("this is {}", then.kind()), help);
    }
    let (name, wanted) = text.strip_prefix("not ").map_or((text, "true"), |name| (name, "false"));
    match values.get(name) {
        Some((ParameterKind::Bool, value)) if value == wanted => then.items().to_vec(),
        Some((ParameterKind::Bool, _)) => Vec::new(),
        found => {
            let problem = if found.is_some() { "is not of type bool" } else { "is not declared" };
            let help = did_you_mean(name, values.keys().map(String::as_str)).filter(|known| *known != name);
            let help = help.map(|known| format!("did you mean `{known}`?"));
            report.error(
                PARAMETER,
                condition.place,
                format!("the parameter `{name}` {problem}"),
                "decides about this entry",
                help,
            );
            Vec::new()
        }
    }
}

fn substitute(text: &str, place: Place, values: &Values, report: &mut Report) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        result += before;
        let Some((name, tail)) = after.split_once('}') else { break };
        match values.get(name) {
            Some((_, value)) => result += value,
            None => {
                report.error(PARAMETER, place, format!("the parameter `{name}` is not declared"), "used here", None);
            }
        }
        rest = tail;
    }
    result + rest
}
