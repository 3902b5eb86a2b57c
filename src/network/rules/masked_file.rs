use super::prelude::*;

rule! {
    /// An empty file, or a link to `/dev/null`, takes a `.network` file away.
    ///
    /// # Why
    /// A masked name hides the file of that name in every weaker folder, netplan's generated ones included. Refused when the NIC
    /// stays down for it.
    ///
    /// # Fix
    /// Remove the mask, or put a real file there.
    ///
    /// Source: systemd.network(5).
    MASKED_FILE, "NET-D007", "masked-file", Error, |net, report| {
        for path in &net.left_out.masked {
            let name = path.rsplit('/').next().unwrap_or_default();
            let hides = net.left_out.hidden.iter().any(|(_, stronger)| stronger == path) || net.netplan_writes(name);
            let vendor = name.starts_with("80-") || name.starts_with("99-");
            if !hides || vendor && !net.dead() {
                continue;
            }
            let message = format!("{path} masks {name}");
            let finding = if net.dead() && net.networkd.active { RULE.finding(message) } else { RULE.warning(message) };
            report.push(finding.at(Place::file(&net.inputs.snapshot.image, path).evidence("hides the file of its name")).help("remove it, or put a real file there"));
        }
    }
}
