use super::prelude::*;

rule! {
    /// Two daemons configure one NIC.
    ///
    /// # Why it is refused
    /// They race: which address stays, and whether one removes the other's, is not determined. Where one of them is a
    /// daemon that the model does not follow, this is a warning.
    ///
    /// # Fix
    /// Disable one.
    ///
    /// Source: cloud-init#3619; systemd.network(5).
    TWO_MANAGERS, "NET-D005", "two-managers", Error, |net, report| {
        let known: Vec<_> = net.claims.iter().filter(|claim| claim.manager != "cloud-init").collect();
        let [first, second, ..] = known.as_slice() else { return };
        let message = format!("{} and {} both configure {}", first.manager, second.manager, net.nic.name);
        // The same fixed address twice is odd, and works.
        let same = !first.dhcp4 && !second.dhcp4 && !first.addresses.is_empty() && first.addresses == second.addresses;
        let races = first.modelled && second.modelled && !same;
        let finding = if races { RULE.finding(message) } else { RULE.warning(message) };
        report.push(
            finding.at(first.dhcp4_place.evidence(format!("{} ({})", first.manager, first.file)))
                .at(second.dhcp4_place.evidence(format!("{} ({})", second.manager, second.file)))
                .help("disable one of them"),
        );
    }
}
