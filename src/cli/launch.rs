//! `goldsmith launch`

use super::build::assignment;
use super::lines::{self, Lines};
use super::machine::MachineArgs;
use super::stop::time;
use super::terminal::{self, Terminal};
use super::verify::allow;
use crate::findings::render;
use crate::launch::host::{Mac, Publish};
use crate::launch::{self, Error, Line, Options, Ready, Vm};
use crate::leash;
use crate::progress::Observer;
use crate::values::ByteSize;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Signal, set_parent_process_death_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Boot a VM from an image, once the gate has found that it will be reachable
///
/// Before anything starts, the image's files are compared with its manifest, and the network is recomputed from the image's
/// own files, the exact kernel arguments and the host. On a conflict every reason is printed and the exit status is 3.
///
/// The golden image is never written: the VM has a disk of its own, which is deleted with it unless `--keep` says otherwise.
/// The VM runs until Ctrl-C; then nothing of it is left. A kept VM boots again with `goldsmith launch --name NAME`. The
/// probes that the recipe declares say when it is ready; when it is not, the layer that failed is named, with the console's
/// last lines.
///
/// `--detach` returns once the VM is ready; `goldsmith ps` lists it, `goldsmith stop` ends it.
///
/// The VM is Firecracker's where KVM works, Firecracker is installed and the network is not `user`; else it is QEMU's.
/// `--dry-run` prints what either would be told: Firecracker's `--config-file`, or QEMU's command line as a JSON list.
///
/// Example: goldsmith launch images/desktop --set decodo_port=10001 --network bridge=br0
#[derive(clap::Args)]
pub struct Args {
    /// A folder that `goldsmith build` wrote, as in images/desktop [default: that of the kept VM]
    #[arg(required_unless_present = "name")]
    folder: Option<PathBuf>,
    /// Kernel arguments behind the manifest's; the gate sees them
    #[arg(long, value_name = "ARGS", default_value = "", allow_hyphen_values = true)]
    append: String,
    /// Set a boot parameter that the recipe declares (may be repeated)
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    #[command(flatten)]
    machine: MachineArgs,
    /// Forward one more port under `--network user`: GUEST or HOST:GUEST (may be repeated)
    #[arg(long, value_name = "PORT")]
    publish: Vec<Publish>,
    /// The address at which the guest must be; the launch is refused when it would not be there
    #[arg(long, value_name = "ADDRESS")]
    expect: Option<IpAddr>,
    /// Let a rule through: `--allow NET-K004=migrating`; the reason is recorded (may be repeated)
    #[arg(long, value_name = "RULE=REASON", value_parser = allow)]
    allow: Vec<(String, String)>,
    /// Keep the VM's disk when it stops; `goldsmith rm` deletes it
    #[arg(long)]
    keep: bool,
    /// The VM's name [default: the image's, with a number]
    #[arg(long)]
    name: Option<String>,
    /// The NIC's MAC address [default: one that follows from the VM's name and this host]
    #[arg(long)]
    mac: Option<Mac>,
    /// Memory, as in 512M or 2G
    #[arg(long, value_name = "SIZE", default_value = "1G")]
    memory: ByteSize,
    /// Processors
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=32))]
    cpus: u8,
    /// How long the probes may take, as in 5m [default: what the recipe says of each]
    #[arg(long, value_name = "TIME", value_parser = time)]
    timeout: Option<Duration>,
    /// Return once the VM is ready; it goes on until `goldsmith stop`
    #[arg(long, conflicts_with = "stop_after_ready")]
    detach: bool,
    /// Set by `--detach` and `serve` for the process that stays: who has asked for it
    #[arg(long, hide = true)]
    stay: Option<u32>,
    /// Stop the VM as soon as every probe has passed: a test boot
    #[arg(long)]
    stop_after_ready: bool,
    /// Run the gate, print what the VMM would be told as JSON, and start nothing
    #[arg(long, conflicts_with_all = ["detach", "stop_after_ready"])]
    dry_run: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Print warnings, errors and the result only
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    #[default]
    Human,
    /// One JSON document when the VM is ready, or why it is not
    Json,
    /// One JSON object a line: every stage, then how it turned out
    Lines,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    if args.detach {
        return detach().unwrap_or_else(|error| {
            terminal::fail(&error);
            ExitCode::FAILURE
        });
    }
    if args.stay.is_some() {
        // Started as /proc/self/exe, which is what `ps` and `pgrep` would call it.
        let _ = rustix::thread::set_name(c"goldsmith");
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&stop)) {
            terminal::fail(&error);
            return ExitCode::FAILURE;
        }
    }
    // Each signal counts once: the second one hurries what the first one began.
    let stopped = || stop.swap(false, Ordering::Relaxed);
    let outcome = launch(&args, &stopped);
    if let (Format::Lines, Err(error)) = (args.format, &outcome) {
        return lines::fail(error);
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Refused(findings)) => {
            if args.format == Format::Json {
                anstream::print!("{}", render::json(&findings));
            } else {
                anstream::eprint!("{}", render::human(&findings, terminal::colour()));
            }
            let folder = args.folder.unwrap_or_default();
            let name = folder.display();
            let count = findings.iter().filter(|finding| finding.refuses()).count();
            let conflicts = if count == 1 { "conflict" } else { "conflicts" };
            anstream::eprintln!("refused: {count} {conflicts} in {name} — nothing was started");
            ExitCode::from(3)
        }
        Err(Error::Stopped) => {
            anstream::eprintln!("stopped before it was ready; nothing is left");
            ExitCode::from(130)
        }
        Err(error) => {
            if let (Error::NotReady(why), Format::Json) = (&error, args.format) {
                anstream::println!("{}", serde_json::to_string_pretty(why).unwrap_or_default());
            }
            terminal::fail(&error);
            ExitCode::FAILURE
        }
    }
}

