//! Enabling, disabling and masking systemd units, as `systemctl --root` does. Source: systemd.unit(5), systemctl(1).

use super::{Error, NodeKind, Tree};
use crate::recipe::Units;
use crate::values::{GuestPath, did_you_mean};
use std::collections::BTreeSet;

/// Where units are, strongest first (systemd.unit(5), "Unit File Load Path").
const UNIT_FOLDERS: [&str; 3] = ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"];
const ETC: &str = "/etc/systemd/system";

/// Applies a recipe's `units:` to a tree.
pub fn apply(tree: &mut Tree, units: &Units, epoch: i64) -> Result<(), Error> {
    for name in &units.disable {
        find(tree, name)?;
        disable(tree, name)?;
    }
    let mut enabled = BTreeSet::new();
    for name in &units.enable {
        enable(tree, name, epoch, &mut enabled)?;
    }
    for name in &units.mask {
        let link = format!("{ETC}/{name}");
        tree.remove(&link.parse()?);
        tree.insert_link(&link, "/dev/null", epoch)?;
    }
    if let Some(target) = &units.default {
        let path = find(tree, target)?;
        let link = format!("{ETC}/default.target");
        tree.remove(&link.parse()?);
        tree.insert_link(&link, path.as_str(), epoch)?;
    }
    Ok(())
}

/// The unit file for a name: itself, or its template.
fn find(tree: &Tree, name: &str) -> Result<GuestPath, Error> {
    let template = name.split_once('@').and_then(|(stem, rest)| Some(format!("{stem}@.{}", rest.rsplit_once('.')?.1)));
    for file in std::iter::once(name).chain(template.as_deref()) {
        for folder in UNIT_FOLDERS {
            let path: GuestPath = format!("{folder}/{file}").parse()?;
            if tree.resolve(&path).is_some() {
                return Ok(path);
            }
        }
    }
    let known: Vec<_> = UNIT_FOLDERS.iter().filter_map(|folder| folder.parse().ok()).collect();
    let known = known.iter().flat_map(|folder| tree.children(folder));
    Err(Error::Missing { what: "unit", name: name.to_owned(), similar: did_you_mean(name, known).map(str::to_owned) })
}

fn enable(tree: &mut Tree, name: &str, epoch: i64, enabled: &mut BTreeSet<String>) -> Result<(), Error> {
    if !enabled.insert(name.to_owned()) {
        return Ok(());
    }
    let path = find(tree, name)?;
    let text = tree.read(&path).map_err(|cause| Error::Host { path: path.as_str().into(), cause })?.unwrap_or_default();
    let install = Install::parse(&String::from_utf8_lossy(&text));
    if install.is_empty() {
        let problem = "it has no [Install] section; something else has to start it".to_owned();
        return Err(Error::Unit { name: name.to_owned(), problem });
    }
    for (targets, suffix) in [(&install.wanted_by, "wants"), (&install.required_by, "requires")] {
        for target in targets {
            tree.insert_link(&format!("{ETC}/{target}.{suffix}/{name}"), path.as_str(), epoch)?;
        }
    }
    for alias in &install.alias {
        tree.insert_link(&format!("{ETC}/{alias}"), path.as_str(), epoch)?;
    }
    for other in &install.also {
        // As systemctl, a unit that is only mentioned may be missing.
        if find(tree, other).is_ok() {
            enable(tree, other, epoch, enabled)?;
        }
    }
    Ok(())
}

/// Removes every link in `/etc/systemd/system` that is named like the unit or leads to it.
fn disable(tree: &mut Tree, name: &str) -> Result<(), Error> {
    let folder: GuestPath = ETC.parse()?;
    let leads_there = |path: &GuestPath, target: &str| {
        let own_mask = target == "/dev/null";
        !own_mask && (path.name() == name || target.rsplit('/').next() == Some(name))
    };
    let links: Vec<_> = tree
        .below(&folder)
        .filter(|(path, node)| matches!(&node.kind, NodeKind::Symlink(target) if leads_there(path, target)))
        .map(|(path, _)| path.clone())
        .collect();
    links.iter().for_each(|link| tree.remove(link));
    Ok(())
}

