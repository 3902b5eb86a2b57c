//! What a person at a terminal sees of long work: bars there, plain lines elsewhere, nothing but warnings when quiet.

use crate::interrupt;
use crate::progress::{Event, Observer, Unit, doing, worth_a_line};
use crate::values::{ByteSize, escaped_lines};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Renders events on standard error.
pub struct Terminal {
    quiet: bool,
    bars: Option<MultiProgress>,
    running: Mutex<BTreeMap<&'static str, ProgressBar>>,
}

impl Terminal {
    /// Bars when standard error is a terminal and `quiet` is not asked for.
    pub fn new(quiet: bool) -> Self {
        let interactive = !quiet && std::io::stderr().is_terminal();
        let bars = interactive.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        Self { quiet, bars, running: Mutex::default() }
    }

    /// Prints a line. Its text may be a package's or a mirror's.
    fn line(&self, mark: &str, text: &str) {
        let text = format!("{mark}{}", escaped_lines(text));
        match &self.bars {
            Some(bars) => bars.suspend(|| say(&text)),
            None => say(&text),
        }
    }

    fn bar(&self, stage: &'static str) -> Option<ProgressBar> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).get(stage).cloned()
    }

    fn start(&self, stage: &'static str, total: Option<u64>, unit: Unit) {
        let Some(bars) = &self.bars else { return };
        let bar = bars.add(total.map_or_else(ProgressBar::new_spinner, ProgressBar::new));
        let template = match (total, unit) {
            (Some(_), Unit::Bytes) => "  {prefix:9} {bar:30} {bytes:>10}/{total_bytes} {bytes_per_sec}",
            (Some(_), Unit::Items) => "  {prefix:9} {bar:30} {pos:>5}/{len} {wide_msg}",
            (None, _) => "  {prefix:9} {spinner} {elapsed} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(stage);
        bar.enable_steady_tick(Duration::from_millis(200));
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(stage, bar);
    }

    fn finish(&self, stage: &'static str, summary: &str, took: Duration) {
        if let Some(bar) = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(stage) {
            bar.finish_and_clear();
        }
        if !self.quiet {
            self.line("", &format!("  {stage:9} {:>6.2} s  {summary}", took.as_secs_f64()));
        }
    }
}

impl Observer for Terminal {
    fn event(&self, event: Event) {
        interrupt::hold();
        match event {
            Event::Started { stage, total, unit } => self.start(stage, total, unit),
            Event::Advanced { stage, done } => {
                if let Some(bar) = self.bar(stage) {
                    bar.set_position(done);
                }
            }
            Event::Doing { stage, what, so_far } => match self.bar(stage) {
                Some(bar) => bar.set_message(doing(&what, so_far)),
                None if !self.quiet && worth_a_line(so_far) => self.line("  ", &doing(&what, so_far)),
                None => {}
            },
            Event::Finished { stage, summary, took } => self.finish(stage, &summary, took),
            Event::Note(text) if !self.quiet => self.line("  ", &text),
            Event::Note(_) | Event::Detail(_) => {}
            Event::Warning(text) => {
                let style = anstyle::AnsiColor::Yellow.on_default().bold();
                self.line(&format!("{style}warning{style:#}: "), &text);
            }
        }
    }
}

/// Writes a line to standard error. Work goes on where nobody reads it any more: the terminal may have been closed.
fn say(line: &str) {
    let _ = writeln!(anstream::stderr(), "{line}");
}

/// Prints an error and its causes; a last line that starts with `help:` says what to type next.
pub fn fail(error: &dyn Error) {
    fail_with(error, None);
}

/// The same, with more to say in the `help:` line.
pub fn fail_with(error: &dyn Error, more: Option<String>) {
    interrupt::hold();
    let style = anstyle::AnsiColor::Red.on_default().bold();
    let (lines, help) = causes(error);
    let lines = lines.iter().map(|line| escaped_lines(line));
    for (index, line) in lines.enumerate() {
        match index {
            0 => say(&format!("{style}error{style:#}: {line}")),
            _ => say(&format!("  because: {line}")),
        }
    }
    let help: Vec<_> = help.into_iter().chain(more).collect();
    if !help.is_empty() {
        let help = help.join("; ");
        let style = anstyle::AnsiColor::Cyan.on_default().bold();
        say(&format!("{style}help{style:#}: {}", escaped_lines(&help)));
    }
}

/// An error and its causes, each said once, and what the deepest `help:` line says.
pub fn causes(error: &dyn Error) -> (Vec<String>, Option<String>) {
    let (message, mut help) = split_help(&error.to_string());
    let mut lines = vec![message];
    let mut cause = error.source();
    while let Some(error) = cause {
        let (message, deeper) = split_help(&error.to_string());
        if lines.last().is_none_or(|shown| !shown.contains(&message)) {
            lines.push(message);
        }
        help = deeper.or(help);
        cause = error.source();
    }
    (lines, help)
}

/// Splits the `help: …` line, by convention the last one, off an error's text.
fn split_help(text: &str) -> (String, Option<String>) {
    match text.rsplit_once("\nhelp: ") {
        Some((message, help)) => (message.to_owned(), Some(help.to_owned())),
        None => (text.to_owned(), None),
    }
}

/// A byte count as people read it.
pub fn bytes(count: u64) -> String {
    ByteSize(count).to_string()
}

/// Whether standard error shows colours.
pub fn colour() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}
