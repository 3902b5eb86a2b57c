//! What packages do besides running scripts: diversions, alternatives, statoverrides, ucf, units, accounts, init scripts,
//! settings of dpkg and apt, triggers, configuration files. Many made packages are installed at once, by goldsmith and by
//! mmdebstrap with the real dpkg and apt: what is expected is true of both trees, and the trees are the same.

mod accounts;
#[path = "../common/mod.rs"]
mod common;
mod files;
mod settings;
mod triggers;
mod units;

use common::package::Package;
use common::peer::{self, Explained, Way};
use common::workshop::Workshop;
use common::{cache, is_root};
use goldsmith::debian::{self, Role};
use goldsmith::install;
use goldsmith::progress::Silent;
use goldsmith::sandbox::Limits;
use goldsmith::store::Store;
use goldsmith::tree::{NodeKind, Tree};
use std::os::unix::fs::symlink;

/// What one mechanism needs, and what it leaves.
#[derive(Default)]
struct Mechanism {
    name: &'static str,
    packages: Vec<(&'static str, Package)>,
    /// Paths and what they are, as [`shown`] has it.
    leaves: Vec<(&'static str, &'static str)>,
    /// Paths and a part of their text.
    says: Vec<(&'static str, &'static str)>,
    /// Paths and a text that is no part of theirs.
    never: Vec<(&'static str, &'static str)>,
    /// Where the trees differ, and why.
    differs: Vec<Explained>,
}

/// What the image has besides the made packages.
const RECIPE: &str = "\
schema: goldsmith/v1
name: made
distribution: { name: debian, suite: bookworm }
architecture: amd64
image: { size: 1G }
packages: [systemd-sysv, ucf, adduser, python3]
kernel: { package: linux-image-cloud-amd64 }
network: { interface: eth0, mode: dhcp }
allow: [{ rule: NET-D008, reason: it is not booted }, { rule: NET-G002, reason: it is not booted }]
";

/// A workshop with the recipe, its lock, and the made packages in both.
fn workshop(made: Vec<(&'static str, Package)>) -> Workshop {
    let workshop = Workshop::empty();
    std::fs::create_dir_all(workshop.cache("")).unwrap();
    std::fs::create_dir_all(cache().join("v1/files")).unwrap();
    symlink(cache().join("v1/files"), workshop.cache("files")).unwrap();
    // The kernel's layers are everybody's; that of the packages is made anew.
    for name in ["locks", "layers/unpacked", "layers/vmlinux"] {
        std::fs::create_dir_all(cache().join("v1").join(name)).unwrap();
        std::fs::create_dir_all(workshop.cache(name).parent().unwrap()).unwrap();
        symlink(cache().join("v1").join(name), workshop.cache(name)).unwrap();
    }
    workshop.write("recipes/made.yaml", RECIPE);
    workshop.run(&["lock", "recipes/made.yaml"]).succeeded();
    let store = Store::at(&workshop.path("cache")).unwrap();
    debian::fetch(&workshop.lock("recipes/made.lock"), &store, false, &Silent).unwrap();
    let workshop = workshop.with_own_files("recipes/made.lock", &[]);
    workshop.relock("recipes/made.lock", |lock| {
        lock.packages.extend(made.into_iter().map(|(name, package)| workshop.fetched(name, package)));
    });
    workshop
}

fn script(lines: &str) -> String {
    format!("#!/bin/sh\nset -e\n{lines}\n")
}

/// `-> TARGET`, `folder MODE OWNER`, `MODE OWNER TEXT`, or `nothing`.
fn shown(tree: &Tree, path: &str) -> String {
    let path = path.parse().unwrap();
    let Some(node) = tree.get(&path) else { return "nothing".to_owned() };
    let owner = format!("{:04o} {}:{}", node.meta.mode, node.meta.uid, node.meta.gid);
    match &node.kind {
        NodeKind::Symlink(target) => format!("-> {target}"),
        NodeKind::Directory => format!("folder {owner}"),
        _ => format!("{owner} {}", text(tree, path.as_str()).trim_end()),
    }
}

fn text(tree: &Tree, path: &str) -> String {
    let bytes = tree.read(&path.parse().unwrap()).unwrap().unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What is not as expected in a tree.
fn wrong(mechanism: &Mechanism, tree: &Tree) -> Vec<String> {
    let name = mechanism.name;
    let leaves = mechanism.leaves.iter().filter_map(|(path, expected)| {
        let found = shown(tree, path);
        (found != *expected).then(|| format!("{name}: {path} is `{found}`, not `{expected}`"))
    });
    let says = mechanism.says.iter().filter_map(|(path, part)| {
        let found = text(tree, path);
        (!found.contains(part)).then(|| format!("{name}: {path} lacks `{part}`: {found}"))
    });
    let never = mechanism.never.iter().filter(|(path, part)| text(tree, path).contains(part));
    leaves.chain(says).chain(never.map(|(path, part)| format!("{name}: {path} has `{part}`"))).collect()
}

#[test]
fn packages_find_all_of_debians_mechanisms() {
    if !is_root("comparing owners with mmdebstrap's tree") {
        return;
    }
    let mut mechanisms: Vec<_> =
        [files::all(), accounts::all(), units::all(), settings::all(), triggers::all()].into_iter().flatten().collect();
    let made = mechanisms.iter_mut().flat_map(|mechanism| mechanism.packages.drain(..)).collect();
    let workshop = workshop(made);
    let run = workshop.run(&["build", "recipes/made.yaml", "--offline"]);
    run.succeeded();
    run.failed(0, &["no apt runs in a build, nor do its hooks: /etc/apt/apt.conf.d/99made (apt-hooks)\n"]);
    let store = Store::at(&workshop.path("cache")).unwrap();
    let lock = workshop.lock("recipes/made.lock");
    let packages = debian::fetch(&lock, &store, true, &Silent).unwrap();
    let include: Vec<_> = lock.of_role(Role::Rootfs).map(|package| package.name.clone()).collect();
    let ours = install::base(&lock, &packages, &[], Limits::default(), &store, &Silent).unwrap();
    let theirs = peer::tree(&packages, &include, lock.epoch);
    let known: Vec<Explained> = mechanisms.iter().flat_map(|mechanism| mechanism.differs.iter().copied()).collect();
    let mut problems = Vec::new();
    for mechanism in &mechanisms {
        problems.extend(wrong(mechanism, &theirs).into_iter().map(|line| format!("dpkg's tree: {line}")));
        problems.extend(wrong(mechanism, &ours).into_iter().map(|line| format!("our tree: {line}")));
    }
    problems.extend(peer::differences(&theirs, &ours, lock.epoch, &known));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
