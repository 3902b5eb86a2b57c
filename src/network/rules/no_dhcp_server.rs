use super::prelude::*;

rule! {
    /// The guest asks for a lease and nobody answers on the bridge.
    ///
    /// # Why it is refused
    /// It never gets an address.
    ///
    /// # Fix
    /// Start a DHCP server on the bridge, or let goldsmith run one (`--network managed`).
    NO_DHCP_SERVER, "NET-H003", "no-dhcp-server", Error, |net, report| {
        let Some(host) = net.inputs.host.as_ref().filter(|_| net.has_dhcp()) else { return };
        let claim = net.claims.iter().find(|claim| claim.dhcp4);
        let place = claim.map(|claim| &claim.dhcp4_place);
        if host.dhcp == DhcpServer::Absent {
            let finding = RULE.finding(format!("the guest asks for a lease, but nobody answers on {}", host.name));
            let finding = place.map_or(finding.clone(), |place| finding.at(place.evidence("asks for a lease")));
            report.push(finding.at(host_evidence(host, "no DHCP server")).help("start a DHCP server on the bridge, or use `--network managed`"));
        }
    }
}
