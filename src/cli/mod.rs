//! The command line: one file a verb. Parses arguments, calls one library function, prints.

pub mod build;
pub mod check;
pub mod clean;
pub mod completions;
pub mod diff;
pub mod doctor;
pub mod explain;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
pub mod inspect;
mod inspect_net;
pub mod launch;
mod lines;
pub mod lock;
pub mod logs;
mod machine;
pub mod man;
pub mod ps;
mod relay;
pub mod rm;
pub mod schema;
pub mod screenshot;
pub mod serve;
pub mod shell;
pub mod ssh;
pub mod stop;
pub mod terminal;
pub mod verify;
pub mod wait;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Compiles recipes into golden VM images and boots them without network surprises.
#[derive(Parser)]
#[command(name = "goldsmith", version, propagate_version = true, after_help = AFTER)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const AFTER: &str = "\
Begin with: goldsmith doctor; goldsmith build recipes/desktop.yaml

Exit status: 0 fine, 1 failed, 2 usage, 3 refused by the gate; 130 after Ctrl-C.

Environment:
  GOLDSMITH_CACHE    folder of the cache; else $XDG_CACHE_HOME/goldsmith, else ~/.cache/goldsmith
  GOLDSMITH_STATE    folder of VMs; else $XDG_STATE_HOME/goldsmith, else ~/.local/state/goldsmith
  GOLDSMITH_TIMEOUT  seconds a mirror may be silent; else 30
  NO_COLOR           no colours";

/// Every verb is a file of this folder with an `Args` struct (its help text) and `run(args) -> ExitCode`.
#[derive(Subcommand)]
enum Verb {
    Check(check::Args),
    Lock(lock::Args),
    Build(build::Args),
    Shell(Box<shell::Args>),
    Verify(Box<verify::Args>),
    Launch(Box<launch::Args>),
    Ps(ps::Args),
    Logs(logs::Args),
    Wait(wait::Args),
    Ssh(ssh::Args),
    Stop(stop::Args),
    Rm(rm::Args),
    Screenshot(screenshot::Args),
    Serve(Box<serve::Args>),
    Inspect(inspect::Args),
    Diff(diff::Args),
    Explain(explain::Args),
    Doctor(doctor::Args),
    Schema(schema::Args),
    Clean(clean::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Runs the command line of this process. Exit status: 0 fine, 1 failed, 2 usage, 3 refused.
pub fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Check(args) => check::run(args),
        Verb::Lock(args) => lock::run(args),
        Verb::Build(args) => build::run(args),
        Verb::Shell(args) => shell::run(*args),
        Verb::Verify(args) => verify::run(*args),
        Verb::Launch(args) => launch::run(*args),
        Verb::Ps(args) => ps::run(args),
        Verb::Logs(args) => logs::run(args),
        Verb::Wait(args) => wait::run(args),
        Verb::Ssh(args) => ssh::run(args),
        Verb::Stop(args) => stop::run(args),
        Verb::Rm(args) => rm::run(args),
        Verb::Screenshot(args) => screenshot::run(args),
        Verb::Serve(args) => serve::run(*args),
        Verb::Inspect(args) => inspect::run(args),
        Verb::Diff(args) => diff::run(args),
        Verb::Explain(args) => explain::run(args),
        Verb::Doctor(args) => doctor::run(args),
        Verb::Schema(args) => schema::run(args),
        Verb::Clean(args) => clean::run(args),
        Verb::Completions(args) => completions::run(args),
        Verb::Man(args) => man::run(args),
    }
}
