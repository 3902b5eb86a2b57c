use super::prelude::*;

rule! {
    /// `ip=off` or `ip=none`, and systemd-network-generator makes a file of it that claims every NIC.
    ///
    /// # Why it is refused
    /// `71-default.network` (`91-` before v255) matches every physical NIC and says `DHCP=no`. It wins over every file that
    /// sorts behind it, so the image's own configuration never applies.
    ///
    /// # Fix
    /// Drop `ip=off`, mask the generator, or name the image's file below 70.
    ///
    /// Source: systemd `network-generator.c`; measured with 252 and 257.
    DEFAULT_FILE_CLAIMS, "NET-K017", "default-file-claims", Error, |net, report| {
        let Some(winner) = net.winner().filter(|file| net.networkd.active && file.generated_by == Some("systemd-network-generator")) else { return };
        let empty = !winner.config.dhcp4 && !winner.config.dhcp6 && winner.config.addresses.is_empty();
        let beaten = net.network_files.iter().find(|(file, answer)| *answer == Answer::Yes && file.name > winner.name && file.generated_by.is_none() && !file.path.starts_with("/usr/lib/systemd/network/80-"));
        let (true, Some((loser, _))) = (empty, beaten) else { return };
        report.push(
            RULE.finding(format!("{} claims {} before {} and asks for nothing", winner.name, net.nic.name, loser.name))
                .at(winner.place.evidence("becomes a file that matches every NIC"))
                .at(loser.place.evidence("comes too late"))
                .help("drop the argument, or rename the file below 70"),
        );
    }
}
