//! `goldsmith lock`

use super::build::{assignment, confinement};
use super::terminal::{self, Terminal};
use crate::debian::Role;
use crate::findings::render;
use crate::pipeline::{self, Error};
use crate::recipe::Confinement;
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
    /// Let the recipe name files only below its repository, links included; or only below DIR
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = "", value_parser = confinement)]
    confined: Option<Confinement>,
    /// Print warnings and errors only
    #[arg(long, short)]
    quiet: bool,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let terminal = Terminal::new(args.quiet);
    let confinement = args.confined.unwrap_or_default();
    for recipe in &args.recipes {
        match pipeline::lock(recipe, &args.set, &confinement, &terminal) {
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
