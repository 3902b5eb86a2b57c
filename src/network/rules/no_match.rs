use super::prelude::*;

rule! {
    /// A netplan definition that matches no NIC of this machine.
    ///
    /// # Why
    /// Its configuration never applies. `match: {}` is one of these: netplan takes it for "every NIC", networkd ignores a file
    /// with an empty [Match] since v245. Refused when nothing else configures the NIC.
    ///
    /// # Fix
    /// Name the NIC that the machine has, or match by driver: `match: { driver: virtio_net }`.
    ///
    /// Source: netplan-yaml(5), systemd NEWS 245, systemd.net-naming-scheme(7); grml-debootstrap#135; measured with 0.106, 1.1.2.
    NO_MATCH, "NET-N005", "no-match", Error, |net, report| {
        let mine = |file: &NetworkFile| file.generated_by == Some("netplan") && (file.matches.macs.is_empty() || net.nic.mac.is_none());
        for (file, _) in net.network_files.iter().filter(|(file, answer)| mine(file) && *answer == Answer::No) {
            let message = if file.matches.is_empty() {
                format!("{} has an empty `match:`, and networkd ignores what comes of it", file.place)
            } else {
                format!("{} is for {}, but the NIC will be {}", file.place, names(file), net.nic.name)
            };
            let finding = if net.dead() { RULE.finding(message) } else { RULE.warning(message) };
            report.push(finding.at(file.place.evidence("matches nothing")).note(net.naming.why.clone()).help("match by driver: `match: { driver: virtio_net }`, or rename it"));
        }
    }
}
