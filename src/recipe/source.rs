//! Recipe files as trees of items that know their file, line and column; and the findings made from them.

use super::rules::{MORE, OUTSIDE};
use crate::findings::{Evidence, Finding, Origin, Severity};
use crate::yaml::{self, Lines, Span, Value};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A text that was read.
#[derive(Debug)]
pub(super) struct Source {
    /// As the user would type it.
    pub shown: String,
    /// The file, absolute.
    pub path: PathBuf,
    pub lines: Lines<String>,
    /// Whether it is known to be a recipe. No word of any other file is repeated: it may be one that only whoever
    /// builds can read.
    pub quoted: bool,
}

/// A place in one of the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub source: usize,
    pub span: Span,
}

/// A node of the merged recipe.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub place: Place,
    pub value: ItemValue,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum ItemValue {
    Null,
    Scalar { text: String, quoted: bool },
    List(Vec<Item>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub key: String,
    pub place: Place,
    pub item: Item,
}

impl Item {
    pub fn from_node(node: &yaml::Node, source: usize) -> Self {
        let place = |span| Place { source, span };
        let value = match &node.value {
            _ if node.is_null() => ItemValue::Null,
            Value::Scalar { text, quoted } => ItemValue::Scalar { text: text.clone(), quoted: *quoted },
            Value::Sequence(items) => ItemValue::List(items.iter().map(|item| Self::from_node(item, source)).collect()),
            Value::Mapping(entries) => ItemValue::Map(
                entries
                    .iter()
                    .map(|(key, value)| Entry {
                        key: key.text().unwrap_or_default().to_owned(),
                        place: place(key.span),
                        item: Self::from_node(value, source),
                    })
                    .collect(),
            ),
        };
        Self { place: place(node.span), value }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            ItemValue::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    pub fn items(&self) -> &[Item] {
        match &self.value {
            ItemValue::List(items) => items,
            _ => &[],
        }
    }

    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            ItemValue::Map(entries) => entries,
            _ => &[],
        }
    }

    pub fn get(&self, key: &str) -> Option<&Item> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.item)
    }

    /// The text below a key.
    pub fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key)?.text()
    }

    /// The items of the list below a key.
    pub fn items_of(&self, key: &str) -> &[Item] {
        self.get(key).map(Item::items).unwrap_or_default()
    }

    /// How many items there are, itself and keys included.
    pub fn count(&self) -> usize {
        match &self.value {
            ItemValue::Null | ItemValue::Scalar { .. } => 1,
            ItemValue::List(items) => 1 + items.iter().map(Self::count).sum::<usize>(),
            ItemValue::Map(entries) => 1 + entries.iter().map(|entry| 1 + entry.item.count()).sum::<usize>(),
        }
    }

    pub fn kind(&self) -> &'static str {
        match &self.value {
            ItemValue::Null => "nothing",
            ItemValue::Scalar { .. } => "a single value",
            ItemValue::List(_) => "a list",
            ItemValue::Map(_) => "a mapping",
        }
    }

    /// Lays this item over one of an included file: mappings merge, lists append, everything else replaces.
    pub fn over(self, below: Self) -> Self {
        let value = match (self.value, below.value) {
            (ItemValue::Map(entries), ItemValue::Map(mut merged)) => {
                let places: HashMap<_, _> =
                    merged.iter().enumerate().map(|(at, entry)| (entry.key.clone(), at)).collect();
                for entry in entries {
                    match places.get(&entry.key).and_then(|at| merged.get_mut(*at)) {
                        Some(known) => {
                            known.place = entry.place;
                            let below = Self { place: known.item.place, value: ItemValue::Null };
                            known.item = entry.item.over(std::mem::replace(&mut known.item, below));
                        }
                        None => merged.push(entry),
                    }
                }
                ItemValue::Map(merged)
            }
            (ItemValue::List(items), ItemValue::List(mut all)) => {
                all.extend(items);
                ItemValue::List(all)
            }
            (ItemValue::Null, below) => below,
            (value, _) => value,
        };
        Self { place: self.place, value }
    }
}

