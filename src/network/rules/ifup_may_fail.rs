use super::prelude::*;

rule! {
    /// ifupdown sets the address that the kernel has set already.
    ///
    /// # Why
    /// `ip addr add` may say "File exists" and `ifup` fail; the address is there all the same, but the routes and hooks of the
    /// stanza may not be.
    ///
    /// # Fix
    /// Keep one of the two.
    ///
    /// Source: ifupdown `inet.defn`, method static.
    IFUP_MAY_FAIL, "NET-U003", "ifup-may-fail", Warning, |net, report| {
        let (Some((address, place)), Some(claim)) = (net.argument_address(), net.claim("ifupdown")) else { return };
        if net.early.is_some() && claim.addresses.iter().any(|own| own.address == address.address) {
            report.push(RULE.finding(format!("ifup may fail: {} is set already", address.address)).at(claim.address_place.evidence("sets it again")).at(place.evidence("has set it")).help("keep one of the two"));
        }
    }
}
