use super::prelude::*;

rule! {
    /// A netplan file that other users may read.
    ///
    /// # Why
    /// It may hold secrets; netplan warns of it at every boot, in the middle of the log that somebody reads for real faults.
    ///
    /// # Fix
    /// `chmod 600`.
    ///
    /// Source: netplan `src/parse.c`; measured.
    NETPLAN_TOO_OPEN, "NET-N002", "netplan-too-open", Warning, |net, report| {
        for place in &net.netplan.too_open {
            report.push(RULE.finding(format!("{place} may be read by others")).at(place.evidence("holds what netplan calls sensitive")).help("chmod 600"));
        }
    }
}
