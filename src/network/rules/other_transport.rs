use super::prelude::*;

rule! {
    /// An image that was built for virtio-mmio is booted with devices on PCI.
    ///
    /// # Why
    /// The NIC's name changes with it, and the image pins the name.
    ///
    /// # Fix
    /// Boot it with `net.ifnames=0`, or rebuild it with a match by driver.
    ///
    /// Source: systemd.net-naming-scheme(7).
    OTHER_TRANSPORT, "NET-A006", "other-transport", Warning, |net, report| {
        let Some(contract) = &net.inputs.contract else { return };
        let kept = contract.declared.interface == *net.nic.name;
        if net.inputs.vmm.transport == Transport::Pci && !kept {
            report.push(RULE.finding(format!("the image counts on {}, which is the NIC's name on virtio-mmio only", contract.declared.interface)).note(net.naming.why.clone()).help("boot with `net.ifnames=0`, or by virtio-mmio"));
        }
    }
}
