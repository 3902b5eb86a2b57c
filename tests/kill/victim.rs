//! A program that will be killed, and when.

use crate::common::dice::Dice;
use crate::common::processes::{Process, descendants};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the kernel may take to end what was killed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much later than a stage's end its neighbourhood ends.
const NEAR: Duration = Duration::from_millis(40);
/// Nothing that is killed here takes so long.
const HANGS: Duration = Duration::from_secs(900);

/// A running program whose stages are the lines it prints.
pub struct Victim {
    child: Child,
    listeners: [JoinHandle<()>; 2],
    lines: Arc<Mutex<Vec<(Duration, String)>>>,
    started: Instant,
}

impl Victim {
    /// Starts it; both its outputs are listened to.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (lines, started) = (Arc::default(), Instant::now());
        let listeners = [
            listen(child.stdout.take().unwrap(), &lines, started),
            listen(child.stderr.take().unwrap(), &lines, started),
        ];
        Self { child, listeners, lines, started }
    }

    /// What it has said so far.
    pub fn said(&self) -> Vec<String> {
        self.lines.lock().unwrap().iter().map(|(_, line)| line.clone()).collect()
    }

    /// The stage that it is in: the last line's name.
    pub fn stage(&self) -> String {
        let lines = self.lines.lock().unwrap();
        lines.iter().rev().find_map(|(_, line)| name(line)).unwrap_or_else(|| "begin".to_owned())
    }

    /// Waits for a point of its course. False: it has ended before.
    pub fn wait_for(&mut self, point: Point) -> bool {
        let mut from = (point.stage == 0).then_some(Duration::ZERO);
        loop {
            if from.is_none() {
                from = self.lines.lock().unwrap().get(point.stage - 1).map(|(at, _)| *at);
            }
            if from.is_some_and(|from| self.started.elapsed() >= from + point.later) {
                return true;
            }
            if self.ended().is_some() {
                return false;
            }
            assert!(self.started.elapsed() < HANGS, "it hangs: {:#?}", self.said());
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    /// Waits until it has said a line with these words. False: it has ended before.
    pub fn hears(&mut self, words: &str) -> bool {
        loop {
            if self.said().iter().any(|line| line.contains(words)) {
                return true;
            }
            if self.ended().is_some() {
                return false;
            }
            assert!(self.started.elapsed() < HANGS, "it hangs: {:#?}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Itself, where `nsenter` has started it, and everybody below.
    pub fn family(&self) -> Vec<Process> {
        descendants(self.child.id())
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end, and says whether it succeeded.
    pub fn end(&mut self) -> bool {
        while self.ended().is_none() {
            assert!(self.started.elapsed() < HANGS, "it hangs: {:#?}", self.said());
            std::thread::sleep(Duration::from_millis(2));
        }
        let ended = Instant::now();
        // What it has said last is still on its way.
        while ended.elapsed() < PATIENCE && !self.listeners.iter().all(JoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.child.wait().unwrap().success()
    }

    /// Kills the program itself. False: it had ended.
    pub fn kill(&mut self) -> bool {
        self.child.kill().unwrap();
        self.child.wait().unwrap().signal() == Some(9)
    }

    /// Kills the program that `nsenter` runs, once it does. False: it had ended.
    pub fn kill_inner(&mut self) -> bool {
        let mut killed = false;
        while !killed && self.ended().is_none() {
            killed = self.family().first().is_some_and(Process::kill);
        }
        !self.end() && killed
    }

    /// Its course, once it has ended.
    pub fn course(mut self) -> Course {
        let good = self.end();
        assert!(good, "{:#?}", self.said());
        let stages = self.lines.lock().unwrap().len();
        Course { whole: self.started.elapsed(), stages }
    }
}

/// The first word of a line of progress, or the name of a stage in a line of JSON.
fn name(line: &str) -> Option<String> {
    if let Ok(line) = serde_json::from_str::<serde_json::Value>(line) {
        let stage = line["stage"]["name"].as_str();
        return stage.or_else(|| line.as_object()?.keys().next().map(String::as_str)).map(str::to_owned);
    }
    line.split_whitespace().next().map(str::to_owned)
}

fn listen(
    pipe: impl Read + Send + 'static,
    lines: &Arc<Mutex<Vec<(Duration, String)>>>,
    started: Instant,
) -> JoinHandle<()> {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            lines.lock().unwrap().push((started.elapsed(), line));
        }
    })
}

/// How an undisturbed run went.
#[derive(Debug, Clone, Copy)]
pub struct Course {
    /// From start to end.
    pub whole: Duration,
    /// How many lines it printed.
    pub stages: usize,
}

/// When to kill: so much later than the line of this number came (0: than the start).
#[derive(Debug, Clone, Copy)]
pub struct Point {
    stage: usize,
    later: Duration,
}

impl Course {
    /// Half of the points lie anywhere, half just behind the end of a stage.
    pub fn point(&self, dice: &mut Dice) -> Point {
        if dice.below(2) == 0 || self.stages == 0 {
            return Point { stage: 0, later: dice.within(self.whole) };
        }
        Point { stage: 1 + dice.below(self.stages), later: dice.within(NEAR) }
    }
}

impl Point {
    /// So long after the start.
    pub fn after(later: Duration) -> Self {
        Self { stage: 0, later }
    }
}

/// The processes that were there before.
pub struct Before(Vec<Process>);

impl Before {
    /// Those of this process.
    pub fn now() -> Self {
        Self(descendants(std::process::id()))
    }

    /// Nobody else lives, or not for long.
    #[track_caller]
    pub fn is_again(&self, what: &dyn fmt::Display) {
        let started = Instant::now();
        let others = || -> Vec<_> {
            descendants(std::process::id()).into_iter().filter(|process| !self.0.contains(process)).collect()
        };
        while started.elapsed() < PATIENCE && !others().is_empty() {
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(others(), [], "{what}: these live on");
    }
}

/// What was killed, and in which stage.
#[derive(Default)]
pub struct Tally(BTreeMap<String, usize>);

impl Tally {
    /// One more.
    pub fn count(&mut self, stage: impl Into<String>) {
        *self.0.entry(stage.into()).or_default() += 1;
        if self.all().is_multiple_of(10) {
            println!("{}", self.all());
        }
    }

    /// How many there were.
    pub fn all(&self) -> usize {
        self.0.values().sum()
    }

    /// Says what was done.
    pub fn print(&self, subject: &str) {
        let stages: Vec<_> = self.0.iter().map(|(stage, count)| format!("{stage} {count}")).collect();
        println!("{subject}: {} kills, nothing found. Behind: {}", self.all(), stages.join(", "));
    }
}
