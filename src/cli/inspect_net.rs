//! `goldsmith inspect net`: who configures the network of an image, stage by stage.

use super::inspect::printable;
use super::terminal;
use super::verify::Subject;
use crate::findings::render::human;
use crate::network::Interface;
use std::io::Write;
use std::process::ExitCode;

/// Prints the page.
pub(super) fn run(subject: &Subject) -> ExitCode {
    let outcome = match subject.examine() {
        Ok(outcome) => outcome,
        Err(error) => {
            terminal::fail(&error);
            return ExitCode::FAILURE;
        }
    };
    let mut out = anstream::stdout().lock();
    let written = outcome.network.interfaces.values().try_for_each(|interface| page(interface, &mut out));
    let findings = human(&outcome.findings, true);
    let written = written.and_then(|()| if findings.is_empty() { Ok(()) } else { write!(out, "\n{findings}") });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::fail(&error);
            ExitCode::FAILURE
        }
    }
}

fn page(interface: &Interface, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "{}", printable(&interface.name))?;
    let mut stage = "";
    for step in &interface.timeline {
        let heading = if step.stage == stage { "" } else { step.stage };
        stage = step.stage;
        writeln!(out, "  {heading:10} {:32} {}", printable(&step.who), printable(&step.what))?;
    }
    let effective = &interface.effective;
    writeln!(out, "  {:10} configured by {}", "in the end", effective.manager)?;
    let mut row = |name: &str, values: &[String]| {
        if values.is_empty() { Ok(()) } else { writeln!(out, "  {:10} {name:14} {}", "", values.join(", ")) }
    };
    if effective.dhcp4 {
        row("address", &["a DHCP lease: the host must answer DHCP on the bridge".to_owned()])?;
    }
    row("address", &effective.addresses)?;
    row("default route", &effective.gateways)?;
    row("name servers", &effective.dns)?;
    row("unknown", &interface.unknowns.iter().map(|unknown| printable(unknown)).collect::<Vec<_>>())
}
