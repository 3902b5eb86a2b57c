use super::prelude::*;

rule! {
    /// The guest's own default gateway is outside its subnets.
    ///
    /// # Why it is refused
    /// networkd cannot set the route ("Nexthop has invalid gateway") and gives the interface up: nothing beyond the bridge can
    /// be reached.
    ///
    /// # Fix
    /// Correct the prefix length or the gateway, or say `on-link: true`.
    ///
    /// Source: kernel `net/ipv4/fib_semantics.c` (`fib_check_nh`); systemd.network(5), `GatewayOnLink=`.
    GUEST_GATEWAY_OFF_SUBNET, "NET-D012", "guest-gateway-off-subnet", Error, |net, report| {
        let Some(claim) = net.claim("networkd").filter(|claim| !claim.dhcp4 && !claim.addresses.is_empty()) else { return };
        let Some(winner) = net.winner() else { return };
        for route in winner.config.default_routes.iter().filter(|route| !route.on_link) {
            let Some(gateway) = route.gateway else { continue };
            let local = matches!(gateway, IpAddr::V6(six) if six.segments()[0] & 0xffc0 == 0xfe80);
            if local || claim.addresses.iter().any(|own| own.contains(gateway)) {
                continue;
            }
            report.push(
                RULE.finding(format!("the gateway {gateway} is outside {}", claim.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")))
                    .at(route.place.evidence("cannot be set"))
                    .at(claim.address_place.evidence("is another network"))
                    .help("correct the prefix length or the gateway, or add `on-link: true`"),
            );
        }
    }
}
