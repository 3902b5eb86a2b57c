use super::prelude::*;

rule! {
    /// A `.network` file of a lower name wins over the one that netplan generates.
    ///
    /// # Why
    /// networkd applies the first file that matches and no other. Refused when the two differ.
    ///
    /// # Fix
    /// Remove one of them, or renumber.
    ///
    /// Source: systemd.network(5).
    SHADOWED_FILE, "NET-D001", "shadowed-file", Error, |net, report| {
        let Some(winner) = net.winner().filter(|_| net.networkd.active) else { return };
        let losers = net.network_files.iter().filter(|(file, answer)| *answer == Answer::Yes && file.name != winner.name && file.generated_by == Some("netplan"));
        for (loser, _) in losers {
            let same = (winner.config.dhcp4, &winner.config.addresses) == (loser.config.dhcp4, &loser.config.addresses);
            let message = format!("{} wins over {} for {}", winner.name, loser.name, net.nic.name);
            let finding = if same { RULE.warning(message) } else { RULE.finding(message) };
            report.push(finding.at(winner.place.evidence("is applied")).at(loser.place.evidence("is ignored")).help("remove one of the two"));
        }
    }
}
