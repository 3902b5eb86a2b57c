//! Values that remember where they were read.

use crate::boot::KernelArg;
use crate::findings::{Evidence, Origin, excerpt};

/// A place in the arguments or in a guest file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The arguments, or a file.
    pub origin: Origin,
    /// 1-based line.
    pub line: usize,
    /// 1-based column in characters.
    pub column: usize,
    /// The line; of a long one what is around the place.
    pub text: Box<str>,
    /// 1-based column of the first character of `text`.
    pub start: usize,
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
        Self::at(Origin::Arguments, (1, arg.column, arg.text.chars().count()), line)
    }

    /// A whole line (1-based) of a guest file.
    pub fn line(image: &str, path: &str, text: &str, line: usize) -> Self {
        let row = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let start = row.len() - row.trim_start().len();
        let column = row.get(..start).map_or(0, |indent| indent.chars().count()) + 1;
        Self::guest(image, path, row, (line, column, row.trim().chars().count()))
    }

    /// A part of a line, `row`, of a guest file: line, column, length.
    pub fn guest(image: &str, path: &str, row: &str, at: (usize, usize, usize)) -> Self {
        Self::at(Origin::Guest { image: image.to_owned(), path: path.to_owned() }, at, row)
    }

    fn at(origin: Origin, (line, column, length): (usize, usize, usize), row: &str) -> Self {
        let (start, text) = excerpt(row, column, length);
        Self { origin, line, column, text: text.into(), start, length: length.max(1) }
    }

    /// A guest file as a whole.
    pub fn file(image: &str, path: &str) -> Self {
        Self {
            origin: Origin::Guest { image: image.to_owned(), path: path.to_owned() },
            line: 1,
            column: 1,
            text: "".into(),
            start: 1,
            length: 1,
        }
    }

    /// As evidence, with what it does.
    pub fn evidence(&self, label: impl Into<String>) -> Evidence {
        Evidence {
            origin: self.origin.clone(),
            line: self.line,
            column: self.column,
            text: self.text.to_string(),
            start: self.start,
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
