use super::prelude::*;

rule! {
    /// ifupdown is told to take a lease, and no DHCP client is installed.
    ///
    /// # Why it is refused
    /// `ifup` fails: the NIC comes up without an address.
    ///
    /// # Fix
    /// Install dhcpcd-base (or isc-dhcp-client).
    ///
    /// Source: ifupdown `inet.defn`, method dhcp; minimal Debian has no client.
    NO_DHCP_CLIENT, "NET-U002", "no-dhcp-client", Error, |net, report| {
        let asks = |claim: &&Claim| net.stanzas.iter().any(|stanza| stanza.method == "dhcp" && stanza.place.to_string() == claim.file);
        let Some(claim) = net.claim("ifupdown").filter(asks).filter(|claim| !claim.dhcp4) else { return };
        let message = format!("{} is to take a lease, and no DHCP client is installed", net.nic.name);
        let finding = if net.only_claim().is_some() { RULE.finding(message) } else { RULE.warning(message) };
        report.push(finding.at(claim.dhcp4_place.evidence("needs one")).help("install dhcpcd-base"));
    }
}
