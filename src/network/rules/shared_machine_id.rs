use super::prelude::*;

rule! {
    /// The image carries a machine-id, and leases follow it.
    ///
    /// # Why
    /// networkd names itself to the DHCP server by DUID (from the machine-id) and IAID. On PCI both are the same for every
    /// clone in the same slot: clones get one lease. On virtio-mmio the IAID follows the MAC address, so it is a warning.
    ///
    /// # Fix
    /// Empty `/etc/machine-id` (keep the file), or set `dhcp-identifier: mac`.
    ///
    /// Source: systemd `sd-dhcp-client`, systemd#9609, machine-id(5).
    SHARED_MACHINE_ID, "NET-I001", "shared-machine-id", Error, |net, report| {
        let Some(claim) = net.lease_by_machine_id() else { return };
        let pci = net.inputs.vmm.transport == Transport::Pci;
        let finding = if pci { RULE.finding("every clone of this image asks for the same lease") } else { RULE.warning("the image carries a machine-id") };
        report.push(
            finding.at(net.machine_id_place().evidence("is the same in every clone"))
                .at(claim.dhcp4_place.evidence("names itself by it to the DHCP server"))
                .help("empty /etc/machine-id (keep the file), or set `dhcp-identifier: mac`"),
        );
    }
}
