//! `goldsmith completions`.

use clap::CommandFactory as _;
use std::process::ExitCode;

/// Print a completion script for a shell
///
/// Example: goldsmith completions bash > ~/.local/share/bash-completion/completions/goldsmith
#[derive(clap::Args)]
pub struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "goldsmith", &mut script);
    super::man::print(&script)
}
