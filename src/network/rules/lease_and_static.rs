use super::prelude::*;

rule! {
    /// A lease and a fixed address on one NIC.
    ///
    /// # Why
    /// Where two files say it, it is an accident of merging: netplan's scalars override, its lists append, so `dhcp4: true` of
    /// one file survives beside the `addresses:` of another. The guest answers at both; its own packets may carry either.
    ///
    /// # Fix
    /// Say it in one file; set `dhcp4: false` beside `addresses:`.
    ///
    /// Source: netplan-yaml(5); measured with 0.106.
    LEASE_AND_STATIC, "NET-N006", "lease-and-static", Warning, |net, report| {
        let Some(claim) = net.claim("networkd").filter(|claim| claim.dhcp4 && !claim.addresses.is_empty()) else { return };
        let (a, b) = (&claim.dhcp4_place, &claim.address_place);
        let from = if a.origin == b.origin { "one file".to_owned() } else { format!("{a} and {b}") };
        report.push(
            RULE.finding(format!("{} takes a lease and is {} too, said in {from}", net.nic.name, list(&claim.addresses)))
                .at(a.evidence("asks for a lease"))
                .at(b.evidence("sets an address beside it"))
                .help("set `dhcp4: false` beside `addresses:`, or drop the addresses"),
        );
    }
}
