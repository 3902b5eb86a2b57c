//! `goldsmith doctor`.

use crate::doctor::{self, Verdict};
use anstyle::{AnsiColor, Style};
use std::process::ExitCode;

/// Check what goldsmith needs of this machine, and say what to type where something is missing
///
/// Every need is tried, not looked up: a sandbox is made and left, a paused virtual machine is started. Exit status 1
/// when no image can be built here.
///
/// Example: goldsmith doctor --format json
#[derive(clap::Args)]
pub struct Args {
    /// How to print the checks.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum Format {
    /// A line for each check.
    #[default]
    Human,
    /// A JSON list.
    Json,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let checks = doctor::examine();
    match args.format {
        Format::Human => checks.iter().for_each(print),
        Format::Json => match serde_json::to_string_pretty(&checks) {
            Ok(text) => anstream::println!("{text}"),
            Err(error) => super::terminal::fail(&error),
        },
    }
    if checks.iter().any(|check| check.verdict == Verdict::Fail) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn print(check: &doctor::Check) {
    let (word, color) = match check.verdict {
        Verdict::Ok => ("ok  ", AnsiColor::Green),
        Verdict::Warn => ("warn", AnsiColor::Yellow),
        Verdict::Fail => ("fail", AnsiColor::Red),
    };
    let style = color.on_default().bold();
    anstream::println!("{style}{word}{style:#}  {:10} {}", check.name, check.found);
    if let Some(help) = &check.help {
        let style = Style::new().bold();
        anstream::println!("      {:10} {style}help{style:#}: {help}", "");
    }
}
