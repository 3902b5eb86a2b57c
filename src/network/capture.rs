//! Which guest files the model reads, and reading them.

use super::identities::HOST_KEYS;
use super::{FileBytes, GuestFiles, IDENTITIES, Identity, Snapshot, SnapshotNode};
use crate::values::{GuestPath, Sha256};
use std::collections::BTreeMap;

/// Units whose links, masks and files decide who configures the network.
pub(super) const UNITS: &[&str] = &[
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-networkd-wait-online.service",
    "systemd-network-generator.service",
    "systemd-resolved.service",
    "systemd-udevd.service",
    "NetworkManager.service",
    "networking.service",
    "ifup@eth0.service",
    "dhcpcd.service",
    "dhclient.service",
    "connman.service",
    "wicked.service",
    "wickedd.service",
    "cloud-init.service",
    "cloud-init-local.service",
    "cloud-init-network.service",
];

/// Those of them that only follow the network.
const FOLLOWERS: &[&str] = &["systemd-networkd-wait-online.service", "systemd-resolved.service"];

/// Whether a NIC may stay without configuration when this unit fails.
pub fn is_needed(unit: &str) -> bool {
    (UNITS.contains(&unit) || unit.starts_with("ifup@")) && !FOLLOWERS.contains(&unit)
}

/// Where systemd looks for units and network files, strongest first (systemd.unit(5), systemd.network(5)).
const SYSTEMD_ROOTS: &[&str] = &["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"];

/// The same without `/run`: what an image has there is hidden at boot, when systemd mounts a tmpfs over it.
pub(super) const BOOT_ROOTS: &[&str] = &["/etc", "/usr/local/lib", "/usr/lib", "/lib"];

/// Single files whose content matters.
const FILES: &[&str] = &[
    "/etc/network/interfaces",
    "/etc/cloud/cloud.cfg",
    "/etc/machine-id",
    "/etc/resolv.conf",
    "/etc/hostname",
    "/etc/os-release",
    "/usr/lib/os-release",
    "/etc/dhcpcd.conf",
    "/etc/NetworkManager/NetworkManager.conf",
    "/etc/systemd/networkd.conf",
    "/etc/fstab",
];

/// Files that matter by being there, or by being empty.
const PRESENCE: &[&str] = &[
    "/var/lib/dbus/machine-id",
    "/var/lib/dhcpcd/duid",
    "/etc/dhcpcd.duid",
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/credential.secret",
    "/var/lib/cloud/instance",
    "/etc/cloud/cloud-init.disabled",
    "/etc/NetworkManager/conf.d",
    "/usr/lib/systemd/systemd-networkd",
    "/lib/systemd/systemd-networkd",
    "/usr/lib/systemd/systemd-udevd",
    "/lib/systemd/systemd-udevd",
    "/usr/lib/systemd/system-generators/netplan",
    "/lib/systemd/system-generators/netplan",
    "/etc/systemd/system-generators/netplan",
    "/usr/lib/x86_64-linux-gnu/libnetplan.so.0.0",
    "/usr/lib/x86_64-linux-gnu/libnetplan.so.1",
    "/usr/sbin/dhclient",
    "/usr/sbin/dhcpcd",
    "/usr/sbin/NetworkManager",
    "/usr/sbin/connmand",
    "/usr/sbin/wickedd",
    "/usr/sbin/ifup",
    "/sbin/dhclient",
    "/sbin/dhcpcd",
    "/sbin/ifup",
    "/usr/sbin/udhcpc",
    "/sbin/udhcpc",
    "/usr/bin/busybox",
    "/usr/lib/systemd/systemd",
    "/lib/systemd/systemd",
];

/// Folders, and which of their files matter (by the end of their names).
const FOLDERS: &[(&str, &str)] = &[
    ("/etc/network/interfaces.d", ""),
    ("/etc/cloud/cloud.cfg.d", ".cfg"),
    ("/etc/NetworkManager/conf.d", ".conf"),
    ("/usr/lib/NetworkManager/conf.d", ".conf"),
    ("/etc/NetworkManager/system-connections", ".nmconnection"),
    ("/etc/udev/rules.d", ".rules"),
];

