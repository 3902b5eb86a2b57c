use super::prelude::*;

rule! {
    /// Two default routes of one metric by different gateways.
    ///
    /// # Why it is refused
    /// Only one can be in the table, and which one is not determined: the guest's answers leave by either gateway.
    ///
    /// # Fix
    /// Keep one, or give them different metrics.
    ///
    /// Source: netplan `src/validation.c` (`validate_default_route_consistency`); ip-route(8).
    TWO_DEFAULT_ROUTES, "NET-N010", "two-default-routes", Error, |net, report| {
        let Some(winner) = net.winner().filter(|_| net.networkd.active) else { return };
        let routes = &winner.config.default_routes;
        for (index, one) in routes.iter().enumerate() {
            let clash = routes.iter().take(index).find(|other| {
                let family = |route: &DefaultRoute| route.gateway.map(|gateway| gateway.is_ipv4());
                other.metric == one.metric && other.gateway != one.gateway && family(other) == family(one)
            });
            if let Some(other) = clash {
                report.push(RULE.finding(format!("{} has two default routes of one metric", net.nic.name)).at(one.place.evidence("is one")).at(other.place.evidence("is the other")).help("keep one, or set `metric:`"));
            }
        }
    }
}
