use super::prelude::*;

rule! {
    /// The kernel has a driver only as a module, and nothing can load it in time.
    ///
    /// # Why it is refused
    /// Without an initrd the root disk cannot appear; with `nomodule` (a default argument of Firecracker) no module is ever
    /// loaded.
    ///
    /// # Fix
    /// Use the initrd, drop `nomodule`, or use a kernel with the drivers built in.
    ///
    /// Source: kernel `Documentation/admin-guide/kernel-parameters.txt`; Debian's cloud kernel configuration.
    NO_DRIVER, "NET-K016", "no-driver", Error, |net, report| {
        let kernel = &net.inputs.kernel;
        let bus = match net.inputs.vmm.transport {
            Transport::Mmio => ("virtio_mmio", kernel.virtio_mmio),
            Transport::Pci => ("virtio_pci", kernel.virtio_pci),
        };
        let drivers = [("virtio_blk", kernel.virtio_blk), ("virtio_net", kernel.virtio_net), bus];
        let modules: Vec<_> = drivers.iter().filter(|(_, how)| *how == Presence::Module).map(|(name, _)| *name).collect();
        let nomodule = net.inputs.args.iter().find(|arg| arg.text == "nomodule");
        if modules.is_empty() {
            return;
        }
        if let Some(arg) = nomodule {
            let place = Place::argument(&net.inputs.args.to_string(), arg);
            report.push(
                RULE.finding(format!("{} cannot be loaded under `nomodule`", modules.join(", ")))
                    .at(place.evidence("no module is ever loaded"))
                    .help("remove `nomodule`"),
            );
        } else if net.inputs.initrd == Initrd::None {
            report.push(
                RULE.finding(format!("the kernel has {} only as modules and there is no initrd", modules.join(", ")))
                    .help("boot with the initrd, or with a kernel that has them built in"),
            );
        }
    }
}
