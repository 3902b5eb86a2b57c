//! Rows of the table: prediction beside observation, and whether they are the same.

use super::cases::Case;
use super::machine::{self, Observed};
use goldsmith::network::{Cidr, Evaluation, Predicted, Reachability};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

/// One row.
#[derive(Debug)]
pub struct Row {
    name: &'static str,
    machine: &'static str,
    args: String,
    predicted: [String; 3],
    rules: String,
    observed: [String; 3],
    verdict: Verdict,
    note: &'static str,
}

/// What the comparison came to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// The same.
    Equal,
    /// The model says that it cannot know, for this reason; the rest is the same.
    Open(String),
    /// Not the same; what differs.
    Differs(String),
}

const RACES: &[&str] = &["NET-D005", "NET-N010"];

impl Row {
    /// Compares.
    pub fn new(case: &Case, evaluation: Evaluation, observed: Observed) -> Self {
        let interface = evaluation.interface().unwrap();
        let refusals: Vec<_> = evaluation.findings.iter().filter(|finding| finding.refuses()).collect();
        let shared = refusals.iter().any(|finding| finding.rule == "NET-I001");
        let mut differs = Vec::new();
        if let Some(failure) = &observed.failure {
            differs.push(failure.clone());
        }
        let same_name = match interface.name.strip_suffix('*') {
            Some(beginning) => observed.name.starts_with(beginning),
            None => observed.name == interface.name,
        };
        if !same_name {
            differs.push("the name".to_owned());
        }
        let reachable = match &interface.reachability {
            Reachability::Reachable => Some(true),
            Reachability::Unreachable(_) => Some(false),
            Reachability::Unknown(_) => None,
        };
        if !same_addresses(&interface.predicted, &observed, case.host.dhcp, reachable.is_none()) {
            differs.push("the addresses".to_owned());
        }
        // Clones that share a lease cannot both be reached, whatever holds for each alone.
        let together = observed.twin.is_none() || !shared;
        if reachable.is_some_and(|reachable| (reachable && together) != observed.reached) {
            differs.push("reachability".to_owned());
        }
        let blocking = |rule: &str| !rule.starts_with("NET-I") && !RACES.contains(&rule);
        if observed.reached && refusals.iter().any(|finding| blocking(finding.rule)) {
            differs.push("refused, but it works".to_owned());
        }
        let twin = observed.twin.as_ref().map(|twin| {
            let both = observed.addresses.iter().any(|(address, ..)| twin.contains(address));
            if both != shared {
                differs.push("whether the clones share a lease".to_owned());
            }
            both
        });
        let verdict = match &interface.reachability {
            _ if !differs.is_empty() => Verdict::Differs(differs.join(", ")),
            Reachability::Unknown(why) => Verdict::Open(why.clone()),
            _ => Verdict::Equal,
        };
        let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let mut address = predicted_text(&interface.predicted, case.host.dhcp);
        let mut seen = observed_text(&observed);
        if let Some(both) = twin {
            address += if shared { ", the same for both clones" } else { ", one for each clone" };
            seen += if both { ", the same for both clones" } else { ", another for the other clone" };
        }
        let rules: Vec<_> = refusals.iter().map(|finding| finding.rule).collect();
        Self {
            name: case.name,
            machine: machine::describe(case),
            args: arguments_text(case),
            predicted: [
                interface.name.clone(),
                address,
                reachable.map_or("unknown".to_owned(), |one| yes(one && together)),
            ],
            rules: if rules.is_empty() { "–".to_owned() } else { rules.join(" ") },
            observed: [observed.name.clone(), seen, reached_text(&observed)],
            verdict,
            note: case.note,
        }
    }

    /// Whether prediction and observation agree.
    pub fn right(&self) -> bool {
        !matches!(self.verdict, Verdict::Differs(_))
    }

    /// The row in one line.
    pub fn line(&self) -> String {
        format!(
            "{} | predicted {} ({}) | observed {} | {:?}",
            self.name,
            self.predicted.join(" / "),
            self.rules,
            self.observed.join(" / "),
            self.verdict
        )
    }
}

/// `race`: two managers take what they get, and may take two leases.
fn same_addresses(predicted: &Predicted, observed: &Observed, dhcp: bool, race: bool) -> bool {
    let leases = observed.addresses.iter().filter(|(.., lease)| *lease).count();
    let mut fixed: Vec<Ipv4Addr> =
        observed.addresses.iter().filter(|(.., lease)| !lease).map(|(address, ..)| *address).collect();
    fixed.sort_unstable();
    let wanted = |list: &[Cidr]| {
        let mut wanted: Vec<Ipv4Addr> = list
            .iter()
            .filter_map(|cidr| match cidr.address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            })
            .collect();
        wanted.sort_unstable();
        wanted
    };
    let lease = usize::from(dhcp)..=if race { 2 } else { usize::from(dhcp) };
    match predicted {
        Predicted::Unknown => true,
        Predicted::Nothing => leases == 0 && fixed.is_empty(),
        Predicted::Static(list) => leases == 0 && fixed == wanted(list),
        Predicted::Lease => lease.contains(&leases) && fixed.is_empty(),
        Predicted::LeaseAndStatic(list) => lease.contains(&leases) && fixed == wanted(list),
    }
}

