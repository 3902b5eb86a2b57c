//! `goldsmith ps`

use super::terminal;
use crate::launch;
use std::process::ExitCode;

/// List the running VMs: name, address, forwarded ports, image
///
/// Those that this user's launches run, in any terminal or detached.
///
/// Example: goldsmith ps --format json
#[derive(clap::Args)]
pub struct Args {
    /// How to print them
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A table
    #[default]
    Human,
    /// A JSON list of their records
    Json,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let running = match launch::list() {
        Ok(running) => running,
        Err(error) => {
            terminal::fail(&error);
            return ExitCode::FAILURE;
        }
    };
    if args.format == Format::Json {
        let records: Vec<_> = running.iter().map(|vm| &vm.record).collect();
        return super::man::print(format!("{:#}\n", serde_json::json!(records)).as_bytes());
    }
    let row =
        |cells: [&str; 5]| format!("{:18} {:8} {:16} {:30} {}\n", cells[0], cells[1], cells[2], cells[3], cells[4]);
    let mut table = row(["NAME", "STATE", "ADDRESS", "PORTS ON 127.0.0.1", "IMAGE"]);
    for vm in &running {
        let record = &vm.record;
        let ports: Vec<_> = record.forwards.iter().map(|(guest, host)| format!("{host}->{guest}")).collect();
        let address = record.address.map_or_else(|| "-".to_owned(), |address| address.to_string());
        let ports = if ports.is_empty() { "-".to_owned() } else { ports.join(" ") };
        let state = if record.ready { "ready" } else { "booting" };
        table += &row([&record.name, state, &address, &ports, &record.image.display().to_string()]);
    }
    super::man::print(table.as_bytes())
}
