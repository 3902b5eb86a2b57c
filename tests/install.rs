//! Installed packages against programs we did not write: mmdebstrap with the same versions. And against ourselves: an
//! ordinary user's build is the same bytes, a second build is, and nothing of the build machine is in an image.

mod common;

use common::user::User;
use common::workshop::Workshop;
use common::{cache, image, is_root, need, recipes, succeed};
use goldsmith::debian::{self, Deb, FetchedPackage, Lock, Role};
use goldsmith::image::{Change, Difference, View, diff, of_tree};
use goldsmith::progress::Silent;
use goldsmith::sandbox::Limits;
use goldsmith::store::Store;
use goldsmith::tree::Tree;
use goldsmith::values::{GuestPath, Sha256};
use goldsmith::{install, recipe, tree};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::process::Command;

/// In what way a path may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Only mmdebstrap's tree has it. A path ending in `/**` stands for everything below it.
    Theirs,
    /// Only ours has it.
    Ours,
    /// Both have the same lines, in another order.
    Order,
    /// Both have it, and not the same.
    Other,
}

/// Where the two trees may differ, and why. Whatever is not here is the same: type, mode, owner, content, link target,
/// extended attributes, names of one file.
const DIFFERENCES: &[(&str, Way, &str)] = &[
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

fn covers(pattern: &str, path: &GuestPath) -> bool {
    match pattern.strip_suffix("/**") {
        Some(folder) => path.as_str().strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')),
        None => path.as_str() == pattern,
    }
}

/// Whether a difference is one of those that are explained.
fn explained(difference: &Difference, theirs: &Tree, ours: &Tree) -> bool {
    let lines = |tree: &Tree| {
        let text = String::from_utf8(tree.read(&difference.path).unwrap().unwrap()).unwrap();
        text.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let ways = DIFFERENCES.iter().filter(|(pattern, ..)| covers(pattern, &difference.path)).map(|(_, way, _)| *way);
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

fn packages(name: &str) -> (Lock, Vec<FetchedPackage>, Store) {
    image(name);
    let store = Store::at(&cache()).unwrap();
    let lock = Lock::read(&recipes().join(format!("recipes/{name}.lock"))).unwrap().unwrap();
    let packages = debian::fetch(&lock, &store, true, &Silent).unwrap();
    (lock, packages, store)
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

#[test]
fn the_tree_is_the_one_that_mmdebstrap_makes() {
    if !is_root("comparing owners with mmdebstrap's tree") {
        return;
    }
    need("mmdebstrap", "apt-get install mmdebstrap");
    let (lock, packages, store) = packages("minimal");
    let recipe = recipe::load(&recipes().join("recipes/minimal.yaml"), &[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (source, root) = (folder.path().join("source"), folder.path().join("root"));
    fs::create_dir(&source).unwrap();
    repository(&packages, &source);
    let mut mmdebstrap = Command::new("mmdebstrap");
    // Nothing of this machine's environment: scripts see it (PYTHONDONTWRITEBYTECODE).
    mmdebstrap
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8");
    mmdebstrap.env("SOURCE_DATE_EPOCH", lock.epoch.to_string()).args(["--mode=root", "--variant=essential", "--quiet"]);
    mmdebstrap.arg(format!("--include={}", recipe.packages.join(",")));
    mmdebstrap.args(["--skip=check/empty", "bookworm"]).arg(&root);
    mmdebstrap.arg(format!("deb [trusted=yes] copy://{} bookworm main", source.display()));
    succeed(&mut mmdebstrap);

    let theirs = tree::capture(&root, lock.epoch).unwrap();
    let ours = install::base(&lock, &packages, &[], Limits::default(), &store, &Silent).unwrap();
    let timeless = |tree: &Tree| {
        let mut inventory = of_tree(tree).unwrap();
        inventory.values_mut().for_each(|item| item.mtime = 0);
        inventory
    };
    let differences = diff(&timeless(&theirs), &timeless(&ours));
    let unexplained: Vec<_> = differences
        .iter()
        .filter(|difference| !explained(difference, &theirs, &ours))
        .map(ToString::to_string)
        .collect();
    assert!(unexplained.is_empty(), "from mmdebstrap's to ours:\n{}", unexplained.join("\n"));

    // Times that packages ship are the packages'; files that scripts made have that of the run, here at most the epoch.
    // A folder has that of the last change in it, by whichever way it came about.
    // dpkg keeps the times of control files; goldsmith writes them at the time of the build.
    let control = "/var/lib/dpkg/info/**";
    let made = |path: &GuestPath| theirs.get(path).is_none_or(|node| node.meta.mtime == lock.epoch);
    let times: Vec<_> = ours
        .iter()
        .filter(|(path, node)| {
            !node.is_directory() && !made(path) && node.meta.mtime != theirs.get(path).map_or(0, |node| node.meta.mtime)
        })
        .filter(|(path, _)| !covers(control, path))
        .filter(|(path, _)| !DIFFERENCES.iter().any(|(pattern, ..)| covers(pattern, path)))
        .map(|(path, node)| {
            format!("{path}: {} and {:?}", node.meta.mtime, theirs.get(path).map(|node| node.meta.mtime))
        })
        .collect();
    assert!(times.is_empty(), "times:\n{}", times.join("\n"));
}

#[test]
fn an_ordinary_user_builds_the_same_bytes() {
    if !is_root("making an ordinary user to build as") {
        return;
    }
    let built = image("minimal");
    let user = User::new();
    let home = user.home();
    user.furnish(&Lock::read(&recipes().join("recipes/minimal.lock")).unwrap().unwrap());
    let run = |arguments: &[&str]| succeed(&mut user.goldsmith(arguments));
    run(&["build", "recipes/minimal.yaml", "--offline"]);
    for name in ["rootfs.ext4", "initrd.img", "vmlinuz", "vmlinux", "manifest.json", "sbom.spdx.json"] {
        let difference = goldsmith::image::first_difference(
            &fs::File::open(built.join(name)).unwrap(),
            &fs::File::open(home.join("images/minimal").join(name)).unwrap(),
        );
        assert_eq!(difference.unwrap(), None, "{name}");
    }
    // What was built is the user's own, and the cache can be emptied by them.
    let owner = fs::metadata(home).unwrap().uid();
    assert_eq!(fs::metadata(home.join("images/minimal/rootfs.ext4")).unwrap().uid(), owner);
    run(&["clean"]);
    assert_eq!(common::workshop::names(&home.join("cache/v1/layers")), [""; 0]);
}

#[test]
fn building_twice_gives_the_same_bytes_and_says_so() {
    let workshop = Workshop::new();
    let run = workshop.run(&["build", "recipes/minimal.yaml", "--offline", "--check"]);
    run.succeeded();
    assert!(run.stdout.contains("two builds gave the same bytes"), "{run:#?}");
    assert_eq!(workshop.names("images"), ["minimal"]);
    let digest = |folder: &Path| Sha256::of(&fs::read(folder.join("manifest.json")).unwrap());
    assert_eq!(digest(&workshop.path("images/minimal")), digest(&image("minimal")));
}

#[test]
fn builds_that_differ_are_told_apart_with_the_path_at_fault() {
    let workshop = Workshop::furnished();
    let text = "schema: goldsmith/v1\nname: random\ninclude: [minimal.yaml]\nrun: [[/bin/sh, -c, 'head -c 8 /dev/urandom >/etc/random']]\n";
    workshop.write("recipes/random.yaml", text);
    fs::copy(workshop.path("recipes/minimal.lock"), workshop.path("recipes/random.lock")).unwrap();
    // Nothing may be deleted from the shared layers.
    fs::remove_file(workshop.cache("layers")).unwrap();
    let run = workshop.run(&["build", "recipes/random.yaml", "--offline", "--check"]);
    run.failed(1, &["two builds of the same recipe differ: rootfs.ext4", "/etc/random"]);
    assert_eq!(workshop.names("images"), [""; 0]);
}

#[test]
fn nothing_of_the_build_machine_or_of_one_machine_is_in_an_image() {
    let view = View::open_path(&image("minimal").join("rootfs.ext4")).unwrap();
    let path = |text: &str| text.parse::<GuestPath>().unwrap();
    let read = |text: &str| view.read(&path(text), 1 << 20).unwrap();
    assert_eq!(read("/etc/machine-id"), Some(Vec::new()));
    assert_eq!(view.stat(&path("/etc/machine-id")).unwrap().unwrap().mode, 0o444);
    assert_eq!(view.read_link(&path("/var/lib/dbus/machine-id")).unwrap().as_deref(), Some("/etc/machine-id"));
    assert_eq!(read("/etc/hostname"), Some(Vec::new()));
    assert_eq!(read("/etc/resolv.conf"), Some(Vec::new()));

    let host = rustix::system::uname().nodename().to_str().unwrap().to_owned();
    let mut waiting = vec![GuestPath::root()];
    let mut files = BTreeMap::new();
    while let Some(folder) = waiting.pop() {
        for name in view.names(&folder).unwrap().unwrap() {
            let path = folder.join(&name).unwrap();
            let stat = view.stat(&path).unwrap().unwrap();
            if stat.kind == goldsmith::image::Kind::Directory {
                waiting.push(path.clone());
            }
            files.insert(path, stat);
        }
    }
    for (path, stat) in &files {
        let text = path.as_str();
        let below = |folder: &str| text.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        assert!(!path.name().starts_with("ssh_host_"), "{path}");
        assert!(!["random-seed", "credential.secret", ".bash_history", "policy-rc.d"].contains(&path.name()), "{path}");
        assert!(!path.name().ends_with(".lease") && !path.name().ends_with(".leases"), "{path}");
        assert!(
            !["/tmp", "/var/tmp", "/run", "/var/lib/apt/lists", "/var/cache/apt", "/var/lib/dhcp"]
                .iter()
                .any(|folder| below(folder)),
            "{path}"
        );
        assert!(!below("/dev") && !below("/proc") && !below("/sys"), "{path}");
        if below("/var/log") && stat.kind == goldsmith::image::Kind::File {
            assert_eq!(stat.size, 0, "{path}");
        }
        // A host name such as `debian` would be found everywhere.
        if host.len() > 8 && below("/etc") && stat.kind == goldsmith::image::Kind::File {
            let bytes = view.read(path, 1 << 20).unwrap().unwrap();
            assert!(!String::from_utf8_lossy(&bytes).contains(&host), "{path} has this machine's name");
        }
    }
    let shadow = String::from_utf8(read("/etc/shadow").unwrap()).unwrap();
    let open = shadow.lines().filter(|line| !matches!(line.split(':').nth(1), Some("*" | "!" | "!*" | "!!")));
    assert_eq!(open.collect::<Vec<_>>(), [""; 0], "accounts with a password, or with none");
}

#[test]
fn the_image_is_no_newer_than_its_packages() {
    let (lock, ..) = packages("minimal");
    let file = fs::File::open(image("minimal").join("rootfs.ext4")).unwrap();
    let inventory = goldsmith::image::of_image(file, Path::new("rootfs.ext4")).unwrap();
    let newer: Vec<_> = inventory.iter().filter(|(_, item)| item.mtime > lock.epoch).map(|(path, _)| path).collect();
    assert!(newer.is_empty(), "{newer:?}");
}
