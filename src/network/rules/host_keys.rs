use super::prelude::*;

rule! {
    /// The image carries ssh host keys.
    ///
    /// # Why it is refused
    /// Every clone shares them: whoever has one VM can pose as any other.
    ///
    /// # Fix
    /// Delete `/etc/ssh/ssh_host_*` and make them at first boot.
    ///
    /// Source: proxmox-packer-templates#175.
    HOST_KEYS, "NET-I005", "host-keys", Error, |net, report| {
        let keys: Vec<_> = net.inputs.snapshot.names("/etc/ssh").into_iter().filter(|name| name.ends_with("_key")).collect();
        if let Some(first) = keys.first() {
            let place = Place::file(&net.inputs.snapshot.image, &format!("/etc/ssh/{first}"));
            report.push(RULE.finding("every clone shares its ssh host keys").at(place.evidence("is the same in every clone")).help("delete /etc/ssh/ssh_host_*; make them at first boot"));
        }
    }
}
