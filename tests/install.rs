//! Installed packages against programs we did not write: mmdebstrap with the same versions. And against ourselves: an
//! ordinary user's build is the same bytes, a second build is, and nothing of the build machine is in an image.

mod common;

use common::user::User;
use common::workshop::Workshop;
use common::{cache, image, is_root, peer, recipes, succeed};
use goldsmith::debian::{self, FetchedPackage, Lock};
use goldsmith::image::View;
use goldsmith::progress::Silent;
use goldsmith::sandbox::Limits;
use goldsmith::store::Store;
use goldsmith::values::{GuestPath, Sha256};
use goldsmith::{install, recipe};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

fn packages(name: &str) -> (Lock, Vec<FetchedPackage>, Store) {
    image(name);
    let store = Store::at(&cache()).unwrap();
    let lock = Lock::read(&recipes().join(format!("recipes/{name}.lock"))).unwrap().unwrap();
    let packages = debian::fetch(&lock, &store, true, &Silent).unwrap();
    (lock, packages, store)
}

#[test]
fn the_tree_is_the_one_that_mmdebstrap_makes() {
    if !is_root("comparing owners with mmdebstrap's tree") {
        return;
    }
    let (lock, packages, store) = packages("minimal");
    let recipe = recipe::load(&recipes().join("recipes/minimal.yaml"), &[]).unwrap();
    let theirs = peer::tree(&packages, &recipe.packages, lock.epoch);
    let ours = install::base(&lock, &packages, &[], Limits::default(), &store, &Silent).unwrap();
    let differences = peer::differences(&theirs, &ours, lock.epoch, &[]);
    assert!(differences.is_empty(), "from mmdebstrap's to ours:\n{}", differences.join("\n"));
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
    let text = "schema: goldsmith/v1\nname: random\ninclude: [minimal.yaml]\nrun: [[/bin/sh, -c, 'head -c 8 /dev/urandom >/etc/random; cp /etc/random /etc/issue']]\n";
    workshop.write("recipes/random.yaml", text);
    fs::copy(workshop.path("recipes/minimal.lock"), workshop.path("recipes/random.lock")).unwrap();
    // Nothing may be deleted from the shared layers.
    fs::remove_file(workshop.cache("layers")).unwrap();
    let run = workshop.run(&["build", "recipes/random.yaml", "--offline", "--check"]);
    run.failed(
        1,
        &["two builds of the same recipe differ: rootfs.ext4", "~ /etc/random:", "base-files: ~ /etc/issue:"],
    );
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

#[test]
fn what_depends_on_modules_of_the_kernel_is_installed_and_stays_so() {
    let workshop = Workshop::new();
    let text = "schema: goldsmith/v1\nname: vpn\ninclude: [minimal.yaml]\npackages: [wireguard]\n";
    workshop.write("recipes/vpn.yaml", text);
    workshop.run(&["lock", "recipes/vpn.yaml"]).succeeded();
    let kernels = |lock: &str| lock.matches("role: kernel").count();
    assert_eq!(kernels(&fs::read_to_string(workshop.path("recipes/vpn.lock")).unwrap()), 2);
    assert_eq!(kernels(&fs::read_to_string(workshop.path("recipes/minimal.lock")).unwrap()), 1);
    let dpkg =
        "dpkg --audit && dpkg-query --show --showformat '${db:Status-Abbrev}${Package}\\n' wireguard 'linux-image-*'";
    let run = workshop.run(&["shell", "recipes/vpn.yaml", "--", "sh", "-c", dpkg]);
    run.succeeded();
    assert_eq!(run.stdout.replace('\r', ""), "ii linux-image-cloud-amd64\nii wireguard\n", "{run:#?}");
}
