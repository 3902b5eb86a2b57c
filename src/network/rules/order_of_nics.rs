use super::prelude::*;

rule! {
    /// Several NICs, matched by the names the kernel counts out.
    ///
    /// # Why
    /// Which NIC is `eth0` and which `eth1` is not guaranteed: drivers probe in parallel.
    ///
    /// # Fix
    /// Match MAC addresses.
    ///
    /// Source: Firecracker `docs/network-setup.md`; kernel `Documentation/networking/`.
    ORDER_OF_NICS, "NET-A005", "order-of-nics", Warning, |net, report| {
        let Some(winner) = net.winner().filter(|file| net.inputs.vmm.more_nics > 0 && file.matches.macs.is_empty()) else { return };
        report.push(RULE.finding(format!("there are {} NICs, and they are told apart by their order", net.inputs.vmm.more_nics + 1)).at(winner.place.evidence("matches no MAC address")).help("match MAC addresses"));
    }
}
