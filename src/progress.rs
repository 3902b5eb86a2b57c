//! What long work tells whoever watches: one event type, rendered by the command line as bars on a terminal,
//! as plain lines elsewhere, and into `build.log`.

use std::time::{Duration, Instant};

/// Something a stage of work reports.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A stage begins.
    Started {
        /// Its name, one word.
        stage: &'static str,
        /// How much there is to do, in `unit`s, where known.
        total: Option<u64>,
        /// What is counted.
        unit: Unit,
    },
    /// Work done so far in a stage.
    Advanced {
        /// Its name.
        stage: &'static str,
        /// In the stage's unit.
        done: u64,
    },
    /// What is being done in a stage. Told again every second of a thing that takes long.
    Doing {
        /// The stage's name.
        stage: &'static str,
        /// "setting up postfix (postinst)".
        what: String,
        /// For how long already.
        so_far: Duration,
    },
    /// A stage is over.
    Finished {
        /// Its name.
        stage: &'static str,
        /// One short phrase: "361 packages, 213 MB".
        summary: String,
        /// How long it took.
        took: Duration,
    },
    /// A line worth showing: a choice made, a retry.
    Note(String),
    /// A line that belongs in the log only (a maintainer script's output).
    Detail(String),
    /// Something is odd and work goes on.
    Warning(String),
}

/// Seconds after which a thing that is still being done is worth a line: 10, 20, 40, 80 and so on.
pub fn worth_a_line(so_far: Duration) -> bool {
    let seconds = so_far.as_secs();
    seconds.is_multiple_of(10) && (seconds / 10).is_power_of_two()
}

/// "setting up postfix (postinst), 12 s".
pub fn doing(what: &str, so_far: Duration) -> String {
    match so_far.as_secs() {
        seconds if seconds < 3 => what.to_owned(),
        seconds => format!("{what}, {seconds} s"),
    }
}

/// What a stage counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things: packages, files.
    Items,
}

/// Receives events, from any thread.
pub trait Observer: Sync {
    /// Takes one event. Must not block for long.
    fn event(&self, event: Event);
}

/// Ignores every event.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: Event) {}
}

/// Runs a stage between its two events. `work` gives the summary and its result.
pub fn timed<T, E>(
    stage: &'static str,
    observer: &dyn Observer,
    work: impl FnOnce() -> Result<(String, T), E>,
) -> Result<T, E> {
    let started = Instant::now();
    observer.event(Event::Started { stage, total: None, unit: Unit::Items });
    let (summary, value) = work()?;
    observer.event(Event::Finished { stage, summary, took: started.elapsed() });
    Ok(value)
}
