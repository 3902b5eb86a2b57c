use super::prelude::*;

rule! {
    /// The lease or the configuration names DNS servers, and no program puts them to use.
    ///
    /// # Why it is worth knowing
    /// networkd hands name servers to systemd-resolved only. Without it `/etc/resolv.conf` stays as it is in the image: the guest
    /// can be reached, but may resolve no name.
    ///
    /// # Fix
    /// Install systemd-resolved, or write `/etc/resolv.conf`.
    ///
    /// Source: systemd-resolved.service(8), systemd.network(5).
    DNS_GOES_NOWHERE, "NET-D010", "dns-goes-nowhere", Info, |net, report| {
        let Some(claim) = net.only_claim().filter(|claim| claim.manager == "networkd" && (claim.dhcp4 || !claim.dns.is_empty())) else { return };
        let resolver = &net.resolver;
        if !resolver.resolved.active && resolver.fixed.is_empty() && resolver.link.is_none() {
            report.push(RULE.finding("nobody in the guest uses the name servers").at(claim.dhcp4_place.evidence("learns them")).note(resolver.resolved.why.clone()).help("install systemd-resolved, or write /etc/resolv.conf"));
        }
    }
}
