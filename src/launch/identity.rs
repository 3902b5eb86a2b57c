//! Which process a process number stands for: numbers are used again, and what a command line says anybody can say.
//!
//! A process is its number and the moment it started; both stand in its line of `/proc/PID/stat` (proc(5), fields 1 and 22).
//! What is done to it is done through a descriptor of it (pidfd_open(2)), which never comes to stand for another.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// More than the longest line of `/proc/PID/stat`.
const LINE: usize = 1024;

/// A process, whether it still runs or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    number: Pid,
    /// Clock ticks after the machine's start.
    started: u64,
}

/// A process that was there when it was opened. Its number may be used again; this never means another one.
#[derive(Debug)]
pub struct Process(OwnedFd);

impl Identity {
    /// Reads a line of `/proc/PID/stat`. None: it is none.
    pub fn read(line: &str) -> Option<Self> {
        // The program's name, in parentheses, may itself have parentheses and spaces.
        let (number, _) = line.split_once(" (")?;
        let (_, rest) = line.rsplit_once(") ")?;
        let started = rest.split(' ').nth(19)?.parse().ok()?;
        Some(Self { number: Pid::from_raw(number.parse().ok()?)?, started })
    }

    /// Opens it. None: it has ended.
    pub fn open(self) -> Option<Process> {
        let process = Process(pidfd_open(self.number, PidfdFlags::empty()).ok()?);
        // Whoever has the number now, the descriptor is his: is he the one?
        let line = fs::read_to_string(format!("/proc/{}/stat", self.number.as_raw_nonzero())).ok()?;
        (Self::read(&line) == Some(self) && !process.has_ended()).then_some(process)
    }
}

impl Process {
    /// The process that has this number now.
    pub fn numbered(number: u32) -> Option<Self> {
        let number = i32::try_from(number).ok().and_then(Pid::from_raw)?;
        pidfd_open(number, PidfdFlags::empty()).ok().map(Self)
    }

    /// Sends it a signal. Ended meanwhile is as good.
    pub fn tell(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.0, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether it has ended, waited for or not.
    pub fn has_ended(&self) -> bool {
        self.ends(Duration::ZERO)
    }

    /// Waits for its end.
    pub fn wait(&self) {
        while poll(&mut [PollFd::new(&self.0, PollFlags::IN)], None) == Err(rustix::io::Errno::INTR) {}
    }

    /// Whether it ends in time. Source: pidfd_open(2): the descriptor is readable from then on.
    pub fn ends(&self, patience: Duration) -> bool {
        let patience = Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: patience.subsec_nanos().into(),
        };
        matches!(poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&patience)), Ok(1..))
    }
}

/// Writes down in a file which process this is. It allocates nothing, so a child may call it between fork and exec.
pub fn write_down(file: &impl AsFd) -> io::Result<()> {
    let own = rustix::fs::open("/proc/self/stat", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut line = [0; LINE];
    let length = rustix::io::read(&own, &mut line)?;
    rustix::io::write(file, line.get(..length).unwrap_or_default())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Identity {
        Identity::read(&fs::read_to_string("/proc/self/stat").unwrap()).unwrap()
    }

    #[test]
    fn a_number_that_is_used_again_is_another_process() {
        assert!(own().open().is_some_and(|process| !process.has_ended()));
        assert!(Identity { started: own().started - 1, ..own() }.open().is_none());
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let line = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let identity = Identity::read(&line).unwrap();
        let process = identity.open().unwrap();
        process.tell(Signal::KILL).unwrap();
        assert!(process.ends(Duration::from_secs(60)));
        // Ended, though nobody has waited for it.
        assert!(identity.open().is_none());
        child.wait().unwrap();
        assert!(identity.open().is_none() && process.tell(Signal::KILL).is_ok());
    }

    #[test]
    fn a_child_says_who_it_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        write_down(&file.as_file()).unwrap();
        assert_eq!(Identity::read(&fs::read_to_string(file.path()).unwrap()), Some(own()));
    }

    proptest::proptest! {
        #[test]
        fn no_line_panics(line in "[0-9]{0,12}( \\(.{0,20}\\) )?[ 0-9a-zA-Z()]{0,80}") {
            let _ = Identity::read(&line);
        }
    }
}
