use super::prelude::*;

rule! {
    /// `network-config=` cannot be decoded.
    ///
    /// # Why it is refused
    /// cloud-init expects base64 of its network configuration, or `disabled`. It fails on anything else, and the guest gets
    /// no configuration from it.
    ///
    /// # Fix
    /// `network-config=$(base64 -w0 FILE)`.
    ///
    /// Source: cloud-init `cloudinit/net/cmdline.py` (`read_kernel_cmdline_config`).
    HANDED_OVER, "NET-K027", "network-config-undecodable", Error, |net, report| {
        let Some(place) = &net.cloud.undecodable else { return };
        let message = "`network-config=` is not base64 of a network configuration";
        let finding = if net.cloud.active { RULE.finding(message) } else { RULE.warning(format!("{message}, and cloud-init does not run")) };
        report.push(finding.at(place.evidence("cannot be decoded")).help("write it as `network-config=$(base64 -w0 FILE)`"));
    }
}
