use super::prelude::*;

rule! {
    /// Nothing configures the NIC: no `ip=` that anybody reads, no manager with a file for it.
    ///
    /// # Why it is refused
    /// The NIC stays down and the guest cannot be reached.
    ///
    /// # Fix
    /// Give the guest a network configuration (recipe: `network:`).
    NOBODY_CONFIGURES, "NET-D008", "nobody-configures", Error, |net, report| {
        let explained = net.winner().is_some() && !net.networkd.active || !net.ip.is_empty() || !net.netplan.ethernets.is_empty() && net.netplan_installed;
        let empty = net.winner().is_some_and(|file| file.config.unmanaged);
        if net.dead() && (!explained || empty) && net.unknowns.is_empty() && net.netplan.unmodelled.is_empty() {
            report.push(
                RULE.finding(format!("nothing configures {}: it stays down", net.nic.name))
                    .note(format!("systemd-networkd: {}", net.networkd.why))
                    .help("give the guest a network configuration (recipe: `network:`)"),
            );
        } else if let Some(claim) = net.only_claim().filter(|claim| !claim.dhcp4 && claim.addresses.is_empty()) {
            report.push(
                RULE.finding(format!("{} gets neither a lease nor an address", net.nic.name))
                    .at(claim.dhcp4_place.evidence(format!("configures it (via {}, {})", claim.manager, claim.file)))
                    .help("set `dhcp4: true` or `addresses:`"),
            );
        }
    }
}
