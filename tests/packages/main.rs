//! The packages that images most often carry, on Debian 12 and 13: each alone is locked as apt locks it, is the tree that
//! mmdebstrap makes of it, and gives the same bytes twice; services are active in a booted guest.

#[path = "../common/mod.rs"]
mod common;

mod boot;
mod list;
mod record;
mod row;

use common::peer::{Explained, Way};
use common::{cache, is_root, need, repository};
use goldsmith::debian::{Lock, Offered};
use goldsmith::recipe::Recipe;
use goldsmith::store::Store;
use record::Row;
use row::Suite;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Releases by code name, with their numbers.
const SUITES: [(&str, u8); 2] = [("bookworm", 12), ("trixie", 13)];

/// Where a package's tree may differ from mmdebstrap's, and one build from the next, besides what all may, and why.
const NAMED: &[(&str, &[Explained])] = &[
    (
        "apt-listchanges",
        &[(
            "/usr/lib/python3/dist-packages/apt_listchanges/__pycache__/**",
            Way::Other,
            "its script imports them before they are compiled, and Python writes another kind of file; goldsmith's does not",
        )],
    ),
    ("ejabberd", &[("/etc/ejabberd/ejabberd.pem", Way::Other, "a key: NET-I010 refuses the image")]),
    (
        "etckeeper",
        &[
            ("/etc/.etckeeper", Way::Other, "a list of /etc, in which mmdebstrap has folders of apt"),
            ("/etc/.git/**", Way::Other, "a repository with the time of its commit"),
        ],
    ),
    (
        "mailman3",
        &[
            ("/etc/mailman3/mailman.cfg", Way::Other, "a password inside: NET-I010 refuses the image"),
            ("/var/lib/ucf/cache/:etc:mailman3:mailman.cfg", Way::Other, "ucf's copy of it"),
            ("/var/lib/ucf/hashfile", Way::Other, "ucf's digest of it"),
        ],
    ),
    (
        "phpmyadmin",
        &[
            ("/etc/dbconfig-common/phpmyadmin.conf", Way::Other, DATABASE),
            ("/etc/phpmyadmin/config-db.php", Way::Other, DATABASE),
            ("/var/lib/ucf/cache/**", Way::Other, "ucf's copies of them"),
            ("/var/lib/ucf/hashfile", Way::Other, "ucf's digests of them"),
        ],
    ),
    (
        "popularity-contest",
        &[
            ("/etc/popularity-contest.conf", Way::Other, "an identifier and a day of the week: NET-I010 warns"),
            ("/etc/cron.d/popularity-contest", Way::Other, "a random time of day"),
        ],
    ),
    (
        "roundcube-core",
        &[
            ("/etc/dbconfig-common/roundcube.conf", Way::Other, DATABASE),
            ("/etc/roundcube/debian-db.php", Way::Other, DATABASE),
            ("/var/lib/ucf/cache/**", Way::Other, "ucf's copies of them"),
            ("/var/lib/ucf/hashfile", Way::Other, "ucf's digests of them"),
        ],
    ),
    (
        "slapd",
        &[
            ("/etc/ldap/slapd.d/**", Way::Other, "identifiers and times of entries: NET-I010 warns"),
            ("/var/lib/ldap/data.mdb", Way::Other, "identifiers and times of entries, a salt: NET-I010 warns"),
        ],
    ),
];

/// Why a file with a database's password differs.
const DATABASE: &str = "a password for a database that is not there: NET-I010 refuses the image, and no database is wished for by the answer `false` to dbconfig-install";

/// Why a package cannot be built alone, by goldsmith or by mmdebstrap.
const UNBUILT: &[(&str, &str)] = &[
    ("caddy", "its postinst calls groupadd, and it does not depend on passwd: name both"),
    ("wireguard", "it depends on modules that the kernel's package provides, and mmdebstrap's tree has no kernel"),
];

fn named(package: &str) -> Vec<Explained> {
    NAMED.iter().filter(|(name, _)| *name == package).flat_map(|(_, lines)| lines.iter().copied()).collect()
}

/// What had gone wrong in builds, in one image: a loopback (postfix), shared memory (postgresql), identities (bind9,
/// munge, open-iscsi, nvme-cli, openssh-server, rabbitmq-server, ssl-cert), dates (default-jre-headless, postfix), choices (cups), the order in which users are made (chrony).
const TELLING: [(&str, &str); 13] = [
    ("postfix", "postfix.service"),
    ("postgresql", "postgresql.service"),
    ("bind9", "named.service"),
    ("openssh-server", "ssh.service"),
    // It takes an emulated guest minutes to start: that is looked at with the list.
    ("rabbitmq-server", "basic.target"),
    ("redis-server", "redis-server.service"),
    ("nginx", "nginx.service"),
    ("chrony", "chrony.service"),
    ("cups", "cups.service"),
    ("open-iscsi", "iscsid.socket"),
    ("nvme-cli", "sysinit.target"),
    ("munge", "munge.service"),
    ("default-jre-headless", "network.target"),
];

/// What each of its guests makes for itself.
const MADE: [&str; 7] = [
    "/etc/machine-id",
    "/etc/ssh/ssh_host_ed25519_key ",
    "/etc/ssl/private/ssl-cert-snakeoil.key",
    "/etc/bind/rndc.key",
    "/var/lib/rabbitmq/.erlang.cookie",
    "/etc/iscsi/initiatorname.iscsi",
    "/etc/munge/munge.key",
];

