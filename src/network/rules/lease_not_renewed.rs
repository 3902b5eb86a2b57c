use super::prelude::*;

rule! {
    /// Only the kernel takes the lease.
    ///
    /// # Why
    /// The kernel never renews it: when it runs out, the server may give the address to another machine.
    ///
    /// # Fix
    /// Let the guest run a DHCP client (recipe: `network: { mode: dhcp }`).
    ///
    /// Source: `nfsroot.rst`; systemd#14610.
    LEASE_NOT_RENEWED, "NET-K014", "lease-not-renewed", Warning, |net, report| {
        let Some(early) = net.early.as_ref().filter(|early| early.lease && net.claims.is_empty()) else { return };
        let Some(said) = net.ip.last() else { return };
        report.push(
            RULE.finding(format!("the lease that the {} takes is never renewed", early.who))
                .at(said.place.evidence("is the only thing that asks for a lease"))
                .help("run a DHCP client in the guest (recipe: `network: { mode: dhcp }`)"),
        );
    }
}
