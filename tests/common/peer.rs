//! The tree that mmdebstrap makes of the same packages, and how ours may differ from it.

use super::{need, succeed};
use goldsmith::debian::{Deb, FetchedPackage, Role};
use goldsmith::image::{Change, Difference, diff, of_tree};
use goldsmith::tree::{self, Tree};
use goldsmith::values::{GuestPath, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// In what way a path may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Only mmdebstrap's tree has it. A path ending in `/**` stands for everything below it.
    Theirs,
    /// Only ours has it.
    Ours,
    /// Both have the same lines, in another order.
    Order,
    /// Both have it, and not the same.
    Other,
}

/// A path, in what way it may differ, and why.
pub type Explained = (&'static str, Way, &'static str);

/// Where the two trees may differ, and why. Whatever is not here is the same: type, mode, owner, content, link target,
/// extended attributes, names of one file.
const DIFFERENCES: &[Explained] = &[
    ("/dev/**", Way::Theirs, "mmdebstrap makes device nodes; a guest's kernel mounts devtmpfs over them"),
    ("/run/**", Way::Theirs, "a mount in the guest; ours was one while packages were configured"),
    ("/etc/apt/**", Way::Theirs, "mmdebstrap's sources and folders of apt, which is not installed"),
    ("/var/lib/apt", Way::Theirs, "state of the apt that mmdebstrap ran"),
    ("/var/lib/apt/**", Way::Theirs, "state of the apt that mmdebstrap ran"),
    ("/var/cache/apt", Way::Theirs, "cache of the apt that mmdebstrap ran"),
    ("/var/cache/apt/**", Way::Theirs, "cache of the apt that mmdebstrap ran"),
    ("/var/log/apt", Way::Theirs, "log of the apt that mmdebstrap ran"),
    ("/var/lib/dpkg/arch", Way::Theirs, "mmdebstrap's note of the architecture; dpkg knows its own"),
    ("/etc/fstab", Way::Theirs, "an empty file of mmdebstrap's"),
    ("/etc/hostname", Way::Theirs, "mmdebstrap copies the build machine's; goldsmith writes the recipe's"),
    ("/etc/resolv.conf", Way::Theirs, "mmdebstrap copies the build machine's; goldsmith writes the recipe's"),
    (
        "/etc/.resolv.conf.systemd-resolved.bak",
        Way::Other,
        "systemd-resolved keeps the build machine's; goldsmith's is empty",
    ),
    (
        "/var/cache/fontconfig/**",
        Way::Ours,
        "under a fixed epoch fc-cache deletes what it has written (install::fonts)",
    ),
    (
        "/etc/machine-id",
        Way::Other,
        "mmdebstrap empties it at its end; goldsmith when the image is made (tree::hygiene)",
    ),
    ("/var/cache/ldconfig/aux-cache", Way::Ours, "mmdebstrap deletes it at its end; goldsmith when the image is made"),
    ("/var/log/dpkg.log", Way::Ours, "mmdebstrap deletes it at its end; goldsmith empties it when the image is made"),
    (
        "/var/log/alternatives.log",
        Way::Ours,
        "mmdebstrap deletes it at its end; goldsmith empties it when the image is made",
    ),
    ("/etc/group", Way::Order, "packages are configured in another order"),
    ("/etc/gshadow", Way::Order, "packages are configured in another order"),
    ("/etc/shadow", Way::Order, "packages are configured in another order"),
    ("/etc/shells", Way::Order, "packages are configured in another order"),
    ("/var/lib/dpkg/triggers/File", Way::Order, "packages are unpacked in another order"),
    ("/etc/passwd-", Way::Other, "the state before the last change; deleted when the image is made"),
    ("/etc/group-", Way::Other, "the state before the last change; deleted when the image is made"),
    ("/etc/shadow-", Way::Other, "the state before the last change; deleted when the image is made"),
    ("/etc/gshadow-", Way::Other, "the state before the last change; deleted when the image is made"),
    ("/var/lib/dpkg/status-old", Way::Other, "the state before the last change; deleted when the image is made"),
    (
        "/usr/bin/uncompress",
        Way::Other,
        "one file with /usr/bin/gunzip in the package and after `dpkg --unpack`; mmdebstrap unpacks essential packages twice, which parts them",
    ),
];

