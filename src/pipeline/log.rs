//! `build.log`: everything a build reports, one line an event behind the seconds since its begin, while it is also shown to
//! whoever watches.

use crate::progress::{Event, Observer, doing, worth_a_line};
use crate::values::escaped_lines;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Writes events to a file and hands them on.
pub struct Log<'a> {
    file: Mutex<File>,
    begun: Instant,
    next: &'a dyn Observer,
}

impl<'a> Log<'a> {
    /// Begins a log at `path`.
    pub fn create(path: &Path, next: &'a dyn Observer) -> io::Result<Self> {
        Ok(Self { file: Mutex::new(File::create(path)?), begun: Instant::now(), next })
    }
}

impl Observer for Log<'_> {
    fn event(&self, event: Event) {
        let line = match &event {
            Event::Started { stage, .. } => Some(format!("{stage}: started")),
            Event::Doing { what, so_far, .. } if so_far.is_zero() || worth_a_line(*so_far) => {
                Some(doing(what, *so_far))
            }
            Event::Advanced { .. } | Event::Doing { .. } => None,
            Event::Finished { stage, summary, took } => {
                Some(format!("{stage}: {summary} ({:.2} s)", took.as_secs_f64()))
            }
            Event::Note(text) | Event::Detail(text) => Some(text.clone()),
            Event::Warning(text) => Some(format!("warning: {text}")),
        };
        if let Some(line) = line {
            // A log that cannot be written must not end the build; the image itself will say that the disk is full.
            let (seconds, line) = (self.begun.elapsed().as_secs_f64(), escaped_lines(&line));
            let _ = writeln!(self.file.lock().unwrap_or_else(PoisonError::into_inner), "{seconds:8.2}  {line}");
        }
        self.next.event(event);
    }
}
