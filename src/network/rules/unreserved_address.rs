use super::prelude::*;

rule! {
    /// An address is expected of a guest that runs DHCP, and no reservation gives it that address.
    ///
    /// # Why it is refused
    /// The lease may be any other address.
    ///
    /// # Fix
    /// Reserve the address for the MAC, or read the address from the lease.
    UNRESERVED_ADDRESS, "NET-H004", "unreserved-address", Error, |net, report| {
        let (Some(expected), Some(claim)) = (net.inputs.expect, net.claims.iter().find(|claim| claim.dhcp4)) else { return };
        // Whoever sets it: the same manager, another one, or the kernel.
        if net.static_addresses().0.iter().any(|own| own.address == expected) {
            return;
        }
        if net.reservation().map(IpAddr::V4) != Some(expected) {
            report.push(
                RULE.finding(format!("{expected} is expected, but {} takes whatever lease it gets", net.nic.name))
                    .at(claim.dhcp4_place.evidence("asks for a lease"))
                    .help(format!("reserve it for the guest's MAC (`dhcp-host=MAC,{expected}`), or read the address from the lease")),
            );
        }
    }
}
