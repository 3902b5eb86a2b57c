//! Values that remember where they were read.

use crate::boot::KernelArg;
use crate::findings::{Evidence, Origin};

/// A place in the arguments or in a guest file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The arguments, or a file.
    pub origin: Origin,
    /// 1-based line.
    pub line: usize,
    /// 1-based column in characters.
    pub column: usize,
    /// The whole line.
    pub text: String,
    /// Characters to underline.
    pub length: usize,
}

/// A value and the place that says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said<T> {
    /// The value.
    pub value: T,
    /// Where.
    pub place: Place,
}

impl Place {
    /// The place of a kernel argument in its command line.
    pub fn argument(line: &str, arg: &KernelArg) -> Self {
        Self {
            origin: Origin::Arguments,
            line: 1,
            column: arg.column,
            text: line.to_owned(),
            length: arg.text.chars().count().max(1),
        }
    }

    /// A whole line (1-based) of a guest file.
    pub fn line(image: &str, path: &str, text: &str, line: usize) -> Self {
        let row = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let start = row.len() - row.trim_start().len();
        Self {
            origin: Origin::Guest { image: image.to_owned(), path: path.to_owned() },
            line,
            column: row.get(..start).map_or(0, |indent| indent.chars().count()) + 1,
            text: row.to_owned(),
            length: row.trim().chars().count().max(1),
        }
    }

    /// A guest file as a whole.
    pub fn file(image: &str, path: &str) -> Self {
        Self {
            origin: Origin::Guest { image: image.to_owned(), path: path.to_owned() },
            line: 1,
            column: 1,
            text: String::new(),
            length: 1,
        }
    }

    /// As evidence, with what it does.
    pub fn evidence(&self, label: impl Into<String>) -> Evidence {
        Evidence {
            origin: self.origin.clone(),
            line: self.line,
            column: self.column,
            text: self.text.clone(),
            length: self.length,
            label: label.into(),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.origin {
            Origin::Guest { path, .. } => write!(f, "{path}:{}", self.line),
            Origin::Arguments => write!(f, "boot args, column {}", self.column),
            Origin::File(name) | Origin::Manifest(name) | Origin::Host(name) => f.write_str(name),
        }
    }
}
