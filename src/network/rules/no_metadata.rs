use super::prelude::*;

rule! {
    /// `ds=` points cloud-init at 169.254.169.254, and nobody answers there.
    ///
    /// # Why
    /// cloud-init waits for the metadata service for minutes, at every boot, before it goes on without.
    ///
    /// # Fix
    /// Switch the VMM's metadata service on (Firecracker: `mmds-config`), or drop `ds=`.
    ///
    /// Source: Firecracker `docs/mmds/mmds-user-guide.md`; cloud-init `sources/helpers`.
    NO_METADATA, "NET-K028", "no-metadata", Warning, |net, report| {
        let Some(place) = net.cloud.metadata.as_ref() else { return };
        let answers = net.inputs.host.as_ref().and_then(|host| host.metadata);
        if answers != Some(true) {
            let message = if answers == Some(false) { "nobody answers at 169.254.169.254" } else { "unknown: whether a metadata service answers at 169.254.169.254" };
            report.push(RULE.finding(message).at(place.evidence("is asked at every boot")).help("switch the metadata service on, or drop `ds=`"));
        }
    }
}
