use super::prelude::*;

rule! {
    /// systemd-network-generator refuses an argument and then writes nothing at all.
    ///
    /// # Why
    /// One bad field, and none of `ip=`, `nameserver=`, `rd.route=` takes effect. A warning, unless the generator's file
    /// was the only thing that would have configured the NIC.
    ///
    /// # Fix
    /// Trim trailing colons; put only addresses into the name server fields.
    ///
    /// Source: systemd `network-generator.c`; measured with 252 and 257.
    REJECTED_IP, "NET-K008", "rejected-ip", Error, |net, report| {
        for (place, error) in &net.rejected {
            let alone = net.dead() && net.networkd.active;
            let finding = if alone { RULE.finding(error.to_string()) } else { RULE.warning(error.to_string()) };
            report.push(finding.at(place.evidence("makes the generator fail")).help("trim it to `client::gateway:netmask::eth0:off`"));
        }
    }
}