#[test]
fn the_most_telling_are_as_apt_and_mmdebstrap_have_them_and_run() {
    if !is_root("comparing owners with mmdebstrap's tree") {
        return;
    }
    roomy_scratch();
    let file = boot::recipe("telling", "bookworm", &TELLING, false);
    let image = boot::build(&file, "telling");
    let lock = Lock::read(&file.with_extension("lock")).unwrap().unwrap();
    let (row, boot) = std::thread::scope(|scope| {
        let boot = scope.spawn(|| boot::look(&image, &TELLING));
        let suite = Suite::new("bookworm", &Store::at(&cache()).unwrap());
        let recipe = suite.recipe_of(&file);
        let mut row = row::lock(&suite, &suite.metadata.offer(), &recipe).0;
        row::compare(&mut row, &lock, &recipe, &[], &cache());
        (row, boot.join().unwrap())
    });
    assert!(row.short().is_empty(), "{row:#?}");
    assert!(boot.units.values().all(|said| boot::active(said)), "{boot:#?}");
    assert!(boot.shared.is_empty(), "two guests of one image share {:#?}", boot.shared);
    let made = |path: &str| boot.own.iter().any(|identity| identity.starts_with(path));
    assert!(MADE.iter().all(|path| made(path)), "{boot:#?}");
}

#[test]
fn debian_13_is_as_apt_and_mmdebstrap_have_it() {
    if !is_root("comparing owners with mmdebstrap's tree") {
        return;
    }
    roomy_scratch();
    let suite = Suite::new("trixie", &Store::at(&cache()).unwrap());
    let recipe = suite.recipe(&["systemd-sysv", "netplan.io", "openssh-server"]);
    let offered = suite.metadata.offer();
    let (mut row, lock) = row::lock(&suite, &offered, &recipe);
    row::build(&mut row, &lock.unwrap(), &recipe, &[]);
    assert!(row.short().is_empty(), "{row:#?}");
}

#[test]
#[ignore = "takes hours: `make packages`"]
fn the_list() {
    if !is_root("comparing owners with mmdebstrap's trees") {
        return;
    }
    need("mmdebstrap", "apt-get install mmdebstrap");
    roomy_scratch();
    let only = std::env::var("GOLDSMITH_PACKAGES").unwrap_or_default();
    let wanted = |name: &str| only.is_empty() || only.split(' ').any(|one| one == name);
    let entries = list::read();
    let store = Store::at(&cache()).unwrap();
    let mut dates = BTreeMap::new();
    for (name, number) in SUITES {
        let suite = Suite::new(name, &store);
        let recipes: Vec<_> = entries.iter().map(|entry| suite.recipe(&[&entry.name])).collect();
        let offered = suite.metadata.offer();
        dates.insert(name, offered.lock(&suite.recipe).unwrap().epoch);
        let (next, lines) = (AtomicUsize::new(0), Mutex::new(()));
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().unwrap().get() {
                scope.spawn(|| {
                    while let Some(recipe) = recipes.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let name = &recipe.packages[0];
                        if wanted(name) {
                            let said = alone(&suite, &offered, recipe, !only.is_empty());
                            let _guard = lines.lock();
                            println!("Debian {number}: {name}: {said}");
                        }
                    }
                });
            }
        });
    }
    for (suite, _) in SUITES {
        if only.is_empty() {
            boot::boot(suite, &entries);
        }
    }
    std::fs::write(repository().join("docs/packages.md"), record::table(&entries, &dates)).unwrap();
}

/// Looks at a package, unless an earlier run has seen the same packages do well. Returns what to say of it.
fn alone<'a>(suite: &Suite, offered: &Offered<'a>, recipe: &'a Recipe, anew: bool) -> String {
    let name = &recipe.packages[0];
    let record = format!("{}-{name}", suite.name);
    let (mut row, lock) = row::lock(suite, offered, recipe);
    let known = record::read::<Row>(&record).filter(|known| !anew && known.key == row.key && known.short().is_empty());
    match (known, lock) {
        (Some(known), _) => row = known,
        (None, None) => record::write(&record, &row),
        (None, Some(lock)) => {
            let build = catch_unwind(AssertUnwindSafe(|| row::build(&mut row, &lock, recipe, &named(name))));
            if let Err(panic) = build {
                let text = panic.downcast_ref::<String>().cloned();
                row.builds.push(text.unwrap_or_else(|| "it panicked".to_owned()));
            }
            record::write(&record, &row);
        }
    }
    match row.short().as_slice() {
        [] => "ok".to_owned(),
        short => short.iter().map(|(name, lines)| format!("\n  {name}: {}", lines.join("\n    "))).collect(),
    }
}

/// Trees are made where they are made fastest, if there is room.
fn roomy_scratch() {
    const ROOM: u64 = 12 << 30;
    if let Ok(room) = rustix::fs::statvfs("/dev/shm")
        && room.f_bavail * room.f_frsize > ROOM
    {
        // Only the first test of a process can say so.
        let _ = tempfile::env::override_temp_dir("/dev/shm".as_ref());
    }
}
