use super::prelude::*;

rule! {
    /// An argument for dracut or systemd-network-generator, and neither is there.
    ///
    /// # Why
    /// `rd.*`, `BOOTIF=`, `bootdev=`, `ifname=` and `nameserver=` mean nothing to the kernel: they change nothing, silently.
    ///
    /// # Fix
    /// Remove it.
    ///
    /// Source: dracut.cmdline(7), systemd-network-generator.service(8).
    NOBODY_READS, "NET-K025", "nobody-reads", Warning, |net, report| {
        let generator = |key: &str| matches!(key, "ifname" | "nameserver" | "rd.route" | "rd.peerdns");
        let dracut = |key: &str| key.starts_with("rd.") && key != "rd.systemd.unit" || matches!(key, "BOOTIF" | "bootdev" | "ifname" | "nameserver");
        if matches!(net.inputs.initrd, Initrd::Unknown | Initrd::Dracut) {
            return;
        }
        let bootif = |key: &str| key == "BOOTIF" && net.inputs.initrd == Initrd::InitramfsTools;
        for arg in net.args.iter().filter(|arg| dracut(arg.key()) && !bootif(arg.key())) {
            if generator(arg.key()) && net.generator.active {
                continue;
            }
            report.push(RULE.finding(format!("nobody reads `{}`", arg.text)).at(net.place(arg).evidence("changes nothing")).help("remove it"));
        }
    }
}
