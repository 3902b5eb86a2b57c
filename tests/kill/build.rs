//! `goldsmith build`, killed; and the processes of its sandbox.

use crate::common::dice::Dice;
use crate::common::workshop::{Workshop, names};
use crate::common::{goldsmith, image, succeed};
use crate::victim::{Before, Course, Point, Tally, Victim};
use crate::{alone, dice, kills};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How many builds are killed until one is let through.
const EACH: usize = 10;
/// Files of an image folder that are the same in each build.
const SAME: [&str; 7] =
    ["rootfs.ext4", "vmlinuz", "vmlinux", "initrd.img", "manifest.json", "sbom.spdx.json", "sbom.cdx.json"];
/// Where control groups are.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Inode, size and time of the last change, which nobody sets, of each file.
type Identity = BTreeMap<String, (u64, u64, i64, i64)>;

/// A workshop with an image, and everything in it that no build may change.
struct Site {
    workshop: Workshop,
    older: Identity,
    recipes: Vec<String>,
    mounts: Vec<String>,
}

impl Site {
    fn new() -> Self {
        let workshop = Workshop::new();
        fs::create_dir(workshop.path("tmp")).unwrap();
        let mut site = Self { older: Identity::new(), recipes: Vec::new(), mounts: mounts(&workshop), workshop };
        site.let_through();
        site.recipes = site.workshop.names("recipes");
        site
    }

    fn build(&self, more: &[&str]) -> Command {
        let mut command = self.workshop.goldsmith(&["build", "recipes/minimal.yaml", "--offline"]);
        command.args(more).env("TMPDIR", self.workshop.path("tmp"));
        command
    }

    fn folder(&self) -> PathBuf {
        self.workshop.path("images/minimal")
    }

    fn identity(&self) -> Identity {
        let identity = |name: String| {
            let file = fs::metadata(self.folder().join(&name)).unwrap();
            (name, (file.ino(), file.size(), file.ctime(), file.ctime_nsec()))
        };
        names(&self.folder()).into_iter().map(identity).collect()
    }

    /// The folder of the final name is the older one, untouched, or a new one that is whole.
    fn check(&mut self, what: &str) {
        let now = self.identity();
        if now != self.older {
            self.whole(what);
            self.older = now;
        }
        let strange =
            |name: &String| !["minimal", ".minimal.building", ".minimal.again.building"].contains(&name.as_str());
        let strangers: Vec<_> = self.workshop.names("images").into_iter().filter(strange).collect();
        assert_eq!(strangers, [""; 0], "{what}");
    }

    /// The image verifies, and is that which any other build gives.
    fn whole(&self, what: &str) {
        succeed(goldsmith().arg("verify").arg(self.folder()));
        for name in SAME.iter().filter(|name| name.ends_with(".json")) {
            let [ours, theirs] = [self.folder(), image("minimal")].map(|folder| fs::read(folder.join(name)).unwrap());
            assert!(ours == theirs, "{what}: {name} differs");
        }
    }

    /// A build succeeds and removes what the killed ones have left.
    fn let_through(&mut self) {
        succeed(&mut self.build(&[]));
        assert_ne!(self.identity(), self.older);
        self.whole("the next build");
        self.older = self.identity();
        self.tidy();
    }

    #[track_caller]
    fn tidy(&self) {
        assert_eq!(self.workshop.names("images"), ["minimal"]);
        assert_eq!(self.workshop.names("tmp"), [""; 0]);
        assert_eq!(self.workshop.names("cache/v1"), ["files", "layers", "locks"]);
        for kind in self.workshop.names("cache/v1/layers") {
            let layers = self.workshop.names(&format!("cache/v1/layers/{kind}"));
            assert!(layers.iter().all(|name| !name.ends_with(".partial")), "{kind}: {layers:?}");
        }
        if !self.recipes.is_empty() {
            assert_eq!(self.workshop.names("recipes"), self.recipes);
        }
        assert_eq!(mounts(&self.workshop), self.mounts);
        let started = Instant::now();
        while !stale_groups().is_empty() && started.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(stale_groups(), [""; 0]);
    }
}

fn mounts(workshop: &Workshop) -> Vec<String> {
    let path = workshop.path("").display().to_string();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().filter(|line| line.contains(path.trim_end_matches('/'))).map(str::to_owned).collect()
}

/// Control groups whose makers are no more.
fn stale_groups() -> Vec<String> {
    let hierarchies = names(Path::new(CGROUPS)).into_iter().map(|name| Path::new(CGROUPS).join(name));
    let groups = hierarchies
        .chain([PathBuf::from(CGROUPS)])
        .flat_map(|folder| names(&folder).into_iter().map(move |name| folder.join(name).display().to_string()));
    let stale = |group: &String| {
        let maker = group.rsplit_once("/goldsmith-").map(|(_, maker)| maker);
        maker.is_some_and(|maker| maker.bytes().all(|b| b.is_ascii_digit()) && !Path::new("/proc").join(maker).exists())
    };
    groups.filter(stale).collect()
}

