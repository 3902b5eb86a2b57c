use super::prelude::*;

rule! {
    /// Nobody fixes the MAC address, and the guest derives it from a machine-id that every clone shares.
    ///
    /// # Why it is refused
    /// `MACAddressPolicy=persistent` (systemd's default) replaces a random address by one made from the machine-id and the NIC's
    /// name: all clones have one MAC address. A warning where it is not known whether the VMM gives one.
    ///
    /// # Fix
    /// Give each VM a MAC address (`guest_mac`), or empty `/etc/machine-id`.
    ///
    /// Source: systemd.link(5), `src/udev/net/link-config.c`; systemd#14744.
    SAME_MAC, "NET-I004", "same-mac", Error, |net, report| {
        let persistent = net.naming.link.as_ref().filter(|link| link.persistent_mac);
        let (Some(link), true, None) = (persistent, net.machine_id == MachineId::Fixed, &net.nic.mac) else { return };
        let finding = if net.inputs.vmm.random_mac {
            RULE.finding("every clone of this image makes itself the same MAC address")
        } else {
            RULE.warning("clones make themselves the same MAC address, unless the VMM gives each one")
        };
        report.push(finding.at(net.machine_id_place().evidence("is the same in every clone")).at(link.place.evidence("makes the MAC address from it")).help("give each VM a MAC address, or empty /etc/machine-id"));
    }
}
