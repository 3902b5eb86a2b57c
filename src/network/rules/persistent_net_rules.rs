use super::prelude::*;

rule! {
    /// A udev rule pins an interface name to the MAC address of another machine.
    ///
    /// # Why
    /// The rule does nothing for a clone with another address, and takes the name away where both are there. Names that were
    /// counted on do not appear.
    ///
    /// # Fix
    /// Delete `/etc/udev/rules.d/70-persistent-net.rules`.
    ///
    /// Source: rear#770; udev(7).
    PERSISTENT_NET_RULES, "NET-A003", "persistent-net-rules", Warning, |net, report| {
        for name in net.inputs.snapshot.names("/etc/udev/rules.d") {
            let path = format!("/etc/udev/rules.d/{name}");
            let text = net.inputs.snapshot.text(&path).flatten().unwrap_or_default();
            let pins = |line: &&str| !line.trim_start().starts_with('#') && line.contains("address}==") && line.contains("NAME=");
            let Some((index, line)) = text.lines().enumerate().find(|(_, line)| pins(line)) else { continue };
            let mine = net.nic.mac.as_ref().is_some_and(|mac| line.to_ascii_lowercase().contains(mac.as_str()));
            if !mine {
                let place = Place::line(&net.inputs.snapshot.image, &path, &text, index + 1);
                report.push(RULE.finding("a udev rule names a NIC by the MAC address of another machine").at(place.evidence("is for another NIC")).help(format!("delete {path}")));
            }
        }
    }
}
