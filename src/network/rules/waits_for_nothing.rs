use super::prelude::*;

rule! {
    /// A NIC that will never come is required for `network-online.target`.
    ///
    /// # Why
    /// `systemd-networkd-wait-online.service` waits up to 120 seconds for it at every boot, and everything that wants the network
    /// waits too.
    ///
    /// # Fix
    /// `optional: true`, or drop the definition.
    ///
    /// Source: systemd-networkd-wait-online.service(8); one-apps#134.
    WAITS_FOR_NOTHING, "NET-N009", "waits-for-nothing", Warning, |net, report| {
        let starts = net.netplan_installed && net.networkd.active && !net.unit("systemd-networkd-wait-online.service").masked;
        if !starts || !net.unit("systemd-networkd-wait-online.service").installed {
            return;
        }
        for (file, answer) in net.network_files.iter().filter(|(file, _)| file.generated_by == Some("netplan") && !file.config.optional) {
            if *answer == Answer::No && !net.dead() {
                report.push(RULE.finding(format!("the boot may wait 120 s for {}, which is not there", names(file))).at(file.place.evidence("is required for online")).help("add `optional: true`, or drop it"));
            }
        }
    }
}
