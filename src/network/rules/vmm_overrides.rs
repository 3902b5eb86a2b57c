use super::prelude::*;

rule! {
    /// The VMM puts an argument behind yours, and its value wins.
    ///
    /// # Why
    /// Firecracker appends `root=… ro|rw` from the drive's settings; of two values the last one counts.
    ///
    /// # Fix
    /// Set it on the drive (`is_read_only`), and leave it out of the arguments.
    ///
    /// Source: Firecracker `src/vmm/src/builder.rs`.
    VMM_OVERRIDES, "NET-K021", "vmm-overrides", Warning, |net, report| {
        let appended = crate::boot::KernelArgs::parse(&net.inputs.vmm.appended);
        let same = |a: &str, b: &str| a == b || matches!((a, b), ("ro", "rw") | ("rw", "ro"));
        for late in appended.iter().filter(|late| matches!(late.key(), "root" | "ro" | "rw" | "init" | "console" | "pci")) {
            let Some(arg) = net.args.iter().find(|arg| same(arg.key(), late.key()) && arg.text != late.text) else { continue };
            report.push(
                RULE.finding(format!("the VMM puts `{}` behind `{}`, and the last one wins", late.text, arg.text))
                    .at(net.place(arg).evidence("does not count"))
                    .help("set it on the drive, and leave it out of the arguments"),
            );
        }
    }
}
