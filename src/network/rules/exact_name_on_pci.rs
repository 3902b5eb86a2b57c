use super::prelude::*;

rule! {
    /// A NIC on PCI is matched by its exact name.
    ///
    /// # Why
    /// The name holds the slot (`enp0s3`): another VMM, another order of devices or another systemd gives another name. Debian 12
    /// and 13 can differ on one and the same machine.
    ///
    /// # Fix
    /// Match `en*`, the driver or the MAC address.
    ///
    /// Source: systemd.net-naming-scheme(7).
    EXACT_NAME_ON_PCI, "NET-A004", "exact-name-on-pci", Warning, |net, report| {
        if net.inputs.vmm.transport != Transport::Pci || !net.nic.name.ends_with('*') {
            return;
        }
        for (file, answer) in net.network_files.iter().filter(|(file, _)| !file.path.starts_with("/usr/lib/")) {
            let exact = file.matches.names.iter().find(|name| !name.contains(['*', '?', '[']) && name.starts_with("en"));
            if let Some(name) = exact.filter(|_| *answer == Answer::Unknown) {
                report.push(RULE.finding(format!("unknown: whether the NIC is {name}; the rest of its name depends on the slot")).at(file.place.evidence("matches one slot only")).help("match `en*` or `driver: virtio_net`"));
            }
        }
    }
}
