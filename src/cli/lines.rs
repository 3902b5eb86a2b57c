//! What a program that starts a launch reads: see [`Line`].

use super::terminal;
use crate::findings::render;
use crate::launch::{Error, Line};
use crate::progress::{Event, Observer};
use std::io::Write as _;
use std::process::ExitCode;

/// Prints events as lines.
pub struct Lines;

impl Observer for Lines {
    fn event(&self, event: Event) {
        if let Some(line) = Line::of(event) {
            print(&line);
        }
    }
}

/// Prints one line. Whoever does not read on has ended, and its launch will hear of that otherwise.
pub fn print(line: &Line) {
    let text = serde_json::to_string(line).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// The last line of a launch that failed, and its exit status.
pub fn fail(error: &Error) -> ExitCode {
    let (line, status) = match error {
        Error::Refused(findings) => {
            (Line::Refused(serde_json::to_value(render::report(findings)).unwrap_or_default()), 3)
        }
        error => {
            let (lines, help) = terminal::causes(error);
            let not_ready = if let Error::NotReady(why) = error { Some(&**why) } else { None };
            // Its whole text is for people; the first line says what failed, the rest stands in the document.
            let message = match not_ready {
                Some(why) => format!("{} is not ready: {}", why.name, why.diagnosis.message),
                None => lines.join("\n"),
            };
            (Line::failed(message, help, not_ready), if matches!(error, Error::Stopped) { 130 } else { 1 })
        }
    };
    print(&line);
    ExitCode::from(status)
}
