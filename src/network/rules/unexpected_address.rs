use super::prelude::*;

rule! {
    /// The guest's static address is not the one it is expected at.
    ///
    /// # Why it is refused
    /// Nobody answers at the expected address.
    ///
    /// # Fix
    /// Expect the guest at its own address, or build the image with the other one.
    UNEXPECTED_ADDRESS, "NET-G003", "unexpected-address", Error, |net, report| {
        let (Some(expected), (addresses, place)) = (net.inputs.expect, net.static_addresses()) else { return };
        if net.has_dhcp() || addresses.is_empty() || addresses.iter().any(|own| own.address == expected) {
            return;
        }
        let finding = RULE.finding(format!("{expected} is expected, but the guest is {}", list(&addresses)));
        let finding = place.map_or(finding.clone(), |place| finding.at(place.evidence("sets another address")));
        report.push(finding.help(format!("look for it at {}, or rebuild the image with {expected}", list(&addresses))));
    }
}
