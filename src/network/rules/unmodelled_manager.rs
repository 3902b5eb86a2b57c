use super::prelude::*;

rule! {
    /// connman, wicked or another manager starts that goldsmith does not follow.
    ///
    /// # Why
    /// Nothing can be promised about the network. It is a warning, not a refusal: it may well work.
    ///
    /// # Fix
    /// Disable it, or boot the image once and let the rule through: `--allow NET-M002=seen`.
    UNMODELLED_MANAGER, "NET-M002", "unmodelled-manager", Warning, |net, report| {
        for claim in net.claims.iter().filter(|claim| matches!(claim.manager, "connman" | "wicked" | "dhclient")) {
            report.push(RULE.finding(format!("{} starts, and what it does is not modelled", claim.manager)).at(claim.dhcp4_place.evidence("may configure the NIC")).help("disable it, or `--allow NET-M002=REASON`"));
        }
    }
}
