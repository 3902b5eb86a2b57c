//! The machines that can be had, and what each does to a kernel command line. Pure but for the host's frequency.

use crate::boot::KernelArgs;
use crate::network::Transport;
use std::fmt;
use std::fs;

/// A machine model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// QEMU's small machine: virtio over MMIO, as Firecracker's.
    Microvm,
    /// QEMU's PC: PCI, and a display that can be pictured.
    Q35,
    /// Firecracker's only machine, without PCI.
    Firecracker,
}

/// How a guest's instructions are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// By the processor.
    Kvm,
    /// By an emulator: slow, but it works everywhere.
    Emulation,
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Microvm => "QEMU microvm",
            Self::Q35 => "QEMU q35",
            Self::Firecracker => "Firecracker",
        })
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Emulation => "emulation",
        })
    }
}

impl Model {
    /// How its devices reach the guest.
    pub fn transport(self) -> Transport {
        match self {
            Self::Microvm | Self::Firecracker => Transport::Mmio,
            Self::Q35 => Transport::Pci,
        }
    }

    /// What the launcher adds to the kernel arguments that were asked for.
    ///
    /// QEMU's microvm has neither HPET nor PM timer, so a guest on a busy host may fail to calibrate its clock and hang
    /// right there; the host's frequency spares it the measurement (`tsc_early_khz`, kernel-parameters.txt; measured).
    ///
    /// A `reboot=` that the machine does not obey would leave a guest that has stopped hanging: the keyboard controller,
    /// which every machine here has, is asked instead.
    pub fn arguments(self, accelerator: Accelerator, asked: &KernelArgs) -> Vec<String> {
        let mut adds = Vec::new();
        if accelerator == Accelerator::Emulation {
            adds.push(format!("tsc_early_khz={}", host_khz()));
        }
        if reboot(asked).is_some_and(|way| !self.obeys().contains(way)) {
            adds.push("reboot=k".to_owned());
        }
        adds
    }

    /// What the VMM itself puts behind the arguments it is given. Source: Firecracker `src/vmm/src/builder.rs`, since
    /// v1.13, where PCI is off. Nothing is put there for the root device because no drive is called one.
    pub fn appends(self) -> &'static str {
        match self {
            Self::Microvm | Self::Q35 => "",
            Self::Firecracker => "pci=off",
        }
    }

    /// The ways of `reboot=` that reset it: ACPI, keyboard controller, triple fault, PCI port 0xcf9.
    fn obeys(self) -> &'static str {
        match self {
            Self::Microvm => "akt",
            Self::Q35 => "aktp",
            Self::Firecracker => "kt",
        }
    }
}

/// How the kernel is told to reset the machine: the last letter among `reboot=`'s words that names a way. Source: kernel
/// `kernel/reboot.c` (`reboot_setup`), kernel-parameters.txt.
fn reboot(args: &KernelArgs) -> Option<char> {
    let values = args.iter().filter(|arg| arg.key() == "reboot").filter_map(|arg| arg.value());
    let mut letters = values.flat_map(|value| value.split(',')).filter_map(|word| word.chars().next());
    letters.rfind(|letter| "baktep".contains(*letter))
}

/// The host processor's frequency. Source: proc(5), `/proc/cpuinfo`; any plausible value will do.
fn host_khz() -> u64 {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("cpu MHz")?.split_once(": "));
    let mhz =
        line.and_then(|(_, mhz)| mhz.split('.').next()?.parse::<u64>().ok()).filter(|mhz| (500..10_000).contains(mhz));
    mhz.map_or(2_600_000, |mhz| mhz * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_that_the_machine_does_not_obey_goes_by_the_keyboard() {
        let adds = |model: Model, args: &str| model.arguments(Accelerator::Kvm, &KernelArgs::parse(args)).join(" ");
        for good in ["", "quiet", "reboot=k", "reboot=t panic=1", "reboot=w,k", "reboot=pci reboot=k", "reboot=f"] {
            assert_eq!(adds(Model::Firecracker, good), "", "{good}");
        }
        assert_eq!(adds(Model::Firecracker, "reboot=acpi"), "reboot=k");
        assert_eq!(adds(Model::Microvm, "reboot=acpi"), "");
        assert_eq!(adds(Model::Microvm, "reboot=w,pci"), "reboot=k");
        assert_eq!(adds(Model::Q35, "reboot=w,pci"), "");
        assert_eq!(adds(Model::Q35, "reboot=k reboot=efi"), "reboot=k");
    }
}
