use super::prelude::*;

rule! {
    /// A configuration names an interface that this machine does not have.
    ///
    /// # Why
    /// The name depends on how the device is attached: `eth0` on virtio-mmio, `en…` on PCI unless `net.ifnames=0`. Refused
    /// when nothing else configures the NIC.
    ///
    /// # Fix
    /// Match the driver or the MAC address instead of the name.
    ///
    /// Source: systemd.net-naming-scheme(7); grml-debootstrap#135, tpotce#1073.
    WRONG_NAME, "NET-A001", "wrong-name", Error, |net, report| {
        for (file, answer) in &net.network_files {
            let vendor = file.path.starts_with("/usr/lib/");
            let conditions = file.matches.unmet.is_some() || file.matches.names.is_empty();
            if vendor || file.generated_by.is_some() || *answer != Answer::No || !net.dead() || conditions {
                continue;
            }
            report.push(
                RULE.finding(format!("{} is for {}, but the NIC will be {}", file.path, names(file), net.nic.name))
                    .at(file.place.evidence("matches nothing"))
                    .note(net.naming.why.clone())
                    .help("match `Driver=virtio_net` or the MAC address"),
            );
        }
    }
}
