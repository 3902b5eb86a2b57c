use super::prelude::*;

rule! {
    /// The kernel command line and the guest name two different static addresses.
    ///
    /// # Why it is refused
    /// networkd removes the kernel's address and sets its own; without `CONFIG_IP_PNP` the argument is inert. Nobody
    /// answers at the address in the argument. With ifupdown and an IP_PNP kernel both addresses stay: a warning.
    ///
    /// # Fix
    /// Keep one of the two: remove `ip=`, or build the image with that address.
    ///
    /// Source: systemd `networkd-link.c`; ifupdown `inet.defn` (`ip addr add`).
    TWO_STATIC_ADDRESSES, "NET-K003", "two-static-addresses", Error, |net, report| {
        let (Some((address, place)), Some(claim)) = (net.argument_address(), net.only_claim()) else { return };
        if claim.dhcp4 || claim.addresses.is_empty() || claim.addresses.iter().any(|own| own.address == address.address) {
            return;
        }
        let stays = net.early_stays();
        let open = net.undecided.is_some() || claim.manager == "ifupdown" && net.hangs_on_the_kernel();
        let message = format!("{} is {} by `ip=` but {} in the guest", net.nic.name, address.address, list(&claim.addresses));
        let finding = if stays || open { RULE.warning(message) } else { RULE.finding(message) };
        let outcome = match (stays, open) {
            (true, _) => "both addresses stay on the NIC".to_owned(),
            (_, true) => "which of them stays cannot be told from here".to_owned(),
            _ => format!("the guest would answer at {}, not at {}", list(&claim.addresses), address.address),
        };
        report.push(
            finding.at(place.evidence("sets one address"))
                .at(claim.address_place.evidence(format!("sets another (via {}, {})", claim.manager, claim.file)))
                .note(outcome)
                .help("remove the `ip=` argument, or build the image with that address: `network: { mode: static, address: … }`"),
        );
    }
}
