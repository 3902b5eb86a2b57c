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
        let asked = net.merged_ip.address.is_some() || net.merged_ip.asks();
        let files = net.network_files.iter().any(|(file, _)| !file.path.starts_with("/usr/lib/systemd/network/8"));
        let explained = net.winner().is_some() && !net.networkd.active || asked || files || !net.netplan.errors.is_empty() || net.netplan_installed && !net.netplan.ethernets.is_empty();
        let unmanaged = net.winner().is_some_and(|file| file.config.unmanaged);
        if net.dead() && (!explained || unmanaged) && net.unknowns.is_empty() {
            report.push(
                RULE.finding(format!("nothing configures {}: it stays down", net.nic.name))
                    .note(format!("systemd-networkd: {}", net.networkd.why))
                    .help("give the guest a network configuration (recipe: `network:`)"),
            );
        } else if let Some(claim) = net.only_claim().filter(|claim| !claim.dhcp4 && !claim.dhcp6 && claim.addresses.is_empty() && !net.early_stays()) {
            if net.winner().is_some_and(|file| file.generated_by == Some("systemd-network-generator")) && net.network_files.iter().filter(|(_, answer)| *answer == Answer::Yes).count() > 1 {
                return;
            }
            report.push(
                RULE.finding(format!("{} gets neither a lease nor an address", net.nic.name))
                    .at(claim.dhcp4_place.evidence(format!("configures it (via {}, {})", claim.manager, claim.file)))
                    .help("set `dhcp4: true` or `addresses:`"),
            );
        }
    }
}
