//! `goldsmith clean`

use super::terminal;
use crate::{sandbox, store::Store};
use std::process::ExitCode;

/// Delete the cache of packages and build layers
///
/// Built images are not touched. The next build fetches its packages again. With `--layers` the downloaded packages
/// stay and only what was made from them goes.
///
/// Example: goldsmith clean --layers
#[derive(clap::Args)]
pub struct Args {
    /// Keep downloaded packages; delete only the layers made from them
    #[arg(long)]
    layers: bool,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    // Layers of an ordinary user's builds hold files of subordinate ids, which only the user namespace's root may delete.
    if let Err(problem) = sandbox::become_root() {
        terminal::fail(&problem);
        return ExitCode::FAILURE;
    }
    sandbox::sweep();
    let cleaned = Store::open().and_then(|store| {
        store.clear(args.layers)?;
        Ok(store)
    });
    match cleaned {
        Ok(store) => {
            anstream::println!(
                "{} is empty{}",
                store.root().display(),
                if args.layers { " but for packages" } else { "" }
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            terminal::fail(&error);
            ExitCode::FAILURE
        }
    }
}
