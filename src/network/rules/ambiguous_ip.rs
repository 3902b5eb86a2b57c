use super::prelude::*;

rule! {
    /// `ip=` gives an address and asks for automatic configuration at once (`:on`, `:any`, `:dhcp`).
    ///
    /// # Why
    /// The kernel takes it as static; systemd-network-generator as DHCP *and* static; dracut dies. It is refused where the
    /// generator's file wins the NIC, because then the outcome depends on who is asked; elsewhere it is a warning.
    ///
    /// # Fix
    /// End the argument in `:off`.
    ///
    /// Source: `ipconfig.c`, `network-generator.c`, dracut `network-legacy/parse-ip-opts.sh`; measured.
    AMBIGUOUS_IP, "NET-K006", "ambiguous-ip", Error, |net, report| {
        let Some(said) = net.ip.iter().rfind(|said| said.value.ambiguous().is_some()) else { return };
        let method = said.value.ambiguous().unwrap_or_default();
        let refused = net.networkd.active && net.winner().is_some_and(|file| file.generated_by == Some("systemd-network-generator"));
        let finding = if refused {
            RULE.finding(format!("`ip=…:{method}` is static for the kernel, DHCP and static for systemd"))
        } else if net.claims.is_empty() {
            RULE.warning(format!("`ip=…:{method}` gives an address and asks for one"))
        } else {
            return;
        };
        report.push(finding.at(said.place.evidence("means different things to different readers")).help("end it in `:off`"));
    }
}
