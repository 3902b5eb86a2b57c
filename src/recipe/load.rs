//! Reading: files, includes, parameters → one merged item tree.

use super::rules::{INCLUDE_CYCLE, MISSING_KEY, PARAMETER, SYNTAX, TOO_LARGE, UNKNOWN_KEY, UNREADABLE, WRONG_TYPE};
use super::source::{Item, ItemValue, Place, Report, Source};
use crate::door;
use crate::findings::{Finding, Severity};
use crate::values::{ParameterKind, did_you_mean};
use crate::yaml::{self, Lines, MAX_TEXT, Span};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// Parameter values by name, with their types.
pub(super) type Values = BTreeMap<String, (ParameterKind, String)>;

const START: Span = Span { line: 1, column: 1, length: 1 };

/// How deep files may include each other.
const MAX_DEPTH: usize = 32;
/// The most files that are read for one recipe.
const MAX_FILES: usize = 256;
/// The most items that included files bring in, each counted as often as it is included.
const MAX_ITEMS: usize = 300_000;
/// The most bytes that parameters put into texts.
const MAX_EXPANDED: usize = 4 << 20;

/// Reads a recipe and everything it includes; none when the file itself cannot be used.
pub(super) fn read(path: &Path, report: &mut Report) -> Option<Item> {
    let mut reader = Reader { report, chain: Vec::new(), known: HashMap::new(), items: 0, over: false };
    reader.file(path, path.to_string_lossy().into_owned(), None).filter(|_| !reader.over)
}

struct Reader<'a> {
    report: &'a mut Report,
    /// The files that include each other on the way here, without links.
    chain: Vec<PathBuf>,
    /// What a file came to when it was read, by its absolute name: it is read once, however often it is included.
    known: HashMap<PathBuf, Option<Item>>,
    items: usize,
    /// Whether a limit is passed: nothing more is read.
    over: bool,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, shown: String, from: Option<Place>) -> Option<Item> {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let real = fs::canonicalize(path).unwrap_or_else(|_| absolute.clone());
        if let (Some(place), Some(start)) = (from, self.chain.iter().position(|known| *known == real)) {
            self.circle(place, start, &shown, &real);
            return None;
        }
        if let Some(known) = self.known.get(&absolute) {
            return known.clone();
        }
        if let Some(place) = from
            && (self.chain.len() > MAX_DEPTH || self.known.len() >= MAX_FILES)
        {
            let message = format!("at most {MAX_FILES} recipes are included, {MAX_DEPTH} deep: {shown} is one more");
            return self.stop(place, message);
        }
        let item = self.own(path, shown, absolute.clone(), from).map(|item| {
            self.chain.push(real);
            let below = self.includes(&item, path);
            self.chain.pop();
            match below {
                Some(below) => item.over(below),
                None => item,
            }
        });
        self.known.insert(absolute, item.clone());
        item
    }

    /// What a file itself says, if it is a recipe.
    fn own(&mut self, path: &Path, shown: String, absolute: PathBuf, from: Option<Place>) -> Option<Item> {
        let text = match door::read_text(path, "a recipe", MAX_TEXT as u64) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("cannot read {shown}: {}", error.problem);
                match from {
                    Some(place) => self.report.error(UNREADABLE, place, message, "included here", None),
                    None => self.report.findings.push(Finding::new(UNREADABLE, Severity::Error, message)),
                }
                return None;
            }
        };
        let index = self.report.sources.len();
        let parsed = yaml::parse(&text);
        let item = parsed.as_ref().map(|node| Item::from_node(node, index));
        let quoted = says_schema(&text) || item.as_ref().is_ok_and(has_only_known_keys);
        self.report.sources.push(Source { shown, path: absolute, lines: Lines::of(text), quoted });
        let place = |span| Place { source: index, span };
        if from.is_none() && !self.report.confined(path, place(START), "the recipe") {
            return None;
        }
        let begin = || Some(format!("a recipe begins with `schema: {}`", super::SCHEMA));
        let mut refuse = |rule, place, message: &str, label: &str, help| {
            self.report.error(rule, place, message, label, help);
            None
        };
        let item = match item {
            Ok(item) => item,
            Err(error) if quoted => return refuse(SYNTAX, place(error.span), &error.message, "here", None),
            Err(error) => return refuse(SYNTAX, place(error.span), "this is not one YAML document", "here", begin()),
        };
        match &item.value {
            ItemValue::Map(_) if quoted => Some(item),
            ItemValue::Map(_) => {
                refuse(MISSING_KEY, place(START), "this is not a recipe: it has no `schema`", "", begin())
            }
            ItemValue::Null => refuse(WRONG_TYPE, place(START), "the recipe is empty", "nothing here", begin()),
            _ => {
                let message = format!("the recipe is {}, expected a mapping", item.kind());
                refuse(WRONG_TYPE, item.place, &message, "not a mapping", None)
            }
        }
    }

    /// All included files, merged in order.
    fn includes(&mut self, item: &Item, path: &Path) -> Option<Item> {
        let mut merged: Option<Item> = None;
        for include in item.items_of("include") {
            let Some(name) = include.text().filter(|_| !self.over) else { continue };
            let target = path.parent().unwrap_or(Path::new("")).join(name);
            if !self.report.confined(&target, include.place, "the included recipe") {
                continue;
            }
            let shown = target.to_string_lossy().into_owned();
            let Some(mut next) = self.file(&target, shown, Some(include.place)) else { continue };
            self.items = self.items.saturating_add(next.count());
            if self.items > MAX_ITEMS {
                let message = format!("with this include, the recipe has more than {MAX_ITEMS} values");
                return self.stop(include.place, message);
            }
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

    fn circle(&mut self, place: Place, start: usize, shown: &str, real: &Path) {
        let names: Vec<_> = self
            .chain
            .iter()
            .skip(start)
            .map(PathBuf::as_path)
            .chain([real])
            .map(|path| path.file_name().unwrap_or_default().to_string_lossy())
            .collect();
        let message = format!("{shown} includes itself: {}", names.join(" → "));
        self.report.error(INCLUDE_CYCLE, place, message, "closes the circle", None);
    }

    /// Notes a limit that is passed, once.
    fn stop(&mut self, place: Place, message: String) -> Option<Item> {
        if !self.over {
            self.report.error(TOO_LARGE, place, message, "too much", None);
        }
        self.over = true;
        None
    }
}

/// Whether a text claims to be a recipe, sound or not.
fn says_schema(text: &str) -> bool {
    text.lines().any(|line| {
        let value = line.trim_start_matches(['{', ' ']).strip_prefix("schema:");
        value.is_some_and(|value| value.trim_start_matches([' ', '\'', '"']).starts_with("goldsmith/"))
    })
}

/// Whether this is a part of a recipe that does not say so: a mapping with keys of the language and no others.
fn has_only_known_keys(item: &Item) -> bool {
    let known = |key: &str| super::keys::RECIPE.iter().any(|known| known.name == key);
    !item.entries().is_empty() && item.entries().iter().all(|entry| known(&entry.key))
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
    Application { values, report, left: Some(MAX_EXPANDED) }.item(item)
}

struct Application<'a> {
    values: &'a Values,
    report: &'a mut Report,
    /// Bytes that parameters may still put into texts; none once they wanted more.
    left: Option<usize>,
}

