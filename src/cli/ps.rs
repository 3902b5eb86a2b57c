//! `goldsmith ps`

use super::terminal;
use crate::launch::host::managed::{self, Network};
use crate::launch::{self, Running};
use std::process::ExitCode;

/// List the VMs, running and kept: name, state, address, forwarded ports, image
///
/// Those that this user's launches run, in any terminal or detached, and those that were kept. Managed networks are listed
/// below them. What killed launches have left is cleaned up first.
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
    /// A JSON document with the records of `vms`, and `networks`
    Json,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let found = launch::list().and_then(|vms| Ok((vms, managed::list()?)));
    let (vms, networks) = match found {
        Ok(found) => found,
        Err(error) => {
            terminal::fail(&error);
            return ExitCode::FAILURE;
        }
    };
    let text = match args.format {
        Format::Human => table(&vms, &networks),
        Format::Json => {
            let vms: Vec<_> = vms.iter().map(described).collect();
            format!("{:#}\n", serde_json::json!({ "vms": vms, "networks": networks }))
        }
    };
    super::man::print(text.as_bytes())
}

fn state(vm: &Running) -> &'static str {
    match (vm.is_alive(), vm.record.ready) {
        (false, _) => "stopped",
        (true, false) => "booting",
        (true, true) => "ready",
    }
}

/// A VM's record with its state.
fn described(vm: &Running) -> serde_json::Value {
    let mut value = serde_json::json!(vm.record);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("state".to_owned(), state(vm).into());
    }
    value
}

fn table(vms: &[Running], networks: &[Network]) -> String {
    let row =
        |cells: [&str; 5]| format!("{:18} {:8} {:16} {:30} {}\n", cells[0], cells[1], cells[2], cells[3], cells[4]);
    let mut table = row(["NAME", "STATE", "ADDRESS", "PORTS ON 127.0.0.1", "IMAGE"]);
    for vm in vms {
        let record = &vm.record;
        let running = vm.is_alive();
        let ports: Vec<_> = record.forwards.iter().map(|(guest, host)| format!("{host}->{guest}")).collect();
        let address = record.address.filter(|_| running).map_or_else(|| "-".to_owned(), |address| address.to_string());
        let ports = if ports.is_empty() || !running { "-".to_owned() } else { ports.join(" ") };
        table += &row([&record.name, state(vm), &address, &ports, &record.image.display().to_string()]);
    }
    for (number, network) in networks.iter().enumerate() {
        if number == 0 {
            table += &format!("\n{:18} {:8} {:20} {}\n", "NETWORK", "VMS", "ADDRESS", "BRIDGE");
        }
        let Network { name, bridge, address, vms } = network;
        table += &format!("{name:18} {vms:<8} {address:20} {bridge}\n");
    }
    table
}
