use super::prelude::*;

rule! {
    /// `ip=` repeats the static address that the guest sets itself.
    ///
    /// # Why it is worth knowing
    /// It works, but the address now lives in two places, and only one of them will be changed next time.
    ///
    /// # Fix
    /// Remove `ip=`.
    REDUNDANT_IP, "NET-K004", "redundant-ip", Warning, |net, report| {
        let (Some((address, place)), Some(claim)) = (net.argument_address(), net.only_claim()) else { return };
        if claim.addresses.iter().any(|own| own.address == address.address) && !claim.dhcp4 {
            report.push(
                RULE.finding(format!("`ip=` repeats {}, which the guest sets itself", address.address))
                    .at(place.evidence("sets the same address"))
                    .at(claim.address_place.evidence(format!("sets it in the end (via {})", claim.manager)))
                    .help("remove the `ip=` argument"),
            );
        }
    }
}
