use super::prelude::*;

rule! {
    /// Every clone sends the same host name to the DHCP server.
    ///
    /// # Why
    /// The server's DNS then has one name for many machines, and the last one to ask owns it. A warning where the network
    /// configuration itself names it; worth knowing where it is only in `/etc/hostname`.
    ///
    /// # Fix
    /// Set the host name at boot, or `dhcp4-overrides: { send-hostname: false }`.
    ///
    /// Source: systemd.network(5), `SendHostname=`; dnsmasq(8).
    SHARED_HOSTNAME, "NET-I008", "shared-hostname", Warning, |net, report| {
        let Some(claim) = net.claim("networkd").filter(|claim| claim.dhcp4) else { return };
        let Some(config) = net.winner().map(|file| &file.config).filter(|config| !config.hides_hostname) else { return };
        let given = net.args.iter().any(|arg| arg.key() == "systemd.hostname");
        let file = net.inputs.snapshot.text("/etc/hostname").flatten().map(|text| text.trim().to_owned());
        let file = file.filter(|name| !name.is_empty() && name != "localhost" && !name.contains('?') && !given);
        let finding = match (&config.hostname, file) {
            (Some(name), _) => RULE.finding(format!("every clone tells the DHCP server that it is {name}")),
            (None, Some(name)) => RULE.info(format!("every clone tells the DHCP server that it is {name}, from /etc/hostname")),
            (None, None) => return,
        };
        report.push(finding.at(claim.dhcp4_place.evidence("sends it along")).help("set the host name at boot, or `send-hostname: false`"));
    }
}
