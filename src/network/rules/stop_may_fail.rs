use super::prelude::*;

rule! {
    /// The keyboard controller is switched off, and the VM is stopped with Ctrl-Alt-Del.
    ///
    /// # Why
    /// The key press never arrives: the VM has to be killed, and what it did not write is lost.
    ///
    /// # Fix
    /// Remove `i8042.nopnp`, `i8042.nokbd` or `i8042.noaux` that hides the keyboard.
    ///
    /// Source: firecracker#5074, `docs/api_requests/actions.md`.
    STOP_MAY_FAIL, "NET-K020", "stop-may-fail", Warning, |net, report| {
        let arg = net.args.iter().find(|arg| matches!(arg.key(), "i8042.nopnp" | "i8042.nokbd"));
        let lacks = net.inputs.kernel.i8042 == Presence::Absent;
        if !net.inputs.vmm.ctrl_alt_del || arg.is_none() && !lacks {
            return;
        }
        let finding = RULE.finding("stopping the VM with Ctrl-Alt-Del may fail: the guest has no keyboard controller");
        let finding = arg.map_or(finding.clone(), |arg| finding.at(net.place(arg).evidence("hides the keyboard controller")));
        report.push(finding.help("remove the argument, or stop the guest another way"));
    }
}
