use super::prelude::*;

rule! {
    /// A `.link` file renames the NIC in spite of `net.ifnames=0`.
    ///
    /// # Why
    /// `net.ifnames=0` switches off naming policies only; a fixed `Name=` (netplan: `set-name:`) still applies. Whoever counts
    /// on `eth0` finds no such NIC.
    ///
    /// # Fix
    /// Remove the file, or the argument.
    ///
    /// Source: systemd `src/udev/net/link-config.c`.
    LINK_BEATS_IFNAMES, "NET-A002", "link-beats-ifnames", Warning, |net, report| {
        let Some(arg) = net.args.last("net.ifnames").filter(|arg| arg.value() == Some("0")) else { return };
        let rename = net.naming.link.as_ref().and_then(|link| link.rename.as_ref());
        if let Some((name, place)) = rename.filter(|(name, _)| name == &net.nic.name && name != net.kernel_name) {
            report.push(RULE.finding(format!("the NIC is {name} in spite of `net.ifnames=0`")).at(place.evidence("renames it")).at(net.place(arg).evidence("does not prevent that")).help("remove one of the two"));
        }
    }
}
