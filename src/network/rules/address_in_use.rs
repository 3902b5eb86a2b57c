use super::prelude::*;

rule! {
    /// Another machine already holds the guest's static address or its MAC address.
    ///
    /// # Why it is refused
    /// Two machines answer for one address; which one is reached is not determined.
    ///
    /// # Fix
    /// Give one of them another address.
    ADDRESS_IN_USE, "NET-H007", "address-in-use", Error, |net, report| {
        let Some(host) = &net.inputs.host else { return };
        for address in net.static_addresses().0.iter().filter(|own| host.in_use.contains(&own.address)) {
            report.push(RULE.finding(format!("{} is already in use on {}", address.address, host.name)).help("give one of the machines another address"));
        }
        if let Some(mac) = net.nic.mac.as_ref().filter(|mac| host.macs_in_use.contains(mac)) {
            report.push(RULE.finding(format!("the MAC address {mac} is already in use on {}", host.name)).help("give one of the machines another MAC address"));
        }
    }
}
