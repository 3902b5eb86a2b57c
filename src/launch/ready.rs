//! Waiting until every probe of a VM passes, and saying why it does not.

use super::diagnosis::{self, Unpassed};
use super::host::{Attachment, Watch};
use super::not_ready::failed_units;
use super::probe::{self, Failure};
use super::vmm::{Vmm, file, tail};
use super::{Error, Secret, Vm};
use crate::manifest::{Probe, ProbeCheck, TcpProbe};
use crate::progress::{Event, Observer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a probe waits at least before it asks again, and at most: as long as the last answer took, so that a guest which
/// is slow to answer is not kept busy with answering.
const AGAIN: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];
/// How often the VM itself is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How often its console is.
const READ: Duration = Duration::from_secs(1);
/// How often its VMM is asked whether the machine still runs.
const ASK: Duration = Duration::from_millis(250);
/// How many of the console's last lines tell a kernel that stays dead.
const LINES: usize = 10;
/// How many of them tell a unit that has failed.
const UNITS: usize = 400;
/// How long a probe may still pass after the unit that would answer it has failed for good: something else may start it.
const MERCY: Duration = Duration::from_secs(5);

/// A probe that has passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Passed {
    /// Its name.
    pub name: String,
    /// Where it is reached from this host: an URL for HTTP, else `ADDRESS:PORT`.
    pub place: String,
    /// What was answered.
    pub answer: String,
    /// Milliseconds after the VM's start.
    pub after_ms: u64,
}

/// A VM that is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The VM's name.
    pub name: String,
    /// The guest's address.
    pub address: Option<Ipv4Addr>,
    /// Milliseconds after the VM's start at which the address was known.
    pub address_after_ms: Option<u64>,
    /// The probes in the manifest's order.
    pub probes: Vec<Passed>,
}

/// What the threads know of each other.
#[derive(Debug, Default)]
struct Board {
    address: Option<Ipv4Addr>,
    accepted: BTreeSet<u16>,
    outcomes: Vec<Outcome>,
    over: bool,
}

#[derive(Debug, Clone, Default)]
struct Outcome {
    passed: Option<Passed>,
    failure: Option<Failure>,
    late: bool,
}

