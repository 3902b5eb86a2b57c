use super::prelude::*;

rule! {
    /// The name servers stand only in `ip=`.
    ///
    /// # Why
    /// The kernel writes them to `/proc/net/pnp`, where no resolver looks: the guest can be reached, but resolves no name.
    ///
    /// # Fix
    /// `ln -s /proc/net/pnp /etc/resolv.conf`, or name the servers in the guest's own configuration.
    ///
    /// Source: `ipconfig.c` (`ipconfig_proc_fops`); firecracker#5172.
    DNS_ONLY_IN_IP, "NET-K015", "dns-only-in-ip", Warning, |net, report| {
        let (Some(early), Some(said)) = (&net.early, net.ip.last()) else { return };
        let elsewhere = net.claims.iter().any(|claim| claim.dhcp4 || !claim.dns.is_empty());
        let resolver = &net.resolver;
        let linked = resolver.link.as_deref().is_some_and(|target| target.ends_with("/net/pnp"));
        if early.dns.is_empty() || elsewhere || linked || !resolver.fixed.is_empty() {
            return;
        }
        report.push(
            RULE.finding("the name servers in `ip=` end in /proc/net/pnp, where nobody looks")
                .at(said.place.evidence("names the servers"))
                .help("ln -sf /proc/net/pnp /etc/resolv.conf"),
        );
    }
}
