//! `goldsmith build`

use super::terminal::{self, Terminal, bytes};
use crate::findings::render;
use crate::interrupt;
use crate::pipeline::{self, BuildOptions, BuildReport, Error, Failure, Step};
use crate::recipe::Confinement;
use crate::sandbox::{self, Limits};
use crate::values::ByteSize;
use std::convert::Infallible;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Build a golden image from a recipe
///
/// Writes OUTPUT/NAME/ with rootfs.ext4, vmlinuz, vmlinux, initrd.img, manifest.json, sbom.spdx.json, sbom.cdx.json and
/// build.log. When a package's script or a command of `run:` fails, the log stays as OUTPUT/NAME.failed.log.
/// The folder appears whole or not at all; an older one is replaced in one step. Packages come from the lock beside
/// the recipe (NAME.lock), which is made when it is missing and made anew when the recipe's packages have changed.
///
/// As an ordinary user it works in a user namespace; `goldsmith doctor` says whether that is possible here. Ctrl-C ends
/// it at once and leaves nothing half.
///
/// Example: goldsmith build recipes/desktop.yaml --set chromium=false
#[derive(clap::Args)]
pub struct Args {
    /// The recipe, as in recipes/desktop.yaml
    recipe: PathBuf,
    /// Folder that holds the image folders
    #[arg(long, short, value_name = "DIR", default_value = "images")]
    output: PathBuf,
    /// Set a parameter of the recipe (may be repeated)
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Let the recipe name files only below its repository, links included; or only below DIR
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = "", value_parser = confinement)]
    confined: Option<Confinement>,
    /// Fail when the lock is missing or stale instead of resolving packages anew (for CI)
    #[arg(long)]
    locked: bool,
    /// Never touch the network; everything must be in the cache
    #[arg(long)]
    offline: bool,
    /// Build twice, the second time from the packages, and prove that the bytes are the same
    #[arg(long)]
    check: bool,
    /// How long one step may run: installing the packages, or a command of `run:` (default: 2h)
    #[arg(long, value_name = "TIME", value_parser = super::stop::time)]
    step_timeout: Option<Duration>,
    /// Memory that the processes of one step may take together (default: three quarters of the machine's)
    #[arg(long, value_name = "SIZE")]
    step_memory: Option<ByteSize>,
    /// Print warnings and errors only
    #[arg(long, short)]
    quiet: bool,
}

/// `NAME=VALUE`.
pub fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// What `--confined` (nothing follows) and `--confined=DIR` mean.
pub fn confinement(text: &str) -> Result<Confinement, Infallible> {
    Ok(if text.is_empty() { Confinement::Repository } else { Confinement::Folder(text.into()) })
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    if let Err(problem) = sandbox::become_root() {
        terminal::fail(&problem);
        return ExitCode::FAILURE;
    }
    if let Err(error) = interrupt::watch() {
        terminal::fail(&error);
        return ExitCode::FAILURE;
    }
    let limits = Limits::default();
    let options = BuildOptions {
        recipe: args.recipe,
        set: args.set,
        output: args.output,
        locked: args.locked,
        offline: args.offline,
        limits: Limits {
            memory: args.step_memory.map_or(limits.memory, |size| size.0),
            time: args.step_timeout.unwrap_or(limits.time),
            ..limits
        },
        confinement: args.confined.unwrap_or_default(),
    };
    let terminal = Terminal::new(args.quiet);
    let build = if args.check { pipeline::check } else { pipeline::build };
    match build(&options, &terminal) {
        Ok(report) => {
            if !args.quiet {
                summary(&report, args.check);
            }
            ExitCode::SUCCESS
        }
        Err(Failure { error, log }) => {
            if let Error::Recipe(findings) | Error::Refused(findings) = &*error {
                anstream::eprint!("{}", render::human(findings, terminal::colour()));
            }
            let log = log.map(|log| format!("all that was said is in {}", log.display()));
            let shell = error.step().map(|step| format!("to look around there: {}", shell(&options, &step)));
            let more: Vec<_> = log.into_iter().chain(shell).collect();
            terminal::fail_with(&*error, (!more.is_empty()).then(|| more.join("; ")));
            ExitCode::FAILURE
        }
    }
}

/// What to type to be where a step has failed.
fn shell(options: &BuildOptions, step: &Step) -> String {
    let set: String =
        options.set.iter().map(|(name, value)| format!(" --set {}", word(&format!("{name}={value}")))).collect();
    format!("goldsmith shell {}{set} --before {step}", word(&options.recipe.display().to_string()))
}

/// A text as one word for a shell.
fn word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./=:,+@%".contains(&byte);
    if text.bytes().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn summary(report: &BuildReport, check: bool) {
    let folder = report.folder.display();
    anstream::println!(
        "{folder}: {} packages, {} of files in {}, initrd {}{}",
        report.packages,
        bytes(report.content),
        bytes(report.size),
        bytes(report.initrd),
        if check { "; two builds gave the same bytes" } else { "" }
    );
    anstream::println!("next: goldsmith launch {folder}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_typed_is_one_word() {
        for (text, typed) in [
            ("recipes/a.yaml", "recipes/a.yaml"),
            ("my recipe.yaml", "'my recipe.yaml'"),
            ("x='$y'", r"'x='\''$y'\'''"),
        ] {
            assert_eq!(word(text), typed);
        }
    }
}
