use super::prelude::*;

rule! {
    /// A firewall on the host drops DHCP.
    ///
    /// # Why
    /// The server listens, but the guest's requests (UDP port 67) do not reach it: the guest gets no address.
    ///
    /// # Fix
    /// Allow UDP port 67 on the bridge.
    ///
    /// Source: firecrab#38; dnsmasq listens on the host, so the INPUT chain decides.
    DHCP_BLOCKED, "NET-H008", "dhcp-blocked", Warning, |net, report| {
        let Some(host) = net.inputs.host.as_ref().filter(|host| host.drops_dhcp && net.has_dhcp()) else { return };
        report.push(RULE.finding(format!("a firewall drops UDP port 67 on {}", host.name)).at(host_evidence(host, "does not hear the guest")).help("nft add rule inet filter input iifname BRIDGE udp dport 67 accept"));
    }
}