impl Vm {
    /// Waits until every probe has passed.
    pub fn wait_ready(&mut self, observer: &dyn Observer, stop: &dyn Fn() -> bool) -> Result<Ready, Error> {
        let probes = self.manifest.probes.clone();
        let board = Mutex::new(Board { outcomes: vec![Outcome::default(); probes.len()], ..Board::default() });
        let mut address_after = None;
        let (console, timeout) = (self.console(), self.timeout);
        let image = self.record.image.join(&self.manifest.image.file);
        let Self { vmm, attachment, watch, started, .. } = self;
        let ended = std::thread::scope(|scope| {
            for (index, probe) in probes.iter().enumerate() {
                let (board, attachment, started) = (&board, &*attachment, *started);
                let patience = timeout.unwrap_or(Duration::from_secs(probe.timeout_seconds.get()));
                // Both are at most a day; what a clock could not hold would wait for as long as it can.
                let until = started.checked_add(patience);
                scope.spawn(move || {
                    let _late = Late { index, board };
                    follow(index, probe, board, attachment, (started, until), observer);
                });
            }
            let mut look = || look(vmm, attachment, watch.as_mut(), &probes, &board);
            let (mut read, mut asked, mut hopeless) = (Instant::now(), Instant::now(), None);
            let ended = loop {
                if stop() {
                    break Ok(End::Stopped);
                }
                if read.elapsed() > READ {
                    if diagnosis::is_dead(&tail(&console, LINES)) {
                        break Ok(End::Dead);
                    }
                    if !is_hopeless(&image, &tail(&console, UNITS), &probes, &board) {
                        hopeless = None;
                    } else if hopeless.get_or_insert_with(Instant::now).elapsed() > MERCY {
                        break Ok(End::Failed);
                    }
                    read = Instant::now();
                }
                match look() {
                    // A VMM that does not answer has nothing to say.
                    Ok(None) if asked.elapsed() > ASK => {
                        if vmm.halted().is_ok_and(|halted| halted.is_some()) {
                            break Ok(End::Halted);
                        }
                        asked = Instant::now();
                    }
                    Ok(None) => {}
                    Ok(Some(end)) => break Ok(end),
                    Err(error) => break Err(error),
                }
                if address_after.is_none()
                    && let Some(address) = lock(&board).address
                {
                    let after = started.elapsed();
                    address_after = Some(millis(after));
                    observer.event(Event::Finished { stage: "address", summary: address.to_string(), took: after });
                }
                std::thread::sleep(LOOK);
            };
            lock(&board).over = true;
            ended
        })?;
        let board = board.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.record.address = board.address;
        let passed: Vec<Passed> = board.outcomes.iter().filter_map(|outcome| outcome.passed.clone()).collect();
        if passed.len() == probes.len() && ended == End::Done {
            self.record.ready = true;
            self.home.write(&self.record)?;
            self.forget_capture();
            let name = self.record.name.to_string();
            let passed = probes.iter().zip(passed).map(|(probe, passed)| self.told(probe, passed)).collect();
            return Ok(Ready { name, address: board.address, address_after_ms: address_after, probes: passed });
        }
        if ended == End::Stopped {
            return Err(Error::Stopped);
        }
        let failed: Vec<_> = probes
            .iter()
            .zip(&board.outcomes)
            .filter(|(_, outcome)| outcome.passed.is_none())
            .map(|(probe, outcome)| {
                let (name, port, failure) = (probe.name.to_string(), probe.check.port(), outcome.failure.clone());
                Unpassed { name, port, failure }
            })
            .collect();
        let stopped = matches!(ended, End::Vmm(_) | End::Halted);
        let ended = if let End::Vmm(status) = &ended { Some(status.as_str()) } else { None };
        let why = self.not_ready(board.address, passed, &failed, ended);
        if stopped && self.falls_back && why.diagnosis.console.iter().all(|line| line.trim().is_empty()) {
            return Err(Error::Unrun(why.diagnosis.message));
        }
        Err(Error::NotReady(Box::new(why)))
    }

    /// A probe as whoever launched the VM is told of it: with the address that lets one in.
    fn told(&self, probe: &Probe, passed: Passed) -> Passed {
        let secret = self.secret.as_ref().map(Secret::digits);
        let place = self.record.reach(probe.check.port()).map(|at| probe.address(at, secret));
        Passed { place: place.unwrap_or(passed.place), ..passed }
    }

    /// The boot has been watched; later traffic is nobody's business and would fill the disk.
    fn forget_capture(&mut self) {
        if self.watch.take().is_some() && self.vmm.end_capture().is_ok() {
            // A file that stays goes with the folder.
            let _ = fs::remove_file(self.home.path().join(file::CAPTURE));
        }
    }
}

/// How waiting ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// Every probe has passed, or is late.
    Done,
    /// Somebody asked to stop.
    Stopped,
    /// The VMM ended.
    Vmm(String),
    /// The VMM has stopped the machine.
    Halted,
    /// The kernel panicked and stays so: waiting for the probes would be in vain.
    Dead,
    /// A unit that would answer a probe has failed for good.
    Failed,
}

/// Whether a probe waits for a unit that is not started again.
fn is_hopeless(image: &Path, console: &str, probes: &[Probe], board: &Mutex<Board>) -> bool {
    if !diagnosis::failed(console).iter().any(|unit| unit.last) {
        return false;
    }
    let units = failed_units(image, console);
    let gone = units.iter().filter(|unit| unit.last || unit.dependent);
    let waits = |unit: &diagnosis::Failed| {
        let board = lock(board);
        let mut pending = probes.iter().zip(&board.outcomes).filter(|(_, outcome)| outcome.passed.is_none());
        pending.any(|(probe, _)| diagnosis::answers(unit, &probe.name, probe.check.port()))
    };
    gone.into_iter().any(waits)
}

