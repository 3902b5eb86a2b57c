use super::prelude::*;

rule! {
    /// Readiness is read from the serial console, and the guest writes nothing there.
    ///
    /// # Why
    /// Without `console=ttyS0`, or with `8250.nr_uarts=0`, the log stays empty: the VM is taken for dead.
    ///
    /// # Fix
    /// Add `console=ttyS0`, remove `8250.nr_uarts=0`.
    ///
    /// Source: Firecracker `docs/prod-host-setup.md` (default arguments).
    SILENT_CONSOLE, "NET-K029", "silent-console", Warning, |net, report| {
        if !net.inputs.vmm.reads_console {
            return;
        }
        let console = net.args.iter().any(|arg| arg.key() == "console" && arg.value().is_some_and(|value| value.starts_with("ttyS0")));
        let none = net.args.last("8250.nr_uarts").filter(|arg| arg.value() == Some("0"));
        if console && none.is_none() {
            return;
        }
        let finding = RULE.finding("the serial console stays empty, and somebody waits for a line on it");
        let finding = none.map_or(finding.clone(), |arg| finding.at(net.place(arg).evidence("takes the serial port away")));
        report.push(finding.help("add `console=ttyS0`, and leave `8250.nr_uarts=0` out"));
    }
}