/// A tree of mmdebstrap's. Its files are read from a folder that is deleted with the value.
pub struct Peer {
    tree: Tree,
    _folder: tempfile::TempDir,
}

impl std::ops::Deref for Peer {
    type Target = Tree;

    fn deref(&self) -> &Tree {
        &self.tree
    }
}

/// The tree that mmdebstrap makes of these packages: the essential ones, those named in `include` and what they need. `epoch`
/// is in seconds since 1970.
pub fn tree(packages: &[FetchedPackage], include: &[String], epoch: i64) -> Peer {
    need("mmdebstrap", "apt-get install mmdebstrap");
    let folder = tempfile::tempdir().unwrap();
    let (source, root) = (folder.path().join("source"), folder.path().join("root"));
    fs::create_dir(&source).unwrap();
    repository(packages, &source);
    // Scripts write the name of the machine into files, as they find it in the network.
    let mut mmdebstrap = Command::new("unshare");
    mmdebstrap.args([
        "--uts",
        "--net",
        // What it mounts goes with it, however it ends.
        "--mount",
        "--kill-child",
        "sh",
        "-c",
        "hostname localhost && ip link set lo up && exec mmdebstrap \"$@\"",
        "sh",
    ]);
    // Nothing of this machine's environment: scripts see it (PYTHONDONTWRITEBYTECODE).
    mmdebstrap
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        // As in goldsmith's sandbox: iperf3's script asks a question only if there is one.
        .env("TERM", "dumb")
        // As goldsmith answers dpkg's questions about configuration files.
        .env("DPKG_FORCE", "confdef,confold");
    mmdebstrap.env("SOURCE_DATE_EPOCH", epoch.to_string()).args(["--mode=root", "--variant=essential"]);
    mmdebstrap.arg(format!("--include={}", include.join(",")));
    mmdebstrap.args(["--skip=check/empty", "bookworm"]).arg(&root);
    mmdebstrap.arg(format!("deb [trusted=yes] copy://{} bookworm main", source.display()));
    succeed(&mut mmdebstrap);
    Peer { tree: tree::capture(&root, epoch).unwrap(), _folder: folder }
}

/// Differences from mmdebstrap's tree to ours, both made at `epoch` (seconds since 1970), that nobody has explained, neither here nor in `more`; times too.
pub fn differences(theirs: &Tree, ours: &Tree, epoch: i64, more: &[Explained]) -> Vec<String> {
    let known: Vec<Explained> = DIFFERENCES.iter().chain(more).copied().collect();
    let timeless = |tree: &Tree| {
        let mut inventory = of_tree(tree).unwrap();
        inventory.values_mut().for_each(|item| item.mtime = 0);
        inventory
    };
    let differences = diff(&timeless(theirs), &timeless(ours));
    let unexplained = differences.iter().filter(|difference| !explained(difference, &known, theirs, ours));
    let told = |difference: &Difference| format!("{difference}{}", lines(&difference.path, theirs, ours));
    unexplained.map(told).chain(times(theirs, ours, epoch, &known)).collect()
}

/// The first lines that only one of two small texts has.
fn lines(path: &GuestPath, theirs: &Tree, ours: &Tree) -> String {
    const SMALL: usize = 1 << 20;
    let text = |tree: &Tree| {
        let bytes = tree.read(path).ok().flatten().filter(|bytes| bytes.len() < SMALL)?;
        Some(String::from_utf8(bytes).ok()?.lines().map(str::to_owned).collect::<Vec<_>>())
    };
    let (Some(theirs), Some(ours)) = (text(theirs), text(ours)) else { return String::new() };
    let only = |sign: &str, lines: &[String], others: &[String]| -> String {
        let only = lines.iter().filter(|line| !others.contains(line)).take(3);
        let cut = |line: &String| line.chars().take(120).collect::<String>();
        only.map(|line| format!("\n  {sign} {}", cut(line))).collect()
    };
    only("-", &theirs, &ours) + &only("+", &ours, &theirs)
}

