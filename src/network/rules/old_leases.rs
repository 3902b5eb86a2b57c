use super::prelude::*;

rule! {
    /// The image carries DHCP leases or a DHCP identity of the machine that built it.
    ///
    /// # Why
    /// A client asks for its old address first, and dhcpcd's `duid` "should not be copied to other hosts": clones start out as
    /// one client.
    ///
    /// # Fix
    /// Delete them.
    ///
    /// Source: dhclient.leases(5), dhcpcd(8).
    OLD_LEASES, "NET-I006", "old-leases", Warning, |net, report| {
        let snapshot = &net.inputs.snapshot;
        let folders = ["/var/lib/dhcp", "/var/lib/dhcpcd", "/var/lib/NetworkManager"];
        let files = folders.iter().flat_map(|folder| snapshot.names(folder).into_iter().map(move |name| format!("{folder}/{name}")));
        let is_lease = |path: &String| {
            let name = path.rsplit('/').next().unwrap_or_default();
            name.contains("lease") || matches!(name, "duid" | "secret") || name == "secret_key"
        };
        let full = |path: &String| snapshot.size(path) > 0;
        let all = files.chain(std::iter::once("/etc/dhcpcd.duid".to_owned()));
        for path in all.filter(|path| is_lease(path) || path.ends_with("dhcpcd.duid")).filter(full) {
            report.push(RULE.finding(format!("{path} belongs to the machine that built the image")).at(Place::file(&snapshot.image, &path).evidence("is the same in every clone")).help(format!("rm {path}")));
        }
    }
}
