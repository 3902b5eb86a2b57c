use super::prelude::*;

rule! {
    /// The VM's tap is missing, or on another bridge.
    ///
    /// # Why it is refused
    /// What the guest sends never arrives at the bridge.
    ///
    /// # Fix
    /// `ip link set TAP master BRIDGE`.
    ///
    /// Source: ip-link(8).
    TAP_ELSEWHERE, "NET-H006", "tap-elsewhere", Error, |net, report| {
        let Some(host) = &net.inputs.host else { return };
        let (message, help) = match &host.tap {
            Tap::Unknown | Tap::Attached => return,
            Tap::Missing(name) => (format!("there is no tap {name}"), format!("ip tuntap add {name} mode tap")),
            Tap::Elsewhere(name, None) => (format!("the tap {name} is on no bridge"), format!("ip link set {name} master BRIDGE")),
            Tap::Elsewhere(name, Some(other)) => (format!("the tap {name} is on {other}, not on {}", host.name), format!("ip link set {name} master BRIDGE")),
        };
        report.push(RULE.finding(message).at(host_evidence(host, "is where it should be")).help(help));
    }
}