/// Times that packages ship are the packages'; files that scripts made have that of the run, here at most the epoch.
/// A folder has that of the last change in it, by whichever way it came about.
fn times(theirs: &Tree, ours: &Tree, epoch: i64, known: &[Explained]) -> Vec<String> {
    // dpkg keeps the times of control files; goldsmith writes them at the time of the build.
    let control = "/var/lib/dpkg/info/**";
    let made = |path: &GuestPath| theirs.get(path).is_none_or(|node| node.meta.mtime == epoch);
    ours.iter()
        .filter(|(path, node)| {
            !node.is_directory() && !made(path) && node.meta.mtime != theirs.get(path).map_or(0, |node| node.meta.mtime)
        })
        .filter(|(path, _)| !covers(control, path.as_str()))
        .filter(|(path, _)| !known.iter().any(|(pattern, ..)| covers(pattern, path.as_str())))
        .map(|(path, node)| {
            format!("time of {path}: {} and {:?}", node.meta.mtime, theirs.get(path).map(|node| node.meta.mtime))
        })
        .collect()
}

/// Whether a pattern stands for a path.
pub fn covers(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix("/**") {
        Some(folder) => path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')),
        None => path == pattern,
    }
}

/// Whether a difference is one of those that are explained.
fn explained(difference: &Difference, known: &[Explained], theirs: &Tree, ours: &Tree) -> bool {
    let lines = |tree: &Tree| {
        let text = String::from_utf8(tree.read(&difference.path).unwrap().unwrap()).unwrap();
        text.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let ways = known.iter().filter(|(pattern, ..)| covers(pattern, difference.path.as_str())).map(|(_, way, _)| *way);
    ways.into_iter().any(|way| match (way, &difference.change) {
        (Way::Theirs, Change::Removed { .. })
        | (Way::Ours, Change::Added { .. })
        | (Way::Other, Change::Changed { .. }) => true,
        (Way::Order, Change::Changed { fields }) => {
            fields.iter().all(|field| field.name == "content") && lines(theirs) == lines(ours)
        }
        _ => false,
    })
}

/// A repository of exactly the locked packages.
fn repository(packages: &[FetchedPackage], folder: &Path) {
    let mut index = String::new();
    fs::create_dir_all(folder.join("pool")).unwrap();
    for fetched in packages.iter().filter(|fetched| fetched.package.role == Role::Rootfs) {
        let (package, control) = (&fetched.package, Deb::open(&fetched.file).unwrap().control().unwrap());
        let control = String::from_utf8(control["control"].1.clone()).unwrap();
        let name = format!("pool/{}_{}.deb", package.name, package.architecture);
        symlink(&fetched.file, folder.join(&name)).unwrap();
        let (size, sha256) = (package.size, package.sha256);
        writeln!(index, "{}\nFilename: {name}\nSize: {size}\nSHA256: {sha256}\n", control.trim()).unwrap();
    }
    let (suite, list) = (folder.join("dists/bookworm"), "main/binary-amd64/Packages");
    fs::create_dir_all(suite.join(list).parent().unwrap()).unwrap();
    // mmdebstrap asks apt for the essential packages of the suite by this name.
    let release = format!(
        "Suite: bookworm\nCodename: bookworm\nArchitectures: amd64\nComponents: main\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n {} {} {list}\n",
        Sha256::of(index.as_bytes()),
        index.len()
    );
    fs::write(suite.join("Release"), release).unwrap();
    fs::write(suite.join(list), index).unwrap();
}
