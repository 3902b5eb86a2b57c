//! `goldsmith ssh`

use super::terminal;
use crate::launch::{self, Running};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Log in to a running VM, or run a command there
///
/// The image must have an ssh server, and an account with your key; under user networking, launch with `--publish 22`. The
/// server's key is accepted at the first login and remembered with the VM: every VM makes its own at its first boot.
///
/// Exit status: the command's; 255 when ssh itself fails.
///
/// Example: goldsmith ssh desktop-1 --user agent -- uptime
#[derive(clap::Args)]
pub struct Args {
    /// The VM, as `goldsmith ps` lists it
    name: String,
    /// The account in the guest
    #[arg(long, short, default_value = "root")]
    user: String,
    /// The private key [default: those that ssh tries]
    #[arg(long, short, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// The command; without one, a shell
    #[arg(last = true)]
    command: Vec<String>,
}

/// Runs the verb: on success this process becomes ssh.
pub fn run(args: Args) -> ExitCode {
    let problem = match launch::find(&args.name) {
        Ok(vm) => match place(&vm) {
            Ok(place) => {
                let error = command(&vm, &args, place).exec();
                format!("cannot run ssh: {error} (apt-get install openssh-client)")
            }
            Err(problem) => problem,
        },
        Err(error) => {
            terminal::fail(&error);
            return ExitCode::FAILURE;
        }
    };
    anstream::eprintln!("error: {problem}");
    ExitCode::FAILURE
}

/// Where the VM's ssh server is reached.
fn place(vm: &Running) -> Result<SocketAddr, String> {
    let record = &vm.record;
    if !vm.is_alive() {
        return Err(format!("{0} does not run: `goldsmith launch --name {0}`", record.name));
    }
    record.reach(22).ok_or_else(|| match record.network.as_str() {
        "user" => "its port 22 is not forwarded: launch it with `--publish 22`".to_owned(),
        _ => format!("its address is not known yet: `goldsmith wait {}`", record.name),
    })
}

fn command(vm: &Running, args: &Args, place: SocketAddr) -> Command {
    let mut ssh = Command::new("ssh");
    let option = |text: String| ["-o".to_owned(), text];
    ssh.args(option(format!("UserKnownHostsFile=\"{}\"", vm.known_hosts().display())));
    ssh.args(option("GlobalKnownHostsFile=/dev/null".to_owned()));
    ssh.args(option("StrictHostKeyChecking=accept-new".to_owned()));
    // The VM's name, because its address and port may be others next time.
    ssh.args(option(format!("HostKeyAlias={}", args.name)));
    ssh.args(option("LogLevel=ERROR".to_owned()));
    if let Some(identity) = &args.identity {
        ssh.arg("-i").arg(identity).args(option("IdentitiesOnly=yes".to_owned()));
    }
    ssh.arg("-p").arg(place.port().to_string()).arg("-l").arg(&args.user);
    ssh.arg(place.ip().to_string()).arg("--").args(&args.command);
    ssh
}