fn predicted_text(predicted: &Predicted, dhcp: bool) -> String {
    let list = |list: &[Cidr]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match predicted {
        Predicted::Nothing => "none".to_owned(),
        Predicted::Unknown => "unknown".to_owned(),
        Predicted::Static(addresses) => list(addresses),
        Predicted::Lease if dhcp => "lease".to_owned(),
        Predicted::Lease => "none: nobody leases".to_owned(),
        Predicted::LeaseAndStatic(addresses) => format!("lease, {}", list(addresses)),
    }
}

fn observed_text(observed: &Observed) -> String {
    let one = |(address, prefix, lease): &(Ipv4Addr, u8, bool)| {
        format!("{}{address}/{prefix}", if *lease { "lease " } else { "" })
    };
    match observed.addresses.as_slice() {
        [] => "none".to_owned(),
        list => list.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}

fn reached_text(observed: &Observed) -> String {
    match (observed.called, observed.reached, &observed.other) {
        (None, ..) if observed.twin.is_some() => "no: the lease went to the other clone".to_owned(),
        (None, ..) => "no: no address to call".to_owned(),
        (Some(address), true, _) => format!("yes, at {address}"),
        (Some(address), false, None) => format!("no, nobody at {address}"),
        (Some(address), false, Some(mac)) => format!("no, {mac} holds {address}"),
    }
}

fn arguments_text(case: &Case) -> String {
    let mut parts = Vec::new();
    if !case.ifnames_off {
        parts.push("(without `net.ifnames=0`)".to_owned());
    }
    if !case.args.is_empty() {
        parts.push(format!("`{}`", case.args));
    }
    if let Some(told) = case.told.filter(|told| case.expected || !case.args.contains(told)) {
        parts.push(format!("expected at {told}"));
    }
    if !case.host.dhcp {
        parts.push("no DHCP server".to_owned());
    }
    if let Some(address) = case.host.reserved {
        parts.push(format!("`dhcp-host=…,{address}`"));
    }
    if parts.is_empty() { "–".to_owned() } else { parts.join("; ") }
}

/// The whole document.
pub fn render(rows: &[Row]) -> String {
    let count = |wanted: fn(&Verdict) -> bool| rows.iter().filter(|row| wanted(&row.verdict)).count();
    let (equal, open) = (count(|one| *one == Verdict::Equal), count(|one| matches!(one, Verdict::Open(_))));
    let mut text = format!(
        "# The truth table\n\n\
         Every row was predicted by the network model from the image's own files, the exact arguments, the kernel's configuration \
         and the host, and then really booted in QEMU behind a bridge ({}) with dnsmasq (pool {} to {}). `make truth` writes \
         this file; the rows are in `tests/truth/cases.rs`.\n\n\
         *Reachable* means that the guest itself answers `GET :8080/health` at the address the control plane was told: by \
         the manifest, by `ip=`, or, where nobody was told anything, at its lease. The names and addresses are the guest's own \
         word, leases are dnsmasq's. *IP_PNP* is a Debian 6.1 kernel built with `CONFIG_IP_PNP=y` and everything else built in, \
         booted without an initrd. Every row also has `quiet tsc_early_khz=…`. An observation is kept in `target/tmp/truth` and \
         used again as long as image, arguments, kernel and host are the same; predictions are made anew. Rules that refuse a \
         race (NET-D005) or a shared identity (NET-I001) do so even where one boot of one machine happens to work.\n\n\
         {} rows: {equal} equal, {open} left open by the model with a reason, {} different.\n\n",
        super::predict::BRIDGE,
        super::lab::POOL.0,
        super::lab::POOL.1,
        rows.len(),
        rows.len() - equal - open,
    );
    text += "| # | image | machine, kernel | arguments, host | predicted: NIC, address, reachable | refused by | observed: NIC, address, reachable | equal |\n";
    text += "|---|---|---|---|---|---|---|---|\n";
    for (index, row) in rows.iter().enumerate() {
        let verdict = match &row.verdict {
            Verdict::Equal => "yes".to_owned(),
            Verdict::Open(why) => format!("open: {why}"),
            Verdict::Differs(what) => format!("**no**: {what}"),
        };
        let note = if row.note.is_empty() { String::new() } else { format!(" ({})", row.note) };
        writeln!(
            text,
            "| {} | {}{note} | {} | {} | {} | {} | {} | {verdict} |",
            index + 1,
            row.name,
            row.machine,
            row.args,
            row.predicted.join("; "),
            row.rules,
            row.observed.join("; "),
        )
        .unwrap();
    }
    text
}
