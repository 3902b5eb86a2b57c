use super::prelude::*;

rule! {
    /// A `.network` file without a valid [Match] section.
    ///
    /// # Why
    /// systemd ignores it since v245 ("No valid settings found in the [Match] section, ignoring file"). Refused when nothing
    /// else configures the NIC.
    ///
    /// # Fix
    /// `[Match]`, `Name=*`, if it is meant for every NIC.
    ///
    /// Source: systemd NEWS 245; `networkd-network.c` (`network_verify`), 252 and 257.
    EMPTY_MATCH, "NET-D003", "empty-match", Error, |net, report| {
        for (file, _) in net.network_files.iter().filter(|(file, _)| file.matches.is_empty() && file.generated_by.is_none()) {
            let message = format!("{} has no [Match] and is ignored", file.path);
            let finding = if net.dead() { RULE.finding(message) } else { RULE.warning(message) };
            report.push(finding.at(file.place.evidence("matches nothing")).help("add `[Match]` and `Name=*`"));
        }
    }
}
