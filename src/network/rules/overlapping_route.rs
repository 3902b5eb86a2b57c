use super::prelude::*;

rule! {
    /// The bridge's subnet overlaps a network that the host reaches another way.
    ///
    /// # Why
    /// The more specific route wins: packets to the guest may leave by the other interface.
    ///
    /// # Fix
    /// Move the bridge to another subnet.
    ///
    /// Source: ip-route(8).
    OVERLAPPING_ROUTE, "NET-H009", "overlapping-route", Warning, |net, report| {
        let Some(host) = &net.inputs.host else { return };
        let Some(bridge) = host.cidr else { return };
        let overlap = |route: &&Cidr| route.prefix >= bridge.prefix.max(1) && (route.contains(bridge.address) || bridge.contains(route.address));
        for route in host.routes.iter().filter(overlap) {
            report.push(RULE.finding(format!("{bridge} overlaps {route}, which the host reaches another way")).at(host_evidence(host, "overlaps")).help("move the bridge to another subnet"));
        }
    }
}
