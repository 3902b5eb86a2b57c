//! A child that ends with its parent, however that ends. Uses no other room.
//!
//! The kernel tells a child of its parent's death only once it has been asked to; whoever lost its parent before that waits
//! in vain. Source: prctl(2), `PR_SET_PDEATHSIG`: the parent is the thread that started the child.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use std::io;

/// From now on this process gets `signal` when the process `parent`, which has started it, ends.
///
/// Makes system calls only, so it may be called between fork and exec.
///
/// # Errors
/// When the parent has ended already: the caller has nothing left to do.
pub fn to(parent: u32, signal: Signal) -> io::Result<()> {
    set_parent_process_death_signal(Some(signal))?;
    holds(parent)
}

/// Whether the process `parent`, which has started this one, lives.
///
/// # Errors
/// When it has ended.
pub fn holds(parent: u32) -> io::Result<()> {
    let now = getppid().map(Pid::as_raw_nonzero);
    if now.is_some_and(|now| now.get().cast_unsigned() == parent) { Ok(()) } else { Err(Errno::SRCH.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    /// A child that believes itself to be that process's.
    fn child_of(parent: u32) -> io::Result<std::process::ExitStatus> {
        let mut command = Command::new("true");
        // SAFETY: between fork and exec only system calls are made; nothing is allocated.
        unsafe { command.pre_exec(move || to(parent, Signal::KILL)) };
        command.status()
    }

    #[test]
    fn an_orphan_does_not_even_begin() {
        assert!(child_of(std::process::id()).unwrap().success());
        assert_eq!(Errno::from_io_error(&child_of(1).unwrap_err()), Some(Errno::SRCH));
    }
}
