//! What was said while a layer was made, kept beside it: a build that finds it in the cache says it again.

use super::Error;
use crate::progress::{Event, Observer, doing};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

const FILE: &str = "said.json";

/// How much is kept, in bytes: scripts may write without end.
const MAX: usize = 4 << 20;

/// A line that stays worth reading.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Line {
    Note(String),
    Warning(String),
    /// For the log only.
    Detail(String),
}

impl Line {
    fn text(&self) -> &str {
        match self {
            Self::Note(text) | Self::Warning(text) | Self::Detail(text) => text,
        }
    }
}

/// Keeps what it hands on.
pub(super) struct Said<'a> {
    /// And how many bytes they have.
    lines: Mutex<(Vec<Line>, usize)>,
    begun: Instant,
    next: &'a dyn Observer,
}

impl<'a> Said<'a> {
    pub fn new(next: &'a dyn Observer) -> Self {
        Self { lines: Mutex::default(), begun: Instant::now(), next }
    }

    /// Writes it down in a layer's folder.
    pub fn save(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(FILE);
        let text = serde_json::to_vec(&self.lines.lock().unwrap_or_else(PoisonError::into_inner).0);
        text.map_err(Into::into).and_then(|text| fs::write(&path, text)).map_err(|cause| Error::Io {
            what: "write",
            path,
            cause,
        })
    }
}

impl Observer for Said<'_> {
    fn event(&self, event: Event) {
        let timed = |text: &str| Line::Detail(format!("{:8.2}  {text}", self.begun.elapsed().as_secs_f64()));
        let line = match &event {
            Event::Note(text) => Some(Line::Note(text.clone())),
            Event::Warning(text) => Some(Line::Warning(text.clone())),
            Event::Detail(text) => Some(timed(text)),
            Event::Doing { what, so_far, .. } if so_far.is_zero() => Some(timed(&doing(what, *so_far))),
            _ => None,
        };
        if let Some(line) = line {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.1 = lines.1.saturating_add(line.text().len());
            if lines.1 <= MAX {
                lines.0.push(line);
            }
        }
        self.next.event(event);
    }
}

/// Says again what was said when the layer in `folder` was made, if that is known.
pub(super) fn again(folder: &Path, observer: &dyn Observer) {
    let lines = fs::read(folder.join(FILE)).ok().and_then(|text| serde_json::from_slice::<Vec<Line>>(&text).ok());
    let Some(lines) = lines else { return };
    observer.event(Event::Detail("when this layer was made:".to_owned()));
    for line in lines {
        observer.event(match line {
            Line::Note(text) => Event::Note(text),
            Line::Warning(text) => Event::Warning(text),
            Line::Detail(text) => Event::Detail(text),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn what_is_kept_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let said = Said::new(&Silent);
        for _ in 0..MAX / 1000 + 10 {
            said.event(Event::Detail("x".repeat(1000)));
        }
        said.save(folder.path()).unwrap();
        assert!(fs::metadata(folder.path().join(FILE)).unwrap().len() < 2 * MAX as u64);
    }
}
