use super::prelude::*;

rule! {
    /// ifupdown brings up an interface that this machine does not have.
    ///
    /// # Why
    /// `auto X` makes `networking.service` fail (after up to 5 minutes). Refused when nothing else configures the NIC.
    ///
    /// # Fix
    /// Write the name that the NIC has, or `allow-hotplug`.
    ///
    /// Source: ifupdown `networking.service` (`TimeoutStartSec=5min`); interfaces(5).
    AUTO_MISSING, "NET-U001", "auto-missing", Error, |net, report| {
        let other = |stanza: &&Stanza| stanza.auto && !matches!(stanza.interface.as_str(), "lo") && !stanza.interface.contains(" (");
        for stanza in net.stanzas.iter().filter(other).filter(|_| net.networking.active) {
            if stanza.interface == net.nic.name || net.nic.name.ends_with('*') && stanza.interface.starts_with(net.nic.name.trim_end_matches('*')) {
                continue;
            }
            let message = format!("ifupdown brings up {}, but the NIC will be {}", stanza.interface, net.nic.name);
            let finding = if net.dead() { RULE.finding(message) } else { RULE.warning(message) };
            report.push(finding.at(stanza.place.evidence("is not there: networking.service fails")).note(net.naming.why.clone()).help(format!("rename it to {}", net.nic.name)));
        }
    }
}
