//! What checks find, and how it is shown.
//!
//! In: findings from the recipe, the network model, the gate. Out: text for people, JSON, SARIF, GitHub
//! annotations. Pure: no I/O. Uses `values`.

pub mod render;
mod rule;

pub use rule::{RuleDoc, index};

use schemars::JsonSchema;
use serde::Serialize;

/// How much a finding weighs. Severity follows the outcome: `Error` refuses a build or a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Works, but is odd or fragile.
    Warning,
    /// Must not go on: a recipe that means nothing, a VM that would not be reachable.
    Error,
}

impl Severity {
    /// As people read it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// Stable id: `NET-K002`, `REC-001`.
    pub rule: &'static str,
    /// How much it weighs.
    pub severity: Severity,
    /// One sentence: both values, where two disagree.
    pub message: String,
    /// The places it was read from, first the one to change.
    pub evidence: Vec<Evidence>,
    /// What follows from it, one sentence each.
    pub notes: Vec<String>,
    /// What to do or type next.
    pub help: Option<String>,
    /// The reason why it is let through, where somebody gave one; it is shown and does not refuse.
    pub waived: Option<String>,
}

/// A place that a finding rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Evidence {
    /// Where: a file on the host, a file in the image, the boot arguments.
    pub origin: Origin,
    /// 1-based line in the file; 1 for arguments.
    pub line: usize,
    /// 1-based column in characters.
    pub column: usize,
    /// The line, for the caret; of a long one what is around the caret.
    pub text: String,
    /// 1-based column of the first character of `text`: 1, unless the line was long.
    #[serde(skip_serializing_if = "is_first")]
    pub start: usize,
    /// How many characters of it the caret underlines, at least 1.
    pub length: usize,
    /// What the underlined text does: "asks for a lease".
    pub label: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_first(start: &usize) -> bool {
    *start == 1
}

/// The most characters of a line that are shown; longer lines are cut to a window around the caret.
const WIDTH: usize = 110;
/// Characters kept before the caret in a cut line.
const LEAD: usize = 24;
/// The most characters that a message, a note or a help text keeps.
const LONGEST: usize = 2000;

impl Evidence {
    /// Evidence at a line and column, `length` characters of it; of a long line only what is around them is kept.
    pub fn new(origin: Origin, (line, column, length): (usize, usize, usize), row: &str, label: &str) -> Self {
        let (start, text) = excerpt(row, column, length);
        Self { origin, line, column, text: text.to_owned(), start, length: length.max(1), label: short(label) }
    }
}

/// What is kept of a line: all of a short one, else twice what is shown of it. With the column that it starts at.
pub fn excerpt(row: &str, column: usize, length: usize) -> (usize, &str) {
    let nth = |text: &str, count: usize| text.char_indices().nth(count).map_or(text.len(), |(at, _)| at);
    let end = nth(row, 2 * WIDTH);
    if end == row.len() {
        return (1, row);
    }
    let skipped = first_shown(column.saturating_sub(1), length);
    let rest = row.get(nth(row, skipped)..).unwrap_or_default();
    (skipped + 1, rest.get(..nth(rest, 2 * WIDTH)).unwrap_or_default())
}

/// How many characters of a long line are left out before what is shown of it.
fn first_shown(caret: usize, length: usize) -> usize {
    if caret.saturating_add(length) <= WIDTH { 0 } else { caret.saturating_sub(LEAD) }
}

/// A text, cut when it is so long that nobody reads it.
fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} …", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// What kind of place evidence is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "name")]
pub enum Origin {
    /// A file on the host: a recipe, an overlay file (path as the user would type it).
    File(String),
    /// A file inside an image: image file name and guest path.
    Guest {
        /// The image, as the user would type it.
        image: String,
        /// The absolute path in it.
        path: String,
    },
    /// The kernel command line.
    Arguments,
    /// A manifest: the JSON pointer is in `label`.
    Manifest(String),
    /// A fact about the host ("bridge br0"); `text` has the value.
    Host(String),
}

impl Finding {
    /// A finding without evidence yet.
    pub fn new(rule: &'static str, severity: Severity, message: impl Into<String>) -> Self {
        Self {
            rule,
            severity,
            message: short(&message.into()),
            evidence: Vec::new(),
            notes: Vec::new(),
            help: None,
            waived: None,
        }
    }

    /// Adds a place.
    #[must_use]
    pub fn at(mut self, evidence: Evidence) -> Self {
        self.evidence.push(evidence);
        self
    }

    /// Adds a consequence.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(short(&note.into()));
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(short(&help.into()));
        self
    }

    /// Whether this finding stops a build or a boot.
    pub fn refuses(&self) -> bool {
        self.severity == Severity::Error && self.waived.is_none()
    }
}
