use super::prelude::*;

rule! {
    /// `ip=` names no device, and there is more than one.
    ///
    /// # Why it is refused
    /// With several devices (a second NIC, or the `bond0` of a built-in bonding driver) the kernel asks for a lease on all of
    /// them even where the argument ends in `off`, and sets the address on whichever it takes first.
    ///
    /// # Fix
    /// Name the device: `ip=…::eth0:off`.
    ///
    /// Source: `ipconfig.c` (`ip_auto_config`: `ic_first_dev->next`); firecracker-go-sdk#173.
    NO_DEVICE, "NET-K010", "no-device", Error, |net, report| {
        let Some(said) = net.ip.last().filter(|_| net.merged_ip.device.is_none()) else { return };
        let bond = net.inputs.kernel.bonding == Presence::BuiltIn;
        let several = net.inputs.vmm.more_nics > 0 || bond;
        let wants = net.merged_ip.address.is_some() || net.merged_ip.asks();
        if !several || !wants || net.kernel_obeys() != Presence::BuiltIn {
            return;
        }
        let why = if bond { "the kernel makes a bond0 of its own" } else { "there is more than one NIC" };
        let finding = if net.claims.is_empty() { RULE.finding(format!("`ip=` names no device, and {why}")) } else { RULE.warning(format!("`ip=` names no device, and {why}")) };
        report.push(finding.at(said.place.evidence("is for every device")).help(format!("name it: `…::{}:off`", net.kernel_name)));
    }
}
