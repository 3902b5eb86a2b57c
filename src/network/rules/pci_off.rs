use super::prelude::*;

rule! {
    /// `pci=off` on a machine whose devices are on PCI.
    ///
    /// # Why it is refused
    /// The kernel does not look at the bus: neither the disk nor the NIC appears.
    ///
    /// # Fix
    /// Remove `pci=off`, or attach the devices by virtio-mmio.
    ///
    /// Source: kernel `kernel-parameters.txt`; Firecracker `--enable-pci`.
    PCI_OFF, "NET-K019", "pci-off", Error, |net, report| {
        let off = net.args.iter().find(|arg| arg.text == "pci=off").filter(|_| net.inputs.vmm.transport == Transport::Pci);
        if let Some(arg) = off {
            report.push(RULE.finding("the devices are on PCI, which `pci=off` switches off").at(net.place(arg).evidence("no device appears")).help("remove `pci=off`"));
        }
    }
}