impl Application<'_> {
    fn item(&mut self, item: Item) -> Item {
        let Item { place, value } = item;
        let value = match value {
            ItemValue::Scalar { text, quoted } => ItemValue::Scalar { text: self.text(text, place), quoted },
            ItemValue::List(items) => {
                let items = items.into_iter().flat_map(|item| self.branch(item)).collect::<Vec<_>>();
                ItemValue::List(items.into_iter().map(|item| self.item(item)).collect())
            }
            ItemValue::Map(entries) => ItemValue::Map(
                entries
                    .into_iter()
                    .map(|entry| match entry.key.as_str() {
                        "parameters" => entry,
                        _ => super::source::Entry { item: self.item(entry.item), ..entry },
                    })
                    .collect(),
            ),
            ItemValue::Null => ItemValue::Null,
        };
        Item { place, value }
    }

    /// A list entry, or the entries of a conditional one whose parameter is true. `not NAME` negates.
    fn branch(&mut self, item: Item) -> Vec<Item> {
        let (Some(condition), Some(then)) = (item.get("when"), item.get("then")) else { return vec![item] };
        let Some(text) = condition.text() else { return vec![item] };
        for entry in item.entries().iter().filter(|entry| !matches!(entry.key.as_str(), "when" | "then")) {
            let message = format!("unknown key `{}` in a conditional entry", entry.key);
            let help = did_you_mean(&entry.key, ["when", "then"]).map_or_else(
                || "the keys of a conditional entry are: when, then".to_owned(),
                |name| format!("did you mean `{name}`?"),
            );
            self.report.error(UNKNOWN_KEY, entry.place, message, "unknown", Some(help));
        }
        if !matches!(then.value, ItemValue::List(_) | ItemValue::Null) {
            let help = then.text().map(|text| format!("write `[{text}]`"));
            let message = format!("then is {}, expected a list", then.kind());
            self.report.error(WRONG_TYPE, then.place, message, &format!("this is {}", then.kind()), help);
        }
        let (name, wanted) = text.strip_prefix("not ").map_or((text, "true"), |name| (name, "false"));
        match self.values.get(name) {
            Some((ParameterKind::Bool, value)) if value == wanted => then.items().to_vec(),
            Some((ParameterKind::Bool, _)) => Vec::new(),
            found => {
                let problem = if found.is_some() { "is not of type bool" } else { "is not declared" };
                let message = format!("the parameter `{name}` {problem}");
                let help = if self.report.full() { None } else { self.similar(name) };
                self.report.error(PARAMETER, condition.place, message, "decides about this entry", help);
                Vec::new()
            }
        }
    }

    fn similar(&self, name: &str) -> Option<String> {
        let known = did_you_mean(name, self.values.keys().map(String::as_str)).filter(|known| *known != name)?;
        Some(format!("did you mean `{known}`?"))
    }

    fn text(&mut self, text: String, place: Place) -> String {
        if self.left.is_none() || !text.contains("${") {
            return text;
        }
        let mut result = String::new();
        let mut rest = text.as_str();
        while let Some((before, (name, tail))) =
            rest.split_once("${").and_then(|(before, after)| Some((before, after.split_once('}')?)))
        {
            result += before;
            match self.values.get(name) {
                Some((_, value)) => {
                    self.left = self.left.and_then(|left| left.checked_sub(value.len()));
                    if self.left.is_none() {
                        let message =
                            format!("with what stands for `{name}`, texts grow by more than {MAX_EXPANDED} bytes");
                        self.report.error(TOO_LARGE, place, message, "too much", None);
                        return text;
                    }
                    result += value;
                }
                None => {
                    let message = format!("the parameter `{name}` is not declared");
                    self.report.error(PARAMETER, place, message, "used here", None);
                }
            }
            rest = tail;
        }
        result + rest
    }
}
