use super::prelude::*;

rule! {
    /// Clones name themselves alike, and the DHCP server goes by that name.
    ///
    /// # Why
    /// With a machine-id that all clones share, a server that goes by client identifiers may hand one address to two machines.
    ///
    /// # Fix
    /// dnsmasq: `dhcp-ignore-clid` (2.81 or later). Or cure the image: `NET-I001`.
    ///
    /// Source: dnsmasq(8), `--dhcp-ignore-clid`; multipass#2783.
    SHARED_CLIENT_ID, "NET-H005", "shared-client-id", Warning, |net, report| {
        let (Some(host), Some(claim)) = (&net.inputs.host, net.lease_by_machine_id()) else { return };
        let serves = matches!(host.dhcp, DhcpServer::Present { .. });
        if serves && host.ignores_client_id != Some(true) {
            report.push(RULE.finding(format!("the DHCP server of {} may take clones for one client", host.name)).at(claim.dhcp4_place.evidence("names itself by the machine-id")).at(host_evidence(host, "goes by client identifiers")).help("start dnsmasq with --dhcp-ignore-clid"));
        }
    }
}
