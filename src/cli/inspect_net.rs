//! `goldsmith inspect net`: who configures the network of an image, stage by stage.

use super::inspect::printable;
use super::terminal;
use super::verify::Subject;
use crate::findings::render::human;
use crate::network::{Interface, Predicted, Reachability, Step};
use std::fmt::Write as _;
use std::io::Write as _;
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
    let mut text: String = outcome.network.interfaces.values().map(page).collect();
    let findings = human(&outcome.findings, true);
    if !findings.is_empty() {
        let _ = write!(text, "\nwhat the rules say\n\n{findings}");
    }
    match anstream::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::fail(&error);
            ExitCode::FAILURE
        }
    }
}

/// The page of one interface: the answer first, then how it comes about.
pub(super) fn page(interface: &Interface) -> String {
    let name = printable(&interface.name);
    let mut out = format!("{name}: {}\n", answer(interface));
    let mut stage = "";
    for step in &interface.timeline {
        if step.stage != stage {
            let _ = write!(out, "\n{}\n", heading(step.stage));
        }
        stage = step.stage;
        line(&mut out, step);
    }
    let effective = &interface.effective;
    let _ = writeln!(out, "\nin the end");
    let configured = match effective.manager.as_str() {
        "none" => "nobody".to_owned(),
        "unknown" => "unknown".to_owned(),
        other => other.to_owned(),
    };
    row(&mut out, "configured by", &[configured]);
    let lease = effective.dhcp4.then(|| "a DHCP lease".to_owned());
    let addresses = effective.addresses.iter().map(ToString::to_string);
    row(&mut out, "address", &lease.into_iter().chain(addresses).collect::<Vec<_>>());
    let texts = |list: &[std::net::IpAddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    row(&mut out, "default route", &texts(&effective.gateways));
    row(&mut out, "name servers", &texts(&effective.dns));
    row(&mut out, "names", std::slice::from_ref(&interface.resolver));
    list(&mut out, "who it says it is", &interface.identity);
    list(&mut out, "what the host must provide", &interface.needs);
    list(&mut out, "what cannot be known from here", &interface.unknowns);
    out
}

/// The verdict in one sentence.
fn answer(interface: &Interface) -> String {
    let addresses = |list: &[crate::network::Cidr]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let what = match &interface.predicted {
        Predicted::Nothing => "gets no address".to_owned(),
        Predicted::Static(list) => format!("answers at {}", addresses(list)),
        Predicted::Lease => "answers at the address it is leased".to_owned(),
        Predicted::LeaseAndStatic(list) => format!("answers at the address it is leased, and at {}", addresses(list)),
        Predicted::Unknown => "what address it gets is not known".to_owned(),
    };
    match &interface.reachability {
        Reachability::Reachable => format!("reachable; it {what}"),
        Reachability::Unreachable(why) => format!("not reachable where it is expected: {}", printable(why)),
        Reachability::Unknown(why) => format!("unknown; {what}. What would settle it: {}", printable(why)),
    }
}

fn heading(stage: &str) -> &str {
    match stage {
        "kernel" => "while the kernel starts",
        "initrd" => "in the initrd",
        "udev" => "when udev names devices",
        "userspace" => "in the guest's userspace",
        other => other,
    }
}

/// Who does what: on one line where it fits, else the second part below the first.
fn line(out: &mut String, step: &Step) {
    let (who, what) = (printable(&step.who), printable(&step.what));
    if who.chars().count() <= 34 {
        let _ = writeln!(out, "  {who:34}  {what}");
    } else {
        let _ = writeln!(out, "  {who}\n  {:34}  {what}", "");
    }
}

fn row(out: &mut String, name: &str, values: &[String]) {
    if !values.is_empty() {
        let values: Vec<_> = values.iter().map(|value| printable(value)).collect();
        let _ = writeln!(out, "  {name:34}  {}", values.join(", "));
    }
}

fn list(out: &mut String, name: &str, lines: &[String]) {
    if !lines.is_empty() {
        let _ = write!(out, "\n{name}\n");
        for line in lines {
            let _ = writeln!(out, "  - {}", printable(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::{KernelArgs, KernelFacts, Presence};
    use crate::network::{FileBytes, Inputs, NetworkMode, NetworkSpec, Snapshot, SnapshotNode, evaluate, netplan};

    /// A Debian 12 with netplan and files of our own.
    fn told(files: &[(&str, &str)], args: &str, ip_pnp: Presence) -> String {
        let lease =
            netplan::render(&NetworkSpec { interface: crate::values::InterfaceName::eth0(), mode: NetworkMode::Dhcp });
        let stock = [
            ("/etc/machine-id", ""),
            ("/etc/netplan/01-netcfg.yaml", lease.as_str()),
            ("/usr/lib/systemd/system-generators/netplan", "x"),
            ("/usr/lib/systemd/system/systemd-networkd.service", "[Service]"),
            ("/usr/lib/systemd/system/systemd-network-generator.service", "[Service]"),
            ("/etc/systemd/system/systemd-network-generator.service", "-> /dev/null"),
            ("/usr/lib/systemd/network/80-ethernet.network.example", ""),
            (
                "/usr/lib/systemd/network/99-default.link",
                "[Match]\nOriginalName=*\n[Link]\nNamePolicy=keep kernel path\n",
            ),
        ];
        let mut snapshot = Snapshot { image: "rootfs.ext4".into(), ..Snapshot::default() };
        for (path, text) in stock.iter().chain(files) {
            let node = match text.strip_prefix("-> ") {
                Some(target) => SnapshotNode::Symlink(target.to_owned()),
                None => SnapshotNode::File { mode: 0o600, bytes: FileBytes::Known(text.as_bytes().into()) },
            };
            snapshot.nodes.insert(path.parse().unwrap(), node);
        }
        let kernel = KernelFacts { ip_pnp, ..KernelFacts::default() };
        let args = KernelArgs::parse(&format!("console=ttyS0 root=/dev/vda rw net.ifnames=0 {args}"));
        page(evaluate(&Inputs::new(snapshot, args, kernel)).interface().unwrap())
    }

    const FOUNDING: &str = "ip=192.168.100.12::192.168.100.1:255.255.255.0::eth0:on";

    #[test]
    fn a_lease_is_explained() {
        insta::assert_snapshot!(told(&[], "", Presence::Absent));
    }

    #[test]
    fn the_founding_case_is_explained() {
        insta::assert_snapshot!(told(&[], FOUNDING, Presence::BuiltIn));
    }

    #[test]
    fn shadowed_and_masked_files_are_named() {
        let files = [
            ("/etc/netplan/50-more.yaml", "network:\n  ethernets:\n    eth1: {dhcp4: true}\n"),
            ("/usr/lib/netplan/50-more.yaml", "network: {}\n"),
            (
                "/etc/systemd/network/05-own.network",
                "[Match]\nName=eth0\n[Network]\nAddress=10.0.0.2/24\nGateway=10.0.0.1\nDNS=10.0.0.1\n",
            ),
            ("/etc/systemd/network/05-own.network.d/more.conf", "[Network]\nDNS=10.0.0.3\n"),
            ("/usr/lib/systemd/network/05-own.network", "[Match]\nName=*\n"),
            ("/etc/systemd/network/70-off.network", "-> /dev/null"),
            ("/etc/ssh/ssh_host_rsa_key", "x"),
            ("/etc/resolv.conf", "-> ../run/systemd/resolve/stub-resolv.conf"),
        ];
        insta::assert_snapshot!(told(&files, "", Presence::Absent));
    }

    #[test]
    fn what_cannot_be_known_is_said() {
        let files = [
            ("/usr/lib/systemd/system/connman.service", "[Service]"),
            ("/etc/systemd/system/multi-user.target.wants/connman.service", "-> x"),
            ("/etc/machine-id", "uninitialized\n"),
        ];
        insta::assert_snapshot!(told(&files, "ip=dhcp", Presence::Unknown));
    }
}
