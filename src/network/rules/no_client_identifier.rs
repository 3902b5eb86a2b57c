use super::prelude::*;

rule! {
    /// A netplan lease without `dhcp-identifier: mac`, in an image whose machine-id is fixed.
    ///
    /// # Why
    /// The lease follows the machine-id, which all clones share; the host cannot find it by the MAC address it gave either.
    ///
    /// # Fix
    /// `dhcp-identifier: mac`.
    ///
    /// Source: netplan-yaml(5); systemd.network(5), `ClientIdentifier=`; netplan#16.
    NO_CLIENT_IDENTIFIER, "NET-N008", "no-client-identifier", Warning, |net, report| {
        let netplan = net.winner().is_some_and(|file| file.generated_by == Some("netplan"));
        let Some(claim) = net.claim("networkd").filter(|claim| netplan && claim.dhcp4 && !claim.identifier_mac) else { return };
        if net.machine_id == MachineId::Fixed {
            report.push(RULE.finding("the lease follows the machine-id, which every clone shares").at(claim.dhcp4_place.evidence("asks for it")).help("add `dhcp-identifier: mac`"));
        }
    }
}
