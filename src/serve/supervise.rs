//! The process that runs one VM: `goldsmith launch`, which goes on without this server once the VM is ready.
//!
//! Its arguments are a list, never a shell's line. Until the VM is ready the process ends with the thread that started it
//! (`PR_SET_PDEATHSIG`, prctl(2): with the thread, not with the program), so that thread stays until the process ends.

use super::api::{Failure, State};
use super::fleet::{Entry, Fleet};
use super::order::Order;
use super::ticket::Ticket;
use crate::launch::Line;
use rustix::process::Pid;
use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tokio::sync::OwnedSemaphorePermit;

/// A launch says much less.
const MOST: u64 = 16 << 20;

/// How VMs are launched.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// Arguments of `goldsmith launch` that are the same for all VMs: network, disk, VMM.
    pub arguments: Vec<String>,
    /// What they come to: `QEMU microvm, emulation`.
    pub machine: String,
}

impl Launcher {
    fn command(&self, order: &Order, folder: &Path) -> Command {
        let mut arguments: Vec<OsString> = ["launch", "--format", "lines"].map(OsString::from).into();
        arguments.push(format!("--stay={}", std::process::id()).into());
        arguments.extend(self.arguments.iter().map(OsString::from));
        let mut add = |option: &str, value: &str| arguments.push(format!("{option}={value}").into());
        add("--name", &order.id);
        add("--memory", &order.memory.to_string());
        add("--cpus", &order.cpus.to_string());
        for (name, value) in &order.set {
            add("--set", &format!("{name}={value}"));
        }
        if let Some(address) = order.expect {
            add("--expect", &address.to_string());
        }
        arguments.extend(["--".into(), folder.into()]);
        let mut command = Command::new("/proc/self/exe");
        command.arg0("goldsmith").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        // A Ctrl-C at the server's terminal is not meant for the VMs.
        command.process_group(0);
        command
    }
}

/// Starts the launch of a VM and listens to it until it ends. The turn is given back once the VM is ready, or will not be.
pub fn launch(fleet: &Fleet, entry: &Entry, turn: OwnedSemaphorePermit) {
    if let Err(error) = follow(fleet, entry, turn) {
        entry.fail(State::Failed, plain(format!("cannot launch it: {error}"), None));
    }
}

fn follow(fleet: &Fleet, entry: &Entry, turn: OwnedSemaphorePermit) -> io::Result<()> {
    let started = Instant::now();
    let order = &entry.order;
    let folder = fleet.images.folder(&order.image).ok_or_else(|| io::Error::other("its image is not offered"))?;
    let start = || {
        Ticket::new(order).write(&fleet.folder)?;
        let child = fleet.launcher.command(order, folder).spawn()?;
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Ok((id.ok_or_else(|| io::Error::other("the process has no id"))?, child))
    };
    let Some(mut child) = entry.start(start)? else { return Ok(()) };
    let listened = listen(fleet, entry, &mut child, turn, started);
    let status = child.wait()?;
    if !entry.state().is_decided() || entry.state() == State::Booting {
        entry.fail(State::Failed, plain(format!("its launch ended with {status}"), None));
    }
    listened
}

fn listen(
    fleet: &Fleet,
    entry: &Entry,
    child: &mut Child,
    turn: OwnedSemaphorePermit,
    from: Instant,
) -> io::Result<()> {
    let mut turn = Some(turn);
    let Some(pipe) = child.stdout.take() else { return Ok(()) };
    let mut pipe = BufReader::new(pipe.take(MOST));
    let mut line = Vec::new();
    loop {
        line.clear();
        if pipe.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        // What is no line of ours is the mark behind the last one.
        let Ok(line) = serde_json::from_slice(&line) else { continue };
        hear(fleet, entry, line, from);
        if entry.state() == State::Ready || entry.state().is_over() {
            drop(turn.take());
        }
    }
}

fn hear(fleet: &Fleet, entry: &Entry, line: Line, from: Instant) {
    match line {
        Line::Stage { name, summary, ms } => {
            if name != "probe" {
                fleet.metrics.stage(&name, ms);
            }
            entry.update(|vm| match name.as_str() {
                "probe" => {}
                name => {
                    vm.stages.insert(name.to_owned(), (ms * 1e3).round() / 1e3);
                    match name {
                        "start" if vm.state == State::Starting => vm.state = State::Booting,
                        "address" => vm.address = summary.parse().ok(),
                        _ => {}
                    }
                }
            });
        }
        Line::Ready { ready, .. } => {
            entry.update(|vm| {
                vm.address = ready.address;
                vm.endpoints = ready.probes.into_iter().map(|probe| (probe.name, probe.place)).collect();
                if vm.state != State::Stopping {
                    vm.state = State::Ready;
                }
            });
            // From now on it outlives this server. One whose ticket cannot be written is found again without its stages.
            let ticket = Ticket { stages: entry.vm().stages, ..Ticket::new(&entry.order) };
            let _ = ticket.write(&fleet.folder);
            fleet.metrics.ready(from.elapsed());
            fleet.events.tell("ready", &entry.vm());
        }
        Line::Refused(findings) => {
            for finding in findings.get("findings").and_then(|list| list.as_array()).into_iter().flatten() {
                let refuses = finding.get("severity").is_some_and(|severity| severity == "error")
                    && finding.get("waived").is_none_or(serde_json::Value::is_null);
                if let Some(rule) = finding.get("rule").and_then(|rule| rule.as_str()).filter(|_| refuses) {
                    fleet.metrics.refusal(rule);
                }
            }
            let message = "the gate refuses: nothing was started".to_owned();
            let help = Some("`goldsmith explain RULE` explains each finding's rule".to_owned());
            entry.fail(State::Refused, Failure { findings: Some(findings), ..plain(message, help) });
        }
        Line::Failed { message, help, not_ready } => {
            entry.fail(State::Failed, Failure { diagnosis: not_ready, ..plain(message, help) });
        }
        Line::Note(_) | Line::Warning(_) => {}
    }
}

fn plain(message: String, help: Option<String>) -> Failure {
    Failure { message, help, findings: None, diagnosis: None }
}
