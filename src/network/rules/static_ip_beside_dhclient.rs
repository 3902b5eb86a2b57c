use super::prelude::*;

rule! {
    /// A static `ip=` beside a DHCP client that leaves foreign addresses alone.
    ///
    /// # Why
    /// dhclient flushes only its own old lease: the NIC holds both addresses, and its answers may come from the other one.
    /// It works, so it is a warning; where the kernel does not obey `ip=`, `NET-K002` refuses.
    ///
    /// # Fix
    /// Drop `ip=`, or the DHCP stanza.
    ///
    /// Source: isc-dhcp-client 4.4 `dhclient-script`; measured on Debian 12.
    STATIC_IP_BESIDE_DHCLIENT, "NET-K005", "static-ip-beside-dhclient", Warning, |net, report| {
        let (Some((address, place)), Some(claim)) = (net.argument_address(), net.claim("ifupdown").filter(|claim| claim.dhcp4)) else { return };
        if net.early_stays() || net.early.is_none() && net.hangs_on_the_kernel() {
            let finding = RULE.finding(format!("{} holds {} beside its lease", net.nic.name, address.address));
            let finding = if net.early.is_none() { finding.note("if the kernel or the initrd obeys `ip=`, which is not known here") } else { finding };
            report.push(finding.at(place.evidence("sets one address")).at(claim.dhcp4_place.evidence("asks for another")).help("drop one of the two"));
        }
    }
}
