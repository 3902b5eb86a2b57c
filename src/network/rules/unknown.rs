use super::prelude::*;

rule! {
    /// Something configures the network that cannot be followed from here.
    ///
    /// # Why
    /// A verdict that leaves out what it does not know is worth nothing, so it is said.
    ///
    /// # Fix
    /// Remove what is not needed, or give the missing fact.
    UNKNOWN, "NET-G004", "unknown", Warning, |net, report| {
        for unknown in &net.unknowns {
            report.push(RULE.finding(format!("unknown: {unknown}")));
        }
        for (place, what) in &net.netplan.unmodelled {
            report.push(RULE.finding(format!("unknown: what netplan's `{what}:` does to {}", net.nic.name)).at(place.evidence("is not modelled")));
        }
    }
}
