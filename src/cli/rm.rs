//! `goldsmith rm`

use super::terminal;
use crate::launch;
use std::process::ExitCode;

/// Delete kept VMs with their disks
///
/// A VM that runs is not deleted: `goldsmith stop` it first.
///
/// Example: goldsmith rm desktop-1
#[derive(clap::Args)]
pub struct Args {
    /// The VMs, as `goldsmith ps` lists them
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    match remove(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::fail(&error);
            ExitCode::FAILURE
        }
    }
}

/// All names are looked up before anything is deleted.
fn remove(args: &Args) -> Result<(), launch::RunningError> {
    let wanted: Vec<_> = args.names.iter().map(|name| launch::find(name)).collect::<Result<_, _>>()?;
    for vm in wanted {
        vm.remove()?;
        anstream::println!("{} deleted", vm.record.name);
    }
    Ok(())
}
