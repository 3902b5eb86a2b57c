//! Recipe files as trees of items that know their file, line and column; and the findings made from them.

use crate::findings::{Evidence, Finding, Origin, Severity};
use crate::yaml::{self, Span, Value};
use std::path::{Path, PathBuf};

/// A text that was read.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// As the user would type it.
    pub shown: String,
    /// The file, absolute.
    pub path: PathBuf,
    pub text: String,
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
                for entry in entries {
                    match merged.iter_mut().find(|known| known.key == entry.key) {
                        Some(known) => {
                            known.place = entry.place;
                            known.item = entry.item.over(known.item.clone());
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

/// Everything that was read, and everything that is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub sources: Vec<Source>,
    pub findings: Vec<Finding>,
}

impl Report {
    /// Notes a problem at a place.
    pub fn error(
        &mut self,
        rule: &'static str,
        place: Place,
        message: impl Into<String>,
        label: &str,
        help: Option<String>,
    ) {
        let mut finding = Finding::new(rule, Severity::Error, message).at(self.evidence(place, label));
        finding.help = help;
        self.findings.push(finding);
    }

    pub fn evidence(&self, place: Place, label: &str) -> Evidence {
        let source = self.sources.get(place.source);
        let text = source.and_then(|source| source.text.lines().nth(place.span.line.saturating_sub(1)));
        Evidence {
            origin: Origin::File(source.map(|source| source.shown.clone()).unwrap_or_default()),
            line: place.span.line,
            column: place.span.column,
            text: text.unwrap_or_default().to_owned(),
            length: place.span.length.max(1),
            label: label.to_owned(),
        }
    }

    /// The folder that relative paths in a source start from.
    pub fn folder(&self, place: Place) -> &Path {
        self.sources.get(place.source).and_then(|source| source.path.parent()).unwrap_or(Path::new("."))
    }
}
