//! `goldsmith check`

use super::build::{assignment, confinement};
use crate::findings::render::Format;
use crate::findings::{Finding, RuleDoc};
use crate::network::NetworkMode;
use crate::recipe::{Confinement, Recipe};
use crate::values::{escaped, escaped_lines};
use crate::{gate, pipeline, recipe};
use std::path::PathBuf;
use std::process::ExitCode;

/// Validate recipes: everything that is wrong with them, in one run
///
/// Keys, types, values, includes, parameters, overlays, artifacts, the lock, and whether the boot arguments agree with
/// the declared network. Nothing is fetched or built. Exit status 1 when a recipe cannot be built.
///
/// Example: goldsmith check --format github recipes/*.yaml
#[derive(clap::Args)]
pub struct Args {
    /// The recipes, as in recipes/desktop.yaml
    #[arg(required = true, value_name = "RECIPE")]
    recipes: Vec<PathBuf>,
    /// Set a parameter of the recipes (may be repeated)
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Let the recipe name files only below its repository, links included; or only below DIR
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = "", value_parser = confinement)]
    confined: Option<Confinement>,
    /// How to print what is found
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What the recipe's network compiles to, and the rules it lets through: a line each.
fn network(recipe: &Recipe) -> String {
    let interface = &recipe.network.interface;
    let (guest, host) = match &recipe.network.mode {
        NetworkMode::Dhcp => ("takes a lease".to_owned(), "a DHCP server on the bridge".to_owned()),
        NetworkMode::Static { address, gateway, dns } => {
            let gateway = gateway.map_or(String::new(), |gateway| format!(" by {gateway}"));
            let dns: String = dns.iter().map(|server| format!(" DNS {server}")).collect();
            (format!("is {address}{gateway}{dns}"), format!("a bridge in the network of {address}"))
        }
    };
    let said = recipe.boot_args.iter().filter(|arg| arg.key() == "ip").map(|arg| format!(", beside `{}`", arg.text));
    let said: String = said.collect();
    let mut text =
        format!("  network: {interface} {guest} (netplan, systemd-networkd{said}); the host provides {host}\n");
    for waiver in &recipe.waivers {
        text += &format!("  waived: {}, {}\n", waiver.rule, waiver.reason);
    }
    text
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let confinement = args.confined.unwrap_or_default();
    let mut findings = Vec::new();
    let mut good = Vec::new();
    for path in &args.recipes {
        let found = pipeline::examine(path, &args.set, &confinement);
        if !found.iter().any(Finding::refuses) {
            good.push(path);
        }
        findings.extend(found);
    }
    let rules: Vec<RuleDoc> = recipe::RULES.iter().copied().chain(gate::rules()).collect();
    anstream::print!("{}", args.format.render(&findings, &rules, true));
    if args.format == Format::Human {
        for path in &good {
            anstream::println!("ok: {}", escaped(&path.to_string_lossy()));
            if let Ok(recipe) = recipe::load_confined(path, &args.set, &confinement) {
                anstream::print!("{}", escaped_lines(&network(&recipe)));
            }
        }
    }
    if good.len() == args.recipes.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
