//! `goldsmith man`.

use clap::CommandFactory as _;
use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

/// Print the manual page, or write a page for every verb into a folder
///
/// With a folder, all of them are installed there; then `man goldsmith-build` works.
///
/// Example: goldsmith man ~/.local/share/man/man1
#[derive(clap::Args)]
pub struct Args {
    /// Where to write `goldsmith.1`, `goldsmith-build.1`, …; it is made when missing.
    directory: Option<PathBuf>,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let command = super::Cli::command();
    let Some(directory) = args.directory else {
        let mut page = Vec::new();
        return match clap_mangen::Man::new(command).render(&mut page) {
            Ok(()) => print(&page),
            Err(error) => failed(&error),
        };
    };
    let written = std::fs::create_dir_all(&directory).and_then(|()| clap_mangen::generate_to(command, &directory));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&io::Error::new(error.kind(), format!("{}: {error}", directory.display()))),
    }
}

/// Bytes to standard output. A reader that has seen enough (`| head`) is no failure.
pub(super) fn print(bytes: &[u8]) -> ExitCode {
    match io::stdout().write_all(bytes) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => failed(&error),
        _ => ExitCode::SUCCESS,
    }
}

fn failed(error: &io::Error) -> ExitCode {
    super::terminal::fail(error);
    ExitCode::FAILURE
}
