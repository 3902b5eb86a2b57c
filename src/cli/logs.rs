//! `goldsmith logs`

use super::terminal;
use crate::launch::{self, Running};
use crate::values::masked;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Read as _, Write};
use std::process::ExitCode;
use std::time::Duration;

/// Print what a running VM has written to its serial console
///
/// On a terminal without what a terminal would obey (colours, control characters); elsewhere byte by byte.
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
    let mut log = BufReader::new(File::open(if args.vmm { vm.vmm_log() } else { vm.console() })?);
    let mut out = io::stdout().lock();
    let terminal = out.is_terminal();
    loop {
        let alive = vm.is_alive();
        if terminal {
            show(&mut log, &mut out)?;
        } else {
            io::copy(&mut log, &mut out)?;
        }
        out.flush()?;
        if !args.follow || !alive {
            return Ok(());
        }
        std::thread::sleep(AGAIN);
    }
}

/// The longest piece of a line that is held.
const LONGEST: u64 = 1 << 16;

/// Copies what is there; nothing in it drives a terminal.
fn show(log: &mut impl BufRead, out: &mut impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    while log.take(LONGEST).read_until(b'\n', &mut line)? > 0 {
        let end = if line.ends_with(b"\n") { "\n" } else { "" };
        write!(out, "{}{end}", masked(&launch::plain(&String::from_utf8_lossy(&line))))?;
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_does_not_drive_the_terminal() {
        let said = "[\u{1b}[0;32m  OK  \u{1b}[0m] up\r\n\u{1b}]0;title\u{7}\u{9b}2J a\u{202e}b\n\u{1b}c login: ";
        let mut shown = Vec::new();
        show(&mut said.as_bytes(), &mut shown).unwrap();
        assert_eq!(String::from_utf8(shown).unwrap(), "[  OK  ] up\n0;title2J a·b\n login: ");
    }
}
