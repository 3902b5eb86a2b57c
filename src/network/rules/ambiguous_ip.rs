use super::prelude::*;

rule! {
    /// `ip=` gives an address and asks for automatic configuration at once (`:on`, `:any`, `:dhcp`).
    ///
    /// # Why
    /// The kernel takes it as static; systemd-network-generator as DHCP *and* static, so that the NIC holds two addresses;
    /// dracut dies (NET-K007). The address in the argument answers either way, so this is a warning.
    ///
    /// # Fix
    /// End the argument in `:off`.
    ///
    /// Source: `ipconfig.c`, `network-generator.c`, dracut `network-legacy/parse-ip-opts.sh`; measured (docs/truth-table.md).
    AMBIGUOUS_IP, "NET-K006", "ambiguous-ip", Warning, |net, report| {
        let Some(said) = net.ip.iter().rfind(|said| said.value.ambiguous().is_some()) else { return };
        let method = said.value.ambiguous().unwrap_or_default();
        let generated = net.networkd.active && net.winner().is_some_and(|file| file.generated_by == Some("systemd-network-generator"));
        let message = if generated {
            format!("`ip=…:{method}` is static for the kernel, DHCP and static for systemd")
        } else if net.claims.is_empty() {
            format!("`ip=…:{method}` gives an address and asks for one")
        } else {
            return;
        };
        report.push(RULE.warning(message).at(said.place.evidence("means different things to different readers")).help("end it in `:off`"));
    }
}
