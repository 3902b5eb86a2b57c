use super::prelude::*;

rule! {
    /// networkd is told to leave the NIC down.
    ///
    /// # Why it is refused
    /// `activation-mode:` (`ActivationPolicy=manual`, `down`, `always-down`) keeps the NIC down whatever else is configured.
    ///
    /// # Fix
    /// Remove it.
    ///
    /// Source: systemd.network(5), `ActivationPolicy=`; netplan-yaml(5).
    STAYS_DOWN, "NET-D009", "stays-down", Error, |net, report| {
        let Some(winner) = net.winner().filter(|_| net.claim("networkd").is_some()) else { return };
        let Some(policy) = &winner.config.stays_down else { return };
        let alone = net.only_claim().is_some();
        let message = format!("{} stays down: its activation policy is `{policy}`", net.nic.name);
        let finding = if alone { RULE.finding(message) } else { RULE.warning(message) };
        report.push(finding.at(winner.place.evidence("leaves it down")).help("remove `activation-mode:` (`ActivationPolicy=`)"));
    }
}
