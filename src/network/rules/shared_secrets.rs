use super::prelude::*;

rule! {
    /// The image carries a random seed or a credential secret.
    ///
    /// # Why
    /// Each clone starts from the same seed, and a credential sealed on one can be opened on all.
    ///
    /// # Fix
    /// Delete `/var/lib/systemd/random-seed` and `/var/lib/systemd/credential.secret`.
    ///
    /// Source: systemd `docs/BUILDING_IMAGES.md`.
    SHARED_SECRETS, "NET-I007", "shared-secrets", Warning, |net, report| {
        for path in ["/var/lib/systemd/random-seed", "/var/lib/systemd/credential.secret"] {
            if net.inputs.snapshot.size(path) > 0 {
                report.push(RULE.finding(format!("{path} is the same in every clone")).at(Place::file(&net.inputs.snapshot.image, path).evidence("should be made on each machine")).help(format!("rm {path}")));
            }
        }
    }
}
