//! What the model is asked about.

use super::{Cidr, NetworkSpec, Snapshot};
use crate::boot::{KernelArgs, KernelFacts};
use crate::manifest::EffectiveInterface;
use crate::values::{GuestPath, Sha256};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// Everything that decides a guest's network.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The guest's files.
    pub snapshot: Snapshot,
    /// The exact kernel arguments: parameters and appended ones included, and what the VMM itself adds.
    pub args: KernelArgs,
    /// The kernel.
    pub kernel: KernelFacts,
    /// What runs before the root filesystem.
    pub initrd: Initrd,
    /// The virtual machine.
    pub vmm: VmmFacts,
    /// The host side, where one is known.
    pub host: Option<HostFacts>,
    /// What a manifest promises.
    pub contract: Option<Contract>,
    /// The address somebody will call the guest at.
    pub expect: Option<IpAddr>,
}

impl Inputs {
    /// An image with arguments and a kernel, on virtio-mmio with goldsmith's initrd, and nothing known of the host.
    pub fn new(snapshot: Snapshot, args: KernelArgs, kernel: KernelFacts) -> Self {
        let (initrd, vmm) = (Initrd::default(), VmmFacts::default());
        Self { snapshot, args, kernel, initrd, vmm, host: None, contract: None, expect: None }
    }
}

/// Whose initrd it is: that decides who reads `ip=` there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Initrd {
    /// None is used.
    None,
    /// goldsmith's own: it configures no network and loads virtio modules.
    #[default]
    Goldsmith,
    /// initramfs-tools: reads `ip=` on Ubuntu, and on Debian only where the root is on NFS.
    InitramfsTools,
    /// dracut with its `network-legacy` module: reads `ip=`, `rd.*`, `ifname=`, `nameserver=`.
    Dracut,
    /// One nobody has looked into.
    Unknown,
}

/// How devices reach the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// virtio-mmio: Firecracker, QEMU microvm. The NIC is `eth0`.
    #[default]
    Mmio,
    /// virtio-pci: the NIC is `en…` unless `net.ifnames=0`.
    Pci,
}

/// The virtual machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VmmFacts {
    /// How devices reach the guest.
    pub transport: Transport,
    /// The NIC's MAC address, when it is fixed from outside.
    pub mac: Option<String>,
    /// Nobody fixes the MAC address: the guest makes up one of its own.
    pub random_mac: bool,
    /// NICs beside the first.
    pub more_nics: usize,
    /// What the VMM itself puts behind the arguments (they are in [`Inputs::args`] already).
    pub appended: String,
    /// The VM is stopped with Ctrl-Alt-Del.
    pub ctrl_alt_del: bool,
    /// Somebody waits for a line on the serial console.
    pub reads_console: bool,
    /// The kernel's release, `6.1.0-56-cloud-amd64`. None: read from the image, if it has one.
    pub kernel_release: Option<String>,
}

/// The host side of the NIC.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// What to call it: `bridge br0`, `user networking`.
    pub name: String,
    /// The bridge's address with prefix length. None: it has none.
    pub cidr: Option<Cidr>,
    /// Who answers DHCP there.
    pub dhcp: DhcpServer,
    /// Addresses that other machines hold.
    pub in_use: Vec<IpAddr>,
    /// MAC addresses that other machines hold, lower case.
    pub macs_in_use: Vec<String>,
    /// The VM's tap.
    pub tap: Tap,
    /// Why nothing keeps the VM from sending in others' names.
    pub unguarded: Option<String>,
    /// Networks that the host reaches in another way than over this bridge.
    pub routes: Vec<Cidr>,
    /// A firewall keeps UDP port 67 from the DHCP server.
    pub drops_dhcp: bool,
    /// Whether the DHCP server ignores client identifiers (`dhcp-ignore-clid`). None: nobody looked.
    pub ignores_client_id: Option<bool>,
    /// The host itself asks for a lease in the guest's name (CNI's `dhcp` IPAM).
    pub asks_for_guest: bool,
    /// Whether a metadata service answers at 169.254.169.254. None: nobody looked.
    pub metadata: Option<bool>,
}

/// Where the VM's tap is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Tap {
    /// Nobody looked, or goldsmith makes it.
    #[default]
    Unknown,
    /// On the bridge.
    Attached,
    /// There is no tap of this name.
    Missing(String),
    /// A tap of this name is there, but its master is another, or none.
    Elsewhere(String, Option<String>),
}

/// Who answers DHCP on a bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DhcpServer {
    /// Nobody looked.
    #[default]
    Unknown,
    /// Somebody looked and nobody answered.
    Absent,
    /// A server.
    Present {
        /// Pools, first and last address.
        ranges: Vec<(Ipv4Addr, Ipv4Addr)>,
        /// Reserved addresses by MAC in lower case.
        reservations: BTreeMap<String, Ipv4Addr>,
    },
}

/// What a manifest promises about the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// What the recipe declared.
    pub declared: NetworkSpec,
    /// The network files when the image was built.
    pub files: BTreeMap<GuestPath, Sha256>,
    /// What they came to.
    pub effective: BTreeMap<String, EffectiveInterface>,
}

impl From<&crate::manifest::Network> for Contract {
    fn from(network: &crate::manifest::Network) -> Self {
        let effective = network.effective.iter().map(|(name, interface)| (name.to_string(), interface.clone()));
        Self { declared: network.declared.clone(), files: network.files.clone(), effective: effective.collect() }
    }
}
