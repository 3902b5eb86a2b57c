use super::prelude::*;

rule! {
    /// A file that loses to the command line as soon as somebody passes `ip=`.
    ///
    /// # Why
    /// systemd-network-generator is enabled and writes `70-…` and `71-default` (`90-`, `91-` before v255): a file of the image
    /// that sorts behind them no longer applies then.
    ///
    /// # Fix
    /// Name it below 70, or mask the generator.
    ///
    /// Source: systemd.network(5) ("files … should have names below 70"); measured.
    MAY_LOSE, "NET-D002", "may-lose", Warning, |net, report| {
        let Some(winner) = net.winner().filter(|file| net.networkd.active && net.generator.active && file.generated_by.is_none()) else { return };
        if winner.name.as_str() >= net.generator_prefix() && winner.path.starts_with("/etc/") {
            report.push(RULE.finding(format!("{} loses to `ip=` as soon as somebody passes one", winner.name)).at(winner.place.evidence("sorts behind what the generator writes")).help("name it below 70, or mask systemd-network-generator.service"));
        }
    }
}