/// The `[Install]` section of a unit file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Install {
    wanted_by: Vec<String>,
    required_by: Vec<String>,
    alias: Vec<String>,
    also: Vec<String>,
}

impl Install {
    fn parse(text: &str) -> Self {
        let mut install = Self::default();
        let mut inside = false;
        for line in text.replace("\\\n", " ").lines().map(str::trim) {
            if line.starts_with('[') {
                inside = line == "[Install]";
            }
            let Some((key, value)) = line.split_once('=').filter(|_| inside && !line.starts_with(['#', ';'])) else {
                continue;
            };
            let list = match key.trim() {
                "WantedBy" => &mut install.wanted_by,
                "RequiredBy" => &mut install.required_by,
                "Alias" => &mut install.alias,
                "Also" => &mut install.also,
                _ => continue,
            };
            if value.trim().is_empty() {
                list.clear();
            }
            list.extend(value.split_whitespace().map(str::to_owned));
        }
        install
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Tree {
        let mut tree = Tree::new(0);
        let unit = |text: &str| format!("[Unit]\nWantedBy=nobody\n[Install]\n{text}\n");
        for (name, text) in [
            ("ssh.service", unit("WantedBy=multi-user.target\nAlias=sshd.service\nAlso=ssh.socket missing.socket")),
            ("ssh.socket", unit("WantedBy=sockets.target")),
            ("getty@.service", unit("WantedBy=getty.target")),
            ("static.service", "[Service]\nExecStart=/x\n".to_owned()),
            ("multi-user.target", "[Unit]\n".to_owned()),
        ] {
            tree.insert_file(&format!("/usr/lib/systemd/system/{name}"), 0o644, 0, text.as_str()).unwrap();
        }
        tree
    }

    fn links(tree: &Tree) -> Vec<String> {
        let link = |(path, node): (&GuestPath, &super::super::Node)| match &node.kind {
            NodeKind::Symlink(target) => Some(format!("{} -> {target}", path.as_str().strip_prefix(ETC)?)),
            _ => None,
        };
        tree.iter().filter_map(link).collect()
    }

    fn units(enable: &[&str], disable: &[&str], mask: &[&str]) -> Units {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Units { enable: list(enable), disable: list(disable), mask: list(mask), default: None }
    }

    #[test]
    fn enabling_makes_the_links_that_systemctl_makes() {
        let mut tree = sample();
        apply(&mut tree, &units(&["ssh.service", "getty@tty1.service"], &[], &["ssh.socket"]), 0).unwrap();
        assert_eq!(
            links(&tree),
            [
                "/getty.target.wants/getty@tty1.service -> /usr/lib/systemd/system/getty@.service",
                "/multi-user.target.wants/ssh.service -> /usr/lib/systemd/system/ssh.service",
                "/sockets.target.wants/ssh.socket -> /usr/lib/systemd/system/ssh.socket",
                "/ssh.socket -> /dev/null",
                "/sshd.service -> /usr/lib/systemd/system/ssh.service",
            ]
        );
        apply(&mut tree, &units(&[], &["ssh.service"], &[]), 0).unwrap();
        assert_eq!(links(&tree).len(), 3);
    }

    #[test]
    fn unknown_and_static_units_are_errors() {
        let mut tree = sample();
        let error = apply(&mut tree, &units(&["shh.service"], &[], &[]), 0).unwrap_err().to_string();
        assert!(error.contains("did you mean `ssh.service`"), "{error}");
        assert!(
            apply(&mut tree, &units(&["static.service"], &[], &[]), 0).unwrap_err().to_string().contains("[Install]")
        );
    }
}
