//! Between a person and a command in the sandbox: their terminal in raw mode, or pipes. What is typed goes in as it is
//! (Ctrl-C too, which interrupts what runs inside), what is written comes out as it is. Source: termios(3), tty_ioctl(4).

use crate::interrupt;
use crate::sandbox::Ends;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, read, write};
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{OptionalActions, Termios, Winsize, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use signal_hook::consts::SIGWINCH;
use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;

/// The size of the terminal that both standard input and output are; none where they are not.
pub fn terminal() -> Option<Winsize> {
    (isatty(stdin()) && isatty(stdout())).then(|| tcgetwinsize(stdin()).ok()).flatten()
}

/// Passes everything on in both directions until the command and all it started have closed their ends.
pub fn relay(ends: Ends) -> io::Result<()> {
    match ends {
        Ends::Terminal(inner) => talk(&inner),
        Ends::Pipes { input, output, error } => {
            let copy = |from: OwnedFd, to: OwnedFd| io::copy(&mut File::from(from), &mut File::from(to));
            let (ours, out, err) = (stdin().try_clone_to_owned()?, stdout().try_clone_to_owned()?, stderr());
            let err = err.try_clone_to_owned()?;
            // It may wait for input that nobody reads any more: the end of this process is its end.
            std::thread::spawn(move || copy(ours, input));
            let errors = std::thread::spawn(move || copy(error, err));
            // Whoever reads may have seen enough; the command then writes into a closed pipe.
            let _ = copy(output, out);
            let _ = errors.join();
            Ok(())
        }
    }
}

/// The terminal at standard input in raw mode, until dropped.
struct Raw {
    before: Termios,
    _interrupt: interrupt::Guard,
}

impl Raw {
    fn enter() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let interrupt = interrupt::terminal(before.clone());
        let mut raw = before.clone();
        raw.make_raw();
        let entered = Self { before, _interrupt: interrupt };
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(entered)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

/// Between the person's terminal and the other end of the sandbox's.
fn talk(inner: &OwnedFd) -> io::Result<()> {
    let _raw = Raw::enter()?;
    // Never waited for: who does not read what is typed must not keep its own words from being read.
    fcntl_setfl(inner, fcntl_getfl(inner)? | OFlags::NONBLOCK)?;
    let (resized, signal) = UnixStream::pair()?;
    resized.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(SIGWINCH, signal)?;
    resize(inner);
    let (mut buffer, mut typed, mut hears) = ([0; 1 << 14], Vec::new(), true);
    loop {
        let mut wanted = PollFlags::IN;
        wanted.set(PollFlags::OUT, !typed.is_empty());
        let listening = if hears && typed.is_empty() { PollFlags::IN } else { PollFlags::empty() };
        let ours = stdin();
        let mut ends =
            [PollFd::new(inner, wanted), PollFd::new(&resized, PollFlags::IN), PollFd::new(&ours, listening)];
        match poll(&mut ends, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [of_inner, of_signals, of_ours] = ends.map(|end| end.revents());
        if !of_signals.is_empty() {
            let _ = read(&resized, &mut buffer);
            resize(inner);
        }
        if of_ours.contains(PollFlags::IN) {
            // None when the terminal is gone, which a signal says too.
            let count = retried(read(stdin(), &mut buffer))?;
            hears = count != Some(0);
            typed.extend(buffer.iter().take(count.unwrap_or(0)));
        } else if !of_ours.is_empty() {
            hears = false;
        }
        if of_inner.contains(PollFlags::OUT) {
            let count = retried(write(inner, &typed))?.unwrap_or(0);
            typed.drain(..count.min(typed.len()));
        }
        if of_inner.intersects(PollFlags::IN | PollFlags::HUP) {
            match retried(read(inner, &mut buffer)) {
                // Nobody has the other end open any more.
                Ok(Some(0)) | Err(Errno::IO) => return Ok(()),
                Ok(count) => say(stdout(), buffer.get(..count.unwrap_or(0)).unwrap_or_default())?,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// None: not now.
fn retried(result: Result<usize, Errno>) -> Result<Option<usize>, Errno> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(Errno::INTR | Errno::AGAIN) => Ok(None),
        Err(error) => Err(error),
    }
}

fn say(to: BorrowedFd, mut words: &[u8]) -> io::Result<()> {
    while !words.is_empty() {
        match retried(write(to, words))? {
            Some(count) => words = words.get(count..).unwrap_or_default(),
            // Somebody has made the terminal one that is not waited for.
            None => _ = poll(&mut [PollFd::new(&to.as_fd(), PollFlags::OUT)], None),
        }
    }
    Ok(())
}

/// Gives the inner terminal the size of the outer one; whoever runs in it is told by the kernel.
fn resize(inner: &OwnedFd) {
    if let Ok(size) = tcgetwinsize(stdin()) {
        let _ = tcsetwinsize(inner, size);
    }
}
