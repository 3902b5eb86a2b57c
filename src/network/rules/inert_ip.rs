use super::prelude::*;

rule! {
    /// Nobody reads `ip=`: the kernel lacks `CONFIG_IP_PNP`, and neither the initrd nor a generator looks at it.
    ///
    /// # Why it is refused
    /// When nothing else configures the NIC it stays down. When something does, the argument is only misleading, and
    /// this is a warning.
    ///
    /// # Fix
    /// Remove `ip=` and configure the guest, or boot a kernel with `CONFIG_IP_PNP=y`.
    ///
    /// Source: kernel `net/ipv4/Kconfig`; mikrolite#43, firecracker-go-sdk#516.
    INERT_IP, "NET-K001", "inert-ip", Error, |net, report| {
        let Some(said) = net.ip.last() else { return };
        let wants = net.merged_ip.address.is_some() || net.merged_ip.asks();
        let read = net.early.is_some() || net.generator.active && net.networkd.active || matches!(net.inputs.initrd, Initrd::Unknown | Initrd::Dracut);
        if !wants || read || net.inputs.initrd == Initrd::InitramfsTools && net.initramfs_reads_ip() {
            return;
        }
        let conflict = net.claims.iter().any(|claim| claim.dhcp4 || !claim.addresses.is_empty()) && net.merged_ip.address.is_some();
        match net.kernel_obeys() {
            Presence::Absent | Presence::Module if net.claims.is_empty() => report.push(
                RULE.finding(format!("`ip=` is inert with this kernel and nothing else configures {}", net.nic.name))
                    .at(said.place.evidence("nobody reads this"))
                    .note("the kernel has no CONFIG_IP_PNP (or its NIC driver is a module), so the NIC stays down")
                    .help("configure the guest (recipe: `network:`) and remove `ip=`, or boot a kernel with CONFIG_IP_PNP=y"),
            ),
            Presence::Absent | Presence::Module if !conflict => report.push(
                RULE.warning("`ip=` is inert with this kernel")
                    .at(said.place.evidence("nobody reads this"))
                    .help("remove the `ip=` argument"),
            ),
            Presence::Unknown if net.claims.is_empty() => report.push(
                RULE.warning(format!("unknown: whether this kernel obeys `ip=`, the only thing that would configure {}", net.nic.name))
                    .at(said.place.evidence("read only by a kernel with CONFIG_IP_PNP=y"))
                    .help("give the kernel's configuration: `--kernel-config FILE`"),
            ),
            _ => {}
        }
    }
}
