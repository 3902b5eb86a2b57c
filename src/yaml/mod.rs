//! YAML text → a tree of nodes that know where they stand.
//!
//! Scalars keep their raw text (`no`, `24.10`, `0644` stay what was written); whoever decodes gives them a type.
//! Bounded in size, depth and aliases, so that hostile text is an error and never a burden. Uses no other room.

mod lines;
mod parse;

pub use lines::Lines;
pub use parse::{Limits, parse, parse_repeating, parse_within};

/// Where a node stands in its text. Lines and columns are 1-based, in characters; `length` is the length of the
/// node's first line, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
    /// Characters to underline, at least 1.
    pub length: usize,
}

/// A YAML node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub value: Value,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A scalar: its text after quoting is undone, and whether it was quoted (then it is a string).
    Scalar {
        /// The text.
        text: String,
        /// Whether it was written in quotes or as a block scalar.
        quoted: bool,
    },
    /// A sequence.
    Sequence(Vec<Node>),
    /// A mapping in written order. Keys are unique (a duplicate is an error of [`parse`]).
    Mapping(Vec<(Node, Node)>),
}

impl Node {
    /// The text of a scalar that is not null (`~`, `null` and nothing are null unless quoted).
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    /// Whether nothing was written here.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, quoted: false } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The items of a sequence.
    pub fn items(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a mapping.
    pub fn entries(&self) -> Option<&[(Node, Node)]> {
        match &self.value {
            Value::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value of a key, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries()?.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// What the node is, for messages.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

/// Why a text is not acceptable YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at line {}, column {}", span.line, span.column)]
pub struct Error {
    /// Where.
    pub span: Span,
    /// One sentence.
    pub message: String,
}

/// The longest text that is read, in bytes: 1 MiB. No hand-written recipe or netplan file comes near.
pub const MAX_TEXT: usize = 1 << 20;
