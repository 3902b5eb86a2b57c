//! `goldsmith logs`

use super::terminal;
use crate::launch::{self, Running};
use std::fs::File;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

/// Print what a running VM has written to its serial console
///
/// Example: goldsmith logs desktop-1 --follow
#[derive(clap::Args)]
pub struct Args {
    /// The VM, as `goldsmith ps` lists it
    name: String,
    /// Go on until the VM ends
    #[arg(long, short)]
    follow: bool,
    /// What the VMM itself has said, instead of the console
    #[arg(long)]
    vmm: bool,
}

/// How often a log is looked at again.
const AGAIN: Duration = Duration::from_millis(100);

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let vm = match launch::find(&args.name) {
        Ok(vm) => vm,
        Err(error) => {
            terminal::fail(&error);
            return ExitCode::FAILURE;
        }
    };
    match print(&vm, &args) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            terminal::fail(&error);
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn print(vm: &Running, args: &Args) -> io::Result<()> {
    let mut log = File::open(if args.vmm { vm.vmm_log() } else { vm.console() })?;
    let mut out = io::stdout().lock();
    loop {
        let alive = vm.is_alive();
        io::copy(&mut log, &mut out)?;
        out.flush()?;
        if !args.follow || !alive {
            return Ok(());
        }
        std::thread::sleep(AGAIN);
    }
}
