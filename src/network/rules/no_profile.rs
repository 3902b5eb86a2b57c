use super::prelude::*;

rule! {
    /// NetworkManager runs without a profile.
    ///
    /// # Why
    /// It makes an automatic one ("Wired connection 1") and takes a lease: it works, but nobody wrote it down, and a change of
    /// defaults changes the network.
    ///
    /// # Fix
    /// Add a profile, or `no-auto-default=*`.
    ///
    /// Source: NetworkManager.conf(5), `no-auto-default`.
    NO_PROFILE, "NET-M001", "no-profile", Warning, |net, report| {
        let Some(claim) = net.claim("NetworkManager").filter(|claim| claim.file == "its automatic default profile") else { return };
        report.push(RULE.finding(format!("NetworkManager configures {} by a default that nobody wrote down", net.nic.name)).at(claim.dhcp4_place.evidence("takes a lease on every NIC")).help("add a profile to /etc/NetworkManager/system-connections"));
    }
}
