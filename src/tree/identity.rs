//! What each guest makes for itself at its first boot: a unit and a script for every identity that hygiene has taken away.

use super::{Error, Node, NodeKind, Tree};
use crate::network::{IDENTITIES, Identity, Remedy, makes_host_keys};
use crate::values::GuestPath;
use std::convert::Infallible;
use std::fmt::Write as _;

const UNITS: &str = "/usr/lib/systemd/system";
/// Scripts that make identities.
const SCRIPTS: &str = "/usr/lib/goldsmith";

/// Removes identities that the guest can make, and adds what makes them. ssh host keys go in any case: they must not be in an image,
/// and a unit of the recipe's own may make them.
pub(super) fn renew(tree: &mut Tree, epoch: i64) -> Result<(), Error> {
    for identity in IDENTITIES {
        let Remedy::Anew { program, command, before } = identity.remedy else { continue };
        let ssh = program.ends_with("/ssh-keygen");
        let able = tree.resolve(&program.parse()?).is_some();
        let files = files(tree, identity);
        if files.is_empty() || !able && !ssh {
            continue;
        }
        let mut script = format!(
            "#!/bin/sh\n# This guest's own {}, which no other has. Written by goldsmith.\nset -eu\numask 077\n{command}\n",
            identity.what
        );
        for (path, node) in files {
            tree.remove(&path);
            unlink(tree, &path);
            if !ssh {
                let _ = writeln!(
                    script,
                    "chown {}:{} {path}\nchmod {:04o} {path}",
                    node.meta.uid, node.meta.gid, node.meta.mode
                );
            }
        }
        if able && !(ssh && tree_makes_host_keys(tree)) {
            add(tree, identity, before, &script, epoch)?;
        }
    }
    Ok(())
}

/// The files of an identity that are in the tree.
fn files(tree: &Tree, identity: &Identity) -> Vec<(GuestPath, Node)> {
    let names =
        |folder: &GuestPath| Ok::<_, Infallible>(tree.children(folder).into_iter().map(str::to_owned).collect());
    let Ok(paths) = identity.paths(&names);
    let is_file = |node: &Node| matches!(node.kind, NodeKind::File(_) | NodeKind::HardLink(_));
    let there = |path: GuestPath| tree.get(&path).filter(|node| is_file(node)).cloned().map(|node| (path, node));
    paths.into_iter().filter_map(there).collect()
}

/// Removes the links beside a file that led to it, as those by which certificates are found.
fn unlink(tree: &mut Tree, path: &GuestPath) {
    let Some(folder) = path.parent() else { return };
    let leads = |node: &Node| matches!(&node.kind, NodeKind::Symlink(target) if target == path.name() || target == path.as_str());
    let links: Vec<_> = tree.below(&folder).filter(|(_, node)| leads(node)).map(|(path, _)| path.clone()).collect();
    links.iter().for_each(|link| tree.remove(link));
}

fn tree_makes_host_keys(tree: &Tree) -> bool {
    let folders = ["/etc/systemd/system", "/usr/local/lib/systemd/system", UNITS];
    folders.iter().filter_map(|folder| folder.parse().ok()).any(|folder: GuestPath| {
        let units = tree.below(&folder).filter(|(path, _)| path.name().ends_with(".service"));
        units.map(|(path, _)| path).any(|path| matches!(tree.read(path), Ok(Some(bytes)) if makes_host_keys(&bytes)))
    })
}

