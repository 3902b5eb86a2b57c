//! Whose program runs in the sandbox, since when, and what it said last: for whoever watches, for the log, and for the error.
//!
//! dpkg says which package it turns to, and which one failed, in lines of its own (dpkg(1), `--status-fd`). They come down
//! the pipe that its scripts write to, so that every other line has an owner.

use super::{Error, Script, debconf};
use crate::progress::{Event, Observer};
use crate::sandbox::{self, Ending, Sandbox};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lines of a program's output that an error shows.
const WORDS: usize = 20;

/// Warnings of maintainer scripts that are shown; the others are counted.
const WARNINGS: usize = 5;

/// Whose program runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    /// The package; or `run`.
    pub name: String,
    /// `postinst`, `step 2 (…)`.
    pub script: String,
    /// What it is good for: `setting up`, `running`.
    pub verb: &'static str,
}

impl Subject {
    pub fn new(verb: &'static str, name: &str, script: &str) -> Self {
        Self { name: name.to_owned(), script: script.to_owned(), verb }
    }
}

/// A program in the sandbox that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name}: {script} {how}{}{}",
    .words.iter().map(|line| format!("\n  | {line}")).collect::<String>(),
    .help.as_ref().map(|help| format!("\nhelp: {help}")).unwrap_or_default()
)]
pub struct Failure {
    /// The package; or `run`.
    pub name: String,
    /// Which of its scripts; which step.
    pub script: String,
    /// How it ended: `failed with exit status 75`.
    pub how: String,
    /// Its exit status, if it had one.
    pub status: Option<i32>,
    /// The last lines it wrote.
    pub words: Vec<String>,
    /// What may help.
    pub help: Option<String>,
}

impl Failure {
    /// The script or command itself, if it is one that a build can be stopped before.
    pub fn step(&self) -> Option<FailedStep<'_>> {
        // dpkg says `libc6:amd64` of packages that several architectures may share.
        let name = self.name.split(':').next().unwrap_or_default();
        match (name, self.script.as_str()) {
            (RUN, script) => script.strip_prefix("step ")?.split(' ').next()?.parse().ok().map(FailedStep::Run),
            (name, "preinst") => Some(FailedStep::Script(name, Script::Preinst)),
            (name, "postinst") => Some(FailedStep::Script(name, Script::Postinst)),
            _ => None,
        }
    }
}

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedStep<'a> {
    /// A script of a package.
    Script(&'a str, Script),
    /// A command of `run:`, counted from 1.
    Run(usize),
}

/// Follows programs in the sandbox.
pub(super) struct Watch<'a> {
    stage: &'static str,
    next: &'a dyn Observer,
    state: Mutex<State>,
}

struct State {
    subject: Subject,
    since: Instant,
    words: VecDeque<String>,
    fault: Option<Failure>,
    warnings: BTreeMap<String, Vec<String>>,
    configured: BTreeSet<String>,
    asked: BTreeMap<String, String>,
    unpacked: u64,
}

impl<'a> Watch<'a> {
    pub fn new(stage: &'static str, next: &'a dyn Observer) -> Self {
        let state = State {
            subject: Subject::new("", "", ""),
            since: Instant::now(),
            words: VecDeque::new(),
            fault: None,
            warnings: BTreeMap::new(),
            configured: BTreeSet::new(),
            asked: BTreeMap::new(),
            unpacked: 0,
        };
        Self { stage, next, state: Mutex::new(state) }
    }

