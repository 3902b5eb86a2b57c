//! The lines of a text, found at once.

/// A text whose lines are known: any of them is found without reading those before it.
#[derive(Debug, Clone)]
pub struct Lines<T> {
    text: T,
    starts: Vec<usize>,
}

impl<T: AsRef<str>> Lines<T> {
    /// Finds the lines of a text.
    pub fn of(text: T) -> Self {
        let ends = text.as_ref().match_indices('\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(ends).collect();
        Self { text, starts }
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        self.text.as_ref()
    }

    /// A line by its 1-based number, without its end; empty where there is none.
    pub fn get(&self, line: usize) -> &str {
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(self.text().len());
        let end = self.starts.get(line).copied().unwrap_or(self.text().len());
        let row = self.text().get(start..end).unwrap_or_default();
        let row = row.strip_suffix('\n').unwrap_or(row);
        row.strip_suffix('\r').unwrap_or(row)
    }
}
