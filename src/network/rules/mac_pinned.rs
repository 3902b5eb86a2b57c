use super::prelude::*;

rule! {
    /// A netplan definition matches a MAC address that this VM does not have, or that nobody fixes.
    ///
    /// # Why it is refused
    /// A clone gets another MAC address: the definition matches nothing and the NIC stays unconfigured. Where the VM's address
    /// is not known, this is a warning.
    ///
    /// # Fix
    /// Match the name or the driver, or give the VM that MAC address.
    ///
    /// Source: cloud-init#3611, cocoon#34, kubernetes-the-harder-way#3.
    MAC_PINNED, "NET-N004", "mac-pinned", Error, |net, report| {
        if !net.netplan_installed || !net.networkd.active {
            return;
        }
        for ethernet in net.netplan.ethernets.values() {
            let (Some(place), Some(pinned)) = (&ethernet.mac_place, ethernet.matches.macs.first()) else { continue };
            let finding = match &net.nic.mac {
                Some(mac) if mac == pinned => continue,
                Some(mac) if net.dead() => RULE.finding(format!("netplan is for {pinned}, but the NIC is {mac}")),
                Some(mac) => RULE.warning(format!("netplan is for {pinned}, but the NIC is {mac}")),
                None if net.inputs.vmm.random_mac => RULE.finding(format!("netplan is for {pinned}, but the NIC's address is made up at each start")),
                None => RULE.warning(format!("unknown: whether the NIC is {pinned}, the only one that netplan configures")),
            };
            report.push(finding.at(place.evidence("matches one machine only")).help("match by driver (`match: { driver: virtio_net }`), or give the VM this MAC address"));
        }
    }
}