/// The most findings that are kept; the others are counted. Nobody reads more at once.
const MOST: usize = 100;

/// Everything that was read, and everything that is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub sources: Vec<Source>,
    pub findings: Vec<Finding>,
    /// The folder that everything must lie in, without links; none: anywhere.
    boundary: Option<PathBuf>,
    /// Findings that were not kept.
    more: usize,
}

impl Report {
    /// An empty one.
    pub fn within(boundary: Option<PathBuf>) -> Self {
        Self { boundary, ..Self::default() }
    }

    /// Notes a problem at a place.
    pub fn error(
        &mut self,
        rule: &'static str,
        place: Place,
        message: impl Into<String>,
        label: &str,
        help: Option<String>,
    ) {
        if self.full() {
            self.more += 1;
            return;
        }
        let finding = Finding::new(rule, Severity::Error, message).at(self.evidence(place, label));
        self.findings.push(match help {
            Some(help) => finding.help(help),
            None => finding,
        });
    }

    /// Whether further problems are only counted, so that nobody needs to think about what would help.
    pub fn full(&self) -> bool {
        self.findings.len() >= MOST
    }

    /// All findings; the last one says how many more there were.
    pub fn finish(mut self) -> Vec<Finding> {
        if self.more > 0 {
            let message = format!("… and {} more problems in this recipe", self.more);
            let help = format!("correct these {MOST} first");
            self.findings.push(Finding::new(MORE, Severity::Error, message).help(help));
        }
        self.findings
    }

    /// A place as people and editors read it: `FILE:LINE:COLUMN`.
    pub fn shown(&self, place: Place) -> String {
        let file = self.sources.get(place.source).map(|source| source.shown.as_str()).unwrap_or_default();
        format!("{file}:{}:{}", place.span.line, place.span.column)
    }

    fn evidence(&self, place: Place, label: &str) -> Evidence {
        let source = self.sources.get(place.source);
        let origin = Origin::File(source.map(|source| source.shown.clone()).unwrap_or_default());
        let Span { line, column, length } = place.span;
        match source.filter(|source| source.quoted) {
            Some(source) => Evidence::new(origin, (line, column, length), source.lines.get(line), label),
            None => Evidence::new(origin, (line, column, length), "", ""),
        }
    }

    /// Whether a file lies within the boundary, wherever links lead; notes it when not.
    pub fn confined(&mut self, path: &Path, place: Place, what: &str) -> bool {
        let Some(boundary) = self.boundary.clone() else { return true };
        let real = real(path);
        let inside = real.starts_with(&boundary);
        if !inside {
            let message = format!("{what} is {}, outside {}", real.display(), boundary.display());
            let help = "move it into the repository, or name a wider folder with `--confined=DIR`";
            self.error(OUTSIDE, place, message, "leads outside", Some(help.to_owned()));
        }
        inside
    }

    /// The folder that relative paths in a source start from.
    pub fn folder(&self, place: Place) -> &Path {
        self.sources.get(place.source).and_then(|source| source.path.parent()).unwrap_or(Path::new("."))
    }
}

/// Where a path really leads. Of one that does not exist (a file that is still to be built): where the part that does leads.
pub(super) fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for folder in path.ancestors() {
        if let Ok(real) = folder.canonicalize() {
            let rest = path.strip_prefix(folder).unwrap_or(Path::new(""));
            // What does not exist cannot be climbed out of; as text it must not seem to lie inside.
            return if rest.as_os_str().is_empty() { real } else { normal(&real.join(rest)) };
        }
    }
    path
}

/// A path without `.` and `..`, by its text alone.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            std::path::Component::ParentDir => {
                plain.pop();
            }
            std::path::Component::CurDir => {}
            component => plain.push(component),
        }
    }
    plain
}
