//! What each guest makes for itself at its first boot: a unit and a script for every identity that hygiene has taken away.

use super::{Error, Node, NodeKind, Tree, ucf};
use crate::network::{IDENTITIES, Identity, Maker, Remedy, Setting, fits, makes_host_keys};
use crate::values::GuestPath;
use std::fmt::Write as _;

const UNITS: &str = "/usr/lib/systemd/system";
/// Scripts that make identities.
const SCRIPTS: &str = "/usr/lib/goldsmith";

/// Removes identities that the guest can make, and adds what makes them; data only of those that are asked for by name.
/// ssh host keys go in any case: they must not be in an image, and a unit of the recipe's own may make them.
pub(super) fn renew(tree: &mut Tree, asked: &[String], epoch: i64) -> Result<(), Error> {
    for identity in IDENTITIES {
        let files = files(tree, identity)?;
        match &identity.remedy {
            Remedy::Anew(maker) if !files.is_empty() => {
                let (able, ssh) = (able(tree, maker)?, maker.program.ends_with("/ssh-keygen"));
                if able || ssh {
                    let owners = if ssh { String::new() } else { owners(&files) };
                    for (path, _) in &files {
                        tree.remove(path);
                        unlink(tree, path);
                    }
                    if able && !(ssh && tree_makes_host_keys(tree)) {
                        add(tree, identity, maker.before, &format!("{}\n{owners}", maker.command), epoch)?;
                    }
                }
            }
            Remedy::Filled { length } if fill(tree, identity, &files)? => {
                add(tree, identity, &[], &filler(identity, &files, *length), epoch)?;
            }
            Remedy::Asked { folder, keep, maker } if asked.iter().any(|name| name == identity.name) => {
                if !renewable(tree)?.iter().any(|name| name == identity.name) {
                    return Err(Error::Renew { name: identity.name, files: identity.files });
                }
                for folder in tree.expand(folder)? {
                    let children = tree.children(&folder).into_iter().filter(|name| !fits(keep, name));
                    let children: Vec<_> = children.filter_map(|name| folder.join(name).ok()).collect();
                    children.iter().for_each(|child| tree.remove(child));
                }
                add(tree, identity, maker.before, &format!("{}\n", maker.command), epoch)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The data in a tree that its guests could make anew, by the names for `renew`.
pub fn renewable(tree: &Tree) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for identity in IDENTITIES {
        if let Remedy::Asked { maker, .. } = &identity.remedy
            && !files(tree, identity)?.is_empty()
            && able(tree, maker)?
        {
            names.push(identity.name.to_owned());
        }
    }
    Ok(names)
}

/// Whether a guest has what makes an identity.
fn able(tree: &Tree, maker: &Maker) -> Result<bool, Error> {
    Ok(tree.resolve(&maker.program.parse()?).is_some())
}

/// The files of an identity that are in the tree.
fn files(tree: &Tree, identity: &Identity) -> Result<Vec<(GuestPath, Node)>, Error> {
    let is_file = |node: &Node| matches!(node.kind, NodeKind::File(_) | NodeKind::HardLink(_));
    let there = |path: GuestPath| tree.get(&path).filter(|node| is_file(node)).cloned().map(|node| (path, node));
    let mut files = Vec::new();
    for pattern in identity.files {
        files.extend(tree.expand(pattern)?.into_iter().filter_map(there));
    }
    Ok(files)
}

/// In a user namespace the kernel's own files are nobody's, and so is a copy that keeps its owner (`cp --preserve` of
/// `/proc/sys/kernel/random/uuid`). Source: `overflowuid`, user_namespaces(7).
const NOBODY: u32 = 65534;

/// Lines for the shell that give files back the owners and modes that they have; secrets are never nobody's.
fn owners(files: &[(GuestPath, Node)]) -> String {
    let line = |(path, node): &(GuestPath, Node)| {
        let mut meta = node.meta;
        for id in [&mut meta.uid, &mut meta.gid] {
            *id = if *id == NOBODY { 0 } else { *id };
        }
        // A name may be anything.
        let path = format!("'{}'", path.as_str().replace('\'', "'\\''"));
        format!("chown {}:{} {path}\nchmod {:04o} {path}\n", meta.uid, meta.gid, meta.mode)
    };
    files.iter().map(line).collect()
}

/// Empties the settings of an identity, in ucf's copies too. Whether there were any.
fn fill(tree: &mut Tree, identity: &Identity, files: &[(GuestPath, Node)]) -> Result<bool, Error> {
    let mut any = false;
    for (path, _) in files {
        let Ok(Some(old)) = tree.read(path) else { continue };
        let new = emptied(&old, identity.settings);
        if new != old {
            any = true;
            ucf::replace(tree, path, &old, &new)?;
            tree.replace(path, new);
        }
    }
    Ok(any)
}

/// A text without the values of settings.
fn emptied(text: &[u8], settings: &[Setting]) -> Vec<u8> {
    let mut places: Vec<_> = settings.iter().flat_map(|setting| setting.places(text)).collect();
    places.sort_by_key(|place| place.start);
    let mut text = text.to_vec();
    places.into_iter().rev().for_each(|place| drop(text.drain(place)));
    text
}

/// Lines for the shell that put random values where settings are empty.
fn filler(identity: &Identity, files: &[(GuestPath, Node)], length: usize) -> String {
    let mut script = String::new();
    for (path, _) in files {
        for Setting { start, end } in identity.settings {
            // Of a basic regular expression, then in single quotes.
            let special = |char: char| if "$.[]*^\\|".contains(char) { format!("\\{char}") } else { char.to_string() };
            let quoted = |text: &str| text.chars().map(special).collect::<String>().replace('\'', "'\\''");
            let (start, end) = (quoted(start), quoted(&end.to_string()));
            let _ = writeln!(script, "value=$(od -An -v -tx1 -N{} /dev/urandom | tr -d ' \\n')", length / 2);
            let _ = writeln!(script, "sed -i 's|^\\([[:blank:]]*{start}\\){end}|\\1'$value'{end}|' {path}");
        }
    }
    script
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

/// Adds a unit that runs lines of the shell, and what makes it start in time.
fn add(tree: &mut Tree, identity: &Identity, before: &[&str], lines: &str, epoch: i64) -> Result<(), Error> {
    let Identity { name, what, files, remedy, .. } = identity;
    let script = format!(
        "#!/bin/sh\n# This guest's own {what}, which no other has. Written by goldsmith.\nset -eu\numask 077\n{lines}"
    );
    let unit = format!("goldsmith-{name}.service");
    let run = format!("{SCRIPTS}/{name}");
    let mut text = format!("[Unit]\nDescription=This guest's own {what}, made once\n");
    let looked_for = if matches!(remedy, Remedy::Filled { .. }) { &[] } else { *files };
    for file in looked_for {
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
    tree.insert_file(&run, 0o755, epoch, script.as_str())?;
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
        renew(&mut tree, &[], 5).unwrap();
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
        assert!(script.contains("\nchown 0:103 '/etc/ssl/private/ssl-cert-snakeoil.key'\nchmod 0640 '/"), "{script}");
    }

    #[test]
    fn a_unit_of_the_recipes_own_makes_host_keys_alone() {
        let mut tree = tree(&[("/usr/bin/ssh-keygen", 0o755), ("/etc/ssh/ssh_host_rsa_key", 0o600)]);
        let own = "[Service]\nExecStart=/usr/bin/ssh-keygen -A\n";
        tree.insert_file("/etc/systemd/system/keys.service", 0o644, 0, own).unwrap();
        renew(&mut tree, &[], 5).unwrap();
        assert!(tree.get(&"/etc/ssh/ssh_host_rsa_key".parse().unwrap()).is_none());
        assert!(tree.get(&"/usr/lib/goldsmith".parse().unwrap()).is_none());
    }

    #[test]
    fn settings_are_empty_and_filled_by_the_guest() {
        let path = "/etc/roundcube/config.inc.php";
        let copy = "/var/lib/ucf/cache/:etc:roundcube:config.inc.php";
        let mut tree = Tree::new(0);
        let text = "<?php\n$config['des_key'] = 'abc+/=';\n$config['x'] = 'y';\n";
        let empty = "<?php\n$config['des_key'] = '';\n$config['x'] = 'y';\n";
        tree.insert_file(path, 0o640, 0, text).unwrap();
        tree.insert_file(copy, 0o640, 0, text).unwrap();
        renew(&mut tree, &[], 5).unwrap();
        assert_eq!((read(&tree, path), read(&tree, copy)), (empty.to_owned(), empty.to_owned()));
        // As the guest does it, on a file of this machine.
        let script = read(&tree, "/usr/lib/goldsmith/roundcube-key");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.inc.php");
        std::fs::write(&file, empty).unwrap();
        let filled = || {
            let script = script.replace(path, file.to_str().unwrap());
            assert!(std::process::Command::new("sh").args(["-c", &script]).status().unwrap().success());
            std::fs::read_to_string(&file).unwrap()
        };
        let once = filled();
        let value = once.strip_prefix("<?php\n$config['des_key'] = '").unwrap().split('\'').next().unwrap().to_owned();
        assert!(value.len() == 24 && value.bytes().all(|byte| byte.is_ascii_hexdigit()), "{once}");
        assert_eq!(once.replace(&value, ""), empty);
        assert_eq!(filled(), once);
    }

    #[test]
    fn data_are_made_anew_where_they_are_asked_for() {
        let control = "/var/lib/postgresql/15/main/global/pg_control";
        let asked = ["postgresql-cluster".to_owned()];
        let mut tree = tree(&[(control, 0o600), ("/usr/lib/systemd/system/postgresql@.service", 0o644)]);
        let refused = renew(&mut tree, &asked, 5).unwrap_err().to_string();
        assert!(refused.starts_with("`renew` names postgresql-cluster, and the image has no /var/lib/"), "{refused}");
        tree.insert_file("/usr/bin/pg_createcluster", 0o755, 0, "x").unwrap();
        renew(&mut tree, &[], 5).unwrap();
        assert_eq!(read(&tree, control), "secret");
        renew(&mut tree, &asked, 5).unwrap();
        let data: GuestPath = "/var/lib/postgresql/15/main".parse().unwrap();
        assert!(tree.get(&data).is_some() && tree.children(&data).is_empty());
        let unit = read(&tree, "/usr/lib/systemd/system/goldsmith-postgresql-cluster.service");
        assert!(unit.contains("ConditionPathExistsGlob=|!/var/lib/postgresql/*/main/global/pg_control\n"), "{unit}");
        assert!(
            read(&tree, "/usr/lib/systemd/system/postgresql@.service.d/postgresql-cluster.conf").contains("Wants=")
        );
    }

    #[test]
    fn every_identity_is_documented() {
        let page = include_str!("../../docs/guest.md");
        for file in IDENTITIES.iter().flat_map(|identity| identity.files) {
            assert!(page.contains(file), "{file} is not in docs/guest.md");
        }
    }
}
