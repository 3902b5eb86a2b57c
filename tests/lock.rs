//! Locks: what apt would install, from metadata that were verified, and packages that are what the lock says.

mod common;

use common::apt::{self, Apt, Versions};
use common::archive::{self, Dates, FRESH, Key};
use common::mirror::{Answer, Mirror, upstream};
use common::workshop::{Run, Workshop};
use common::{recipes, repository};
use goldsmith::debian::{self, Lock, LockedPackage, Metadata, Role};
use goldsmith::progress::Silent;
use goldsmith::recipe::{self, Recipe};
use goldsmith::store::Store;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

fn versions<'a>(packages: impl Iterator<Item = &'a LockedPackage>) -> Versions {
    packages.map(|package| (package.name.clone(), package.version.clone())).collect()
}

/// Lists that lead apt over choices: alternatives, virtual packages, providers, conflicts, architectures, large closures.
const LISTS: [&str; 20] = [
    "",
    "bsd-mailx exim4",
    "apache2 libapache2-mod-php",
    "default-jre-headless emacs-nox",
    "docker.io network-manager",
    // gawk is asked for after the essential packages have settled on mawk.
    "mariadb-server",
    "cloud-init ifupdown isc-dhcp-client",
    "chrony cron needrestart rsyslog",
    "gdm3",
    "cups",
    "gnome-core",
    "mate-desktop-environment",
    "novnc x11vnc",
    // The compiler that the headers bring does as one of the alternatives only when it is there before.
    "dkms linux-headers-amd64",
    // The recipe's own kernel has the module.
    "wireguard",
    "roundcube-core",
    // It conflicts with a package of another architecture.
    "gcc-multilib",
    "libc6-x32",
    // An attempt that fails leaves nothing behind.
    "task-kde-desktop",
    // They do not go together.
    "postfix exim4-daemon-light",
];

/// A recipe that asks for nothing, for Debian 12 as apt of the tests knows it.
fn empty_recipe(workshop: &Workshop) -> Recipe {
    let text = "schema: goldsmith/v1\nname: sets\ndistribution: { name: debian, suite: bookworm, updates: true, security: 'http://deb.debian.org/debian-security' }\nimage: { size: 64M }\nkernel: { package: linux-image-cloud-amd64 }\nnetwork: { interface: eth0, mode: dhcp }\npackages: []\n";
    recipe::load(&workshop.write("sets.yaml", text), &[]).unwrap()
}

#[test]
fn the_closure_is_what_apt_would_install() {
    let workshop = Workshop::empty();
    let empty = empty_recipe(&workshop);
    let (apt, kernels) = Apt::new().beside_the_kernel_of(&empty);
    let metadata = Metadata::fetch(&empty, &Store::at(&common::cache()).unwrap(), &Silent).unwrap();
    let offered = metadata.offer();
    let shipped = ["minimal", "static", "desktop"]
        .map(|name| recipe::load(&recipes().join(format!("recipes/{name}.yaml")), &[]).unwrap().packages);
    let lists = LISTS.map(|list| list.split_whitespace().map(str::to_owned).collect());
    let recipes: Vec<Recipe> =
        shipped.into_iter().chain(lists).map(|packages| Recipe { packages, ..empty.clone() }).collect();
    let mut problems = Vec::new();
    for recipe in &recipes {
        let lock = offered.lock(recipe);
        if let Ok(lock) = &lock {
            for package in lock.packages.iter().filter(|package| package.role != Role::Rootfs) {
                assert_eq!(kernels.get(&package.name), Some(&package.version), "{}", package.name);
            }
        }
        let ours = lock.ok().map(|lock| versions(lock.of_role(Role::Rootfs)));
        if let Some(problem) = apt::difference(ours.as_ref(), apt.closure(&recipe.packages).as_ref()) {
            problems.push(format!("{}: {problem}", recipe.packages.join(" ")));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Sets of packages with choices, each with the digest of apt's closure at the metadata of the first line. apt's answers
/// are kept beside the build until the metadata change, so that an interrupted run goes on; with `GOLDSMITH_UPDATE` set
/// the digests are written anew.
#[test]
#[ignore = "asks apt a thousand times: `cargo test --test lock -- --ignored thousand --nocapture`"]
fn a_thousand_sets_are_what_apt_would_install() {
    let workshop = Workshop::empty();
    let empty = empty_recipe(&workshop);
    let metadata = Metadata::fetch(&empty, &Store::at(&common::cache()).unwrap(), &Silent).unwrap();
    let offered = metadata.offer();
    let list = repository().join("tests/data/apt-sets.txt");
    let text = fs::read_to_string(&list).unwrap();
    let names = |line: &str| line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let recipes: Vec<Recipe> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| Recipe { packages: names(line), ..empty.clone() })
        .collect();
    let stamp =
        offered.lock(&empty).unwrap().archives.iter().map(|archive| archive.date.to_string()).collect::<Vec<_>>();
    let answers = Answers::open(&format!("apt-sets-{}", stamp.join("-")));
    let apt = Apt::new().beside_the_kernel_of(&empty).0;
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(recipe) = recipes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    answers.get(&recipe.packages, || apt.closure(&recipe.packages));
                }
            });
        }
    });
    let mut different = 0;
    let mut lines = format!("# dates of the metadata: {}\n", stamp.join(" "));
    for recipe in &recipes {
        let theirs = answers.get(&recipe.packages, || unreachable!());
        let ours = offered.lock(recipe).ok().map(|lock| versions(lock.of_role(Role::Rootfs)));
        if let Some(problem) = apt::difference(ours.as_ref(), theirs.as_ref()) {
            different += 1;
            println!("{}: {problem}", recipe.packages.join(" "));
        }
        lines.push_str(&format!("{} {}\n", apt::digest(theirs.as_ref()), recipe.packages.join(" ")));
    }
    println!("{} sets, {different} different", recipes.len());
    if std::env::var_os("GOLDSMITH_UPDATE").is_some() {
        fs::write(&list, lines).unwrap();
    }
    assert_eq!(different, 0);
}

/// What apt answered, in a file that grows.
struct Answers {
    known: Mutex<BTreeMap<String, Option<Versions>>>,
    file: Mutex<fs::File>,
}

impl Answers {
    fn open(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let mut known = BTreeMap::new();
        for line in text.lines().filter_map(|line| line.strip_suffix(" .")) {
            let (names, answer) = line.split_once(" = ").unwrap();
            let package =
                |pair: &str| pair.split_once('=').map(|(name, version)| (name.to_owned(), version.to_owned()));
            let closure = (answer != "refused").then(|| answer.split(' ').filter_map(package).collect());
            known.insert(names.to_owned(), closure);
        }
        let file = fs::File::options().append(true).create(true).open(path).unwrap();
        Self { known: Mutex::new(known), file: Mutex::new(file) }
    }

    fn get(&self, packages: &[String], ask: impl FnOnce() -> Option<Versions>) -> Option<Versions> {
        let names = packages.join(" ");
        if let Some(known) = self.known.lock().unwrap().get(&names) {
            return known.clone();
        }
        let answer = ask();
        let words = answer.as_ref().map(|answer| {
            answer.iter().map(|(name, version)| format!("{name}={version}")).collect::<Vec<_>>().join(" ")
        });
        let words = words.unwrap_or_else(|| "refused".to_owned());
        self.file.lock().unwrap().write_all(format!("{names} = {words} .\n").as_bytes()).unwrap();
        self.known.lock().unwrap().insert(names, answer.clone());
        answer
    }
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
