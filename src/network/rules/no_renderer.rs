use super::prelude::*;

rule! {
    /// netplan hands the NIC to a daemon that does not start.
    ///
    /// # Why it is refused
    /// The configuration is written at boot and nobody reads it.
    ///
    /// # Fix
    /// Install or unmask the daemon, or choose the other renderer.
    ///
    /// Source: netplan-yaml(5), `renderer`.
    NO_RENDERER, "NET-N007", "no-renderer", Error, |net, report| {
        let by_argument = net.networkd.masked && net.args.iter().any(|arg| arg.key() == "systemd.mask" && arg.value() == Some("systemd-networkd.service"));
        for ethernet in net.netplan.ethernets.values().filter(|_| net.netplan_installed && net.netplan.generates() && net.dead()) {
            let renderer = net.netplan.renderer_for(ethernet);
            let why = match renderer {
                "networkd" if !net.networkd.active && !by_argument => net.networkd.why.clone(),
                "NetworkManager" if net.claim("NetworkManager").is_none() => net.network_manager.why.clone(),
                _ => continue,
            };
            report.push(
                RULE.finding(format!("netplan configures {} through {renderer}, which never starts", net.nic.name))
                    .at(ethernet.place.evidence("nobody applies this"))
                    .note(why)
                    .help(format!("install or unmask {renderer}, or change `renderer:`")),
            );
        }
    }
}
