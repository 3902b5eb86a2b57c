//! Runs a command inside a root tree whose packages, scripts and commands are hostile until checked: what they do, they do
//! to the tree. Own user, mount, pid, uts, ipc, cgroup and network namespaces; a loopback and no network; bounded; fsync is free.
//!
//! In: a directory and an argument vector. Out: its output and how it ended. As an ordinary user the whole process first
//! becomes root of a user namespace ([`become_root`]); root needs none of its own. From there on one code path: the tree's
//! files belong to a range of ids that is nobody else's ([`Ids`]), and the sandbox is a user namespace of just that range.
//! Uses `interrupt`, `leash`, `progress`, `store`, `values`.
//!
//! A namespace is entered by a process with a single thread, so this program starts itself again with a hidden first
//! argument: [`init`] must be the first call of `main`. That process (`outer`) watches; its child (`enter`) becomes the command, or process 1 above one that a person
//! talks with (`session`).

mod enter;
mod filter;
mod ids;
mod limits;
mod lines;
mod outer;
mod probe;
mod session;
mod user;

pub use ids::Ids;
pub use limits::{Excess, Limits, sweep};
pub use probe::{Way, probe};
pub use session::{Ends, Session, Streams};
pub use user::{Problem, become_root};

use crate::interrupt;
use crate::progress::{Event, Observer};
use crate::store::room;
use crate::values::ByteSize;
use outer::Verdict;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};

/// The hidden first arguments.
const OUTER: &str = "__sandbox-outer";
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
        cause: io::Error,
    },
    /// It failed.
    #[error("`{command}` {ending} in {}{}{}", root.display(), .tail.iter().map(|line| format!("\n  | {line}")).collect::<String>(), ending.help())]
    Failed {
        /// The command line.
        command: String,
        /// The root tree.
        root: PathBuf,
        /// How it ended.
        ending: Ending,
        /// The last lines it wrote.
        tail: Vec<String>,
    },
}

/// How a command ended that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With this exit status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// It was ended because it had taken more than this: seconds, bytes or processes.
    Limit(Excess, u64),
}

impl Ending {
    /// What to do about it, as a line of its own after the message.
    pub fn help(self) -> &'static str {
        match self {
            Self::Limit(Excess::Disk, _) => room(&io::ErrorKind::StorageFull.into()),
            Self::Limit(Excess::Memory, _) => "\nhelp: give it more with `--step-memory`",
            Self::Limit(Excess::Time, _) => "\nhelp: give it more with `--step-timeout`",
            _ => "",
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "failed with exit status {status}"),
            Self::Signal(signal) => write!(f, "was killed by signal {signal}"),
            Self::Limit(Excess::Time, seconds) => {
                let (length, unit) = if *seconds < 120 { (*seconds, "seconds") } else { (seconds / 60, "minutes") };
                write!(f, "was ended: it ran for more than {length} {unit}")
            }
            Self::Limit(Excess::Memory, bytes) => {
                write!(f, "was ended: it took more than {} of memory", ByteSize(*bytes))
            }
            Self::Limit(Excess::Processes, count) => write!(f, "was ended: it had more than {count} processes"),
            Self::Limit(Excess::Disk, _) => f.write_str("was ended: No space left on device"),
        }
    }
}

/// What a sandbox is told besides root and command line.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Job {
    /// The process with which it ends.
    builder: u32,
    epoch: i64,
    environment: Vec<(String, String)>,
    limits: Limits,
    /// What a command is connected to that a person talks with.
    streams: Option<Streams>,
}

/// A root tree in which commands are run. Its files belong to [`Ids::here`].
#[derive(Debug, Clone)]
pub struct Sandbox {
    root: PathBuf,
    job: Job,
}

impl Sandbox {
    /// Commands will see `root` as `/`, and `epoch` as `SOURCE_DATE_EPOCH`.
    pub fn new(root: &Path, epoch: i64, limits: Limits) -> Self {
        let job = Job { builder: std::process::id(), epoch, limits, ..Job::default() };
        Self { root: root.into(), job }
    }

    /// Adds a variable to the otherwise fixed environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.job.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With other limits.
    #[must_use]
    pub fn within(mut self, limits: Limits) -> Self {
        self.job.limits = limits;
        self
    }

    /// Runs an argument vector and waits for it; then nothing of it runs any more. Every line it writes is an
    /// [`Event::Detail`].
    ///
    /// # Errors
    /// When it cannot be started, ends with another status than 0, or takes more than its [`Limits`].
    pub fn run(&self, argv: &[&str], observer: &dyn Observer) -> Result<(), Error> {
        let command = argv.join(" ");
        let start = |cause| Error::Start { command: command.clone(), root: self.root.clone(), cause };
        let mut arguments = self.arguments().map_err(start)?;
        arguments.extend(argv.iter().map(OsString::from));
        let mut verdict = tempfile::tempfile().map_err(start)?;
        let reader = duct::cmd("/proc/self/exe", arguments)
            .stdin_null()
            .stderr_file(verdict.try_clone().map_err(start)?)
            .unchecked()
            .reader()
            .map_err(start)?;
        let _running: Vec<_> = reader.pids().into_iter().map(interrupt::process).collect();
        let mut tail = VecDeque::new();
        lines::each(&reader, |line| {
            observer.event(Event::Detail(line.clone()));
            tail.push_back(line);
            if tail.len() > TAIL {
                tail.pop_front();
            }
        })
        .map_err(start)?;
        // The pipe ends when the last of the sandbox's processes has; the one that watched has then little left to do.
        while reader.try_wait().map_err(start)?.is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let Some(ending) = judged(&mut verdict, &self.job.limits).map_err(start)? else { return Ok(()) };
        Err(Error::Failed { command: command.clone(), root: self.root.clone(), ending, tail: tail.into() })
    }

    /// How this program is started again to make it; the command follows.
    fn arguments(&self) -> io::Result<Vec<OsString>> {
        Ok(vec![OUTER.into(), self.root.clone().into(), serde_json::to_string(&self.job)?.into()])
    }
}

/// What the process outside says of a command's end. None: it has succeeded.
fn judged(verdict: &mut File, limits: &Limits) -> io::Result<Option<Ending>> {
    let text = text_of(verdict)?;
    match serde_json::from_str(&text) {
        Ok(Verdict::Exit(0)) => Ok(None),
        Ok(Verdict::Exit(status)) => Ok(Some(Ending::Status(status))),
        Ok(Verdict::Signal(signal)) => Ok(Some(Ending::Signal(signal))),
        Ok(Verdict::Ended(excess)) => Ok(Some(Ending::Limit(excess, limits.of(excess)))),
        Ok(Verdict::Setup(cause)) => Err(io::Error::other(cause)),
        Err(_) => Err(io::Error::other(format!("the sandbox was killed: {text}"))),
    }
}

/// All of a file, from its beginning.
fn text_of(file: &mut File) -> io::Result<String> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text))?;
    Ok(text)
}

/// Continues where [`Sandbox::run`] or [`become_root`] started this program again; returns at once in every other
/// process. Must be the first call of `main`: nothing else may have started a thread.
pub fn init() {
    let mut arguments = std::env::args_os().skip(1);
    let stage = arguments.next();
    let status = match stage.as_ref().and_then(|stage| stage.to_str()) {
        Some(OUTER) => outer::run(&arguments.collect::<Vec<_>>()),
        Some(PROBE) => outer::probe(),
        Some(user::STAGE) => user::stage(&arguments.collect::<Vec<_>>()),
        _ => return,
    };
    std::process::exit(status);
}
