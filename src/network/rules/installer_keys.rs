use super::prelude::*;

rule! {
    /// Arguments of the Debian installer on an installed system.
    ///
    /// # Why
    /// `netcfg/…`, `preseed/…` and `debian-installer/…` mean something to the installer only.
    ///
    /// # Fix
    /// Remove them.
    ///
    /// Source: Debian installation guide, appendix B.
    INSTALLER_KEYS, "NET-K030", "installer-keys", Warning, |net, report| {
        let installer = |key: &str| ["netcfg/", "preseed/", "debian-installer/", "interface=", "DEBIAN_FRONTEND"].iter().any(|start| key.starts_with(start));
        for arg in net.args.iter().filter(|arg| installer(arg.key())) {
            report.push(RULE.finding(format!("`{}` is for the installer", arg.text)).at(net.place(arg).evidence("changes nothing")).help("remove it"));
        }
    }
}
