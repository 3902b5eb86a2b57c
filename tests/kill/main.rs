//! Programs that are killed (SIGKILL) at random points: nothing half is under a final name, after the next command nothing
//! of them is left on the host, and the next build gives the same bytes.
//!
//! `make kill` does it `GOLDSMITH_KILLS` times (200) to each of: `build`, `launch`, `serve`, QEMU, dnsmasq; the points follow
//! from `GOLDSMITH_KILL_SEED` (printed) and from how fast the machine is. A few of each are killed in every run of the tests.

mod build;
#[path = "../common/mod.rs"]
mod common;
mod launch;
mod serve;
mod victim;

use common::dice::{Dice, number};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How often each is killed.
fn kills() -> usize {
    number("GOLDSMITH_KILLS", 200) as usize
}

fn dice() -> Dice {
    Dice::of("GOLDSMITH_KILL_SEED")
}

/// One test at a time: whoever is left of one would be seen by the other.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    common::need("qemu-img", "apt-get install qemu-utils");
    common::processes::adopt_orphans();
    guard
}
