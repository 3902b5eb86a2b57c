use super::prelude::*;

rule! {
    /// The image carries what cloud-init made of the machine that built it.
    ///
    /// # Why it is refused
    /// With `/var/lib/cloud/instance` a clone takes itself for the old machine and keeps its keys and names; a baked
    /// `50-cloud-init.yaml` pins the old NIC. A warning where cloud-init does not run.
    ///
    /// # Fix
    /// `cloud-init clean --logs --machine-id` before the image is made.
    ///
    /// Source: cloud-init `cmd/clean.py`, `net/netplan.py`.
    CLOUD_INSTANCE, "NET-C002", "cloud-instance", Error, |net, report| {
        for path in ["/var/lib/cloud/instance", "/etc/netplan/50-cloud-init.yaml"] {
            if !net.inputs.snapshot.exists(path) {
                continue;
            }
            let message = format!("{path} belongs to the machine that built the image");
            let finding = if net.cloud.active && path.starts_with("/var") { RULE.finding(message) } else { RULE.warning(message) };
            report.push(finding.at(Place::file(&net.inputs.snapshot.image, path).evidence("is the same in every clone")).help("cloud-init clean --logs --machine-id"));
        }
    }
}