/// Kills builds; each [`EACH`] one is let through.
fn kill_builds(site: &mut Site, more: &[&str], many: usize, course: Course, dice: &mut Dice, tally: &mut Tally) {
    let done = tally.all();
    while tally.all() < done + many {
        let before = Before::now();
        let mut victim = Victim::start(&mut site.build(more));
        let point = course.point(dice);
        if !victim.wait_for(point) || !victim.kill() {
            site.check("a build that was faster");
            continue;
        }
        let what = format!("{point:?}, behind {}", victim.stage());
        before.is_again(&what);
        site.check(&what);
        tally.count(victim.stage());
        if tally.all().is_multiple_of(EACH) {
            site.let_through();
        }
    }
    site.let_through();
}

/// Takes the layers away, so that the next build installs packages.
fn strip(site: &Site) {
    succeed(&mut site.workshop.goldsmith(&["clean", "--layers"]));
}

/// Kills one of the processes in and around the sandbox: the build says so, and goes.
fn kill_helpers(site: &mut Site, many: usize, course: Course, dice: &mut Dice, tally: &mut Tally) {
    let done = tally.all();
    while tally.all() < done + many {
        strip(site);
        let before = Before::now();
        let mut victim = Victim::start(&mut site.build(&[]));
        let at = dice.within(course.whole);
        let mut family = Vec::new();
        if victim.wait_for(Point::after(at)) {
            while family.is_empty() && victim.ended().is_none() {
                family = victim.family();
            }
            // Who watches, or the first process inside. What scripts start may fail without the script's caring.
            family.truncate(2);
        }
        if family.is_empty() || !family[dice.below(family.len())].kill() {
            victim.end();
            site.check("a build that was faster");
            continue;
        }
        let good = victim.end();
        before.is_again(&format!("{at:?}"));
        site.check(&format!("{at:?}"));
        // Somebody may have died who was about to end anyway.
        if good {
            site.tidy();
        } else {
            assert!(victim.said().iter().any(|line| line.contains("error")), "{:#?}", victim.said());
            tally.count(victim.stage());
        }
    }
    site.let_through();
}

/// A closed terminal ends a build, and there is nobody to say so to.
fn hang_up(site: &mut Site) {
    let before = Before::now();
    let mut build = site.build(&[]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(build.stderr.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    drop(lines);
    rustix::process::kill_process(rustix::process::Pid::from_child(&build), rustix::process::Signal::HUP).unwrap();
    let started = Instant::now();
    while build.try_wait().unwrap().is_none() {
        if started.elapsed() > Duration::from_secs(30) {
            build.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(build.wait().unwrap().code(), Some(129));
    before.is_again(&"hung up");
    site.check("hung up");
    site.tidy();
}

#[test]
fn a_few_builds() {
    let (_alone, mut dice, mut tally, mut site) = (alone(), dice(), Tally::default(), Site::new());
    hang_up(&mut site);
    let course = Victim::start(&mut site.build(&[])).course();
    site.older = site.identity();
    kill_builds(&mut site, &[], 5, course, &mut dice, &mut tally);
}

#[test]
#[ignore = "takes long: make kill"]
fn builds() {
    let (_alone, mut dice, mut tally, mut site) = (alone(), dice(), Tally::default(), Site::new());
    let course = Victim::start(&mut site.build(&[])).course();
    site.older = site.identity();
    kill_builds(&mut site, &[], kills() * 7 / 8, course, &mut dice, &mut tally);
    tally.print("build with its layers cached");
}

#[test]
#[ignore = "takes long: make kill"]
fn builds_from_packages() {
    let (_alone, mut dice, mut tally, mut site) = (alone(), dice(), Tally::default(), Site::new());
    strip(&site);
    let course = Victim::start(&mut site.build(&[])).course();
    site.older = site.identity();
    println!("{course:?}");
    for round in 0..kills().div_ceil(50) {
        strip(&site);
        kill_builds(&mut site, &[], 5, course, &mut dice, &mut tally);
        // Twice, the second time from packages.
        if round == 0 {
            let twice = Course { whole: course.whole * 2, ..course };
            kill_builds(&mut site, &["--check"], 5, twice, &mut dice, &mut tally);
        }
    }
    tally.print("build from packages");
    let mut tally = Tally::default();
    kill_helpers(&mut site, kills().div_ceil(10), course, &mut dice, &mut tally);
    tally.print("processes of the sandbox");
}
