//! `goldsmith screenshot`

use super::terminal;
use crate::launch;
use std::path::PathBuf;
use std::process::ExitCode;

/// Take a picture of a running VM's display
///
/// The display of the machine, as a screen on it would show it. VMs that were launched with `--machine q35` have one; the
/// guest's kernel writes to it where `console=tty0` is among its arguments. The desktop image's desktop is on its web page.
///
/// Example: goldsmith screenshot minimal-1 screen.png
#[derive(clap::Args)]
pub struct Args {
    /// The VM, as `goldsmith ps` lists it
    name: String,
    /// The PNG file to write
    file: PathBuf,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    match launch::find(&args.name).and_then(|vm| vm.screenshot(&args.file)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::fail(&error);
            ExitCode::FAILURE
        }
    }
}
