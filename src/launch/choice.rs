//! Which machine a VM gets, and how its instructions are run.

use super::host::Choice;
use super::vmm::{Accelerator, Model, Program, program, qemu};
use super::{DiskKind, Error, Options};
use crate::progress::{Event, Observer};

/// The machine that new VMs of these options get, and how its instructions are run, or why there is none.
pub fn machine(options: &Options, observer: &dyn Observer) -> Result<(Model, Accelerator), Error> {
    choose(options, &options.network.clone().unwrap_or_default(), options.disk, true, observer)
}

/// Firecracker where it can be had and the network is one that it has; else QEMU's microvm. With KVM where it works,
/// unless something else is asked for; what does not work is said. A machine that is only described needs no programs.
pub fn choose(
    options: &Options,
    network: &Choice,
    disk: Option<DiskKind>,
    runs: bool,
    observer: &dyn Observer,
) -> Result<(Model, Accelerator), Error> {
    let model = options.model.unwrap_or_else(|| {
        if prefers_firecracker(options, network, disk) { Model::Firecracker } else { Model::Microvm }
    });
    fits(model, options, network, disk)?;
    if model == Model::Firecracker {
        if runs {
            Program::find()?;
        }
        return Ok((model, Accelerator::Kvm));
    }
    let accelerator = match options.accelerator {
        Some(Accelerator::Emulation) => Accelerator::Emulation,
        Some(Accelerator::Kvm) => qemu::kvm().map(|()| Accelerator::Kvm).map_err(Error::NoKvm)?,
        None => match qemu::kvm() {
            Ok(()) => Accelerator::Kvm,
            Err(why) => {
                observer.event(Event::Note(format!("emulating the processor (slow): no KVM ({why})")));
                Accelerator::Emulation
            }
        },
    };
    Ok((model, accelerator))
}

/// Whether Firecracker is taken where nobody has said what to take: for what only it can do, or because it can be had.
fn prefers_firecracker(options: &Options, network: &Choice, disk: Option<DiskKind>) -> bool {
    let only = options.jail.is_some() || options.limits.net.is_some();
    let wanted = *network != Choice::User
        && disk != Some(DiskKind::Overlay)
        && options.accelerator != Some(Accelerator::Emulation);
    // KVM is tried by QEMU, which says more than a device file; without QEMU there is no other choice anyhow.
    only || wanted && Program::find().is_ok() && (program::find(qemu::PROGRAM).is_none() || qemu::kvm().is_ok())
}

fn fits(model: Model, options: &Options, network: &Choice, disk: Option<DiskKind>) -> Result<(), Error> {
    let firecracker = model == Model::Firecracker;
    let problem = if firecracker && *network == Choice::User {
        "Firecracker has no user networking\nhelp: use `--network managed` or `--network bridge=NAME`, or `--vmm qemu`"
    } else if firecracker && options.accelerator == Some(Accelerator::Emulation) {
        "Firecracker does not emulate processors\nhelp: leave `--accel` out, or use `--vmm qemu`"
    } else if firecracker && disk == Some(DiskKind::Overlay) {
        "Firecracker does not read qcow2\nhelp: `--disk copy`, or `--vmm qemu`"
    } else if firecracker && !options.memory.0.is_multiple_of(1 << 20) {
        "Firecracker counts memory in MiB\nhelp: `--memory 512M`"
    } else if !firecracker && options.jail.is_some() {
        "only Firecracker has a jail\nhelp: `--vmm firecracker --network bridge=NAME`"
    } else if !firecracker && options.limits.net.is_some() {
        "QEMU does not limit the NIC\nhelp: `--vmm firecracker --network bridge=NAME`, or leave `--limit-net` out"
    } else if options.jail.is_some() && !rustix::process::geteuid().is_root() {
        "the jail needs root\nhelp: run goldsmith as root, or leave `--jail` out"
    } else {
        return Ok(());
    };
    Err(Error::Unfit(problem))
}
