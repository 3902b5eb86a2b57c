use super::prelude::*;

rule! {
    /// A `.network` file is there for the NIC, but networkd never starts.
    ///
    /// # Why it is refused
    /// Nothing else configures the NIC: it stays down.
    ///
    /// # Fix
    /// Enable `systemd-networkd.service`.
    ///
    /// Source: systemd-networkd.service(8).
    NETWORKD_NEVER_STARTS, "NET-D004", "networkd-never-starts", Error, |net, report| {
        let by_argument = net.networkd.why.starts_with("masked by `");
        let Some(winner) = net.winner().filter(|file| file.generated_by.is_none() && !net.networkd.active && net.dead() && !by_argument) else { return };
        report.push(
            RULE.finding(format!("{} configures {}, but systemd-networkd never starts", winner.path, net.nic.name))
                .at(winner.place.evidence("nobody reads this"))
                .note(net.networkd.why.clone())
                .help("enable systemd-networkd.service (recipe: `units: { enable: [systemd-networkd.service] }`)"),
        );
    }
}
