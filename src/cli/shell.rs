//! `goldsmith shell`

use super::build::{assignment, confinement};
use super::relay;
use super::terminal::{self, Terminal};
use crate::findings::render;
use crate::interrupt;
use crate::pipeline::{self, BuildOptions, Error, Moment, NoPlace, Place};
use crate::recipe::Confinement;
use crate::sandbox::{self, Ending, Limits, Streams};
use crate::values::{ByteSize, escaped};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Open a shell in the tree of a build, before or after any of its steps
///
/// It sees what a package's script or a command of `run:` sees there: the tree as `/`, root, a loopback and no network, the
/// same environment (docs/steps.md). What is changed there is thrown away: no image, lock or cached layer changes. Without
/// --before and --after it is the finished tree.
///
/// STEP is, in the order of a build: NAME:preinst or NAME, a package's script before it is unpacked and the one that
/// sets it up; packages (all of them); users, overlays, artifacts, network, units; run:1, run:2 and so on.
///
/// On a terminal the shell (the tree's bash, else its sh) gets a terminal of its own; elsewhere it reads commands from the
/// standard input. Exit status: that of the shell or COMMAND; 1 when the build does not come that far.
///
/// Example: goldsmith shell recipes/desktop.yaml --before dbus
///
/// Look at one thing: goldsmith shell recipes/desktop.yaml --after packages -- ls -l /etc/dbus-1
///
/// Ask from a script: echo 'dpkg --audit' | goldsmith shell recipes/desktop.yaml
#[derive(clap::Args)]
pub struct Args {
    /// The recipe, as in recipes/desktop.yaml
    recipe: PathBuf,
    /// Stop before this step
    #[arg(long, value_name = "STEP", conflicts_with = "after")]
    before: Option<String>,
    /// Stop after this step
    #[arg(long, value_name = "STEP")]
    after: Option<String>,
    /// Set a parameter of the recipe (may be repeated)
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Let the recipe name files only below its repository, links included; or only below DIR
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = "", value_parser = confinement)]
    confined: Option<Confinement>,
    /// Fail when the lock is missing or stale instead of resolving packages anew (it is written in no case)
    #[arg(long)]
    locked: bool,
    /// Never touch the network; everything must be in the cache
    #[arg(long)]
    offline: bool,
    /// How long the shell, and each step before it, may run (default: no limit, and 2h)
    #[arg(long, value_name = "TIME", value_parser = super::stop::time)]
    step_timeout: Option<Duration>,
    /// Memory that the processes of the shell, or of one step, may take together (default: three quarters of the machine's)
    #[arg(long, value_name = "SIZE")]
    step_memory: Option<ByteSize>,
    /// Print warnings and errors only, besides what the shell prints
    #[arg(long, short)]
    quiet: bool,
    /// The command; without one, a shell
    #[arg(last = true)]
    command: Vec<String>,
}

/// Exit status when a step is named that is none.
const USAGE: u8 = 2;

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
    let default = Limits::default();
    let memory = args.step_memory.map_or(default.memory, |size| size.0);
    let options = BuildOptions {
        recipe: args.recipe,
        set: args.set,
        output: PathBuf::new(),
        locked: args.locked,
        offline: args.offline,
        limits: Limits { memory, time: args.step_timeout.unwrap_or(default.time), ..default },
        confinement: args.confined.unwrap_or_default(),
    };
    let moment = match (args.before, args.after) {
        (Some(step), _) => Moment::Before(step),
        (None, Some(step)) => Moment::After(step),
        (None, None) => Moment::End,
    };
    match pipeline::place(&options, &moment, &Terminal::new(args.quiet)) {
        Ok(place) => {
            let limits = Limits { time: args.step_timeout.unwrap_or(Duration::MAX), ..options.limits };
            open(place, limits, args.command, args.quiet)
        }
        Err(NoPlace::Step(error)) => {
            terminal::fail(&error);
            ExitCode::from(USAGE)
        }
        Err(NoPlace::Build(error)) => {
            if let Error::Recipe(findings) = &*error {
                anstream::eprint!("{}", render::human(findings, terminal::colour()));
            }
            terminal::fail(&*error);
            ExitCode::FAILURE
        }
    }
}

/// Lets a person in. The place is gone afterwards.
fn open(place: Place, limits: Limits, command: Vec<String>, quiet: bool) -> ExitCode {
    let leave = if command.is_empty() { ", `exit` leaves" } else { "" };
    let command = match (command.is_empty(), place.shell) {
        (false, _) => command,
        (true, Some(shell)) => vec![shell.to_owned()],
        (true, None) => {
            anstream::eprintln!("error: {} has neither bash nor sh\nhelp: name a command, after `--`", place.words);
            return ExitCode::FAILURE;
        }
    };
    let size = relay::terminal();
    let mut sandbox = place.sandbox.clone().within(limits);
    if size.is_some()
        && let Some(kind) = std::env::var("TERM").ok().filter(|kind| is_plain(kind))
    {
        sandbox = sandbox.with("TERM", &kind);
    }
    if !quiet {
        let words = escaped(&place.words);
        anstream::eprintln!("{words}; what you change here is thrown away{leave}");
    }
    let streams = size.map_or(Streams::Pipes, |size| Streams::Terminal(size.ws_row, size.ws_col));
    let ended = sandbox.open(&command, streams).and_then(|(session, ends)| {
        // Whatever has become of the person's terminal, the session has an end.
        if let Err(error) = relay::relay(ends) {
            anstream::eprintln!("warning: {error}");
        }
        session.end()
    });
    drop(place);
    match ended {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(Ending::Status(status))) => ExitCode::from(u8::try_from(status).unwrap_or(1)),
        Ok(Some(_)) => ExitCode::FAILURE,
        Err(error) => {
            terminal::fail(&error);
            ExitCode::FAILURE
        }
    }
}

/// Whether this may be a terminal's name: it goes into an environment.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte))
}
