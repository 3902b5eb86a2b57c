//! What VMs run on: the options that `goldsmith launch` and `goldsmith serve` share.

use crate::launch::host::{Choice, Subnet};
use crate::launch::{Accelerator, DiskKind, Error, Jail, Limits, Model, Options};
use crate::values::ByteSize;
use clap::ValueEnum;
use std::path::Path;

/// Network, disk and VMM.
#[derive(clap::Args)]
pub struct MachineArgs {
    /// The host network: `user` (no privileges, ports on loopback), `managed` or `managed=NAME` (a bridge with leases and
    /// NAT, made for the first VM and shared with others) or `bridge=NAME` (an existing one) [default: that of the kept VM,
    /// else `user`]
    #[arg(long, value_name = "NETWORK")]
    network: Option<Choice>,
    /// The subnet of a managed network, as in 10.77.0.1/24 [default: the one the image needs, else one that is free]
    #[arg(long, value_name = "SUBNET", requires = "network")]
    subnet: Option<Subnet>,
    /// What a VM's disk is [default: copy where it can share the image's blocks, under Firecracker and with `--keep`; else
    /// overlay]
    #[arg(long, value_enum, value_name = "KIND")]
    disk: Option<Disk>,
    /// Make the disk larger than the image, as in 20G; the guest grows its filesystem while it boots
    #[arg(long, value_name = "SIZE")]
    disk_size: Option<ByteSize>,
    /// What runs the VM [default: firecracker where it can, else qemu]
    #[arg(long, value_enum, value_name = "VMM")]
    vmm: Option<Vmm>,
    /// QEMU's machine: q35 has PCI and a display, so the NIC's name differs unless `net.ifnames=0` [default: microvm]
    #[arg(long, value_enum, value_name = "MACHINE")]
    machine: Option<Board>,
    /// Bytes a second that the disk is read and written with at most, as in 50M
    #[arg(long, value_name = "SIZE", value_parser = rate)]
    limit_disk: Option<ByteSize>,
    /// Bytes a second that the NIC receives at most, and sends at most; Firecracker only
    #[arg(long, value_name = "SIZE", value_parser = rate)]
    limit_net: Option<ByteSize>,
    /// Run Firecracker in its jailer: a user, a root folder, processes and a network namespace of its own (needs root)
    #[arg(long)]
    jail: bool,
    /// A setting of the jail's control group, as in memory.max=2G (may be repeated)
    #[arg(long, value_name = "FILE=VALUE", requires = "jail", value_parser = setting)]
    cgroup: Vec<String>,
    /// How instructions are run; `kvm` is tried even where `goldsmith doctor` says that it is broken [default: kvm where it
    /// works, else emulation]
    #[arg(long, value_enum, value_name = "HOW")]
    accel: Option<Accel>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Disk {
    /// All of the image's bytes, sparse
    Copy,
    /// A qcow2 file with what differs from the image (QEMU only)
    Overlay,
}

#[derive(Clone, Copy, ValueEnum)]
enum Accel {
    /// The processor's own virtualisation
    Kvm,
    /// Emulation: slow, but it works everywhere
    Emulation,
}

#[derive(Clone, Copy, ValueEnum)]
enum Vmm {
    /// KVM or emulation, any network
    Qemu,
    /// KVM only, on a bridge
    Firecracker,
}

#[derive(Clone, Copy, ValueEnum)]
enum Board {
    /// Small, virtio over MMIO: the NIC is eth0
    Microvm,
    /// A PC with PCI and a display
    Q35,
}

/// `50M` or `50M/s`.
fn rate(text: &str) -> Result<ByteSize, String> {
    let rate: ByteSize = text.strip_suffix("/s").unwrap_or(text).parse().map_err(|error| format!("{error}"))?;
    if rate.0 == 0 { Err("nothing would ever be read or written".to_owned()) } else { Ok(rate) }
}

fn setting(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((file, value)) if file.contains('.') && !file.contains('/') && !value.is_empty() => Ok(text.to_owned()),
        _ => Err("write FILE=VALUE, as in `memory.max=2G`".to_owned()),
    }
}

