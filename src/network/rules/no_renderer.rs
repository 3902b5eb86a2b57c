use super::prelude::*;

rule! {
    /// netplan hands the NIC to a daemon that does not start.
    ///
    /// # Why it is refused
    /// The configuration is written at boot and nobody reads it.
    ///
    /// # Fix
    /// Install or unmask the daemon, or choose the other renderer.
    NO_RENDERER, "NET-N007", "no-renderer", Error, |net, report| {
        for ethernet in net.netplan.ethernets.values().filter(|_| net.netplan_installed && net.dead()) {
            let renderer = net.netplan.renderer_for(ethernet);
            let why = match renderer {
                "networkd" if !net.networkd.active => net.networkd.why.clone(),
                "NetworkManager" if net.claim("NetworkManager").is_none() => "NetworkManager does not start".to_owned(),
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
