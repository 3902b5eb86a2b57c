use super::prelude::*;

rule! {
    /// A `.network` file of a lower name wins over the one that is meant.
    ///
    /// # Why
    /// networkd applies the first file that matches and no other. Refused when netplan's file or an administrator's loses to
    /// one that says something else.
    ///
    /// # Fix
    /// Remove one of them, or renumber.
    ///
    /// Source: systemd.network(5).
    SHADOWED_FILE, "NET-D001", "shadowed-file", Error, |net, report| {
        let Some(winner) = net.winner().filter(|file| net.networkd.active && file.generated_by != Some("systemd-network-generator")) else { return };
        let meant = |file: &NetworkFile| file.generated_by == Some("netplan") || file.path.starts_with("/etc/");
        let losers = net.network_files.iter().filter(|(file, answer)| *answer == Answer::Yes && file.name != winner.name && meant(file));
        for (loser, _) in losers {
            let same = (winner.config.dhcp4, &winner.config.addresses) == (loser.config.dhcp4, &loser.config.addresses);
            let broad = loser.matches.names.iter().all(|name| name.contains('*')) && loser.generated_by.is_none();
            let message = format!("{} wins over {} for {}", winner.name, loser.name, net.nic.name);
            // A general file behind a special one is how networkd is meant to be used.
            let finding = if same || broad { RULE.warning(message) } else { RULE.finding(message) };
            if broad && winner.generated_by.is_none() {
                continue;
            }
            report.push(finding.at(winner.place.evidence("is applied")).at(loser.place.evidence("is ignored")).help("remove one of the two"));
        }
    }
}
