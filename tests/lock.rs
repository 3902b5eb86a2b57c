//! Locks: what apt would install, from metadata that were verified, and packages that are what the lock says.

mod common;

use common::archive::{self, Dates, FRESH, Key};
use common::mirror::{Answer, Mirror, upstream};
use common::workshop::{Run, Workshop};
use common::{need, recipes, repository, succeed};
use goldsmith::debian::{self, Lock, LockedPackage, Role};
use goldsmith::progress::Silent;
use goldsmith::recipe;
use goldsmith::store::Store;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// apt with a root, sources and state of its own.
struct Apt {
    folder: tempfile::TempDir,
}

impl Apt {
    fn new() -> Self {
        need("apt-get", "apt-get install apt");
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        assert!(
            Path::new(keyring).exists(),
            "this test needs {keyring}: type `apt-get install debian-archive-keyring`"
        );
        let apt = Self { folder: tempfile::tempdir().unwrap() };
        for name in [
            "etc/apt/apt.conf.d",
            "etc/apt/preferences.d",
            "var/lib/apt/lists/partial",
            "var/lib/dpkg",
            "var/cache/apt/archives/partial",
        ] {
            fs::create_dir_all(apt.folder.path().join(name)).unwrap();
        }
        let source =
            |at: &str, suite: &str| format!("deb [signed-by={keyring}] http://deb.debian.org/{at} {suite} main\n");
        let sources = source("debian", "bookworm")
            + &source("debian", "bookworm-updates")
            + &source("debian-security", "bookworm-security");
        fs::write(apt.folder.path().join("etc/apt/sources.list"), sources).unwrap();
        let root = apt.folder.path().display();
        // ForceEssential: apt counts itself as essential; an image without apt is complete.
        let configuration = format!(
            "Dir \"{root}\"; Dir::State::status \"{root}/var/lib/dpkg/status\"; APT::Architecture \"amd64\"; APT::Architectures {{ \"amd64\"; }}; Acquire::Languages \"none\"; APT::Sandbox::User \"root\"; pkgCacheGen::ForceEssential \",\";"
        );
        fs::write(apt.folder.path().join("apt.conf"), configuration).unwrap();
        fs::write(apt.folder.path().join("var/lib/dpkg/status"), "").unwrap();
        succeed(apt.command().arg("update"));
        apt
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        // Read before anything else, so that no file of this machine's own configuration is.
        command.env("APT_CONFIG", self.folder.path().join("apt.conf"));
        command
    }

    /// What a simulated installation of these and all essential packages unpacks: name → version.
    fn closure(&self, packages: &[String]) -> BTreeMap<String, String> {
        let mut command = self.command();
        command.args(["--simulate", "--no-install-recommends", "install", "?essential"]).args(packages);
        let output = String::from_utf8(succeed(&mut command).stdout).unwrap();
        let unpacked = |line: &str| {
            let mut words = line.strip_prefix("Inst ")?.split(' ');
            let (name, version) = (words.next()?, words.next()?);
            Some((name.to_owned(), version.trim_start_matches('(').to_owned()))
        };
        output.lines().filter_map(unpacked).collect()
    }
}

fn versions<'a>(packages: impl Iterator<Item = &'a LockedPackage>) -> BTreeMap<String, String> {
    packages.map(|package| (package.name.clone(), package.version.clone())).collect()
}

/// Lists that lead apt over choices: alternatives, virtual packages, providers, conflicts, large closures.
const LISTS: [&[&str]; 9] = [
    &[],
    &["exim4", "bsd-mailx"],
    &["apache2", "libapache2-mod-php"],
    &["default-jre-headless", "emacs-nox"],
    &["docker.io", "network-manager"],
    // gawk is asked for after the essential packages have settled on mawk.
    &["mariadb-server"],
    &["ifupdown", "isc-dhcp-client", "cloud-init"],
    &["chrony", "rsyslog", "cron", "needrestart"],
    &["gdm3"],
];

