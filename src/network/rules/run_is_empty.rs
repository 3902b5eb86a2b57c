use super::prelude::*;

rule! {
    /// Network files below `/run` in the image.
    ///
    /// # Why
    /// systemd mounts a tmpfs over `/run` at boot: what the image has there is hidden, and does not apply.
    ///
    /// # Fix
    /// Move them to `/etc`.
    ///
    /// Source: systemd `mount-setup.c`; file-hierarchy(7).
    RUN_IS_EMPTY, "NET-D011", "run-is-empty", Warning, |net, report| {
        for folder in ["/run/netplan", "/run/systemd/network"] {
            for name in net.inputs.snapshot.names(folder) {
                let path = format!("{folder}/{name}");
                report.push(RULE.finding(format!("{path} is hidden at boot")).at(Place::file(&net.inputs.snapshot.image, &path).evidence("is below a tmpfs")).help(format!("move it to /etc{}", path.trim_start_matches("/run"))));
            }
        }
    }
}
