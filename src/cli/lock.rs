//! `goldsmith lock`

use super::build::assignment;
use super::terminal::{self, Terminal};
use crate::debian::Role;
use crate::findings::render;
use crate::pipeline::{self, Error};
use std::path::PathBuf;
use std::process::ExitCode;

/// Resolve a recipe's packages and write its lock
///
/// Fetches the archives' signed metadata, resolves the whole closure as apt would without recommended packages, and
/// writes NAME.lock beside the recipe: one package a line with version, size and SHA-256. Commit it: every build from
/// it installs the same packages. Run it again to take newer versions.
///
/// Example: goldsmith lock recipes/desktop.yaml
#[derive(clap::Args)]
pub struct Args {
    /// The recipes, as in recipes/desktop.yaml
    #[arg(required = true, value_name = "RECIPE")]
    recipes: Vec<PathBuf>,
    /// Set a parameter of the recipe (may be repeated)
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Print warnings and errors only
    #[arg(long, short)]
    quiet: bool,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let terminal = Terminal::new(args.quiet);
    for recipe in &args.recipes {
        match pipeline::lock(recipe, &args.set, &terminal) {
            Ok((path, lock)) if !args.quiet => {
                let count = lock.of_role(Role::Rootfs).count();
                anstream::println!("{}: {count} packages", path.display());
            }
            Ok(_) => {}
            Err(error) => {
                if let Error::Recipe(findings) = &error {
                    anstream::eprint!("{}", render::human(findings, terminal::colour()));
                }
                terminal::fail(&error);
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
