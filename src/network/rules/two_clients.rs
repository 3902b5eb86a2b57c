use super::prelude::*;

rule! {
    /// The host takes a lease in the guest's name, and the guest takes one too.
    ///
    /// # Why
    /// CNI's `dhcp` IPAM and the guest's client ask for the same MAC address: two clients renew one lease, or hold two.
    ///
    /// # Fix
    /// `ipam: {}` in the CNI configuration.
    ///
    /// Source: cocoon KNOWN_ISSUES; CNI plugin `dhcp`.
    TWO_CLIENTS, "NET-H010", "two-clients", Warning, |net, report| {
        let Some(host) = net.inputs.host.as_ref().filter(|host| host.asks_for_guest && net.has_dhcp()) else { return };
        let finding = RULE.finding("the host and the guest both take a lease for one MAC address");
        let place = net.claims.iter().find(|claim| claim.dhcp4).map(|claim| &claim.dhcp4_place);
        let finding = place.map_or(finding.clone(), |place| finding.at(place.evidence("asks for a lease")));
        report.push(finding.at(host_evidence(host, "asks for one too")).help("set `ipam: {}` in the CNI configuration"));
    }
}
