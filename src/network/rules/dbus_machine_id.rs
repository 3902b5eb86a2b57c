use super::prelude::*;

rule! {
    /// `/var/lib/dbus/machine-id` holds an id of its own while `/etc/machine-id` is empty.
    ///
    /// # Why it is refused
    /// systemd takes the id from there when the one in `/etc` is empty: every clone is the same machine after all.
    ///
    /// # Fix
    /// Make it a link to `/etc/machine-id`.
    ///
    /// Source: systemd `machine-id-setup.c`.
    DBUS_MACHINE_ID, "NET-I003", "dbus-machine-id", Error, |net, report| {
        let path = "/var/lib/dbus/machine-id";
        let size = match net.inputs.snapshot.node(path) {
            Some(SnapshotNode::File { bytes: FileBytes::Known(bytes), .. }) => bytes.len() as u64,
            Some(SnapshotNode::File { bytes: FileBytes::Present(size) | FileBytes::TooLarge(size), .. }) => *size,
            _ => 0,
        };
        if size > 0 && net.machine_id != MachineId::Fixed {
            report.push(
                RULE.finding("the image carries a D-Bus machine-id, which systemd reuses")
                    .at(Place::file(&net.inputs.snapshot.image, path).evidence("is the same in every clone"))
                    .help("ln -sf /etc/machine-id /var/lib/dbus/machine-id"),
            );
        }
    }
}
