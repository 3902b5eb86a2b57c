use super::prelude::*;

rule! {
    /// networkd is told to keep addresses that it did not set.
    ///
    /// # Why it is worth knowing
    /// `critical: true` (`KeepConfiguration=`) lets an address from `ip=` stay on the NIC beside the lease.
    ///
    /// # Fix
    /// None is needed where that is meant; otherwise drop `critical:`.
    ///
    /// Source: netplan-yaml(5); systemd.network(5), `KeepConfiguration=`.
    KEEPS_FOREIGN_ADDRESS, "NET-N012", "keeps-foreign-address", Info, |net, report| {
        let Some(winner) = net.winner().filter(|_| net.networkd.active) else { return };
        if let (Some(place), Some((address, _))) = (&winner.config.keeps_foreign, net.argument_address()) {
            report.push(RULE.finding(format!("{} from `ip=` stays on the NIC, if the kernel sets it", address.address)).at(place.evidence("keeps foreign addresses")));
        }
    }
}
