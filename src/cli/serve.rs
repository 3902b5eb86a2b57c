//! `goldsmith serve`

use super::machine::MachineArgs;
use super::terminal::{self, Terminal};
use crate::launch;
use crate::serve::{Error, Images, Launcher, Limits, Options, Place};
use crate::values::ByteSize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Answer HTTP requests that launch VMs, on loopback or a Unix socket
///
/// Requests name one of the images given here, never a path or kernel arguments, and every launch passes the gate. Whoever
/// asks needs the bearer token; the file that holds it is printed. `GET /openapi.json` describes all requests.
///
/// What VMs run on is chosen here, with the options of `goldsmith launch`; VMs on one managed network share it.
///
/// VMs outlive the server: started again, it takes them over. Ctrl-C or SIGTERM ends the server; VMs that are not ready
/// yet end with it.
///
/// Example: goldsmith serve --images images --network managed=fleet --auth-image desktop
#[derive(clap::Args)]
pub struct Args {
    /// A folder of images, as `goldsmith build` fills, or NAME=FOLDER for one (may be repeated)
    #[arg(long, value_name = "DIR", required = true)]
    images: Vec<String>,
    /// The image behind `POST /api/auth/start`
    #[arg(long, value_name = "NAME")]
    auth_image: Option<String>,
    /// The loopback address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8460")]
    listen: SocketAddr,
    /// Listen on a Unix socket instead, which only its owner can open
    #[arg(long, value_name = "FILE", conflicts_with = "listen")]
    socket: Option<PathBuf>,
    /// A file with the bearer token [default: one in the state folder, made at the first start]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    machine: MachineArgs,
    /// How many VMs there may be
    #[arg(long, value_name = "N", default_value_t = 50)]
    max_vms: usize,
    /// How many VMs one user may have
    #[arg(long, value_name = "N", default_value_t = 5)]
    max_vms_per_user: usize,
    /// Memory of all VMs together [default: what the host can spare when the server starts]
    #[arg(long, value_name = "SIZE")]
    memory_budget: Option<ByteSize>,
    /// Processors of all VMs together [default: four for each of the host's]
    #[arg(long, value_name = "N")]
    cpu_budget: Option<u32>,
    /// How many launches may be on their way to being ready at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    max_starts: u16,
    /// How many VMs may wait to be launched
    #[arg(long, value_name = "N", default_value_t = 50)]
    max_queue: usize,
    /// End the VMs with the server
    #[arg(long)]
    stop_vms: bool,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let served = options(args).and_then(|options| crate::serve::run(options, &|line| anstream::println!("{line}")));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::fail(&error);
            ExitCode::FAILURE
        }
    }
}

fn options(args: Args) -> Result<Options, Error> {
    // Nobody is asked to wait for a launch to find out that it cannot work.
    let (model, accelerator) = launch::machine(&args.machine.options(Path::new(""))?, &Terminal::new(false))?;
    Ok(Options {
        place: args.socket.map_or(Place::Tcp(args.listen), Place::Socket),
        token: args.token_file,
        images: Images::new(&args.images)?,
        auth_image: args.auth_image,
        limits: Limits {
            vms: args.max_vms,
            vms_per_user: args.max_vms_per_user,
            memory: args.memory_budget,
            cpus: args.cpu_budget,
            starts: args.max_starts.into(),
            queue: args.max_queue,
        },
        launcher: Launcher { arguments: args.machine.words(), machine: format!("{model}, {accelerator}") },
        stop_vms: args.stop_vms,
    })
}