    /// Runs a program, and says every second what is waited for.
    pub fn run(&self, sandbox: &Sandbox, argv: &[&str], subject: Subject) -> Result<(), Error> {
        self.turn(subject);
        let result = std::thread::scope(|scope| {
            let (_running, ended) = mpsc::channel::<()>();
            scope.spawn(move || {
                while ended.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                    self.tell();
                }
            });
            sandbox.run(argv, self)
        });
        result.map_err(|error| self.failure(error))
    }

    /// A package has been unpacked.
    pub fn unpacked(&self, name: &str) {
        self.state().unpacked += 1;
        let what = format!("unpacking {name}");
        self.next.event(Event::Doing { stage: self.stage, what, so_far: Duration::ZERO });
        self.advanced();
    }

    /// What scripts warned of, at the end.
    pub fn summarise(&self) {
        let warnings = std::mem::take(&mut self.state().warnings);
        let all: Vec<_> =
            warnings.iter().flat_map(|(name, lines)| lines.iter().map(move |line| format!("{name}: {line}"))).collect();
        let who = match (warnings.len(), warnings.contains_key(RUN)) {
            (0, _) => return,
            (_, true) => "steps of `run:` warned".to_owned(),
            (1, false) => "scripts of 1 package warned".to_owned(),
            (count, false) => format!("scripts of {count} packages warned"),
        };
        let mut text = format!("{who}; their words are in build.log");
        for line in all.iter().take(WARNINGS) {
            text += &format!("\n    {line}");
        }
        if all.len() > WARNINGS {
            text += &format!("\n    … and {} more", all.len() - WARNINGS);
        }
        self.next.event(Event::Note(text));
    }

    /// The questions of high priority that scripts have asked, each with its package.
    pub fn asked(&self) -> BTreeMap<String, String> {
        self.state().asked.clone()
    }

    /// Tells whoever watches.
    pub fn say(&self, event: Event) {
        self.next.event(event);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, subject: Subject) {
        let mut state = self.state();
        (state.subject, state.since) = (subject, Instant::now());
        state.words.clear();
        drop(state);
        self.tell();
    }

    fn tell(&self) {
        let state = self.state();
        let Subject { name, script, verb } = &state.subject;
        let what = if name == RUN { format!("{verb} {script}") } else { format!("{verb} {name} ({script})") };
        let so_far = Duration::from_secs(state.since.elapsed().as_secs());
        drop(state);
        self.next.event(Event::Doing { stage: self.stage, what, so_far });
    }

    fn advanced(&self) {
        let state = self.state();
        let done = state.unpacked + state.configured.len() as u64;
        drop(state);
        self.next.event(Event::Advanced { stage: self.stage, done });
    }

    fn line(&self, line: &str) {
        let (text, status) = Status::split(line);
        if !text.is_empty() || status.is_none() {
            self.word(text);
        }
        match status {
            Some(Status::Processing { script, package }) => self.turn(Subject::new("setting up", package, script)),
            Some(Status::Is { package, state: "installed" }) => {
                self.state().configured.insert(package.to_owned());
                self.advanced();
            }
            Some(Status::Error { package, message }) => self.state().fault(package, message),
            Some(Status::Is { .. }) | None => {}
        }
    }

    fn word(&self, text: &str) {
        let mut state = self.state();
        let name = state.subject.name.clone();
        if let Some(said) = debconf::said(text) {
            if let Some(question) = debconf::asked(said) {
                state.asked.entry(question.to_owned()).or_insert(name);
            }
            return;
        }
        if !is_dpkgs(text) {
            if is_warning(&name, text) {
                state.warnings.entry(name.clone()).or_default().push(text.to_owned());
            }
            state.words.push_back(text.to_owned());
            if state.words.len() > WORDS + DPKGS_OWN {
                state.words.pop_front();
            }
        }
        drop(state);
        // dpkg's line comes before it says whose turn it is.
        let text = if is_dpkgs(text) { text.to_owned() } else { format!("{name}: {text}") };
        self.next.event(Event::Detail(text));
    }

    fn failure(&self, error: sandbox::Error) -> Error {
        let sandbox::Error::Failed { ending, .. } = error else { return Error::Sandbox(error) };
        let mut state = self.state();
        match state.fault.take() {
            Some(fault) if !matches!(ending, Ending::Limit(..)) => Error::Step(Box::new(fault)),
            _ => {
                let status = if let Ending::Status(status) = ending { Some(status) } else { None };
                let help = ending.help().strip_prefix("\nhelp: ").map(str::to_owned);
                Error::Step(Box::new(Failure { help, ..state.failure(&ending.to_string(), status) }))
            }
        }
    }
}

impl Observer for Watch<'_> {
    fn event(&self, event: Event) {
        match event {
            Event::Detail(line) => self.line(&line),
            event => self.next.event(event),
        }
    }
}

/// What stands for the recipe's own commands where others have a package's name.
pub(super) const RUN: &str = "run";

/// How many of the last lines may be dpkg's about the failure.
const DPKGS_OWN: usize = 2;

/// Whether a line says that something is not as it should be. `systemctl` in a step starts nothing, and is content with that.
fn is_warning(name: &str, text: &str) -> bool {
    text.to_ascii_lowercase().contains("warning: ") || name == RUN && text.starts_with("Running in chroot, ignoring ")
}

/// Lines in which dpkg says what it does, told as [`Event::Doing`].
fn is_dpkgs(text: &str) -> bool {
    ["Setting up ", "Processing triggers for "]
        .iter()
        .any(|start| text.strip_prefix(start).is_some_and(|rest| rest.ends_with(") ...")))
}

impl State {
    fn failure(&self, how: &str, status: Option<i32>) -> Failure {
        let Subject { name, script, .. } = self.subject.clone();
        let words = self.words.iter().skip(self.words.len().saturating_sub(WORDS)).cloned().collect();
        Failure { name, script, how: how.to_owned(), status, words, help: None }
    }

    /// The first is the culprit; what cannot be set up because of it comes after.
    fn fault(&mut self, package: &str, message: &str) {
        if self.fault.is_some() {
            return;
        }
        let own = self.words.iter().rposition(|line| line.starts_with("dpkg: error processing package "));
        self.words.truncate(own.unwrap_or(self.words.len()));
        let (how, status) = ended(message);
        let script = match message.split_once(' ') {
            Some(("py3compile", _)) => "py3compile",
            _ if how.starts_with(SAYS) => "dpkg",
            _ => self.subject.script.as_str(),
        };
        let script = script.to_owned();
        self.fault = Some(Failure { name: package.to_owned(), script, ..self.failure(&how, status) });
    }
}

