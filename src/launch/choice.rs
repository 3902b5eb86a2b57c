//! Which machine a VM gets, and how its instructions are run.

use super::host::Choice;
use super::vmm::kvm::{self, Broken};
use super::vmm::{Accelerator, Model, Program};
use super::{DiskKind, Error, Options, home};
use crate::progress::{Event, Observer, Silent};

/// Beside the folder of all VMs: what is known of KVM on this host.
const KVM: &str = "kvm";

/// Whether KVM runs what every guest runs.
///
/// # Errors
/// When it does not, or is not there.
pub fn works() -> Result<(), Broken> {
    kvm::works(home::root().ok().map(|vms| vms.with_file_name(KVM)).as_deref())
}

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
            match options.accelerator {
                Some(_) => asked(observer)?,
                None => works()?,
            }
        }
        return Ok((model, Accelerator::Kvm));
    }
    let accelerator = match options.accelerator {
        Some(Accelerator::Emulation) => Accelerator::Emulation,
        Some(Accelerator::Kvm) => {
            asked(observer)?;
            Accelerator::Kvm
        }
        None => match works() {
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
    only || wanted && Program::find().is_ok() && works().is_ok()
}

/// Whoever asks for KVM gets it where it can be opened; that it is broken is only said.
fn asked(observer: &dyn Observer) -> Result<(), Broken> {
    kvm::device()?;
    if let Err(broken) = works() {
        observer.event(Event::Warning(format!("`--accel kvm` is tried although KVM does not work here: {broken}")));
    }
    Ok(())
}

/// Whether QEMU's emulator could run what these options get by KVM, which nobody has asked for.
pub fn could_emulate(options: &Options, network: &Choice, disk: Option<DiskKind>) -> bool {
    let emulated = Options { accelerator: Some(Accelerator::Emulation), ..options.clone() };
    options.accelerator.is_none() && choose(&emulated, network, disk, false, &Silent).is_ok()
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
