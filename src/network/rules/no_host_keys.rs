use super::prelude::*;

rule! {
    /// sshd starts at boot, has no host keys, and nothing that makes them is seen.
    ///
    /// # Why
    /// `sshd: no hostkeys available -- exiting.` Images have no host keys, lest every clone has the same; each guest makes its own.
    /// goldsmith adds a unit for that to images in which a package had made keys.
    ///
    /// # Fix
    /// A unit that runs `ssh-keygen -A` before `ssh.service`.
    ///
    /// Source: sshd(8), openssh `sshd.c`; ssh-keygen(1), `-A`.
    NO_HOST_KEYS, "NET-I011", "no-host-keys", Warning, |net, report| {
        let snapshot = &net.inputs.snapshot;
        if let Some(unit) = &snapshot.keyless_sshd {
            report.push(RULE.finding(format!("{unit} starts sshd, which has no host keys")).at(Place::file(&snapshot.image, "/etc/ssh").evidence("has no host keys")).help("add a unit that runs `ssh-keygen -A` before it"));
        }
    }
}
