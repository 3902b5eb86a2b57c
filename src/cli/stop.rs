//! `goldsmith stop`

use super::terminal;
use crate::launch::{self, Running};
use crate::values;
use std::process::ExitCode;
use std::time::Duration;

/// Stop running VMs and leave nothing of them behind
///
/// The guest is asked to shut down (Ctrl-Alt-Del, and the power button where there is one) and killed when it takes too
/// long. Its disk is deleted with it, unless it was launched with `--keep`; the golden image was never written.
///
/// Example: goldsmith stop desktop-1 --timeout 30s
#[derive(clap::Args)]
pub struct Args {
    /// The VMs, as `goldsmith ps` lists them
    #[arg(required_unless_present = "all", value_name = "NAME")]
    names: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// How long the guest may take to shut down, as in 500ms or 2m; 0s kills it at once
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    timeout: Duration,
}

/// A length of time as people write it.
pub fn time(text: &str) -> Result<Duration, String> {
    values::duration(text).ok_or_else(|| "write a time of at most a day, as in `30s`".to_owned())
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
        vm.stop(args.timeout)?;
        let name = &vm.record.name;
        let again =
            if vm.record.keep { format!("; `goldsmith launch --name {name}` boots it again") } else { String::new() };
        anstream::println!("{name} stopped{again}");
    }
    Ok(())
}
