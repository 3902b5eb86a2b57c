use super::prelude::*;

rule! {
    /// `/etc/resolv.conf` leads to systemd-resolved, which does not start.
    ///
    /// # Why
    /// The link leads to nothing: no name can be resolved in the guest.
    ///
    /// # Fix
    /// Install and enable systemd-resolved, or write a plain file.
    ///
    /// Source: systemd-resolved.service(8).
    STUB_WITHOUT_RESOLVED, "NET-D006", "stub-without-resolved", Warning, |net, report| {
        let stub = net.resolver.link.as_deref().is_some_and(|target| target.contains("systemd/resolve/"));
        if stub && !net.resolver.resolved.active {
            let place = Place::file(&net.inputs.snapshot.image, "/etc/resolv.conf");
            report.push(RULE.finding("/etc/resolv.conf leads to systemd-resolved, which does not start").at(place.evidence("leads to nothing")).note(net.resolver.resolved.why.clone()).help("enable systemd-resolved.service, or write a plain file"));
        }
    }
}
