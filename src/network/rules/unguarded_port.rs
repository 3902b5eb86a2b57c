use super::prelude::*;

rule! {
    /// Nothing keeps the guest from sending in other machines' names.
    ///
    /// # Why it is refused
    /// Goldsmith has nftables drop what a VM's port sends under another MAC or IP address than its own, router advertisements
    /// and a DHCP server's answers. Without that a guest can take its neighbours' traffic, and whoever calls a neighbour talks
    /// to the guest.
    ///
    /// # Fix
    /// Install nftables (`apt-get install nftables`) on a kernel with `CONFIG_NF_TABLES_BRIDGE`, or, where nobody else is on the
    /// bridge, let it through: `--allow NET-H011=REASON`.
    ///
    /// Source: nft(8), family bridge.
    UNGUARDED_PORT, "NET-H011", "unguarded-port", Error, |net, report| {
        let Some(HostFacts { name, unguarded: Some(cause), .. }) = &net.inputs.host else { return };
        let cause = cause.lines().next().unwrap_or_default();
        report.push(RULE.finding(format!("nothing keeps the guest from sending in others' names on {name}")).note(format!("nftables cannot guard its port: {cause}")).help("apt-get install nftables; its family `bridge` must be in the kernel (CONFIG_NF_TABLES_BRIDGE)"));
    }
}
