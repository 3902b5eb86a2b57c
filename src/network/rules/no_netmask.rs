use super::prelude::*;

rule! {
    /// `ip=` gives an address and no netmask.
    ///
    /// # Why
    /// The kernel guesses from the address class of 1981: /8 for 10.x, /16 for 172.16.x, /24 for 192.168.x. systemd takes
    /// /32. Hosts of other networks behind the bridge may be unreachable.
    ///
    /// # Fix
    /// Write the netmask: `…:255.255.255.0:…`.
    ///
    /// Source: `ipconfig.c` (`ic_defaults`).
    NO_NETMASK, "NET-K011", "no-netmask", Warning, |net, report| {
        let ip = &net.merged_ip;
        let (Some((address, place)), None) = (net.argument_address(), ip.prefix) else { return };
        report.push(
            RULE.finding(format!("`ip=` has no netmask: the kernel guesses /{}", address.prefix))
                .at(place.evidence("the fourth field is empty"))
                .help("write the netmask, as in `…:255.255.255.0:…`"),
        );
    }
}
