use super::prelude::*;

rule! {
    /// `gateway4:` or `gateway6:`.
    ///
    /// # Why
    /// netplan warns of it since 0.103, and two files that both set it make the generator abort.
    ///
    /// # Fix
    /// `routes: [{ to: default, via: 192.168.100.1 }]`.
    ///
    /// Source: netplan `src/parse.c` (`handle_gateway4`); measured.
    DEPRECATED_GATEWAY, "NET-N003", "deprecated-gateway", Warning, |net, report| {
        for place in net.netplan.deprecated.iter().filter(|_| net.netplan_installed) {
            report.push(RULE.finding("`gateway4:` and `gateway6:` are deprecated").at(place.evidence("still works")).help("write `routes: [{ to: default, via: … }]`"));
        }
    }
}
