//! `goldsmith wait`

use super::terminal;
use crate::launch;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Wait until a VM is ready, or has ended
///
/// Exit status 0 when it is ready (with `--until ended`: when it has ended), 1 when it ended before that or time ran out.
///
/// Example: goldsmith wait desktop-1 --timeout 60
#[derive(clap::Args)]
pub struct Args {
    /// The VM, as `goldsmith ps` lists it
    name: String,
    /// What to wait for
    #[arg(long, value_enum, default_value_t)]
    until: Until,
    /// How long to wait at most, in seconds [default: for ever]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Until {
    /// Every probe has passed
    #[default]
    Ready,
    /// It runs no longer
    Ended,
}

/// How often the VM is looked at.
const AGAIN: Duration = Duration::from_millis(50);

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let mut vm = match launch::find(&args.name) {
        Ok(vm) => vm,
        Err(error) => {
            terminal::fail(&error);
            return ExitCode::FAILURE;
        }
    };
    let started = Instant::now();
    loop {
        let alive = vm.is_alive();
        vm.refresh();
        match (alive, args.until) {
            (true, Until::Ready) if vm.record.ready => return ExitCode::SUCCESS,
            (false, Until::Ended) => return ExitCode::SUCCESS,
            (false, Until::Ready) => {
                anstream::eprintln!("{} does not run", args.name);
                return ExitCode::FAILURE;
            }
            (true, _) => {}
        }
        if args.timeout.is_some_and(|seconds| started.elapsed() >= Duration::from_secs(seconds)) {
            anstream::eprintln!("{} is still {}", args.name, if vm.record.ready { "running" } else { "booting" });
            return ExitCode::FAILURE;
        }
        std::thread::sleep(AGAIN);
    }
}
