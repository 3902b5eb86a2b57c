use super::prelude::*;

rule! {
    /// The gateway in `ip=` is outside the address's own subnet.
    ///
    /// # Why it is refused
    /// The kernel refuses the default route ("Gateway not on directly connected network"): nothing beyond the address's own
    /// network can be reached. A warning where the host itself is in that network, as on its bridge. Only where the kernel's
    /// setting is the one that stays.
    ///
    /// # Fix
    /// Correct the netmask or the gateway.
    ///
    /// Source: `ipconfig.c` (`ic_setup_routes`); measured (docs/truth-table.md).
    GATEWAY_OFF_SUBNET, "NET-K012", "gateway-off-subnet", Error, |net, report| {
        let Some(early) = net.early.as_ref().filter(|_| net.claims.is_empty()) else { return };
        let (Some(cidr), Some(gateway), Some(said)) = (early.address, early.gateway, net.ip.last()) else { return };
        if cidr.contains(gateway) {
            return;
        }
        let message = format!("the gateway {gateway} is outside {cidr}");
        let finding = if net.host_is_in(&[cidr]) { RULE.warning(message) } else { RULE.finding(message) };
        report.push(
            finding
                .at(said.place.evidence("the default route is refused"))
                .help("correct the netmask or the gateway"),
        );
    }
}
