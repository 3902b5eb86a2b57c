use super::prelude::*;

rule! {
    /// dracut's `network-legacy` does not accept this `ip=`, and stops the boot.
    ///
    /// # Why it is refused
    /// The initrd ends in an emergency shell ("setting client-ip does not make sense for 'on'"): the guest never comes up.
    ///
    /// # Fix
    /// End a static `ip=` in `:off` or `:none`, with a netmask.
    ///
    /// Source: dracut 057 `35network-legacy/parse-ip-opts.sh`.
    INITRD_DIES, "NET-K007", "initrd-dies", Error, |net, report| {
        for said in &net.dracut {
            let Dracut::Dies(why) = &said.value else { continue };
            report.push(
                RULE.finding(format!("dracut gives up on this `ip=`: {why}"))
                    .at(said.place.evidence("stops the initrd"))
                    .help("write it as `client::gateway:netmask::eth0:off`"),
            );
        }
    }
}
