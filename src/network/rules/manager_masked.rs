use super::prelude::*;

rule! {
    /// `systemd.mask=` on the command line hits the daemon that would configure the NIC.
    ///
    /// # Why it is refused
    /// The image's configuration is there and nobody applies it: the NIC stays down.
    ///
    /// # Fix
    /// Remove the argument.
    ///
    /// Source: kernel-command-line(7).
    MANAGER_MASKED, "NET-K026", "manager-masked", Error, |net, report| {
        if !net.dead() {
            return;
        }
        let needed = |unit: &str| match unit {
            "systemd-networkd.service" => net.winner().is_some() || net.netplan_installed && net.netplan.starts_networkd(),
            "networking.service" => net.stanzas.iter().any(|stanza| stanza.interface == net.nic.name),
            "NetworkManager.service" => true,
            _ => false,
        };
        for arg in net.args.iter().filter(|arg| arg.key() == "systemd.mask" && arg.value().is_some_and(needed)) {
            let unit = arg.value().unwrap_or_default();
            report.push(
                RULE.finding(format!("`systemd.mask=` keeps {unit} from configuring {}", net.nic.name))
                    .at(net.place(arg).evidence("masks it"))
                    .help("remove the argument"),
            );
        }
    }
}
