use super::prelude::*;

rule! {
    /// systemd-network-generator refuses this `ip=` and then writes nothing at all.
    ///
    /// # Fix
    /// Trim trailing colons; put only addresses into the name server fields.
    ///
    /// Source: systemd `network-generator.c`; measured with 252.
    REJECTED_IP, "NET-K008", "rejected-ip", Warning, |net, report| {
        for (place, error) in &net.rejected {
            report.push(RULE.finding(error.to_string()).at(place.evidence("makes the generator fail")).help("trim it to `client::gateway:netmask::eth0:off`"));
        }
    }
}
