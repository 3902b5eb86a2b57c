use super::prelude::*;

rule! {
    /// IPv6 is switched off, and the guest has nothing else.
    ///
    /// # Why it is refused
    /// `ipv6.disable=1` leaves no IPv6 address at all, and the configuration names no IPv4 one.
    ///
    /// # Fix
    /// Remove the argument, or give the guest an IPv4 configuration.
    ///
    /// Source: kernel `Documentation/networking/ipv6.rst`.
    IPV6_DISABLED, "NET-K024", "ipv6-disabled", Error, |net, report| {
        let Some(arg) = net.args.iter().find(|arg| arg.text == "ipv6.disable=1") else { return };
        let Some(claim) = net.only_claim() else { return };
        let six = claim.dhcp6 || claim.addresses.iter().any(|own| own.address.is_ipv6());
        let four = claim.dhcp4 || claim.addresses.iter().any(|own| own.address.is_ipv4());
        if six && !four {
            report.push(
                RULE.finding(format!("{} has only IPv6, which is switched off", net.nic.name))
                    .at(net.place(arg).evidence("switches IPv6 off"))
                    .at(claim.address_place.evidence("configures only IPv6"))
                    .help("remove `ipv6.disable=1`"),
            );
        }
    }
}