/// Looks at the VM once: its NIC, its probes, its process. None: nothing has ended.
fn look(
    vmm: &Vmm,
    attachment: &Attachment,
    watch: Option<&mut Watch>,
    probes: &[Probe],
    board: &Mutex<Board>,
) -> Result<Option<End>, Error> {
    let io = |what| move |cause| Error::Io { what, cause };
    let mut board = lock(board);
    if let Some(watch) = watch {
        watch.poll().map_err(io("follow the NIC's traffic"))?;
        let address = attachment.address(watch);
        if let Some(address) = address.filter(|_| address != board.address) {
            attachment.pin(address)?;
        }
        board.address = address;
        board.accepted.extend(probes.iter().map(|probe| probe.check.port()).filter(|port| watch.accepted(*port)));
    }
    if board.outcomes.iter().all(|outcome| outcome.passed.is_some() || outcome.late) {
        return Ok(Some(End::Done));
    }
    Ok(vmm.ended().map_err(io("wait for the VMM"))?.map(End::Vmm))
}

/// Dropped by a panic, it says that its probe will not pass: the VM is not waited for any longer, and goes with the panic.
struct Late<'b> {
    index: usize,
    board: &'b Mutex<Board>,
}

impl Drop for Late<'_> {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(outcome) = lock(self.board).outcomes.get_mut(self.index)
        {
            outcome.late = true;
        }
    }
}

/// Asks until the probe passes or is late.
fn follow(
    index: usize,
    probe: &Probe,
    board: &Mutex<Board>,
    attachment: &Attachment,
    (started, until): (Instant, Option<Instant>),
    observer: &dyn Observer,
) {
    let update = |change: &dyn Fn(&mut Outcome)| {
        if let Some(outcome) = lock(board).outcomes.get_mut(index) {
            change(outcome);
        }
    };
    loop {
        let (over, address) = {
            let board = lock(board);
            (board.over, board.address)
        };
        if over {
            return;
        }
        let asked = Instant::now();
        let at = address.and_then(|address| attachment.reach(address, probe.check.port()));
        if let Some(at) = at {
            match probe::ask(&probe.check, at).and_then(|answer| believed(probe, attachment, board, answer)) {
                Ok(answer) => {
                    let after = started.elapsed();
                    let place = probe.check.place(at);
                    let summary = format!("{}: {answer} at {place}", probe.name);
                    observer.event(Event::Finished { stage: "probe", summary, took: after });
                    let passed = Passed { name: probe.name.to_string(), place, answer, after_ms: millis(after) };
                    return update(&|outcome| outcome.passed = Some(passed.clone()));
                }
                Err(failure) => update(&|outcome| outcome.failure = Some(failure.clone())),
            }
        }
        if until.is_some_and(|until| Instant::now() > until) {
            return update(&|outcome| outcome.late = true);
        }
        let [least, most] = AGAIN;
        std::thread::sleep(asked.elapsed().clamp(least, most));
    }
}

/// User networking accepts connections before the guest does: without a banner only the guest's own acceptance counts.
fn believed(probe: &Probe, attachment: &Attachment, board: &Mutex<Board>, answer: String) -> Result<String, Failure> {
    let says_nothing = matches!(probe.check, ProbeCheck::Tcp(TcpProbe { banner: None, .. }));
    if says_nothing && matches!(attachment, Attachment::User(_)) && !lock(board).accepted.contains(&probe.check.port())
    {
        return Err(Failure::Closed("the guest has not accepted a connection".to_owned()));
    }
    Ok(answer)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn lock(board: &Mutex<Board>) -> std::sync::MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_that_panics_is_not_waited_for() {
        let board = Mutex::new(Board { outcomes: vec![Outcome::default(); 2], ..Board::default() });
        let probe = |index, board, panics: bool| {
            let _late = Late { index, board };
            assert!(!panics, "in the middle of it");
        };
        std::thread::scope(|scope| {
            scope.spawn(|| probe(0, &board, false)).join().unwrap();
            scope.spawn(|| probe(1, &board, true)).join().unwrap_err();
        });
        assert_eq!(lock(&board).outcomes.iter().map(|outcome| outcome.late).collect::<Vec<_>>(), [false, true]);
    }
}