/// Behind the report of a VM that stays: the process that was asked to launch it may go.
const READY: u8 = 0;

/// Starts this program again without `--detach`, and hands on its report and its fate until the VM is ready.
fn detach() -> io::Result<ExitCode> {
    let arguments = std::env::args_os().skip(1).filter(|argument| argument != "--detach");
    let mut child = Command::new("/proc/self/exe")
        .arg0("goldsmith")
        .args(arguments)
        .arg(format!("--stay={}", std::process::id()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut report = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        BufReader::new(pipe).read_until(READY, &mut report)?;
    }
    let ready = report.pop_if(|last| *last == READY).is_some();
    io::stdout().write_all(&report)?;
    if ready {
        return Ok(ExitCode::SUCCESS);
    }
    Ok(child.wait()?.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Lets the terminal and the process that was asked go on without this one.
fn leave() -> io::Result<()> {
    // Before anybody is told: the parent's end must mean nothing from then on.
    set_parent_process_death_signal(None)?;
    // It fails for the leader of a process group, which needs no group of its own.
    let _ = rustix::process::setsid();
    io::stdout().write_all(&[READY])?;
    io::stdout().flush()?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

fn launch(args: &Args, stopped: &dyn Fn() -> bool) -> Result<(), Error> {
    let folder = match (&args.folder, &args.name) {
        (None, Some(name)) => launch::find(name).map(|kept| kept.record.image).map_err(Error::Kept)?,
        (folder, _) => folder.clone().unwrap_or_default(),
    };
    let options = Options {
        name: args.name.as_deref().map(str::parse).transpose()?,
        append: args.append.clone(),
        set: args.set.clone(),
        publish: args.publish.clone(),
        mac: args.mac,
        expect: args.expect,
        allow: args.allow.iter().cloned().collect(),
        keep: args.keep,
        memory: args.memory,
        cpus: args.cpus,
        timeout: args.timeout,
        ..args.machine.options(&folder)?
    };
    let io = |what| move |cause| Error::Io { what, cause };
    if let Some(parent) = args.stay {
        // Until the VM is ready it goes with whoever asked for it.
        leash::to(parent, Signal::TERM).map_err(io("follow the parent"))?;
    }
    let observer: Box<dyn Observer> = match args.format {
        Format::Lines => Box::new(Lines),
        Format::Human | Format::Json => Box::new(Terminal::new(args.quiet)),
    };
    if args.dry_run {
        anstream::println!("{:#}", Vm::describe(&options, &*observer)?);
        return Ok(());
    }
    let console = |vm: &Vm| {
        if !args.quiet && args.format == Format::Human {
            anstream::eprintln!("  console          {}", vm.console().display());
        }
    };
    let (vm, ready) = Vm::boot(&options, &*observer, &console, stopped)?;
    match args.format {
        Format::Lines => lines::print(&Line::Ready { ready: ready.clone(), vm: Box::new(vm.record().clone()) }),
        Format::Human => page(&vm, &ready),
        Format::Json => {
            let report = serde_json::json!({ "ready": ready, "vm": vm.record() });
            anstream::println!("{report:#}");
        }
    }
    if args.stop_after_ready {
        return Ok(());
    }
    if args.format == Format::Human {
        let how = if args.stay.is_some() { format!("`goldsmith stop {}`", ready.name) } else { "Ctrl-C".to_owned() };
        match vm.record() {
            record if record.keep => {
                let name = &record.name;
                anstream::println!(
                    "{how} stops it; `goldsmith launch --name {name}` boots it again, `goldsmith rm {name}` deletes it."
                );
            }
            _ => anstream::println!("{how} stops it and leaves nothing behind."),
        }
    }
    if args.stay.is_some() {
        leave().map_err(io("leave the terminal"))?;
    }
    if let Some(status) = vm.wait(stopped)? {
        anstream::eprintln!("{} ended by itself ({status})", ready.name);
    } else if vm.shut_down(stopped)? {
        anstream::eprintln!("{} has shut down", ready.name);
    } else {
        anstream::eprintln!("{} was killed: it did not shut down in time", ready.name);
    }
    Ok(())
}

/// What a person wants to know of a VM that is ready.
fn page(vm: &Vm, ready: &Ready) {
    let seconds = |ms: u64| format!("{}.{} s", ms / 1000, ms % 1000 / 100);
    let last = ready.probes.iter().map(|probe| probe.after_ms).max().unwrap_or_default();
    let address = ready.address.map(|address| format!(" at {address}")).unwrap_or_default();
    anstream::println!("{} is ready after {}{address}", ready.name, seconds(last));
    for probe in &ready.probes {
        anstream::println!("  {:12} {}", probe.name, probe.place);
    }
    let probed = |port: &u16| ready.probes.iter().any(|probe| probe.place.contains(&format!(":{port}")));
    for (guest, host) in vm.record().forwards.iter().filter(|(_, host)| !probed(host)) {
        anstream::println!("  {:12} 127.0.0.1:{host}", format!("port {guest}"));
    }
}
