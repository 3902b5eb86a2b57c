use super::prelude::*;

rule! {
    /// `ip=` names a device that is not there while the kernel runs.
    ///
    /// # Why
    /// The kernel waits 12 seconds for it and then configures nothing. It names NICs `eth0`, `eth1`, …; udev renames later.
    /// Refused when nothing else configures the NIC.
    ///
    /// # Fix
    /// Write `eth0`, or remove `ip=`.
    ///
    /// Source: `ipconfig.c` (`wait_for_devices`); firecracker-demo#26.
    WRONG_DEVICE, "NET-K009", "wrong-device", Error, |net, report| {
        for said in &net.ip {
            let Some(device) = said.value.device.as_deref().filter(|device| *device != net.kernel_name) else { continue };
            let message = format!("`ip=` names {device}, but the kernel calls the NIC {}", net.kernel_name);
            let dead = net.claims.is_empty() && said.value.address.is_some();
            let finding = if dead { RULE.finding(message) } else { RULE.warning(message) };
            report.push(
                finding.at(said.place.evidence("no such device"))
                    .note("a kernel with CONFIG_IP_PNP waits 12 seconds for it and then sets nothing")
                    .help(format!("write `{}`, or remove the argument", net.kernel_name)),
            );
        }
    }
}
