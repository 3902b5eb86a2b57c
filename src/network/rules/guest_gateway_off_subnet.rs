use super::prelude::*;

rule! {
    /// The guest's own default gateway is outside its subnets.
    ///
    /// # Why it is refused
    /// networkd cannot set the route ("Nexthop has invalid gateway") and gives the interface up; its address stays. Nothing
    /// beyond its own network can be reached. A warning where the host itself is in that network, as on its bridge.
    ///
    /// # Fix
    /// Correct the prefix length or the gateway, or say `on-link: true`.
    ///
    /// Source: kernel `net/ipv4/fib_semantics.c` (`fib_check_nh`); systemd.network(5), `GatewayOnLink=`; measured
    /// (docs/truth-table.md).
    GUEST_GATEWAY_OFF_SUBNET, "NET-D012", "guest-gateway-off-subnet", Error, |net, report| {
        let Some(claim) = net.claim("networkd").filter(|claim| !claim.dhcp4 && !claim.addresses.is_empty()) else { return };
        let Some(winner) = net.winner() else { return };
        for route in winner.config.default_routes.iter().filter(|route| !route.on_link) {
            let Some(gateway) = route.gateway else { continue };
            let local = matches!(gateway, IpAddr::V6(six) if six.segments()[0] & 0xffc0 == 0xfe80);
            if local || claim.addresses.iter().any(|own| own.contains(gateway)) {
                continue;
            }
            let message = format!("the gateway {gateway} is outside {}", claim.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
            let finding = if net.host_is_in(&claim.addresses) { RULE.warning(message) } else { RULE.finding(message) };
            report.push(
                finding
                    .at(route.place.evidence("cannot be set"))
                    .at(claim.address_place.evidence("is another network"))
                    .help("correct the prefix length or the gateway, or add `on-link: true`"),
            );
        }
    }
}
