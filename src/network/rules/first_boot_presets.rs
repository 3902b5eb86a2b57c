use super::prelude::*;

rule! {
    /// No machine-id, or `uninitialized`: systemd takes the next boot for the first, and applies presets.
    ///
    /// # Why
    /// Presets enable what the distribution thinks right: on Debian 13 networkd, wait-online *and* the generator that reads `ip=`.
    /// The network stack may be another one than the image says. An empty file does not have that effect.
    ///
    /// # Fix
    /// `: > /etc/machine-id` (an empty file), or a preset of your own.
    ///
    /// Source: machine-id(5) "First Boot Semantics"; systemd.preset(5); Debian's `90-systemd.preset`.
    FIRST_BOOT_PRESETS, "NET-I002", "first-boot-presets", Warning, |net, report| {
        let what = match net.machine_id {
            MachineId::Missing => "there is no /etc/machine-id",
            MachineId::Uninitialized => "/etc/machine-id is `uninitialized`",
            MachineId::Fixed | MachineId::Empty => return,
        };
        if net.unit("systemd-networkd.service").installed {
            report.push(RULE.finding(format!("{what}: presets decide which units start")).note(format!("systemd-networkd: {}", net.networkd.why)).note(format!("systemd-network-generator: {}", net.generator.why)).help(": > /etc/machine-id"));
        }
    }
}