/// How a script ended, from dpkg's words for it. Source: `subproc_check` in dpkg's `lib/dpkg/subproc.c`.
fn ended(message: &str) -> (String, Option<i32>) {
    let status = message.rsplit_once("exit status ").and_then(|(_, status)| status.trim().parse().ok());
    match (status, message.split_once("was killed by signal ")) {
        (Some(status), _) => (Ending::Status(status).to_string(), Some(status)),
        (None, Some((_, signal))) => (format!("was killed by signal {signal}"), None),
        (None, None) => (format!("{SAYS}{message}"), None),
    }
}

/// In front of what dpkg says of a package when it was no script that failed.
const SAYS: &str = "says: ";

/// A line that dpkg writes for programs. Source: dpkg(1), `--status-fd`.
#[derive(Debug, PartialEq, Eq)]
enum Status<'a> {
    Processing { script: &'static str, package: &'a str },
    Is { package: &'a str, state: &'a str },
    Error { package: &'a str, message: &'a str },
}

impl<'a> Status<'a> {
    /// Splits it off what a script wrote before it without ending the line.
    fn split(line: &'a str) -> (&'a str, Option<Self>) {
        for start in ["processing: ", "status: "] {
            let Some(at) = line.rfind(start) else { continue };
            let (text, rest) = line.split_at(at);
            if let Some(status) = Self::parse(rest) {
                return (text, Some(status));
            }
        }
        (line, None)
    }

    fn parse(text: &'a str) -> Option<Self> {
        let is_name = |name: &&str| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.:".contains(&b))
        };
        if let Some(rest) = text.strip_prefix("processing: ") {
            let (action, package) = rest.split_once(": ")?;
            let script = match action {
                "configure" => "postinst",
                "trigproc" => "postinst for its triggers",
                "py3compile" => "py3compile",
                _ => return None,
            };
            return Some(package).filter(is_name).map(|package| Self::Processing { script, package });
        }
        let rest = text.strip_prefix("status: ")?;
        if let Some((package, message)) = rest.split_once(" : error : ") {
            return Some(package).filter(is_name).map(|package| Self::Error { package, message });
        }
        let (package, state) = rest.split_once(": ")?;
        let known =
            ["unpacked", "half-configured", "triggers-awaited", "triggers-pending", "installed"].contains(&state);
        Some(package).filter(is_name).filter(|_| known).map(|package| Self::Is { package, state })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn dpkgs_lines_are_told_from_what_scripts_write() {
        let postinst = Status::Processing { script: "postinst", package: "postfix" };
        assert_eq!(Status::split("processing: configure: postfix"), ("", Some(postinst)));
        let installed = Status::Is { package: "libc6:amd64", state: "installed" };
        assert_eq!(Status::split("working... status: libc6:amd64: installed"), ("working... ", Some(installed)));
        for line in ["status: fine", "processing: 12 files", "processing: configure: Two Words", "status: a: on fire"] {
            assert_eq!(Status::split(line), (line, None));
        }
    }

    #[test]
    fn the_culprit_is_the_first_with_its_own_last_words() {
        let watch = Watch::new("install", &Silent);
        for line in [
            "processing: configure: other",
            "something else",
            "processing: configure: postfix",
            "Setting up postfix (3.7) ...",
            "newaliases: fatal: no interfaces",
            "dpkg: error processing package postfix (--configure):",
            " installed postfix package post-installation script subprocess returned error exit status 75",
            "status: postfix : error : installed postfix package post-installation script subprocess returned error exit status 75",
            "dpkg: dependency problems prevent configuration of bsd-mailx:",
            "status: bsd-mailx : error : dependency problems - leaving unconfigured",
        ] {
            watch.event(Event::Detail(line.to_owned()));
        }
        let fault = watch.state().fault.take().unwrap();
        assert_eq!(
            fault.to_string(),
            "postfix: postinst failed with exit status 75\n  | newaliases: fatal: no interfaces"
        );
        let (how, status) =
            ended("installed x package post-installation script subprocess was killed by signal (Killed)");
        assert_eq!((how.as_str(), status), ("was killed by signal (Killed)", None));
        assert_eq!(ended("triggers looping, abandoned").0, "says: triggers looping, abandoned");
    }

    #[test]
    fn a_step_that_started_nothing_is_warned_of() {
        let notes = Notes::default();
        let watch = Watch::new("customize", &notes);
        watch.summarise();
        watch.turn(Subject::new("running", RUN, "step 1 (`systemctl start cron`)"));
        watch.event(Event::Detail("Running in chroot, ignoring command 'start'".to_owned()));
        watch.summarise();
        let warned = "steps of `run:` warned; their words are in build.log\n    run: Running in chroot, ignoring command 'start'";
        assert_eq!(*notes.0.lock().unwrap(), [warned]);
    }

    #[derive(Default)]
    struct Notes(Mutex<Vec<String>>);

    impl Observer for Notes {
        fn event(&self, event: Event) {
            if let Event::Note(text) = event {
                self.0.lock().unwrap().push(text);
            }
        }
    }
}
