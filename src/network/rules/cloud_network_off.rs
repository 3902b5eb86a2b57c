use super::prelude::*;

rule! {
    /// cloud-init is told to leave the network alone, and nothing else configures it.
    ///
    /// # Why it is refused
    /// The NIC stays down.
    ///
    /// # Fix
    /// Give the guest a configuration, or let cloud-init write one.
    ///
    /// Source: cloud-init `stages.py` (`_find_networking_config`).
    CLOUD_NETWORK_OFF, "NET-C003", "cloud-network-off", Error, |net, report| {
        let Some(place) = net.cloud.network_off.as_ref().filter(|_| net.cloud.active && net.dead()) else { return };
        report.push(RULE.finding(format!("cloud-init leaves the network alone, and nothing else configures {}", net.nic.name)).at(place.evidence("switches it off")).help("add a netplan file, or remove this"));
    }
}
