use super::prelude::*;

rule! {
    /// cloud-init runs, and nothing names a data source.
    ///
    /// # Why
    /// ds-identify turns it off when it finds none, or it falls back to DHCP on the first NIC and writes its own netplan file:
    /// which of the two depends on the machine.
    ///
    /// # Fix
    /// Disable it (`touch /etc/cloud/cloud-init.disabled`), or name the source: `datasource_list: [NoCloud]`.
    ///
    /// Source: cloud-init `tools/ds-identify` (`notfound=disabled`).
    NO_DATA_SOURCE, "NET-C001", "no-data-source", Warning, |net, report| {
        let cloud = &net.cloud;
        if cloud.active && cloud.sources.is_empty() {
            report.push(RULE.finding("cloud-init runs, and no data source is named").note(cloud.why.clone()).help("touch /etc/cloud/cloud-init.disabled, or set `datasource_list:`"));
        }
    }
}
