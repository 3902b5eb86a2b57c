use super::prelude::*;

rule! {
    /// A netplan file that netplan does not accept.
    ///
    /// # Why it is refused
    /// Up to netplan 1.0 one mistake in one file means that *nothing* is generated: no file's configuration applies.
    ///
    /// # Fix
    /// Correct the key or the value.
    ///
    /// Source: netplan `src/parse.c`; measured with 0.106.
    NETPLAN_ERROR, "NET-N001", "netplan-error", Error, |net, report| {
        if !net.netplan_installed {
            return;
        }
        for (place, message) in &net.netplan.errors {
            let finding = if net.claims.is_empty() { RULE.finding(format!("netplan: {message}")) } else { RULE.warning(format!("netplan: {message}")) };
            report.push(finding.at(place.evidence("not accepted")).note("netplan generates nothing from any file").help("correct it; `man 5 netplan` lists the keys"));
        }
    }
}
