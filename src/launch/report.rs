//! What a launch tells the program that started it: one JSON object a line, each with one key that says what it is. The
//! stages come as they end; one of the other kinds ends the report.

use super::{NotReady, Ready, Record};
use crate::progress::Event;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// A stage is over.
    Stage {
        /// `network`, `gate`, `disk`, `start`, `address`, `probe`.
        name: String,
        /// One short phrase.
        summary: String,
        /// How long it took; `address` and `probe` count from the VM's start.
        ms: f64,
    },
    /// A line worth showing.
    Note(String),
    /// Something is odd and the launch goes on.
    Warning(String),
    /// Every probe has passed.
    Ready {
        /// The probes.
        ready: Ready,
        /// What is written down about the VM.
        vm: Box<Record>,
    },
    /// The gate refuses: the document that `render::json` prints.
    Refused(Value),
    /// The VM was not started, or did not become ready.
    Failed {
        /// The error and its causes, one a line.
        message: String,
        /// What to type next.
        help: Option<String>,
        /// Which layer failed, if a VM was started: a [`NotReady`].
        not_ready: Option<Value>,
    },
}

impl Line {
    /// The line for an event, if programs care for it.
    pub fn of(event: Event) -> Option<Self> {
        match event {
            Event::Finished { stage, summary, took } => {
                Some(Self::Stage { name: stage.to_owned(), summary, ms: took.as_secs_f64() * 1e3 })
            }
            Event::Note(text) => Some(Self::Note(text)),
            Event::Warning(text) => Some(Self::Warning(text)),
            Event::Started { .. } | Event::Advanced { .. } | Event::Doing { .. } | Event::Detail(_) => None,
        }
    }

    /// The line for a launch that failed.
    pub fn failed(message: String, help: Option<String>, not_ready: Option<&NotReady>) -> Self {
        let not_ready = not_ready.and_then(|why| serde_json::to_value(why).ok());
        Self::Failed { message, help, not_ready }
    }
}
