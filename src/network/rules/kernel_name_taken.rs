use super::prelude::*;

rule! {
    /// A NIC is renamed to a name that the kernel gives out itself.
    ///
    /// # Why
    /// `eth0`, `wlan0` and the like are in use while devices appear: with a second NIC the renaming fails and both keep other
    /// names than planned.
    ///
    /// # Fix
    /// Rename it to something the kernel never uses: `lan0`.
    ///
    /// Source: systemd.link(5), `Name=`; systemd#14225.
    KERNEL_NAME_TAKEN, "NET-N011", "kernel-name-taken", Warning, |net, report| {
        let renames = net.links.iter().filter_map(|link| link.rename.as_ref());
        for (name, place) in renames {
            let digits = ["eth", "wlan", "usb"].iter().find_map(|start| name.strip_prefix(start));
            if digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())) {
                report.push(RULE.finding(format!("a NIC is renamed to {name}, a name of the kernel's own")).at(place.evidence("may be taken")).help("use another name, as in `lan0`"));
            }
        }
    }
}
