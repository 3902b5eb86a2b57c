//! `goldsmith stop`

use super::terminal;
use crate::launch::{self, Running};
use std::process::ExitCode;

/// Stop running VMs and leave nothing of them behind
///
/// The guest's disk is deleted with it, unless it was launched with `--keep`; the golden image was never written.
///
/// Example: goldsmith stop desktop-1
#[derive(clap::Args)]
pub struct Args {
    /// The VMs, as `goldsmith ps` lists them
    #[arg(required_unless_present = "all", value_name = "NAME")]
    names: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with = "names")]
    all: bool,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    match stop(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::fail(&error);
            ExitCode::FAILURE
        }
    }
}

/// All names are looked up before anything is stopped.
fn stop(args: &Args) -> Result<(), launch::RunningError> {
    let wanted: Vec<_> = if args.all {
        launch::list()?.into_iter().filter(Running::is_alive).collect()
    } else {
        args.names.iter().map(|name| launch::find(name)).collect::<Result<_, _>>()?
    };
    for vm in wanted {
        vm.stop()?;
        let name = &vm.record.name;
        let again =
            if vm.record.keep { format!("; `goldsmith launch --name {name}` boots it again") } else { String::new() };
        anstream::println!("{name} stopped{again}");
    }
    Ok(())
}
