//! A command in the sandbox with a person behind it: its streams, and the process 1 above it.
//!
//! Nothing in the tree gets the person's own terminal or files. On a terminal the command has a fresh one of the sandbox's own
//! `/dev/pts`, whose other end comes out here; elsewhere it has three pipes. Both go through one socket, which the sandbox's
//! first process has in place of its standard input. Source: pty(7), unix(7) `SCM_RIGHTS`, setsid(2), ioctl_tty(2).

use super::{Ending, Error, Sandbox, judged, text_of};
use crate::interrupt;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, ioctl_tiocsctty, setsid, wait};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stdin};
use rustix::termios::{InputModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// What the command is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Streams {
    /// Three pipes.
    Pipes,
    /// A terminal of this many rows and columns.
    Terminal(u16, u16),
}

/// The other ends of it.
#[derive(Debug)]
pub enum Ends {
    /// What is written here it reads; what it writes to its two outputs is read here.
    Pipes {
        /// Its standard input.
        input: OwnedFd,
        /// Its standard output.
        output: OwnedFd,
        /// Its standard error.
        error: OwnedFd,
    },
    /// The terminal's other end.
    Terminal(OwnedFd),
}

/// A command that runs.
#[derive(Debug)]
pub struct Session {
    command: String,
    sandbox: Sandbox,
    handle: duct::Handle,
    verdict: File,
    said: File,
    _running: Vec<interrupt::Guard>,
}

impl Sandbox {
    /// Starts a command that a person (or a program of theirs) talks with. It is no process 1, as a `run` command is: signals
    /// do to it what they do elsewhere.
    ///
    /// # Errors
    /// When the sandbox cannot be made.
    pub fn open(&self, argv: &[String], streams: Streams) -> Result<(Session, Ends), Error> {
        let mut sandbox = self.clone();
        sandbox.job.streams = Some(streams);
        let command = argv.join(" ");
        let start = |cause| Error::Start { command: command.clone(), root: self.root.clone(), cause };
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(|e| start(e.into()))?;
        let (verdict, said) = (tempfile::tempfile().map_err(start)?, tempfile::tempfile().map_err(start)?);
        let mut arguments = sandbox.arguments().map_err(start)?;
        arguments.extend(argv.iter().map(Into::into));
        let handle = duct::cmd("/proc/self/exe", arguments)
            .stdin_file(theirs)
            .stdout_file(said.try_clone().map_err(start)?)
            .stderr_file(verdict.try_clone().map_err(start)?)
            .unchecked()
            .start()
            .map_err(start)?;
        let running = handle.pids().into_iter().map(interrupt::process).collect();
        let session = Session { command: command.clone(), sandbox, handle, verdict, said, _running: running };
        match exchange(&ours, streams) {
            Ok(ends) => Ok((session, ends)),
            Err(error) => {
                // Why there is nobody to speak with says the sandbox.
                session.end()?;
                Err(start(error))
            }
        }
    }
}

impl Session {
    /// Waits until nothing of it runs any more. None: it has succeeded.
    ///
    /// # Errors
    /// When it could not be started, or took more than its limits.
    pub fn end(mut self) -> Result<Option<Ending>, Error> {
        let (command, root) = (self.command.clone(), self.sandbox.root.clone());
        let start = |cause| Error::Start { command: command.clone(), root: root.clone(), cause };
        self.handle.wait().map_err(start)?;
        let said = text_of(&mut self.said).map_err(start)?;
        if !said.is_empty() {
            return Err(start(io::Error::other(said.trim_end().to_owned())));
        }
        match judged(&mut self.verdict, &self.sandbox.job.limits).map_err(start)? {
            Some(ending @ Ending::Limit(..)) => {
                Err(Error::Failed { command: command.clone(), root: root.clone(), ending, tail: Vec::new() })
            }
            ending => Ok(ending),
        }
    }
}

/// Outside: gives or gets the descriptors.
fn exchange(socket: &OwnedFd, streams: Streams) -> io::Result<Ends> {
    match streams {
        Streams::Pipes => {
            let [(input_read, input), (output, output_write), (error, error_write)] =
                [pipe_with(PipeFlags::CLOEXEC)?, pipe_with(PipeFlags::CLOEXEC)?, pipe_with(PipeFlags::CLOEXEC)?];
            send(socket, &[input_read.as_fd(), output_write.as_fd(), error_write.as_fd()])?;
            Ok(Ends::Pipes { input, output, error })
        }
        Streams::Terminal(..) => {
            let [terminal] = receive(socket)?;
            Ok(Ends::Terminal(terminal))
        }
    }
}

/// Inside, once the sandbox is made but for its filter: takes the standard input, which is the socket, for the streams.
pub(super) fn connect(streams: Streams) -> io::Result<()> {
    let [input, output, error] = match streams {
        Streams::Pipes => receive(stdin())?,
        Streams::Terminal(rows, columns) => {
            let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
                .map_err(|error| io::Error::other(format!("no terminal can be made in it: {error}")))?;
            unlockpt(&ours)?;
            let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
            let theirs = ioctl_tiocgptpeer(&ours, flags)?;
            tcsetwinsize(&theirs, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
            let mut modes = tcgetattr(&theirs)?;
            modes.input_modes |= InputModes::IUTF8;
            tcsetattr(&theirs, OptionalActions::Now, &modes)?;
            send(stdin(), &[ours.as_fd()])?;
            [theirs.try_clone()?, theirs.try_clone()?, theirs]
        }
    };
    dup2_stdin(input)?;
    dup2_stdout(output)?;
    Ok(dup2_stderr(error)?)
}

/// Starts the command below process 1, which this process is, and waits for its end: what remains ends then too. Its exit
/// status; 128 and the number of the signal that ended it.
pub(super) fn run(mut command: Command, streams: Streams) -> io::Result<i32> {
    // SAFETY: this process has one thread; the child goes on in a copy of its memory.
    let child = unsafe { libc::fork() };
    if child == -1 {
        return Err(io::Error::last_os_error());
    }
    let Some(child) = Pid::from_raw(child) else {
        if let Streams::Terminal(..) = streams {
            setsid()?;
            ioctl_tiocsctty(stdin())?;
        }
        let error = command.exec();
        eprintln!("goldsmith: cannot start {}: {error}", command.get_program().to_string_lossy());
        // As shells and env(1) have it.
        return Ok(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 });
    };
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if ended == child => {
                let signal = || status.terminating_signal().map(|signal| 128 + signal);
                return Ok(status.exit_status().or_else(signal).unwrap_or(1));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Descriptors at once, at the most.
const MOST: usize = 3;

fn send(socket: impl AsFd, descriptors: &[BorrowedFd]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(descriptors));
    sendmsg(socket, &[IoSlice::new(b"x")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive<const COUNT: usize>(socket: impl AsFd) -> io::Result<[OwnedFd; COUNT]> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(socket, &mut [IoSliceMut::new(&mut [0])], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let rights = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights.collect::<Vec<_>>()),
        _ => None,
    });
    rights.unwrap_or_default().try_into().map_err(|_| io::ErrorKind::UnexpectedEof.into())
}
