use super::prelude::*;

rule! {
    /// A netplan definition that matches no NIC of this machine.
    ///
    /// # Why
    /// Its configuration never applies. Refused when nothing else configures the NIC.
    ///
    /// # Fix
    /// Name the NIC that the machine has, or match by driver: `match: { driver: virtio_net }`.
    ///
    /// Source: netplan-yaml(5), systemd.net-naming-scheme(7); grml-debootstrap#135.
    NO_MATCH, "NET-N005", "no-match", Error, |net, report| {
        for (file, _) in net.network_files.iter().filter(|(file, answer)| file.generated_by == Some("netplan") && *answer == Answer::No) {
            let message = format!("{} is for {}, but the NIC will be {}", file.place, names(file), net.nic.name);
            let finding = if net.dead() { RULE.finding(message) } else { RULE.warning(message) };
            report.push(finding.at(file.place.evidence("matches nothing")).help(format!("rename it to {}, or `match: {{ driver: virtio_net }}`", net.nic.name)));
        }
    }
}
