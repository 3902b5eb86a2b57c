//! A declared network → `/etc/netplan/01-netcfg.yaml`.

use crate::network::{NetworkMode, NetworkSpec};
use std::fmt::Write;

/// The guest's only network file. It is installed with mode 0600, as netplan demands (it warns otherwise).
///
/// `dhcp-identifier: mac` makes the guest name itself by its MAC address: clones of one image never share a lease, and
/// a host finds the lease by the MAC it gave (netplan-yaml(5); systemd.network(5), `ClientIdentifier=`).
pub fn render(spec: &NetworkSpec) -> String {
    let mut text = format!(
        "# Written by goldsmith from the recipe's `network:`; change it there.\nnetwork:\n  version: 2\n  renderer: networkd\n  ethernets:\n    {}:\n",
        spec.interface
    );
    match &spec.mode {
        NetworkMode::Dhcp => text.push_str("      dhcp4: true\n      dhcp-identifier: mac\n"),
        NetworkMode::Static { address, gateway, dns } => {
            text.push_str("      dhcp4: false\n      addresses:\n");
            let _ = writeln!(text, "        - \"{address}\"");
            if let Some(gateway) = gateway {
                let to = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
                let _ = write!(text, "      routes:\n        - to: \"{to}\"\n          via: \"{gateway}\"\n");
            }
            if !dns.is_empty() {
                text.push_str("      nameservers:\n        addresses:\n");
                for server in dns {
                    let _ = writeln!(text, "          - \"{server}\"");
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_asked_for_on_a_line_of_its_own() {
        let text = render(&NetworkSpec { interface: crate::values::InterfaceName::eth0(), mode: NetworkMode::Dhcp });
        assert!(text.lines().any(|line| line == "      dhcp4: true"));
        assert!(crate::yaml::parse(&text).is_ok());
    }
}
