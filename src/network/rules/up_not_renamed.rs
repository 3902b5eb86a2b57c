use super::prelude::*;

rule! {
    /// The kernel brings the NIC up before udev would rename it.
    ///
    /// # Why
    /// Before Linux 6.2 an interface that is up cannot be renamed: with an `ip=` that the kernel obeys, the NIC keeps `eth0`, and
    /// the configuration for the other name does not apply.
    ///
    /// # Fix
    /// Add `net.ifnames=0`, or drop `ip=`.
    ///
    /// Source: kernel commit bd039b5ea2a9 (6.2).
    UP_NOT_RENAMED, "NET-A007", "up-not-renamed", Warning, |net, report| {
        let (Some(early), Some(said)) = (&net.early, net.ip.last()) else { return };
        let Some(release) = net.kernel_release() else { return };
        let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        if early.who == "kernel" && version < (6, 2) && net.nic.name != net.kernel_name {
            report.push(RULE.finding(format!("Linux {release} does not rename a NIC that is up: it may stay {}", net.kernel_name)).at(said.place.evidence("brings it up")).help("add `net.ifnames=0`, or drop `ip=`"));
        }
    }
}
