use super::prelude::*;

rule! {
    /// The guest's static address is not in the bridge's subnet.
    ///
    /// # Why it is refused
    /// The host has no route to it: it cannot be reached.
    ///
    /// # Fix
    /// Give the bridge an address in that subnet, or build the image with an address of the bridge's.
    OFF_THE_BRIDGE, "NET-H001", "off-the-bridge", Error, |net, report| {
        let Some(host) = &net.inputs.host else { return };
        let (addresses, place) = net.static_addresses();
        if addresses.is_empty() || net.has_dhcp() {
            return;
        }
        let Some(bridge) = host.cidr else {
            report.push(RULE.warning(format!("unknown: the address of {}, so whether {} is reachable", host.name, list(&addresses))));
            return;
        };
        if addresses.iter().any(|own| bridge.contains(own.address) && own.contains(bridge.address)) {
            return;
        }
        let mut finding = RULE.finding(format!("the guest is {}, but {} is {bridge}", list(&addresses), host.name));
        finding = finding.at(place.map_or_else(|| host_evidence(host, "is another subnet"), |place| place.evidence("sets a static address")));
        report.push(finding.at(host_evidence(host, "is another subnet")).help("give the bridge an address in that subnet, or rebuild the image with one of the bridge's"));
    }
}
