use super::prelude::*;

rule! {
    /// The command line, not the image, configures the NIC.
    ///
    /// # Why
    /// systemd-network-generator is enabled and its file wins: what the image says about the network does not apply, and
    /// another launcher's arguments mean another network.
    ///
    /// # Fix
    /// Mask `systemd-network-generator.service`, or drop the image's file.
    ///
    /// Source: systemd-network-generator.service(8).
    CMDLINE_CONFIGURES, "NET-K018", "cmdline-configures", Warning, |net, report| {
        let Some(winner) = net.winner().filter(|file| net.networkd.active && file.generated_by == Some("systemd-network-generator")) else { return };
        report.push(
            RULE.finding(format!("the command line configures {}, not the image", net.nic.name))
                .at(winner.place.evidence(format!("becomes {}", winner.name)))
                .note(net.generator.why.clone())
                .help("mask systemd-network-generator.service, or rely on `ip=` alone"),
        );
    }
}
