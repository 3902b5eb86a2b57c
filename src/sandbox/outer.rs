//! The process outside: makes the namespaces, maps ids into them, watches, and says how it ended.

use super::Job;
use super::enter::{self, DEVICES, Gift};
use super::ids::Ids;
use super::limits::{Excess, Watch};
use crate::{inherit, leash};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::CWD;
use rustix::mount::{MountPropagationFlags, OpenTreeFlags, mount_change, open_tree};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, getppid, kill_process, pidfd_open, setsid, waitpid};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::time::Instant;

/// How a command ended: the one line that this process writes to its standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Verdict {
    /// The sandbox could not be made.
    Setup(String),
    /// With an exit status.
    Exit(i32),
    /// By a signal.
    Signal(i32),
    /// It was ended.
    Ended(Excess),
}

/// How often a command's limits are looked at.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// Runs a command and reports. The exit status says nothing: it is this process's own.
pub(super) fn run(arguments: &[OsString]) -> i32 {
    let verdict = supervise(arguments).unwrap_or_else(|error| Verdict::Setup(error.to_string()));
    let text = serde_json::to_string(&verdict).unwrap_or_default();
    i32::from(writeln!(io::stderr(), "{text}").is_err())
}

/// Makes a sandbox of an empty folder, and runs nothing.
pub(super) fn probe() -> i32 {
    let step = || -> io::Result<Verdict> {
        let folder = tempfile::tempdir()?;
        let builder = getppid().map_or(0, |parent| parent.as_raw_nonzero().get().cast_unsigned());
        sandbox(&Job { builder, ..Job::default() }, folder.path(), &[])
    };
    match step() {
        Ok(Verdict::Exit(0)) => 0,
        Ok(verdict) => failed(&format!("{verdict:?}")),
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(cause: &str) -> i32 {
    eprintln!("the sandbox could not be made: {cause}");
    1
}

fn supervise(arguments: &[OsString]) -> io::Result<Verdict> {
    let [root, job, argv @ ..] = arguments else { return Err(io::ErrorKind::InvalidInput.into()) };
    let job: Job = serde_json::from_str(job.to_str().unwrap_or_default())?;
    sandbox(&job, Path::new(root), argv)
}

fn sandbox(job: &Job, root: &Path, argv: &[OsString]) -> io::Result<Verdict> {
    leash::to(job.builder, Signal::KILL)?;
    // Nothing in the sandbox has a terminal: what is typed into one would be the builder's word.
    let _ = setsid();
    // SAFETY: this process has just been started by `init`, and owns no descriptor above the standard three.
    unsafe { inherit::closed()? };
    let ids = Ids::here().map_err(io::Error::other)?;
    // SAFETY: this process has one thread; file descriptors stay shared with nobody (FILES is not asked for).
    unsafe { unshare_unsafe(UnshareFlags::NEWNS)? };
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let tree = open_tree(CWD, root, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    without_devices(&tree)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let devices = DEVICES.iter().map(|name| open_tree(CWD, format!("/dev/{name}"), flags)).collect::<Result<_, _>>()?;
    let (go, let_go) = pipe_with(PipeFlags::CLOEXEC)?;
    let Some(child) = fork()? else {
        drop(let_go);
        // The command's words all go one way; standard error is for the verdict.
        rustix::stdio::dup2_stderr(rustix::stdio::stdout())?;
        let status = enter::enter(Gift { tree, devices, go }, job, argv).unwrap_or_else(|error| {
            // The command's own output is where a command that cannot be started is said.
            println!("the sandbox could not start it: {error}");
            SETUP_FAILED
        });
        std::process::exit(status);
    };
    drop((tree, devices, go));
    let result = watched(job, root, ids, child, let_go);
    if result.is_err() {
        let _ = kill_process(child, Signal::KILL);
        let _ = waitpid(Some(child), WaitOptions::empty());
    }
    result
}

/// Exit status when the command could not be started, as env(1) and chroot(1) use it.
const SETUP_FAILED: i32 = 125;

/// Lets the child go once it has ids and limits, and waits for its end.
fn watched(job: &Job, root: &Path, ids: Ids, child: Pid, let_go: OwnedFd) -> io::Result<Verdict> {
    let number = child.as_raw_nonzero().get().unsigned_abs();
    for file in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{number}/{file}"), ids.map())?;
    }
    // When memory runs out, a build goes before anything else of this machine's.
    let _ = fs::write(format!("/proc/{number}/oom_score_adj"), "500");
    let watch = Watch::begin(job.limits, root, number);
    let mut let_go = fs::File::from(let_go);
    let_go.write_all(b"x")?;
    let process = pidfd_open(child, PidfdFlags::empty())?;
    let started = Instant::now();
    let mut excess = None;
    while poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&TICK)).is_ok_and(|ready| ready == 0) {
        if excess.is_none() {
            excess = watch.excess(started.elapsed());
            if excess.is_some() {
                // The first process of a namespace takes all others with it.
                kill_process(child, Signal::KILL)?;
            }
        }
    }
    let status = loop {
        match waitpid(Some(child), WaitOptions::empty()) {
            Ok(status) => break status.map(|(_, status)| status),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    drop(let_go);
    let starved = watch.end();
    let status = status.ok_or(io::ErrorKind::NotFound)?;
    Ok(match (excess, status.exit_status(), status.terminating_signal()) {
        (Some(excess), ..) => Verdict::Ended(excess),
        (None, Some(0), _) => Verdict::Exit(0),
        (None, ..) if starved.is_some() => Verdict::Ended(Excess::Memory),
        (None, Some(status), _) => Verdict::Exit(status),
        (None, None, signal) => Verdict::Signal(signal.unwrap_or_default()),
    })
}

/// Device nodes below this mount cannot be opened, whoever made them. Source: mount_setattr(2), Linux 5.12.
fn without_devices(tree: &OwnedFd) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: libc::MOUNT_ATTR_NODEV, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is a C string, the structure lives until the call returns, and its size is given.
    let status = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A child in namespaces of its own, in which it is process 1; none in the child itself.
fn fork() -> io::Result<Option<Pid>> {
    let namespaces = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWNET;
    let flags = namespaces | libc::SIGCHLD;
    // SAFETY: like fork(2): this process has one thread, and without CLONE_VM the child has memory of its own.
    let child = unsafe { libc::syscall(libc::SYS_clone, libc::c_long::from(flags), 0, 0, 0, 0) };
    match child {
        -1 => Err(io::Error::last_os_error()),
        child => Ok(Pid::from_raw(child as i32)),
    }
}
