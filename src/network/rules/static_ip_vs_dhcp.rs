use super::prelude::*;

rule! {
    /// A static address on the kernel command line meets DHCP in the guest.
    ///
    /// # Why it is refused
    /// With `CONFIG_IP_PNP=y` the kernel sets the address, then networkd removes every address its own file does not
    /// name (`link_drop_foreign_addresses`) and takes a lease. Without it the argument is inert. Either way nobody
    /// answers at the address the control plane was told. Where the DHCP server reserves that very address for the NIC it
    /// works, and this is a warning: two places say it, and only one of them is obeyed.
    ///
    /// # Fix
    /// Drop `ip=` from the boot arguments, or declare the address in the recipe (`network: { mode: static, … }`).
    ///
    /// Source: kernel `net/ipv4/ipconfig.c`; systemd `networkd-link.c`, issue systemd#23005; measured on Debian 12.
    STATIC_IP_VS_DHCP, "NET-K002", "static-ip-vs-dhcp", Error, |net, report| {
        let (Some((address, place)), Some(claim)) = (net.argument_address(), net.claims.iter().find(|claim| claim.dhcp4)) else { return };
        let kept = net.static_addresses().0.iter().any(|own| own.address == address.address);
        let keeps = claim.manager != "networkd" || net.winner().is_some_and(|file| file.config.keeps_foreign.is_some());
        let open = !claim.modelled || net.undecided.is_some() || keeps && net.hangs_on_the_kernel();
        if kept || open {
            return;
        }
        let via = match claim.manager {
            "networkd" => format!("asks for a lease (via systemd-networkd, {})", claim.file),
            other => format!("asks for a lease (via {other})"),
        };
        let message = format!("{} is {} by `ip=` but the guest runs DHCP", net.nic.name, address.address);
        if net.reservation().map(IpAddr::V4) == Some(address.address) {
            return report.push(
                RULE.warning(message)
                    .at(place.evidence("is not what sets the address"))
                    .at(claim.dhcp4_place.evidence(via))
                    .note(format!("the DHCP server reserves {} for it, so it answers there all the same", address.address))
                    .help("remove the `ip=` argument"),
            );
        }
        report.push(
            RULE.finding(message)
                .at(place.evidence("sets a static address"))
                .at(claim.dhcp4_place.evidence(via))
                .note(net.fate_of_kernel_address())
                .note(format!("the guest would answer at the leased address, not at {}", address.address))
                .help("remove the `ip=` argument, or declare the address in the recipe: `network: { mode: static, … }`"),
        );
    }
}
