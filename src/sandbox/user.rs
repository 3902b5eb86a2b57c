//! Becoming root without being root: a user namespace in which this user is root and a range of subordinate ids are
//! everybody else. Source: user_namespaces(7), newuidmap(1), subuid(5).

use crate::interrupt;
use rustix::process::{Pid, Signal, getegid, geteuid, kill_process, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use signal_hook::iterator::Signals;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(super) const STAGE: &str = "__sandbox-user";

/// Ids a Debian system uses below the first that belongs to nobody in particular.
pub(super) const IDS: u32 = 65_536;

/// How long both sides of a new namespace wait for each other, and how long between looks.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(2);

/// Why this user cannot become root of a namespace, and what to change.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// `newuidmap` is not installed.
    #[error("`newuidmap` is not installed, and you are not root\nhelp: apt-get install uidmap")]
    NoHelper,
    /// No subordinate ids.
    #[error(
        "{file} gives {user} no range of {IDS} subordinate ids, and you are not root\nhelp: sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
    )]
    NoRange {
        /// `/etc/subuid` or `/etc/subgid`.
        file: &'static str,
        /// Login name or number.
        user: String,
    },
    /// The kernel or its security module refuses.
    #[error(
        "user namespaces are refused: {cause}\nhelp: on Ubuntu 24.04 and later: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0; elsewhere: sudo sysctl user.max_user_namespaces=15000"
    )]
    Refused {
        /// What failed.
        cause: String,
    },
    /// Even root may not make namespaces: a container without the right to.
    #[error(
        "namespaces are refused: {cause}\nhelp: this looks like a container: give it the right to make namespaces and mounts (docker run --privileged)"
    )]
    Namespaces {
        /// What failed.
        cause: String,
    },
    /// Root of a user namespace that has too few ids.
    #[error(
        "this user namespace maps fewer than {IDS} user and group ids beyond its root\nhelp: run goldsmith outside of it, or give the container more ids (podman run --uidmap/--gidmap, /etc/subuid)"
    )]
    NoIds,
    /// Something else failed.
    #[error("cannot enter a user namespace")]
    Io(#[from] io::Error),
}

/// Returns at once as root. As anybody else this program is started again with the same arguments as root of a user
/// namespace, and this process ends with its status.
pub fn become_root() -> Result<(), Problem> {
    if geteuid().is_root() {
        return Ok(());
    }
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let mut child = start(&arguments, false)?;
    pass_on(child.id())?;
    let status = child.wait()?;
    std::process::exit(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()));
}

/// Hands signals that are meant for this process to the one that does its work.
fn pass_on(child: u32) -> io::Result<()> {
    let mut signals = Signals::new(interrupt::SIGNALS)?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if let (Some(child), Some(signal)) = (Pid::from_raw(child.cast_signed()), Signal::from_named_raw(signal)) {
                let _ = kill_process(child, signal);
            }
        }
    });
    Ok(())
}

/// Starts this program with other arguments as root of a user namespace; `capture` its output, or share ours.
pub(super) fn start(arguments: &[OsString], capture: bool) -> Result<Child, Problem> {
    let user = login();
    let uids = range("/etc/subuid", &user)?;
    let gids = range("/etc/subgid", &user)?;
    let output = || if capture { Stdio::piped() } else { Stdio::inherit() };
    let mut child = Command::new("/proc/self/exe")
        .arg(STAGE)
        .args(arguments)
        .stdin(if capture { Stdio::null() } else { Stdio::inherit() })
        .stdout(output())
        .stderr(output())
        .spawn()?;
    let outcome = map(&child, uids, gids);
    if let Err(problem) = outcome {
        let _ = child.kill();
        let _ = child.wait();
        return Err(problem);
    }
    Ok(child)
}

/// Waits until the child is in its user namespace, then maps ids into it.
fn map(child: &Child, uids: u32, gids: u32) -> Result<(), Problem> {
    let pid = child.id().to_string();
    let own = fs::read_link("/proc/self/ns/user")?;
    for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
        match fs::read_link(format!("/proc/{pid}/ns/user")) {
            Ok(namespace) if namespace != own => break,
            Ok(_) => std::thread::sleep(PAUSE),
            Err(error) => return Err(Problem::Refused { cause: error.to_string() }),
        }
    }
    for (program, id, first) in [("newuidmap", geteuid().as_raw(), uids), ("newgidmap", getegid().as_raw(), gids)] {
        let arguments =
            [pid.clone(), "0".into(), id.to_string(), "1".into(), "1".into(), first.to_string(), IDS.to_string()];
        let output = duct::cmd(program, arguments).stderr_to_stdout().stdout_capture().unchecked().run();
        match output {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Problem::NoHelper),
            Err(error) => return Err(error.into()),
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let cause = format!("{program}: {}", String::from_utf8_lossy(&output.stdout).trim());
                return Err(Problem::Refused { cause });
            }
        }
    }
    Ok(())
}

/// In the new process: enters the namespace, waits for the id map, and becomes the program anew.
pub(super) fn stage(arguments: &[OsString]) -> i32 {
    let step = || -> io::Result<i32> {
        set_parent_process_death_signal(Some(Signal::TERM))?;
        // SAFETY: this process has one thread.
        unsafe { unshare_unsafe(UnshareFlags::NEWUSER)? };
        await_ids()?;
        Err(Command::new("/proc/self/exe").args(arguments).uid(0).gid(0).exec())
    };
    step().unwrap_or_else(|error| {
        eprintln!("error: cannot become root of a user namespace: {error}");
        1
    })
}

/// Waits until this process's namespace has its ids. Whoever started it ends it when that fails.
fn await_ids() -> io::Result<()> {
    for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
        let files = ["/proc/self/uid_map", "/proc/self/gid_map"].map(fs::read_to_string);
        let [uids, gids] = files;
        if !uids?.is_empty() && !gids?.is_empty() {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// The first id of a range of at least [`IDS`] that a file gives to a user. Source: subuid(5).
pub(super) fn range(file: &'static str, user: &str) -> Result<u32, Problem> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let number = geteuid().as_raw().to_string();
    let line = |line: &str| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let (first, count): (u32, u32) = (fields.next()?.trim().parse().ok()?, fields.next()?.trim().parse().ok()?);
        ((owner == user || owner == number) && count >= IDS).then_some(first)
    };
    text.lines().find_map(line).ok_or_else(|| Problem::NoRange { file, user: user.to_owned() })
}

fn login() -> String {
    let id = geteuid().as_raw().to_string();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(&id));
    line.and_then(|line| line.split(':').next()).map_or(id, str::to_owned)
}