#[test]
fn the_closure_is_what_apt_would_install() {
    let apt = Apt::new();
    let store = Store::at(&common::cache()).unwrap();
    let resolve = |path: &Path| debian::resolve(&recipe::load(path, &[]).unwrap(), &store, &Silent).unwrap();
    let mut problems = Vec::new();
    let mut compare = |what: &str, lock: &Lock, packages: &[String]| {
        let (ours, theirs) = (versions(lock.of_role(Role::Rootfs)), apt.closure(packages));
        let lines = |of: &BTreeMap<String, String>| {
            of.iter().map(|(name, version)| format!("{name} {version}")).collect::<BTreeSet<_>>()
        };
        let (ours, theirs) = (lines(&ours), lines(&theirs));
        if ours != theirs {
            let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
            problems.push(format!(
                "{what}: only ours {:?}, only apt's {:?}",
                only(&ours, &theirs),
                only(&theirs, &ours)
            ));
        }
    };
    for name in ["minimal", "static", "desktop"] {
        let path = recipes().join(format!("recipes/{name}.yaml"));
        let recipe = recipe::load(&path, &[]).unwrap();
        let lock = resolve(&path);
        compare(name, &lock, &recipe.packages);
        let kernels = apt.closure(&[recipe.kernel_package.clone(), "busybox-static".to_owned()]);
        for package in lock.packages.iter().filter(|package| package.role != Role::Rootfs) {
            assert_eq!(kernels.get(&package.name), Some(&package.version), "{name}: {}", package.name);
        }
    }
    let workshop = Workshop::empty();
    fs::copy(recipes().join("recipes/base.yaml"), workshop.path("all.yaml")).unwrap();
    let base = fs::read_to_string(workshop.path("all.yaml")).unwrap();
    let without = base.replace("packages: [systemd-sysv, udev, netplan.io, iproute2, kmod]", "packages: []");
    assert_ne!(without, base);
    let without = without.replace("overlays: [../overlays/base]\n", "");
    for list in LISTS {
        let packages: Vec<String> = list.iter().map(|&name| name.to_owned()).collect();
        let text = without.replace("packages: []", &format!("name: all\npackages: [{}]", packages.join(", ")));
        let lock = resolve(&workshop.write("all.yaml", text));
        compare(&packages.join(" "), &lock, &packages);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_committed_locks_belong_to_the_committed_recipes() {
    for name in ["minimal", "static", "desktop"] {
        let recipe = recipe::load(&repository().join(format!("recipes/{name}.yaml")), &[]).unwrap();
        let lock = Lock::read(&Lock::path_for(&recipe)).unwrap().expect("a lock beside the recipe");
        assert_eq!(lock.recipe, recipe.packages_digest, "recipes/{name}.lock is stale: type `make lock`");
    }
}

/// A recipe whose only archive is the real `bookworm-updates`, seen through a mirror of the test's own.
fn updates(workshop: &Workshop, mirror: &Mirror) -> PathBuf {
    recipe_of(workshop, &format!("suite: bookworm-updates, mirror: '{}/debian'", mirror.url()))
}

fn recipe_of(workshop: &Workshop, distribution: &str) -> PathBuf {
    let text = format!(
        "schema: goldsmith/v1\nname: a\ndistribution: {{ name: debian, {distribution} }}\nimage: {{ size: 64M }}\nkernel: {{ package: kernel }}\nnetwork: {{ interface: eth0, mode: dhcp }}\npackages: [nothing]\n"
    );
    workshop.write("a.yaml", text)
}

const RELEASE: &str = "/debian/dists/bookworm-updates/InRelease";

#[test]
fn a_real_release_is_accepted_and_a_tampered_one_is_not() {
    let mirror = Mirror::start();
    let workshop = Workshop::empty();
    updates(&workshop, &mirror);
    let real = upstream(RELEASE).unwrap();
    let serve = |bytes: Vec<u8>| {
        mirror.set(RELEASE, Answer::Bytes(bytes));
        workshop.run(&["lock", "a.yaml"])
    };
    // Genuine: it is believed, and only the package asked for is not there.
    serve(real.clone()).failed(1, &["there is no package `nothing` in the archives"]);

    let url = format!("{}{RELEASE} is not to be trusted", mirror.url());
    let text = String::from_utf8(real.clone()).unwrap();
    let one_letter = text.replacen("Origin: Debian", "Origin: debian", 1);
    assert_ne!(one_letter, text);
    serve(one_letter.into_bytes()).failed(1, &[&url, "signature"]);

    let unsigned: String = text
        .lines()
        .skip_while(|line| !line.is_empty())
        .skip(1)
        .take_while(|line| !line.starts_with("-----BEGIN PGP SIGNATURE"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(unsigned.starts_with("Origin: Debian"));
    serve(unsigned.into_bytes()).failed(1, &[&url]);

    let other = upstream("/debian/dists/bookworm/InRelease").unwrap();
    serve(other).failed(1, &[&url, "it is for `oldstable` (bookworm), not for `bookworm-updates`"]);

    let key = Key::new();
    let stranger = key.sign(&archive::release("bookworm-updates", b"", FRESH));
    serve(stranger).failed(1, &[&url, "which is not in the keyring", "debian-archive-keyring.gpg"]);

    serve(real[..real.len() / 2].to_vec()).failed(1, &[&url]);
    serve(Vec::new()).failed(1, &[&url]);
    assert!(!workshop.path("a.lock").exists());
}

#[test]
fn a_release_is_good_for_its_time_only() {
    let (mirror, key) = (Mirror::start(), Key::new());
    let workshop = Workshop::empty();
    recipe_of(
        &workshop,
        &format!("suite: small, mirror: '{}/debian', keyring: '{}'", mirror.url(), key.keyring().display()),
    );
    let with = |dates: Dates| {
        let index = archive::stanza("b", "1", "", b"");
        archive::publish(&mirror, &key, "small", &index, &[], dates);
        workshop.run(&["lock", "a.yaml"])
    };
    with(FRESH).failed(1, &["there is no package `nothing` in the archives"]);
    with(Dates { date: -864_000, until: -86_400 }).failed(1, &["not to be trusted", "it expired on", "stale"]);
    with(Dates { date: 864_000, until: 8_640_000 }).failed(1, &["not to be trusted", "from the future", "clock"]);
}

#[test]
fn an_index_that_is_not_the_signed_one_is_refused() {
    let mirror = Mirror::start();
    let workshop = Workshop::empty();
    updates(&workshop, &mirror);
    let release = String::from_utf8(upstream(RELEASE).unwrap()).unwrap();
    let line = release.lines().rfind(|line| line.ends_with("main/binary-amd64/Packages.xz")).unwrap();
    let digest = line.split_whitespace().next().unwrap();
    let folder = "/debian/dists/bookworm-updates/main/binary-amd64";
    let paths = [format!("{folder}/by-hash/SHA256/{digest}"), format!("{folder}/Packages.xz")];
    let real = upstream(&paths[0]).unwrap();
    let serve = |answer: Answer| {
        paths.iter().for_each(|path| mirror.set(path, answer.clone()));
        workshop.run(&["lock", "a.yaml"])
    };
    let mut tampered = real.clone();
    tampered[real.len() / 2] ^= 1;
    let size = real.len();
    serve(Answer::Bytes(tampered)).failed(1, &["its SHA-256 is", &format!("signed metadata say {digest}")]);
    serve(Answer::Bytes([&real[..], b"x"].concat())).failed(1, &[&format!("more than the {size} bytes expected")]);
    serve(Answer::Cut(real.clone(), size - 5)).failed(1, &[&format!("after {} of {size} bytes", size - 5)]);
    serve(Answer::Status(404)).failed(1, &["no longer has it (404)"]);
    serve(Answer::Status(503)).failed(1, &["HTTP status 503"]);
    serve(Answer::Trickle(real.clone())).failed(1, &["too slow"]);
    assert!(!workshop.path("a.lock").exists());
    // Whatever was tried before, the real one is taken.
    serve(Answer::Bytes(real)).failed(1, &["there is no package `nothing` in the archives"]);
}

#[test]
fn a_mirror_that_is_down_or_silent_is_named() {
    let workshop = Workshop::empty();
    let gone = Mirror::start().url();
    recipe_of(&workshop, &format!("suite: bookworm, mirror: '{gone}/debian'"));
    let help = "check the mirror and the suite in the recipe";
    workshop
        .run(&["lock", "a.yaml"])
        .failed(1, &["cannot get", &format!("{gone}/debian/dists/bookworm/InRelease"), "refused", help]);
    let mirror = Mirror::start();
    recipe_of(&workshop, &format!("suite: bookworm, mirror: '{}/debian'", mirror.url()));
    mirror.set("/debian/dists/bookworm/InRelease", Answer::Silence);
    workshop.run(&["lock", "a.yaml"]).failed(1, &["cannot get", "no answer in 2 s", help]);
    mirror.set("/debian/dists/bookworm/InRelease", Answer::Status(404));
    workshop.run(&["lock", "a.yaml"]).failed(1, &["cannot get", "no such suite (404)", help]);
    recipe_of(&workshop, "suite: bookworm, mirror: 'http://no-such-host.invalid/debian'");
    workshop
        .run(&["lock", "a.yaml"])
        .failed(1, &["cannot get http://no-such-host.invalid/debian/dists/bookworm/InRelease", help]);
}

/// The shipped minimal recipe; its lock fetches from a mirror of the test's own, and one package is not in the cache.
struct Delivery {
    workshop: Workshop,
    mirror: Mirror,
    package: LockedPackage,
}

impl Delivery {
    fn new() -> Self {
        let workshop = Workshop::new();
        let lock = workshop.lock("recipes/minimal.lock");
        let package = lock.packages.iter().find(|package| package.name == "hostname").unwrap().clone();
        let mirror = Mirror::start();
        workshop.relock("recipes/minimal.lock", |lock| {
            for archive in &mut lock.archives {
                archive.mirror = archive.mirror.replace("http://deb.debian.org", &mirror.url());
                archive.snapshot = None;
            }
        });
        Self { workshop: workshop.without(&[package.sha256]), mirror, package }
    }

    fn path(&self) -> String {
        format!("/debian/{}", self.package.path)
    }

    fn with(&self, answer: Answer) -> Run {
        self.mirror.set(&self.path(), answer);
        self.workshop.run(&["build", "recipes/minimal.yaml"])
    }
}

#[test]
fn a_package_that_is_not_the_locked_one_is_refused() {
    let delivery = Delivery::new();
    let real = upstream(&delivery.path()).unwrap();
    let (size, name) = (real.len(), format!("hostname {}", delivery.package.version));
    let mut tampered = real.clone();
    tampered[size / 2] ^= 1;
    let locked = format!("signed metadata say {}", delivery.package.sha256);
    delivery.with(Answer::Bytes(tampered)).failed(1, &[&name, "its SHA-256 is", &locked]);
    delivery
        .with(Answer::Bytes([&real[..], b"x"].concat()))
        .failed(1, &[&name, &format!("more than the {size} bytes")]);
    delivery.with(Answer::Cut(real.clone(), size - 100)).failed(1, &[&name, &format!("of {size} bytes")]);
    delivery.with(Answer::Bytes(real[..size - 100].to_vec())).failed(1, &[&name, &format!("of {size} bytes")]);
    delivery.with(Answer::Silence).failed(1, &[&name, "no answer in 2 s"]);
    delivery.with(Answer::Trickle(real)).failed(1, &[&name, "too slow"]);
    let gone = ["404", "1 locked versions have left the mirror", "`goldsmith lock RECIPE` locks today's versions"];
    delivery.with(Answer::Status(404)).failed(1, &gone);
    assert_eq!(delivery.workshop.names("images"), [""; 0]);
}

#[test]
fn a_damaged_package_in_the_cache_is_fetched_anew() {
    let delivery = Delivery::new();
    let real = upstream(&delivery.path()).unwrap();
    let digest = delivery.package.sha256.to_string();
    let cached = delivery.workshop.cache("files").join(&digest[..2]).join(&digest);
    let mut flipped = real.clone();
    flipped[real.len() / 2] ^= 1;
    for damaged in [flipped, real[..real.len() / 2].to_vec(), Vec::new()] {
        fs::create_dir_all(cached.parent().unwrap()).unwrap();
        fs::write(&cached, damaged).unwrap();
        let offline = delivery.workshop.run(&["build", "recipes/minimal.yaml", "--offline"]);
        offline.failed(1, &["1 locked packages are not in the cache", "hostname"]);
        let run = delivery.with(Answer::Bytes(real.clone()));
        assert!(run.stderr.contains("is damaged in the cache: fetching it anew"), "{run:#?}");
        assert!(fs::read(&cached).unwrap() == real);
    }
}

#[test]
fn an_index_that_unpacks_to_too_much_is_refused() {
    let (mirror, key) = (Mirror::start(), Key::new());
    let workshop = Workshop::empty();
    recipe_of(
        &workshop,
        &format!("suite: small, mirror: '{}/debian', keyring: '{}'", mirror.url(), key.keyring().display()),
    );
    // 300 MB of nothing in 45 kB.
    archive::publish(&mirror, &key, "small", &"\n".repeat(300 << 20), &[], FRESH);
    workshop.run(&["lock", "a.yaml"]).failed(1, &["is not to be trusted", "unpacks to more than 268435456 bytes"]);
    // What no package may be called is not offered.
    let index = archive::stanza("../../nothing", "1", "", b"x") + &archive::stanza("nothing", "1\u{1b}[31m", "", b"x");
    archive::publish(&mirror, &key, "small", &index, &[], FRESH);
    workshop.run(&["lock", "a.yaml"]).failed(1, &["there is no package `nothing` in the archives"]);
}

#[test]
fn a_transfer_that_breaks_off_goes_on_where_it_ended() {
    let delivery = Delivery::new();
    let real = upstream(&delivery.path()).unwrap();
    let cut = Answer::Cut(real.clone(), real.len() / 2);
    delivery.mirror.set(&delivery.path(), Answer::Once(Box::new(cut), Box::new(Answer::Bytes(real))));
    let store = Store::at(&delivery.workshop.path("cache")).unwrap();
    let lock = delivery.workshop.lock("recipes/minimal.lock");
    debian::fetch(&lock, &store, false, &Silent).unwrap();
    assert_eq!(delivery.mirror.asked(), [delivery.path(), delivery.path()]);
}

#[test]
fn a_version_that_left_the_mirror_comes_from_the_snapshot() {
    let delivery = Delivery::new();
    let real = upstream(&delivery.path()).unwrap();
    delivery.mirror.set(&delivery.path(), Answer::Status(404));
    let url = format!("{}/snapshot", delivery.mirror.url());
    delivery.workshop.relock("recipes/minimal.lock", |lock| {
        lock.archives.iter_mut().for_each(|archive| archive.snapshot = Some(url.clone()));
        lock.archives[0].date = 1_582_979_405;
    });
    let old = format!("/snapshot/20200229T123005Z/{}", delivery.package.path);
    delivery.mirror.set(&old, Answer::Bytes(real));
    let store = Store::at(&delivery.workshop.path("cache")).unwrap();
    debian::fetch(&delivery.workshop.lock("recipes/minimal.lock"), &store, false, &Silent).unwrap();
    assert_eq!(delivery.mirror.asked(), [delivery.path(), old]);
}

#[test]
fn locked_and_offline_forbid_what_they_say() {
    let delivery = Delivery::new();
    let workshop = &delivery.workshop;
    let build = |flag: &str| workshop.run(&["build", "recipes/minimal.yaml", flag]);
    build("--offline").failed(1, &["1 locked packages are not in the cache (hostname", "run once without --offline"]);

    let packages = "include: [base.yaml]\npackages: [hello]";
    let text = fs::read_to_string(workshop.path("recipes/minimal.yaml")).unwrap();
    workshop.write("recipes/minimal.yaml", text.replace("include: [base.yaml]", packages));
    let help = "goldsmith lock recipes/minimal.yaml";
    build("--locked").failed(1, &["minimal.lock is stale, and --locked forbids", help]);
    build("--offline").failed(1, &["minimal.lock is stale", "needs the network, and --offline forbids it"]);
    workshop.run(&["check", "recipes/minimal.yaml"]).failed(0, &["REC-015", "belongs to other packages", help]);

    fs::remove_file(workshop.path("recipes/minimal.lock")).unwrap();
    build("--locked").failed(1, &["minimal.lock is missing, and --locked forbids", help]);
    build("--offline").failed(1, &["minimal.lock is missing", "--offline forbids it"]);
    workshop.run(&["check", "recipes/minimal.yaml"]).failed(0, &["REC-015", "minimal.lock is missing", help]);

    workshop.write("recipes/minimal.lock", "<<<<<<< HEAD\n");
    build("--locked").failed(1, &["merge conflict markers (line 1)", "`goldsmith lock RECIPE` writes it anew"]);
    assert_eq!(delivery.mirror.asked(), [""; 0]);
    assert_eq!(workshop.names("images"), [""; 0]);
}
