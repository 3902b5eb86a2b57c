use super::prelude::*;

rule! {
    /// Several `ip=` arguments.
    ///
    /// # Why
    /// The kernel has one parser with global variables: a later argument replaces only the fields that it fills, and the rest
    /// stays from the one before. systemd and dracut take each for an interface of its own.
    ///
    /// # Fix
    /// Keep one, and configure further interfaces in userspace.
    ///
    /// Source: `ipconfig.c` (`ip_auto_config_setup`); cocoon KNOWN_ISSUES.
    SEVERAL_IP, "NET-K013", "several-ip", Warning, |net, report| {
        let [_, .., last] = net.ip.as_slice() else { return };
        report.push(
            RULE.finding(format!("there are {} `ip=` arguments, and the kernel mixes their fields", net.ip.len()))
                .at(last.place.evidence("replaces only the fields it fills"))
                .help("keep one `ip=`"),
        );
    }
}