impl MachineArgs {
    /// How an image is launched with them.
    pub fn options(&self, folder: &Path) -> Result<Options, Error> {
        Ok(Options {
            network: self.network()?,
            disk: self.disk.map(|disk| match disk {
                Disk::Copy => DiskKind::Copy,
                Disk::Overlay => DiskKind::Overlay,
            }),
            disk_size: self.disk_size,
            model: self.model()?,
            accelerator: self.accel.map(|accel| match accel {
                Accel::Kvm => Accelerator::Kvm,
                Accel::Emulation => Accelerator::Emulation,
            }),
            limits: Limits { disk: self.limit_disk, net: self.limit_net },
            jail: self.jail.then(|| Jail { cgroups: self.cgroup.clone() }),
            ..Options::new(folder)
        })
    }

    fn network(&self) -> Result<Option<Choice>, Error> {
        match self.network.clone() {
            Some(Choice::Managed { name, .. }) => Ok(Some(Choice::Managed { name, subnet: self.subnet })),
            _ if self.subnet.is_some() => {
                Err(Error::Unfit("`--subnet` is for managed networks\nhelp: add `--network managed`"))
            }
            other => Ok(other),
        }
    }

    /// The machine that was asked for, if one was.
    fn model(&self) -> Result<Option<Model>, Error> {
        Ok(match (self.vmm, self.machine) {
            (Some(Vmm::Firecracker), Some(_)) => {
                return Err(Error::Unfit(
                    "`--machine` is QEMU's: Firecracker has one machine\nhelp: leave one of the two out",
                ));
            }
            (Some(Vmm::Firecracker), None) => Some(Model::Firecracker),
            (_, Some(Board::Q35)) => Some(Model::Q35),
            (Some(Vmm::Qemu), None) | (_, Some(Board::Microvm)) => Some(Model::Microvm),
            (None, None) => None,
        })
    }

    /// As they are typed, for another `goldsmith launch`.
    pub fn words(&self) -> Vec<String> {
        let Self { network, subnet, disk, disk_size, vmm, machine, limit_disk, limit_net, jail, cgroup, accel } = self;
        // A size is written without a unit: with one, it may be rounded.
        let size = |size: &Option<ByteSize>| size.map(|size| size.0.to_string());
        let given = [
            ("network", network.as_ref().map(Choice::to_string)),
            ("subnet", subnet.map(|subnet| subnet.to_string())),
            ("disk", word(disk.as_ref())),
            ("disk-size", size(disk_size)),
            ("vmm", word(vmm.as_ref())),
            ("machine", word(machine.as_ref())),
            ("limit-disk", size(limit_disk)),
            ("limit-net", size(limit_net)),
            ("accel", word(accel.as_ref())),
        ];
        let cgroup = cgroup.iter().map(|setting| ("cgroup", Some(setting.clone())));
        let given = given.into_iter().chain(cgroup);
        let words = given.filter_map(|(option, value)| Some(format!("--{option}={}", value?)));
        words.chain(jail.then(|| "--jail".to_owned())).collect()
    }
}

fn word(value: Option<&impl ValueEnum>) -> Option<String> {
    Some(value?.to_possible_value()?.get_name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        machine: MachineArgs,
    }

    #[test]
    fn what_was_typed_is_typed_again() {
        let words = |line: &str| Line::parse_from([""].into_iter().chain(line.split_whitespace())).machine.words();
        assert_eq!(words(""), [""; 0]);
        let typed = "--network=managed=fleet --subnet=10.77.0.1/24 --disk=overlay --disk-size=20G --vmm=firecracker \
             --machine=q35 --limit-disk=1500K --limit-net=50M --accel=kvm --cgroup=memory.max=2G --cgroup=cpu.max=1 --jail";
        let again = typed.replace("20G", "21474836480").replace("1500K", "1536000").replace("50M", "52428800");
        assert_eq!(words(typed).join(" "), again.split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!(words(&again), words(typed));
    }
}