fn add(tree: &mut Tree, identity: &Identity, before: &[&str], script: &str, epoch: i64) -> Result<(), Error> {
    let Identity { name, what, files, .. } = identity;
    let unit = format!("goldsmith-{name}.service");
    let run = format!("{SCRIPTS}/{name}");
    let mut text = format!("[Unit]\nDescription=This guest's own {what}, made once\n");
    for file in *files {
        // Made when any of them is missing or empty (systemd.unit(5), "triggering conditions").
        let condition = if file.contains('*') { "ConditionPathExistsGlob" } else { "ConditionFileNotEmpty" };
        let _ = writeln!(text, "{condition}=|!{file}");
    }
    if before.is_empty() {
        text += "DefaultDependencies=no\nAfter=local-fs.target\nConflicts=shutdown.target\nBefore=sysinit.target shutdown.target\n";
    }
    text += &format!(
        "\n[Service]\nType=oneshot\nExecStart={run}\nNoNewPrivileges=yes\nPrivateNetwork=yes\nProtectHome=yes\n"
    );
    tree.insert_file(&run, 0o755, epoch, script)?;
    tree.insert_file(&format!("{UNITS}/{unit}"), 0o644, epoch, text.as_str())?;
    if before.is_empty() {
        return tree.insert_link(&format!("{UNITS}/sysinit.target.wants/{unit}"), &format!("../{unit}"), epoch);
    }
    let wanted = format!("[Unit]\nWants={unit}\nAfter={unit}\n");
    for user in before {
        if tree.resolve(&format!("{UNITS}/{user}").parse()?).is_some() {
            tree.insert_file(&format!("{UNITS}/{user}.d/{name}.conf"), 0o644, epoch, wanted.as_str())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, u16)]) -> Tree {
        let mut tree = Tree::new(0);
        for (path, mode) in files {
            tree.insert_file(path, *mode, 0, "secret").unwrap();
        }
        tree
    }

    fn read(tree: &Tree, path: &str) -> String {
        String::from_utf8(tree.read(&path.parse().unwrap()).unwrap().unwrap_or_default()).unwrap()
    }

    #[test]
    fn what_the_guest_can_make_is_taken_away_and_made_by_a_unit() {
        let mut tree = tree(&[
            ("/usr/bin/ssh-keygen", 0o755),
            ("/etc/ssh/ssh_host_ed25519_key", 0o600),
            ("/etc/ssh/ssh_host_ed25519_key.pub", 0o644),
            ("/usr/lib/systemd/system/ssh.service", 0o644),
            ("/usr/sbin/make-ssl-cert", 0o755),
            ("/etc/ssl/private/ssl-cert-snakeoil.key", 0o640),
            ("/etc/ssl/certs/ssl-cert-snakeoil.pem", 0o644),
            ("/etc/bind/rndc.key", 0o640),
        ]);
        tree.insert_link("/etc/ssl/certs/8d89cda1.0", "ssl-cert-snakeoil.pem", 0).unwrap();
        tree.get_mut(&"/etc/ssl/private/ssl-cert-snakeoil.key".parse().unwrap()).unwrap().meta.gid = 103;
        renew(&mut tree, 5).unwrap();
        for gone in
            ["/etc/ssh/ssh_host_ed25519_key.pub", "/etc/ssl/private/ssl-cert-snakeoil.key", "/etc/ssl/certs/8d89cda1.0"]
        {
            assert!(tree.get(&gone.parse().unwrap()).is_none(), "{gone}");
        }
        // Without its program the key cannot be made; a rule refuses the image.
        assert_eq!(read(&tree, "/etc/bind/rndc.key"), "secret");
        // The rule about sshd without host keys sees that unit.
        tree.insert_file("/usr/sbin/sshd", 0o755, 0, "x").unwrap();
        let wanted = "/etc/systemd/system/multi-user.target.wants/ssh.service";
        tree.insert_link(wanted, "/usr/lib/systemd/system/ssh.service", 0).unwrap();
        let keyless = |tree: &Tree| crate::network::capture("image", tree).unwrap().keyless_sshd;
        assert_eq!(keyless(&tree), None);
        let mut without = tree.clone();
        without.remove(&"/usr/lib/systemd/system/goldsmith-ssh-host-keys.service".parse().unwrap());
        assert_eq!(keyless(&without).as_deref(), Some("ssh.service"));
        let conf = read(&tree, "/usr/lib/systemd/system/ssh.service.d/ssh-host-keys.conf");
        assert_eq!(conf, "[Unit]\nWants=goldsmith-ssh-host-keys.service\nAfter=goldsmith-ssh-host-keys.service\n");
        let unit = read(&tree, "/usr/lib/systemd/system/sysinit.target.wants/goldsmith-snakeoil-certificate.service");
        assert!(unit.contains("ConditionFileNotEmpty=|!/etc/ssl/certs/ssl-cert-snakeoil.pem\n"), "{unit}");
        let script = read(&tree, "/usr/lib/goldsmith/snakeoil-certificate");
        assert!(script.contains("\nchown 0:103 /etc/ssl/private/ssl-cert-snakeoil.key\nchmod 0640 /"), "{script}");
    }

    #[test]
    fn a_unit_of_the_recipes_own_makes_host_keys_alone() {
        let mut tree = tree(&[("/usr/bin/ssh-keygen", 0o755), ("/etc/ssh/ssh_host_rsa_key", 0o600)]);
        let own = "[Service]\nExecStart=/usr/bin/ssh-keygen -A\n";
        tree.insert_file("/etc/systemd/system/keys.service", 0o644, 0, own).unwrap();
        renew(&mut tree, 5).unwrap();
        assert!(tree.get(&"/etc/ssh/ssh_host_rsa_key".parse().unwrap()).is_none());
        assert!(tree.get(&"/usr/lib/goldsmith".parse().unwrap()).is_none());
    }

    #[test]
    fn every_identity_is_documented() {
        let page = include_str!("../../docs/guest.md");
        for file in IDENTITIES.iter().flat_map(|identity| identity.files) {
            assert!(page.contains(file), "{file} is not in docs/guest.md");
        }
    }
}
