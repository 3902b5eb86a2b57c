//! Ctrl-C during a build: what runs is ended, what is half made is deleted, and the process exits at once.
//!
//! Work says what it is making ([`folder`]), what it has started ([`process`]) and whose terminal it has ([`terminal`]) for as long as it does. Downloads in
//! progress are not said: the next build goes on with them. Uses no other room.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::termios::{OptionalActions, Termios, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Signals that mean "stop now, and tidy up".
pub const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// How often a folder is deleted while something may still be writing into it, and the pause between.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);

static RAISED: AtomicBool = AtomicBool::new(false);
static REGISTRY: Mutex<Registry> = Mutex::new(Registry { next: 0, things: BTreeMap::new() });

struct Registry {
    next: u64,
    things: BTreeMap<u64, Thing>,
}

enum Thing {
    Folder(PathBuf),
    Process(OwnedFd),
    Terminal(Termios),
}

/// While it lives, an interrupt undoes what it stands for.
#[derive(Debug)]
pub struct Guard(u64);

/// From now on an interrupt undoes what is registered, and ends the process with 128 and the signal's number.
pub fn watch() -> io::Result<()> {
    let mut signals = Signals::new(SIGNALS)?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            RAISED.store(true, Ordering::SeqCst);
            // Never released: nobody begins anything from here on.
            let registry = registry();
            restore(&registry);
            // The signal may mean just that the terminal is gone.
            let _ = writeln!(io::stderr(), "interrupted: what was half made is deleted");
            clear(&registry);
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// A folder under construction. Its deletion is its maker's business, except at an interrupt.
pub fn folder(path: &Path) -> Guard {
    register(Thing::Folder(path.to_owned()))
}

/// A child that must not outlive this process, not yet waited for, so that its number is its own.
pub fn process(pid: u32) -> Guard {
    let pid = Pid::from_raw(pid.cast_signed());
    let process = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    // One that has no descriptor has ended.
    process.map_or(Guard(0), |process| register(Thing::Process(process)))
}

/// The terminal at standard input has modes of this process's own; these were its modes before.
pub fn terminal(before: Termios) -> Guard {
    register(Thing::Terminal(before))
}

/// Waits for the end of the process once it is interrupted: what fails then fails because of that, and nobody needs
/// to hear of it.
pub fn hold() {
    while RAISED.load(Ordering::SeqCst) {
        std::thread::park();
    }
}

impl Guard {
    /// Does the last step, the one that makes a folder final: an interrupt comes before or after it, not amid.
    pub fn finish<T>(self, step: impl FnOnce() -> T) -> T {
        let mut registry = registry();
        registry.things.remove(&self.0);
        let result = step();
        drop(registry);
        result
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        registry().things.remove(&self.0);
    }
}

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

fn register(thing: Thing) -> Guard {
    let mut registry = registry();
    registry.next += 1;
    let key = registry.next;
    registry.things.insert(key, thing);
    Guard(key)
}

fn restore(registry: &Registry) {
    for thing in registry.things.values() {
        if let Thing::Terminal(modes) = thing {
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, modes);
        }
    }
}

fn clear(registry: &Registry) {
    for thing in registry.things.values() {
        if let Thing::Process(process) = thing {
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
    }
    for thing in registry.things.values() {
        let Thing::Folder(path) = thing else { continue };
        for _ in 0..ATTEMPTS {
            match fs::remove_dir_all(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => std::thread::sleep(PAUSE),
                _ => break,
            }
        }
    }
}