/// Folders in which only names matter.
const NAMES: &[(&str, &str)] = &[
    ("/usr/lib/modules", ""),
    ("/etc/ssh", "ssh_host_"),
    ("/var/lib/dhcp", ""),
    ("/var/lib/dhcpcd", ""),
    ("/var/lib/NetworkManager", ""),
];

/// What starts sshd.
const SSHD: &[&str] = &["ssh.service", "ssh.socket", "sshd.service", "sshd.socket"];
/// Where units are enabled.
const ETC_UNITS: &str = "/etc/systemd/system";

/// The most entries of one folder that are read. More is nothing a working guest has.
const MAX_ENTRIES: usize = 512;
/// The most bytes a snapshot holds.
const MAX_TOTAL: usize = 16 << 20;
/// Symbolic links followed from one path.
const MAX_LINKS: usize = 8;

/// Reads what decides a guest's network, and nothing else. `image` is what findings call it.
pub fn capture<F: GuestFiles>(image: &str, files: &F) -> Result<Snapshot, F::Error> {
    let snapshot = Snapshot { image: image.to_owned(), ..Snapshot::default() };
    let mut capture = Capture { files, snapshot, total: 0 };
    for path in FILES {
        capture.add(path, true)?;
    }
    for path in PRESENCE {
        capture.add(path, false)?;
    }
    for (folder, end) in FOLDERS {
        capture.folder(folder, |name| name.ends_with(end), true)?;
    }
    for (folder, start) in NAMES {
        capture.folder(folder, |name| name.starts_with(start), false)?;
    }
    capture.folder("/boot", |name| name.starts_with("config-"), true)?;
    for root in SYSTEMD_ROOTS {
        if *root == "/lib" && !capture.is_directory("/lib")? {
            continue;
        }
        capture.systemd(root)?;
    }
    for identity in IDENTITIES {
        for path in identity.paths(&|folder| files.list(folder))?.into_iter().take(MAX_ENTRIES) {
            capture.add(path.as_str(), !identity.settings.is_empty())?;
        }
    }
    capture.snapshot.keyless_sshd = capture.keyless_sshd()?;
    Ok(capture.snapshot)
}

struct Capture<'f, F> {
    files: &'f F,
    snapshot: Snapshot,
    total: usize,
}

