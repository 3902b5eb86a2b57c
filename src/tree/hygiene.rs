//! Hygiene: what one machine must not hand to all its clones, and what a build leaves behind that no image needs.

use super::{Error, Node, NodeKind, Tree};
use crate::values::GuestPath;

/// What is done to a path.
#[derive(Clone, Copy)]
enum Rule {
    /// Removed.
    Remove,
    /// Everything below it is removed.
    Clear,
    /// Regular files below it become empty; rotated copies go.
    Empty,
}

/// Paths, what is done to them, and why.
const RULES: &[(&str, Rule, &str)] = &[
    (
        "/var/lib/systemd/random-seed",
        Rule::Remove,
        "clones would start with the same entropy (systemd BUILDING_IMAGES)",
    ),
    ("/var/lib/systemd/credential.secret", Rule::Remove, "a secret of one machine (systemd BUILDING_IMAGES)"),
    ("/loader/random-seed", Rule::Remove, "as random-seed"),
    ("/var/lib/dhcp", Rule::Clear, "leases of the build machine"),
    ("/var/lib/dhcpcd", Rule::Clear, "leases and a DUID that must not be copied"),
    ("/var/lib/NetworkManager", Rule::Clear, "leases, secret key"),
    ("/var/lib/cloud", Rule::Clear, "cloud-init would believe that it has run"),
    ("/etc/udev/rules.d/70-persistent-net.rules", Rule::Remove, "pins names to one machine's MAC addresses"),
    ("/var/lib/apt/lists", Rule::Clear, "stale in an hour; `apt-get update` makes them"),
    ("/var/cache/apt", Rule::Clear, "caches of the lists"),
    ("/var/cache/debconf/config.dat-old", Rule::Remove, "a backup"),
    ("/var/cache/debconf/templates.dat-old", Rule::Remove, "a backup"),
    ("/var/cache/ldconfig/aux-cache", Rule::Remove, "holds inode numbers of the build machine"),
    ("/var/lib/dpkg/status-old", Rule::Remove, "a backup"),
    ("/var/lib/dpkg/diversions-old", Rule::Remove, "a backup"),
    ("/var/lib/dpkg/statoverride-old", Rule::Remove, "a backup"),
    ("/var/lib/dpkg/lock", Rule::Remove, "of the build"),
    ("/var/lib/dpkg/lock-frontend", Rule::Remove, "of the build"),
    ("/var/lib/dpkg/triggers/Lock", Rule::Remove, "of the build"),
    ("/var/log", Rule::Empty, "log of the build, with its times"),
    ("/tmp", Rule::Clear, "a mount in the guest"),
    ("/var/tmp", Rule::Clear, "scratch of the build"),
    ("/run", Rule::Clear, "a mount in the guest"),
    ("/var/lib/sgml-base/supercatalog.old", Rule::Remove, "a backup"),
    ("/usr/share/info/dir.old", Rule::Remove, "a backup"),
    ("/var/lib/ucf/hashfile.*", Rule::Remove, "backups"),
    ("/var/lib/ucf/registry.*", Rule::Remove, "backups"),
    ("/etc/passwd-", Rule::Remove, "a backup"),
    ("/etc/group-", Rule::Remove, "a backup"),
    ("/etc/shadow-", Rule::Remove, "a backup"),
    ("/etc/gshadow-", Rule::Remove, "a backup"),
    ("/etc/subuid-", Rule::Remove, "a backup"),
    ("/etc/subgid-", Rule::Remove, "a backup"),
    ("/etc/.pwd.lock", Rule::Remove, "of the build"),
    ("/root/.bash_history", Rule::Remove, "of the build"),
];

/// Applies the rules, and the identity of a machine that has none yet: an empty machine-id (an empty file is no first
/// boot, a missing one is: machine-id(5)), D-Bus's as a link to it, no ssh host keys or other identities that the guest makes anew. `renew` names
/// data that it makes anew besides.
pub fn hygiene(tree: &mut Tree, renew: &[String], epoch: i64) -> Result<(), Error> {
    for (path, rule, _) in RULES {
        for path in tree.expand(path)? {
            match rule {
                Rule::Remove => tree.remove(&path),
                Rule::Clear => clear(tree, &path),
                Rule::Empty => empty(tree, &path, epoch),
            }
        }
    }
    super::berkeley::settle(tree, epoch)?;
    super::keystore::settle(tree, epoch)?;
    super::identity::renew(tree, renew, epoch)?;
    tree.remove(&"/etc/machine-id".parse()?);
    tree.insert_file("/etc/machine-id", 0o444, epoch, "")?;
    tree.remove(&"/var/lib/dbus/machine-id".parse()?);
    tree.insert_link("/var/lib/dbus/machine-id", "/etc/machine-id", epoch)
}

fn clear(tree: &mut Tree, directory: &GuestPath) {
    let Some(place) = tree.resolve(directory) else { return };
    let children: Vec<_> = tree.children(&place).iter().filter_map(|name| place.join(name).ok()).collect();
    children.iter().for_each(|child| tree.remove(child));
}

fn empty(tree: &mut Tree, directory: &GuestPath, epoch: i64) {
    let files: Vec<_> = tree
        .below(directory)
        .filter(|(_, node)| matches!(node.kind, NodeKind::File(_)))
        .map(|(path, _)| path.clone())
        .collect();
    for path in files {
        if let Some(node) = tree.get_mut(&path) {
            *node = Node { kind: NodeKind::File("".into()), ..node.clone() };
            node.meta.mtime = epoch;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_is_removed_and_every_rule_has_a_reason() {
        let mut tree = Tree::new(0);
        for path in [
            "/etc/ssh/ssh_host_rsa_key",
            "/etc/ssh/sshd_config",
            "/var/log/dpkg.log",
            "/var/lib/dhcp/x.lease",
            "/tmp/x",
        ] {
            tree.insert_file(path, 0o600, 0, "secret").unwrap();
        }
        tree.insert_file("/etc/machine-id", 0o444, 0, "0123").unwrap();
        hygiene(&mut tree, &[], 5).unwrap();
        let read = |path: &str| tree.read(&path.parse().unwrap()).unwrap();
        assert_eq!(read("/etc/machine-id"), Some(Vec::new()));
        assert_eq!(read("/var/lib/dbus/machine-id"), Some(Vec::new()));
        assert_eq!(read("/var/log/dpkg.log"), Some(Vec::new()));
        assert_eq!(read("/etc/ssh/sshd_config"), Some(b"secret".to_vec()));
        for path in ["/etc/ssh/ssh_host_rsa_key", "/var/lib/dhcp/x.lease", "/tmp/x"] {
            assert_eq!(read(path), None, "{path}");
        }
        assert!(RULES.iter().all(|(_, _, reason)| !reason.is_empty()));
    }
}
