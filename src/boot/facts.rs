//! What rules need to know about a kernel.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Facts from a kernel's configuration file (`/boot/config-*`, the form `make savedefconfig` does not shorten).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KernelFacts {
    /// `CONFIG_IP_PNP`: the kernel itself obeys `ip=`.
    pub ip_pnp: Presence,
    /// `CONFIG_VIRTIO_BLK`.
    pub virtio_blk: Presence,
    /// `CONFIG_VIRTIO_NET`.
    pub virtio_net: Presence,
    /// `CONFIG_VIRTIO_MMIO`.
    pub virtio_mmio: Presence,
    /// `CONFIG_VIRTIO_PCI`.
    pub virtio_pci: Presence,
    /// `CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES`.
    pub virtio_mmio_cmdline: Presence,
    /// `CONFIG_EXT4_FS`.
    pub ext4: Presence,
    /// `CONFIG_PVH`.
    pub pvh: Presence,
    /// `CONFIG_SERIO_I8042`: with a keyboard controller, `reboot=k` and Ctrl-Alt-Del work.
    pub i8042: Presence,
    /// `CONFIG_BONDING`: built in, it makes a `bond0` before anything else runs. Not in manifests.
    #[serde(skip)]
    #[schemars(skip)]
    pub bonding: Presence,
}

/// How a kernel has a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// `=y`.
    BuiltIn,
    /// `=m`.
    Module,
    /// Not set.
    Absent,
    /// No configuration was there to read.
    #[default]
    Unknown,
}

impl KernelFacts {
    /// Reads a kernel's configuration (`CONFIG_X=y`, `=m`, `# CONFIG_X is not set`).
    pub fn from_config(text: &str) -> Self {
        let presence = |name: &str| {
            let value =
                text.lines().find_map(|line| line.strip_prefix("CONFIG_")?.strip_prefix(name)?.strip_prefix('='));
            match value {
                Some("y") => Presence::BuiltIn,
                Some("m") => Presence::Module,
                _ => Presence::Absent,
            }
        };
        Self {
            ip_pnp: presence("IP_PNP"),
            virtio_blk: presence("VIRTIO_BLK"),
            virtio_net: presence("VIRTIO_NET"),
            virtio_mmio: presence("VIRTIO_MMIO"),
            virtio_pci: presence("VIRTIO_PCI"),
            virtio_mmio_cmdline: presence("VIRTIO_MMIO_CMDLINE_DEVICES"),
            ext4: presence("EXT4_FS"),
            pvh: presence("PVH"),
            i8042: presence("SERIO_I8042"),
            bonding: presence("BONDING"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_come_from_the_configuration() {
        let facts = KernelFacts::from_config(
            "# CONFIG_IP_PNP is not set\nCONFIG_VIRTIO_BLK=m\nCONFIG_PVH=y\nCONFIG_EXT4_FS_X=y\n",
        );
        assert_eq!(
            (facts.ip_pnp, facts.virtio_blk, facts.pvh),
            (Presence::Absent, Presence::Module, Presence::BuiltIn)
        );
        assert_eq!(facts.ext4, Presence::Absent);
    }
}