impl<F: GuestFiles> Capture<'_, F> {
    fn systemd(&mut self, root: &str) -> Result<(), F::Error> {
        self.folder(&format!("{root}/netplan"), |name| name.ends_with(".yaml"), true)?;
        let network = format!("{root}/systemd/network");
        let ends = |name: &str| [".network", ".link", ".netdev"].iter().any(|end| name.ends_with(end));
        self.folder(&network, ends, true)?;
        for name in self.names(&network, |name| name.ends_with(".d"))? {
            self.folder(&format!("{network}/{name}"), |name| name.ends_with(".conf"), true)?;
        }
        self.folder(&format!("{root}/systemd/system-preset"), |name| name.ends_with(".preset"), true)?;
        self.folder(&format!("{root}/systemd/networkd.conf.d"), |name| name.ends_with(".conf"), true)?;
        let units = format!("{root}/systemd/system");
        let wanted = |name: &str| UNITS.contains(&name);
        self.folder(&units, wanted, false)?;
        for name in self.names(&units, |name| name.ends_with(".wants") || name.ends_with(".requires"))? {
            self.folder(&format!("{units}/{name}"), wanted, false)?;
        }
        self.folder(&format!("{root}/systemd"), |name| name.starts_with("libsystemd-shared-"), false)?;
        if root.ends_with("lib") {
            let folder = format!("{root}/x86_64-linux-gnu/systemd");
            self.folder(&folder, |name| name.starts_with("libsystemd-shared-"), false)?;
        }
        Ok(())
    }

    /// See [`Snapshot::keyless_sshd`].
    fn keyless_sshd(&self) -> Result<Option<String>, F::Error> {
        let names = |path: &str| path.parse().map_or_else(|_| Ok(Vec::new()), |path| self.files.list(&path));
        let there = |path: &str| path.parse().map_or(Ok(None), |path| self.files.node(&path, false));
        if there("/usr/sbin/sshd")?.is_none() || names("/etc/ssh")?.iter().any(|name| name.ends_with("_key")) {
            return Ok(None);
        }
        let mut starts = None;
        for folder in names(ETC_UNITS)?.iter().filter(|name| name.ends_with(".wants")) {
            let units = names(&format!("{ETC_UNITS}/{folder}"))?;
            starts = starts.or_else(|| units.into_iter().find(|unit| SSHD.contains(&unit.as_str())));
        }
        let Some(unit) = starts else { return Ok(None) };
        if there("/usr/lib/systemd/system/cloud-init.service")?.is_some() {
            return Ok(None);
        }
        for root in BOOT_ROOTS {
            let folder = format!("{root}/systemd/system");
            for name in names(&folder)?.iter().filter(|name| name.ends_with(".service")).take(MAX_ENTRIES) {
                let Ok(path) = format!("{folder}/{name}").parse() else { continue };
                if let Some(SnapshotNode::File { bytes: FileBytes::Known(bytes), .. }) = self.files.node(&path, true)?
                    && makes_host_keys(&bytes)
                {
                    return Ok(None);
                }
            }
        }
        Ok(Some(unit))
    }

    fn is_directory(&self, path: &str) -> Result<bool, F::Error> {
        let Ok(path) = path.parse() else { return Ok(false) };
        Ok(matches!(self.files.node(&path, false)?, Some(SnapshotNode::Directory)))
    }

    /// The names in a folder that are wanted, at most [`MAX_ENTRIES`]; that there are more is kept.
    fn names(&mut self, folder: &str, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, F::Error> {
        let Ok(path) = folder.parse() else { return Ok(Vec::new()) };
        let mut names = self.files.list(&path)?;
        names.retain(|name| wanted(name));
        if names.len() > MAX_ENTRIES {
            names.truncate(MAX_ENTRIES);
            let unread = format!("{folder} has more than {MAX_ENTRIES} entries; the rest was not read");
            if !self.snapshot.unread.contains(&unread) {
                self.snapshot.unread.push(unread);
            }
        }
        Ok(names)
    }

    fn folder(&mut self, folder: &str, wanted: impl Fn(&str) -> bool, read: bool) -> Result<(), F::Error> {
        for name in self.names(folder, wanted)? {
            self.add(&format!("{folder}/{name}"), read)?;
        }
        Ok(())
    }

    /// Records a node and what a link leads to.
    fn add(&mut self, path: &str, read: bool) -> Result<(), F::Error> {
        let Ok(mut path) = path.parse::<GuestPath>() else { return Ok(()) };
        for _ in 0..MAX_LINKS {
            if matches!(self.snapshot.nodes.get(&path), Some(SnapshotNode::File { bytes: FileBytes::Known(_), .. })) {
                return Ok(());
            }
            let read = read && self.total < MAX_TOTAL;
            let Some(node) = self.files.node(&path, read)? else { return Ok(()) };
            if let SnapshotNode::File { bytes: FileBytes::Known(bytes), .. } = &node {
                self.total += bytes.len();
            }
            let next = match &node {
                SnapshotNode::Symlink(target) => follow(&path, target),
                _ => None,
            };
            self.snapshot.nodes.insert(path, node);
            match next {
                Some(next) => path = next,
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

/// Whether a unit's file says that it makes ssh host keys.
pub fn makes_host_keys(unit: &[u8]) -> bool {
    let text = String::from_utf8_lossy(unit);
    let makers = ["ssh-keygen", HOST_KEYS];
    text.lines().any(|line| line.starts_with("Exec") && makers.iter().any(|maker| line.contains(maker)))
}

/// Where a link at `path` points, `..` stopping at the root.
fn follow(path: &GuestPath, target: &str) -> Option<GuestPath> {
    let mut place = if target.starts_with('/') { GuestPath::root() } else { path.parent()? };
    for part in target.split('/') {
        place = match part {
            "" | "." => place,
            ".." => place.parent().unwrap_or_else(GuestPath::root),
            part => place.join(part).ok()?,
        };
    }
    Some(place)
}

impl Snapshot {
    /// The node a path leads to, links followed.
    pub(super) fn at(&self, path: &str) -> Option<(&GuestPath, &SnapshotNode)> {
        let mut path: GuestPath = path.parse().ok()?;
        for _ in 0..MAX_LINKS {
            match self.nodes.get_key_value(&path)? {
                (_, SnapshotNode::Symlink(target)) => path = follow(&path, target)?,
                found => return Some(found),
            }
        }
        None
    }

    /// The node at a path itself.
    pub(super) fn node(&self, path: &str) -> Option<&SnapshotNode> {
        self.nodes.get(&path.parse().ok()?)
    }

    /// Whether anything is at a path (a link that leads out of what was captured counts).
    pub(super) fn exists(&self, path: &str) -> bool {
        self.node(path).is_some()
    }

    /// What is known of a file's text, invalid UTF-8 replaced. `None`: no such file. `Some(None)`: there, but not read.
    #[allow(clippy::option_option, reason = "absent, not read and read are three answers")]
    pub(super) fn text(&self, path: &str) -> Option<Option<String>> {
        match self.at(path)?.1 {
            SnapshotNode::File { bytes: FileBytes::Known(bytes), .. } => {
                Some(Some(String::from_utf8_lossy(bytes).into_owned()))
            }
            SnapshotNode::File { bytes: FileBytes::Present(0), .. } => Some(Some(String::new())),
            _ => Some(None),
        }
    }

    /// The size of the regular file that a path leads to; 0 when there is none.
    pub(super) fn size(&self, path: &str) -> u64 {
        match self.at(path) {
            Some((_, SnapshotNode::File { bytes: FileBytes::Known(bytes), .. })) => bytes.len() as u64,
            Some((_, SnapshotNode::File { bytes: FileBytes::Present(size) | FileBytes::TooLarge(size), .. })) => *size,
            _ => 0,
        }
    }

    /// The files of an identity that are there and not empty, and whose settings are not.
    pub(super) fn identities(&self, identity: &Identity) -> Vec<String> {
        let paths = self.nodes.keys().filter(|path| identity.is_at(path)).map(ToString::to_string);
        let told = |path: &String| match self.at(path) {
            Some((_, SnapshotNode::File { bytes: FileBytes::Known(bytes), .. })) if !identity.settings.is_empty() => {
                identity.settings.iter().any(|setting| !setting.places(bytes).is_empty())
            }
            _ => self.size(path) > 0,
        };
        paths.filter(told).collect()
    }

    /// The names of the captured nodes that stand directly in a folder.
    pub(super) fn names(&self, folder: &str) -> Vec<&str> {
        let Ok(folder) = folder.parse::<GuestPath>() else { return Vec::new() };
        let prefix = format!("{}/", folder.as_str());
        self.nodes
            .range(folder..)
            .take_while(|(path, _)| path.as_str() < format!("{prefix}\u{10ffff}").as_str())
            .filter_map(|(path, _)| path.as_str().strip_prefix(&prefix))
            .filter(|name| !name.contains('/'))
            .collect()
    }

    /// Whether a unit or configuration file is masked: empty, or a link to `/dev/null`.
    pub(super) fn is_mask(&self, path: &str) -> bool {
        match self.node(path) {
            Some(SnapshotNode::Symlink(target)) => target == "/dev/null",
            Some(SnapshotNode::File { bytes, .. }) => match bytes {
                FileBytes::Known(bytes) => bytes.is_empty(),
                FileBytes::Present(size) | FileBytes::TooLarge(size) => *size == 0,
            },
            _ => false,
        }
    }

    /// The configuration of the newest kernel in the image, if there is one.
    pub fn kernel_config(&self) -> Option<String> {
        let names = self.names("/boot");
        let newest = names.iter().filter(|name| name.starts_with("config-")).max()?;
        self.text(&format!("/boot/{newest}")).flatten()
    }

    /// The files that take part, with the SHA-256 of their bytes (of a symbolic link: of its target's text): what a
    /// manifest records. Kernel configurations are the kernel's facts, not the network's.
    pub fn participants(&self) -> BTreeMap<GuestPath, Sha256> {
        let digest = |node: &SnapshotNode| match node {
            SnapshotNode::File { bytes: FileBytes::Known(bytes), .. } => Some(Sha256::of(bytes)),
            SnapshotNode::Symlink(target) => Some(Sha256::of(target.as_bytes())),
            _ => None,
        };
        self.nodes
            .iter()
            .filter(|(path, _)| !path.as_str().starts_with("/boot/") && path.as_str() != "/etc/fstab")
            .filter_map(|(path, node)| Some((path.clone(), digest(node)?)))
            .collect()
    }
}
