use super::prelude::*;

rule! {
    /// A netplan file that netplan does not accept.
    ///
    /// # Why it is refused
    /// Up to netplan 1.0 one mistake in one file means that *nothing* is generated: no file's configuration applies. Since
    /// 1.1 the definition with the mistake ends there and the rest applies. A warning where the NIC is configured anyway.
    ///
    /// # Fix
    /// Correct the key or the value.
    ///
    /// Source: netplan `src/parse.c`, `src/generate.c`; measured with 0.106 and 1.1.2.
    NETPLAN_ERROR, "NET-N001", "netplan-error", Error, |net, report| {
        if !net.netplan_installed {
            return;
        }
        for (place, message) in &net.netplan.errors {
            let message = format!("netplan: {message}");
            let finding = if net.claims.is_empty() { RULE.finding(message) } else { RULE.warning(message) };
            let what = if net.netplan.goes_on { "the rest of this definition does not apply" } else { "netplan generates nothing from any file" };
            report.push(finding.at(place.evidence("not accepted")).note(what).help("correct it; `man 5 netplan` lists the keys"));
        }
    }
}
