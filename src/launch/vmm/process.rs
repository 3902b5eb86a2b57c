//! A VMM's process: it ends with this one, however that ends.

use super::fence::{self, Fence};
use super::{Error, file, log};
use crate::{inherit, leash};
use rustix::process::Signal;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// How long a VMM may take until it answers on its control socket.
const STARTUP: Duration = Duration::from_secs(20);
/// How many lines of a VMM's log an error shows.
const LINES: usize = 10;

/// A running VMM. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    handle: duct::Handle,
    command: String,
    log: PathBuf,
}

/// What to run.
#[derive(Debug)]
pub struct Command<'a> {
    /// The program.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The machine's folder, in which it works and its log is.
    pub folder: &'a Path,
    /// Where its standard output goes, if anywhere.
    pub output: Option<PathBuf>,
    /// Descriptors that it keeps. They must stay open until it has been started.
    pub inherited: Vec<RawFd>,
    /// Whether it makes its guest's connections itself, and is kept from some.
    pub fenced: bool,
}

impl Process {
    /// Starts it.
    pub fn start(command: Command) -> Result<Self, Error> {
        let Command { program, arguments, folder, output, inherited, fenced } = command;
        let log = folder.join(file::VMM);
        let fail = |cause| Error::Io { what: format!("start {program}"), cause };
        let errors = OpenOptions::new().create(true).append(true).open(&log).map_err(fail)?;
        let line = format!("{program} {}", arguments.join(" "));
        let mut expression = duct::cmd(&program, arguments).dir(folder).stdin_null().stderr_file(errors).unchecked();
        expression = match output {
            Some(path) => expression.stdout_path(path),
            None => expression.stdout_null(),
        };
        let no_fence = |cause| Error::Io { what: format!("keep {program} from this host's own services"), cause };
        let fence = fenced.then(Fence::new).transpose().map_err(no_fence)?;
        let inner = fence.as_ref().map(Fence::inner);
        let before_spawn = move |command: &mut std::process::Command| {
            keep(command, inherited.clone(), inner);
            Ok(())
        };
        let handle = expression.before_spawn(before_spawn).start().map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => Error::Missing { program: program.clone() },
            _ => fail(cause),
        })?;
        let process = Self { handle, command: line, log };
        fence.map_or(Ok(()), Fence::stand).map_err(no_fence)?;
        Ok(process)
    }

    /// Tries until it answers; it may end first, or take too long.
    pub fn answer<T>(&self, ask: impl Fn() -> io::Result<T>) -> Result<T, Error> {
        let started = Instant::now();
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(cause) => {
                    self.alive()?;
                    if started.elapsed() > STARTUP {
                        return Err(Error::Io { what: "reach the VMM's control socket".to_owned(), cause });
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Fails with what it said when it has ended.
    pub fn alive(&self) -> Result<(), Error> {
        let ended = self.ended().map_err(|cause| Error::Io { what: "wait for the VMM".to_owned(), cause })?;
        match ended {
            None => Ok(()),
            Some(status) => {
                Err(Error::Ended { status, log: log::tail(&self.log, LINES), command: self.command.clone() })
            }
        }
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> io::Result<Option<String>> {
        Ok(self.handle.try_wait()?.map(|output| describe(output.status)))
    }

    /// Its process id.
    pub fn pid(&self) -> Option<u32> {
        self.handle.pids().first().copied()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing more can be done about a process that cannot be killed.
        let _ = self.handle.kill().and_then(|()| self.handle.wait().map(|_| ()));
    }
}

/// Lets the child keep some descriptors, and end when its parent does; with a fence around it, if there is to be one.
fn keep(command: &mut std::process::Command, inherited: Vec<RawFd>, fence: Option<RawFd>) {
    let parent = std::process::id();
    let before_exec = move || {
        leash::to(parent, Signal::KILL)?;
        inherit::nothing()?;
        for fd in &inherited {
            // SAFETY: the parent holds these descriptors open while it waits for the exec.
            rustix::io::fcntl_setfd(unsafe { BorrowedFd::borrow_raw(*fd) }, rustix::io::FdFlags::empty())?;
        }
        // SAFETY: as above.
        fence.map_or(Ok(()), |fence| fence::enclose(unsafe { BorrowedFd::borrow_raw(fence) }))
    };
    // SAFETY: between fork and exec only system calls are made; nothing is allocated.
    unsafe { command.pre_exec(before_exec) };
}

/// How a process ended, in words.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (_, Some(signal)) => format!("signal {signal}"),
        _ => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_takes_the_process_along() {
        let folder = tempfile::tempdir().unwrap();
        let pid = std::sync::Mutex::new(None);
        let work = || {
            let process = Process::start(Command {
                program: "sleep".to_owned(),
                arguments: vec!["1000".to_owned()],
                folder: folder.path(),
                output: None,
                inherited: Vec::new(),
                fenced: false,
            });
            let process = process.unwrap();
            *pid.lock().unwrap() = process.pid();
            panic!("while it runs");
        };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_err();
        let pid = pid.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).unwrap();
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
