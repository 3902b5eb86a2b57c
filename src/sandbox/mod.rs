//! Runs a command inside a root tree: own mount, pid, uts, ipc and network namespaces; no network; fsync is free.
//!
//! In: a directory and an argument vector. Out: its output and status. As an ordinary user the whole process first
//! becomes root of a user namespace ([`become_root`]), so that everything after it has one code path. Uses `interrupt`, `progress`.
//!
//! A process is needed at each step (a namespace of processes begins with a fork, a user namespace with a single
//! thread), so this program starts itself again with a hidden first argument: [`init`] must be the first call of `main`.

mod enter;
mod filter;
mod probe;
mod user;

pub use probe::{Way, probe};
pub use user::{Problem, become_root};

use crate::interrupt;
use crate::progress::{Event, Observer};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

/// The hidden first arguments.
const OUTER: &str = "__sandbox-outer";
const INNER: &str = "__sandbox-inner";
const PROBE: &str = "__sandbox-probe";

/// Lines of output kept for an error.
const TAIL: usize = 20;

/// Why a command in the sandbox did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be started.
    #[error("cannot start `{command}` in {}", root.display())]
    Start {
        /// The command line.
        command: String,
        /// The root tree.
        root: PathBuf,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// It failed.
    #[error("`{command}` failed with {status} in {}{}", root.display(), .tail.iter().map(|line| format!("\n  | {line}")).collect::<String>())]
    Failed {
        /// The command line.
        command: String,
        /// The root tree.
        root: PathBuf,
        /// Exit status or signal.
        status: String,
        /// The last lines it wrote.
        tail: Vec<String>,
    },
}

/// A root tree in which commands are run.
#[derive(Debug, Clone)]
pub struct Sandbox {
    root: PathBuf,
    epoch: i64,
    environment: Vec<(String, String)>,
}

impl Sandbox {
    /// Commands will see `root` as `/`, and `epoch` as `SOURCE_DATE_EPOCH`.
    pub fn new(root: &Path, epoch: i64) -> Self {
        Self { root: root.into(), epoch, environment: Vec::new() }
    }

    /// Adds a variable to the otherwise fixed environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs an argument vector and waits for it. Every line it writes is an [`Event::Detail`].
    pub fn run(&self, argv: &[&str], observer: &dyn Observer) -> Result<(), Error> {
        let command = argv.join(" ");
        let start = |cause| Error::Start { command: command.clone(), root: self.root.clone(), cause };
        let mut arguments: Vec<OsString> = vec![OUTER.into(), self.root.clone().into(), self.epoch.to_string().into()];
        arguments.push(self.environment.len().to_string().into());
        arguments.extend(self.environment.iter().map(|(name, value)| format!("{name}={value}").into()));
        arguments.extend(argv.iter().map(OsString::from));
        let reader = duct::cmd("/proc/self/exe", arguments)
            .stdin_null()
            .stderr_to_stdout()
            .unchecked()
            .reader()
            .map_err(start)?;
        let _running: Vec<_> = reader.pids().into_iter().map(interrupt::process).collect();
        let mut tail = VecDeque::new();
        for line in BufReader::new(&reader).split(b'\n') {
            let line = String::from_utf8_lossy(&line.map_err(start)?).trim_end().to_owned();
            observer.event(Event::Detail(line.clone()));
            tail.push_back(line);
            if tail.len() > TAIL {
                tail.pop_front();
            }
        }
        let output = reader.try_wait().map_err(start)?;
        match output {
            Some(output) if output.status.success() => Ok(()),
            output => Err(Error::Failed {
                command: command.clone(),
                root: self.root.clone(),
                status: output.map_or_else(|| "no status".to_owned(), |output| output.status.to_string()),
                tail: tail.into(),
            }),
        }
    }
}

/// Continues where [`Sandbox::run`] or [`become_root`] started this program again; returns at once in every other
/// process. Must be the first call of `main`: nothing else may have started a thread.
pub fn init() {
    let mut arguments = std::env::args_os().skip(1);
    let stage = arguments.next();
    let status = match stage.as_ref().and_then(|stage| stage.to_str()) {
        Some(OUTER) => enter::outer(&arguments.collect::<Vec<_>>()),
        Some(INNER) => enter::inner(&arguments.collect::<Vec<_>>()),
        Some(PROBE) => enter::probe(),
        Some(user::STAGE) => user::stage(&arguments.collect::<Vec<_>>()),
        _ => return,
    };
    std::process::exit(status);
}
