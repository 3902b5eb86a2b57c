//! Bad input and bad luck, through the real binary: every one is an error that says what to do, nothing half is left,
//! and an older image stays as it is.

mod common;

use common::package::Package;
use common::processes::{Process, descendants};
use common::workshop::{Run, Workshop, names};
use common::{cache, need};
use goldsmith::debian::{LockedPackage, Role};
use goldsmith::values::Sha256;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

// ---------------------------------------------------------------------------------------------------- recipes

/// What `check` says, and that `build` refuses the same thing without leaving anything behind.
#[track_caller]
fn refused(workshop: &Workshop, recipe: &str, parts: &[&str]) {
    workshop.run(&["check", recipe]).failed(1, parts);
    let before = workshop.names("");
    workshop.run(&["build", recipe]).failed(1, parts);
    assert_eq!(workshop.names(""), before);
}

#[test]
fn what_is_no_recipe_is_refused_at_once() {
    let workshop = Workshop::empty();
    let text = |name: &str, text: &str, parts: &[&str]| {
        let started = Instant::now();
        workshop.write(name, text);
        refused(&workshop, name, parts);
        assert!(started.elapsed() < Duration::from_secs(10), "{name} took {:?}", started.elapsed());
    };
    text("empty.yaml", "", &["error[REC-003]: the recipe is empty", "a recipe begins with `schema: goldsmith/v1`"]);
    text("comment.yaml", "# nothing\n---\n", &["error[REC-003]: the recipe is empty"]);
    text("list.yaml", "- a\n- b\n", &["error[REC-003]: the recipe is a list, expected a mapping", "list.yaml:1:1"]);
    text("word.yaml", "hello\n", &["error[REC-003]: the recipe is a single value"]);
    let huge = "# ".to_owned() + &"x".repeat(10 << 20);
    text("huge.yaml", &huge, &["error[REC-006]: cannot read huge.yaml", "a recipe has at most 1048576"]);
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, below) in "bcdefghij".chars().zip("abcdefghi".chars()) {
        let nine = vec![format!("*{below}"); 9].join(", ");
        writeln!(bomb, "{name}: &{name} [{nine}]").unwrap();
    }
    text("bomb.yaml", &bomb, &["error[REC-001]", "bomb.yaml:"]);
    text("deep.yaml", &("a: ".to_owned() + &"[".repeat(50_000)), &["error[REC-001]"]);
    text("tab.yaml", "name:\n\t- a\n", &["error[REC-001]", "tab.yaml:2"]);
    fs::write(workshop.path("binary.yaml"), b"name: \xff\xfe\n").unwrap();
    refused(&workshop, "binary.yaml", &["error[REC-006]", "not UTF-8 (byte 6)"]);
    refused(&workshop, "absent.yaml", &["error[REC-006]: cannot read absent.yaml: there is no such file"]);
    fs::create_dir(workshop.path("folder.yaml")).unwrap();
    refused(&workshop, "folder.yaml", &["error[REC-006]", "it is a folder, not a file"]);
    let arguments = ["build", "recipe.yaml", "--set", "novalue"];
    workshop.run(&arguments).failed(2, &["write NAME=VALUE"]);
}

#[test]
fn every_mistake_is_shown_in_one_run_with_place_caret_and_suggestion() {
    let workshop = Workshop::empty();
    workshop.write(
        "parts/shared.yaml",
        "overlays: [files]\nkernel: { package: Linux }\nimage: { size: 1G }\nparameters: { port: { type: port, default: 99999 } }\n",
    );
    workshop.write(
        "bad.yaml",
        "schema: goldsmith/v1\nname: bad\ninclude: [parts/shared.yaml, bad.yaml, parts/lost.yaml]\ndistribution: { name: debian, suite: bookworm }\nnetwork: { interface: eth0, mode: dhpc }\npakages: [bash]\npackages: [Xvfb, bash, { when: brwser, then: [w3m] }]\n",
    );
    let run = workshop.run(&["check", "bad.yaml", "--set", "prot=80"]);
    run.failed(1, &[]);
    insta::assert_snapshot!(run.stdout.replace(workshop.path("parts").to_str().unwrap(), "/path/to/parts"));
}

#[test]
fn overlays_must_be_there_and_lead_nowhere_else() {
    let workshop = Workshop::new();
    let canary = tempfile::tempdir().unwrap();
    let recipe = |overlay: &str| {
        let text = format!("schema: goldsmith/v1\nname: a\ninclude: [minimal.yaml]\noverlays: [{overlay}]\n");
        workshop.write("recipes/a.yaml", text);
    };
    recipe("../lost");
    refused(&workshop, "recipes/a.yaml", &["error[REC-009]", "lost does not exist", "recipes/a.yaml:4:12", "^^^^^^^"]);
    symlink(canary.path(), workshop.path("out")).unwrap();
    recipe("../out");
    refused(
        &workshop,
        "recipes/a.yaml",
        &["error[REC-010]", "is reached through a symbolic link and is really", "name the real folder"],
    );
    fs::create_dir(canary.path().join("below")).unwrap();
    recipe("../out/below");
    refused(&workshop, "recipes/a.yaml", &["error[REC-010]"]);
    workshop.write("file", "");
    recipe("../file");
    refused(&workshop, "recipes/a.yaml", &["error[REC-009]", "is not a folder"]);

    workshop.write("special/etc/plain", "x");
    let pipe = workshop.path("special/etc/pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    recipe("../special");
    fs::copy(workshop.path("recipes/minimal.lock"), workshop.path("recipes/a.lock")).unwrap();
    let workshop = furnished_like(workshop);
    workshop.run(&["build", "recipes/a.yaml"]).failed(1, &["special", "is a device, pipe or socket"]);
    assert_eq!(workshop.names("images"), [""; 0]);
}

/// Gives a workshop the layers that all tests share.
fn furnished_like(workshop: Workshop) -> Workshop {
    let _ = fs::remove_dir_all(workshop.cache("layers"));
    symlink(cache().join("v1/layers"), workshop.cache("layers")).unwrap();
    workshop
}

#[test]
fn artifacts_and_locks_are_regular_files_of_a_size_that_fits() {
    let workshop = Workshop::new();
    let pipe = |name: &str| {
        rustix::fs::mknodat(rustix::fs::CWD, workshop.path(name), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    };
    let recipe = |source: &str| {
        let text = format!(
            "schema: goldsmith/v1\nname: a\ninclude: [minimal.yaml]\nartifacts: [{{ source: {source}, path: /x }}]\n"
        );
        workshop.write("recipes/a.yaml", text);
    };
    pipe("recipes/pipe");
    for (source, kind) in [("/dev/zero", "a device"), ("pipe", "a pipe"), ("/proc", "a folder")] {
        recipe(source);
        refused(
            &workshop,
            "recipes/a.yaml",
            &["error[REC-009]", &format!("is {kind}, not a file"), "recipes/a.yaml:4:23"],
        );
    }
    fs::File::create(workshop.path("recipes/sparse")).unwrap().set_len(5 << 40).unwrap();
    recipe("sparse");
    fs::copy(workshop.path("recipes/minimal.lock"), workshop.path("recipes/a.lock")).unwrap();

    fs::remove_file(workshop.path("recipes/minimal.lock")).unwrap();
    pipe("recipes/minimal.lock");
    workshop.run(&["build", "recipes/minimal.yaml"]).failed(1, &["minimal.lock", "it is a pipe, not a file"]);
    fs::remove_file(workshop.path("recipes/minimal.lock")).unwrap();
    fs::File::create(workshop.path("recipes/minimal.lock")).unwrap().set_len(10 << 30).unwrap();
    workshop
        .run(&["build", "recipes/minimal.yaml"])
        .failed(1, &["it has 10737418240 bytes; a lock has at most 8388608"]);

    let workshop = furnished_like(workshop);
    workshop.run(&["build", "recipes/a.yaml"]).failed(1, &["an artifact for this image has at most"]);
    assert_eq!(workshop.names("images"), [""; 0]);
}

#[test]
fn a_recipe_can_be_confined_and_its_texts_do_not_drive_the_terminal() {
    let workshop = Workshop::new();
    workshop.write("recipes/a.yaml", "schema: goldsmith/v1\nname: a\ninclude: [minimal.yaml, /etc/passwd]\n");
    let run = workshop.run(&["check", "recipes/a.yaml"]);
    run.failed(1, &["expected a mapping", "/etc/passwd:1:1"]);
    assert!(!run.stdout.contains("root:"), "{run:#?}");
    for arguments in [
        ["check", "--confined=.", "recipes/a.yaml"],
        ["lock", "--confined=.", "recipes/a.yaml"],
        ["build", "--confined=.", "recipes/a.yaml"],
    ] {
        workshop.run(&arguments).failed(1, &["error[REC-017]", "is /etc/passwd, outside", "recipes/a.yaml:3:25"]);
    }
    let evil = "x\u{1b}[2J\u{202e}\u{9b}.yaml";
    workshop.write(
        "recipes/a.yaml",
        format!(
            "schema: goldsmith/v1\nname: a\ninclude: [minimal.yaml, \"{}\"]\n",
            evil.escape_default()
                .to_string()
                .replace("\\u{1b}", "\\e")
                .replace("\\u{202e}", "\\u202e")
                .replace("\\u{9b}", "\\x9b")
        ),
    );
    for format in ["human", "json", "sarif", "github"] {
        let run = workshop.run(&["check", "--format", format, "recipes/a.yaml"]);
        run.failed(1, &["there is no such file"]);
        assert!(!run.stdout.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{run:#?}");
    }
}

#[test]
fn a_link_in_an_overlay_never_leads_a_write_out_of_the_image() {
    let workshop = Workshop::furnished();
    let canary = tempfile::tempdir().unwrap();
    fs::create_dir_all(workshop.path("one")).unwrap();
    symlink(canary.path(), workshop.path("one/srv")).unwrap();
    symlink("../../../../../../../..", workshop.path("one/climb")).unwrap();
    workshop.write("two/srv/caught", "x");
    workshop.write(&format!("two/climb{}/caught", canary.path().display()), "x");
    // The base image has /srv as a folder; a link may take its place only while it is empty, or not at all.
    workshop.write(
        "recipes/a.yaml",
        "schema: goldsmith/v1\nname: a\ninclude: [minimal.yaml]\noverlays: [../one, ../two]\nrun: [[/bin/true]]\n",
    );
    fs::copy(workshop.path("recipes/minimal.lock"), workshop.path("recipes/a.lock")).unwrap();
    let run = workshop.run(&["build", "recipes/a.yaml"]);
    assert_eq!(names(canary.path()), [""; 0], "{run:#?}");
    assert!(matches!(run.status, Some(0 | 1)), "{run:#?}");
    workshop.write("three/link/caught", "x");
    fs::create_dir_all(workshop.path("four")).unwrap();
    symlink(canary.path(), workshop.path("four/link")).unwrap();
    workshop.write(
        "recipes/a.yaml",
        "schema: goldsmith/v1\nname: a\ninclude: [minimal.yaml]\noverlays: [../four, ../three]\nrun: [[/bin/true]]\n",
    );
    let run = workshop.run(&["build", "recipes/a.yaml"]);
    assert_eq!(names(canary.path()), [""; 0], "{run:#?}");
    assert!(matches!(run.status, Some(0 | 1)), "{run:#?}");
}

#[test]
fn packages_that_do_not_exist_or_do_not_go_together_say_which_and_why() {
    let workshop = Workshop::new();
    let lock = |packages: &str| {
        let text = format!("schema: goldsmith/v1\nname: a\ninclude: [minimal.yaml]\npackages: [{packages}]\n");
        workshop.write("recipes/a.yaml", text);
        workshop.run(&["lock", "recipes/a.yaml"])
    };
    lock("opnbox, hello, no-such-thing-at-all").failed(
        1,
        &[
            "recipes/a.yaml:4:12: there is no package `opnbox` in the archives; did you mean `openbox`?",
            "recipes/a.yaml:4:27: there is no package `no-such-thing-at-all` in the archives\n",
        ],
    );
    // A swap of two letters is one slip; what is further away was not meant.
    lock("ngnix").failed(1, &["did you mean `nginx`?"]);
    lock("asterisk").failed(1, &["there is no package `asterisk` in the archives\n"]);
    // In an include, the place is there.
    workshop.write("recipes/b.yaml", "packages:\n  - hello\n  - helo-world\n");
    workshop.write("recipes/c.yaml", "schema: goldsmith/v1\nname: c\ninclude: [minimal.yaml, b.yaml]\n");
    workshop.run(&["lock", "recipes/c.yaml"]).failed(1, &["recipes/b.yaml:3:5: there is no package `helo-world`"]);
    lock("mail-transport-agent").failed(1, &["`mail-transport-agent` is a virtual package; name one of:", "postfix"]);
    lock("postfix, exim4-daemon-light")
        .failed(1, &["conflicts with", "exim4-daemon-light", "postfix", "mail-transport-agent", "because:"]);
    // Brought in by something else, the chain is shown.
    lock("postfix, exim4").failed(1, &["exim4 → exim4-daemon-light"]);
    assert!(!workshop.path("recipes/a.lock").exists());
}

#[test]
fn what_the_recipe_ships_is_looked_at_before_anything_is_fetched() {
    let workshop = Workshop::empty();
    for folder in ["recipes", "overlays"] {
        common::copy_folder(&common::recipes().join(folder), &workshop.path(folder));
    }
    // No artifact, no cache, and a lock that would have to be resolved.
    workshop
        .run(&["build", "recipes/minimal.yaml", "--offline"])
        .failed(1, &["error: the artifact ", "target/guest/oauth-agent is not built", "help: type `make agent`"]);
    fs::create_dir_all(workshop.path("target/guest/oauth-agent")).unwrap();
    workshop
        .run(&["build", "recipes/minimal.yaml", "--offline"])
        .failed(1, &["error[REC-009]: the artifact ", "is a folder, not a file", "recipes/base.yaml:"]);
    let pipe = workshop.path("overlays/base/etc/pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    workshop
        .run(&["build", "recipes/minimal.yaml", "--offline"])
        .failed(1, &["error[REC-009]: ", "etc/pipe in the overlay is a device, pipe or socket", "recipes/base.yaml:"]);
    assert_eq!((workshop.names("images"), workshop.names("cache")), (Vec::new(), Vec::new()));
}

#[test]
fn an_image_that_is_too_small_says_by_how_much() {
    let workshop = Workshop::furnished();
    let recipe = |size: &str| {
        let text = format!("schema: goldsmith/v1\nname: minimal\ninclude: [small.yaml]\nimage: {{ size: {size} }}\n");
        workshop.write("recipes/minimal.yaml", text);
        workshop.run(&["build", "recipes/minimal.yaml"])
    };
    fs::copy(workshop.path("recipes/minimal.yaml"), workshop.path("recipes/small.yaml")).unwrap();
    let run = recipe("256M");
    run.failed(
        1,
        &["the image is too small: its contents need", "the image has 256M", "are missing", "into the recipe"],
    );
    let help = run.stderr.lines().find(|line| line.starts_with("help: ")).unwrap();
    let size = help.split_once("size: ").unwrap().1.split_once(' ').unwrap().0.to_owned();
    assert_eq!(workshop.names("images"), [""; 0]);
    // What the help says is enough, and nothing less is.
    recipe(&size).succeeded();
    let less = format!("{}M", size.trim_end_matches('M').parse::<u32>().unwrap() - 1);
    recipe(&less).failed(1, &["the image is too small"]);
    recipe("8M").failed(1, &["16 MiB"]);
}

// --------------------------------------------------------------------------------------------------- packages

/// Builds an image whose only package is this one.
fn hostile(package: Package) -> (Workshop, Run) {
    let workshop = Workshop::new();
    let bytes = package.finish();
    let sha256 = Sha256::of(&bytes);
    workshop.relock("recipes/minimal.lock", |lock| {
        lock.packages.retain(|package| package.role != Role::Rootfs);
        lock.packages.push(LockedPackage {
            name: "hostile".to_owned(),
            version: "1.0".to_owned(),
            architecture: "all".to_owned(),
            role: Role::Rootfs,
            essential: true,
            archive: 0,
            path: "pool/hostile.deb".to_owned(),
            size: bytes.len() as u64,
            sha256,
        });
    });
    let workshop = workshop.without(&[sha256]);
    let text = sha256.to_string();
    let file = workshop.cache("files").join(&text[..2]).join(&text);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, bytes).unwrap();
    let run = workshop.run(&["build", "recipes/minimal.yaml", "--offline"]);
    assert_eq!(workshop.names("images"), log_of(&run), "{run:#?}");
    (workshop, run)
}

/// All that a build of `minimal` leaves when it fails: a log, if a program failed and the message says where it is.
fn log_of(run: &Run) -> Vec<String> {
    let log = "minimal.failed.log";
    if run.stderr.contains(&format!("images/{log}")) { vec![log.to_owned()] } else { Vec::new() }
}

#[test]
fn a_package_whose_paths_climb_out_is_refused() {
    let canary = tempfile::tempdir().unwrap();
    let outside = canary.path().join("caught");
    let outside = outside.to_str().unwrap();
    let up = format!("usr/../../../../../../../../../..{outside}");
    for package in [
        Package::new("hostile").file(&up, b"x"),
        Package::new("hostile").file("../caught", b"x"),
        Package::new("hostile").folder(&up),
        Package::new("hostile").symlink(&up, "x"),
        Package::new("hostile").file("usr/fine", b"x").hard_link("usr/link", &up),
        Package::new("hostile").hard_link("usr/link", "../../../../../../etc/shadow"),
    ] {
        let (_, run) = hostile(package);
        run.failed(1, &["`..`, NUL and names over 255 bytes are not allowed"]);
    }
    assert_eq!(names(canary.path()), [""; 0]);
}

#[test]
fn what_a_package_puts_behind_an_absolute_name_or_a_link_stays_inside() {
    let canary = tempfile::tempdir().unwrap();
    fs::write(canary.path().join("victim"), "before").unwrap();
    let at = canary.path().to_str().unwrap();
    let victim = format!("{at}/victim");
    for package in [
        Package::new("hostile").file(&victim, b"x"),
        Package::new("hostile").symlink("usr/way", at).file("usr/way/victim", b"x"),
        Package::new("hostile").symlink("usr/way", "../../../../../../../..").file(&format!("usr/way{victim}"), b"x"),
        Package::new("hostile").symlink("usr/file", &victim).file("usr/file", b"x"),
        Package::new("hostile").hard_link("usr/stolen", &victim),
        Package::new("hostile").symlink("usr/way", at).hard_link("usr/stolen", "usr/way/victim"),
        Package::new("hostile").symlink("usr/way", at).folder("usr/way/made"),
        Package::new("hostile").symlink("usr/way", at).symlink("usr/way/made", "x"),
        // dpkg's own files, led elsewhere before they are written.
        Package::new("hostile").symlink("var/lib/dpkg/status", &victim),
        Package::new("hostile").symlink("var/lib/dpkg/info/hostile.list", &victim),
        Package::new("hostile").control("preinst", "#!/bin/sh\n").symlink("var/lib/dpkg/tmp.ci/preinst", &victim),
        Package::new("hostile").control("../../../../../../../victim", "x"),
    ] {
        let (_, run) = hostile(package);
        // There is no dpkg in this image: it fails at the latest when packages are configured.
        run.failed(1, &[]);
        assert_eq!(names(canary.path()), ["victim"], "{run:#?}");
        assert_eq!(fs::read_to_string(canary.path().join("victim")).unwrap(), "before", "{run:#?}");
        assert_eq!(fs::metadata(canary.path().join("victim")).unwrap().nlink(), 1, "{run:#?}");
    }
}

#[test]
fn a_package_that_is_damaged_is_named() {
    let whole = Package::new("hostile").file("usr/fine", &vec![7; 100_000]).finish();
    for (bytes, problem) in [
        (b"".to_vec(), "too short"),
        (b"not an archive at all".to_vec(), "not an ar archive"),
        (whole[..whole.len() / 2].to_vec(), "cut off"),
        (whole[..30].to_vec(), "cut off"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.deb");
        fs::write(&path, bytes).unwrap();
        let error = goldsmith::debian::Deb::open(&path).unwrap_err().to_string();
        assert!(error.contains(problem) && error.contains("x.deb"), "{error}");
    }
}

#[test]
fn a_package_with_an_endless_name_is_refused() {
    // A GNU long name of 8 MB: what stands before an entry is held in memory while it is read.
    let name = vec![b'n'; 8 << 20];
    let package = Package::new("hostile").long_name(&name).file("usr/fine", b"x").finish();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.deb");
    fs::write(&path, package).unwrap();
    let deb = goldsmith::debian::Deb::open(&path).unwrap();
    let error = deb.visit::<goldsmith::debian::DebError>(|_, _| Ok(())).unwrap_err().to_string();
    assert!(error.contains("longer than any"), "{error}");
}

#[test]
fn a_damaged_layer_is_made_anew() {
    let workshop = Workshop::furnished();
    let run = |text: &str| {
        workshop.write(
            "recipes/a.yaml",
            format!("schema: goldsmith/v1\nname: a\ninclude: [minimal.yaml]\nrun: [[/bin/touch, /srv/{text}]]\n"),
        );
        fs::copy(workshop.path("recipes/minimal.lock"), workshop.path("recipes/a.lock")).unwrap();
        workshop.run(&["build", "recipes/a.yaml"])
    };
    let before = names(&workshop.cache("layers/run"));
    let name = format!("damaged-{}", std::process::id());
    run(&name).succeeded();
    let made: Vec<_> = names(&workshop.cache("layers/run")).into_iter().filter(|name| !before.contains(name)).collect();
    let [layer] = made.as_slice() else { panic!("{made:?}") };
    let layer = workshop.cache("layers/run").join(layer);
    let index = fs::read(layer.join("index.json")).unwrap();
    fs::write(layer.join("index.json"), &index[..index.len() / 2]).unwrap();
    let again = run(&name);
    again.succeeded();
    assert!(again.stderr.contains("is damaged in the cache, and made anew"), "{again:#?}");
    fs::write(layer.join("root/etc/hosts"), "x").unwrap();
    run(&name).succeeded();
    fs::remove_dir_all(layer).unwrap();
}

// -------------------------------------------------------------------------------------------------- full disks

/// A command that runs the binary under test in a mount namespace of its own, with a small file system in memory at
/// `place`. As an ordinary user the namespace belongs to one of users, with the ids that this user may hand out.
fn on_small_disk(workshop: &Workshop, place: &str, kilobytes: u64, arguments: &[&str]) -> Run {
    need("unshare", "apt-get install util-linux");
    fs::create_dir_all(workshop.path(place)).unwrap();
    let inner = workshop.goldsmith(arguments);
    let script = format!(
        "set -e; mount -t tmpfs -o size={kilobytes}k,mode=755 small '{0}'; cp -a '{0}.before/.' '{0}'; status=0; \"$@\" || status=$?; ls -A '{0}' >'{0}.after'; cp -a '{0}/.' '{0}.before'; exit $status",
        workshop.path(place).display()
    );
    fs::create_dir_all(workshop.path(&format!("{place}.before"))).unwrap();
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--map-root-user", "--map-auto"]);
    }
    command.args(["--mount", "sh", "-c", &script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    command.current_dir(workshop.path(""));
    inner.get_envs().for_each(|(name, value)| {
        command.env(name, value.unwrap_or_default());
    });
    command.output().unwrap().into()
}

const FULL: &str = "the disk is full";

#[test]
fn a_disk_that_is_full_while_fetching() {
    let lock = Workshop::new().lock("recipes/minimal.lock");
    let largest = lock.packages.iter().max_by_key(|package| package.size).unwrap();
    let workshop = Workshop::new().without(&[largest.sha256]);
    // The file that is missing is fetched onto the small disk.
    let text = largest.sha256.to_string();
    let place = format!("cache/v1/files/{}", &text[..2]);
    fs::create_dir_all(workshop.path(&place)).unwrap();
    fs::rename(workshop.path(&place), workshop.path(&format!("{place}.before"))).unwrap();
    let run = on_small_disk(&workshop, &place, 1024, &["build", "recipes/minimal.yaml"]);
    run.failed(1, &["cannot write", &text, "No space left on device", FULL, "GOLDSMITH_CACHE"]);
    assert_eq!(workshop.names("images"), [""; 0]);
    let _ = fs::remove_dir_all(workshop.path(&format!("{place}.before")));
    let _ = fs::remove_file(workshop.path(&format!("{place}.after")));
}

#[test]
fn a_disk_that_is_full_while_installing() {
    let workshop = Workshop::new();
    // At first, and when the kernel is there, too.
    for kilobytes in [30_000, 230_000] {
        let run = on_small_disk(&workshop, "cache/v1/layers", kilobytes, &["build", "recipes/minimal.yaml"]);
        run.failed(1, &["No space left on device"]);
        run.failed(1, &[FULL, "GOLDSMITH_CACHE"]);
        // It may be a script that finds the disk full.
        assert_eq!(workshop.names("images"), log_of(&run));
        assert_eq!(workshop.names("cache/v1/layers.before/base"), [""; 0]);
    }
}

#[test]
fn a_disk_that_is_full_while_the_kernel_is_unpacked() {
    let workshop = Workshop::furnished();
    fs::remove_file(workshop.cache("layers")).unwrap();
    fs::create_dir(workshop.cache("layers")).unwrap();
    for name in names(&cache().join("v1/layers")).iter().filter(|name| *name != "unpacked") {
        symlink(cache().join("v1/layers").join(name), workshop.cache("layers").join(name)).unwrap();
    }
    let run = on_small_disk(&workshop, "cache/v1/layers/unpacked", 10_000, &["build", "recipes/minimal.yaml"]);
    run.failed(1, &["cannot unpack linux-image", FULL]);
    assert_eq!(workshop.names("images"), [""; 0]);
    assert_eq!(fs::read_to_string(workshop.path("cache/v1/layers/unpacked.after")).unwrap(), "");
}

#[test]
fn a_disk_that_a_step_fills() {
    let workshop = Workshop::furnished();
    let text =
        "schema: goldsmith/v1\nname: full\ninclude: [minimal.yaml]\nrun: [[sh, -c, \"cat /dev/zero >/var/full\"]]\n";
    workshop.write("recipes/full.yaml", text);
    fs::copy(workshop.path("recipes/minimal.lock"), workshop.path("recipes/full.lock")).unwrap();
    fs::remove_file(workshop.cache("layers")).unwrap();
    fs::create_dir_all(workshop.cache("layers/run")).unwrap();
    for name in names(&cache().join("v1/layers")).iter().filter(|name| *name != "run") {
        symlink(cache().join("v1/layers").join(name), workshop.cache("layers").join(name)).unwrap();
    }
    let run = on_small_disk(&workshop, "cache/v1/layers/run", 400_000, &["build", "recipes/full.yaml", "--offline"]);
    run.failed(
        1,
        &["error: run: step 1 (`sh -c cat /dev/zero", "No space left on device", "help: ", "full.failed.log"],
    );
    assert_eq!(workshop.names("images"), ["full.failed.log"]);
    assert_eq!(fs::read_to_string(workshop.path("cache/v1/layers/run.after")).unwrap(), "");
}

#[test]
fn a_disk_that_is_full_while_the_image_is_written() {
    let workshop = Workshop::furnished();
    workshop.write("images.before/minimal/manifest.json", "an older image");
    let build = |kilobytes| on_small_disk(&workshop, "images", kilobytes, &["build", "recipes/minimal.yaml"]);
    build(20_000).failed(1, &["no space left for", "more have to be written", "--output"]);
    let kept = |after: &str| {
        assert_eq!(fs::read_to_string(workshop.path("images.after")).unwrap(), after);
        assert_eq!(fs::read_to_string(workshop.path("images.before/minimal/manifest.json")).unwrap(), "an older image");
    };
    kept("minimal\n");
    // The image fits, the kernel beside it does not.
    let image = fs::metadata(common::image("minimal").join("rootfs.ext4")).unwrap().blocks() / 2;
    build(image + 8_000).failed(1, &["cannot write", "vmlin", "No space left on device", FULL, "--output"]);
    kept("minimal\n");
}

// --------------------------------------------------------------------------------------- killed and interrupted

/// A build in the background, its progress read line by line.
struct Build {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Build {
    fn start(workshop: &Workshop, arguments: &[&str]) -> Self {
        let mut command = workshop.goldsmith(&["build", "recipes/minimal.yaml"]);
        let mut child = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits until a stage has ended.
    fn after(mut self, stage: &str) -> Self {
        let mut seen = Vec::new();
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            if line.trim_start().starts_with(stage) {
                return self;
            }
            seen.push(line);
        }
        panic!("the build ended before {stage}: {seen:#?}");
    }

    /// Waits until a process that the build started has `words` in its command line.
    fn running(self, words: &str) -> Self {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(120) {
            if descendants(self.child.id()).iter().any(|process| process.line.contains(words)) {
                return self;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("no `{words}` was ever started");
    }

    fn pause(self, milliseconds: u64) -> Self {
        std::thread::sleep(Duration::from_millis(milliseconds));
        self
    }

    /// Ends it with a signal. Returns its exit status, and what it had started that outlives it by more than a moment.
    fn end(mut self, signal: rustix::process::Signal) -> (Option<i32>, Vec<String>) {
        let family = descendants(self.child.id());
        let started = Instant::now();
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
        let status = self.child.wait().unwrap();
        assert!(started.elapsed() < Duration::from_secs(5), "it took {:?} to end", started.elapsed());
        while started.elapsed() < Duration::from_secs(10) && family.iter().any(Process::lives) {
            std::thread::sleep(Duration::from_millis(20));
        }
        (status.code(), family.into_iter().filter(Process::lives).map(|process| process.line).collect())
    }

    fn kill(self) {
        let (_, left) = self.end(rustix::process::Signal::KILL);
        assert_eq!(left, [""; 0]);
    }

    fn interrupt(self) {
        let (status, left) = self.end(rustix::process::Signal::INT);
        assert_eq!((status, left), (Some(130), Vec::new()));
    }
}

/// A workshop with an image in it; returns what must not change until a build succeeds.
fn with_older_image() -> (Workshop, Vec<(String, u64)>) {
    let workshop = Workshop::new();
    let from = common::image("minimal");
    fs::create_dir_all(workshop.path("images/minimal")).unwrap();
    for name in names(&from) {
        fs::copy(from.join(&name), workshop.path("images/minimal").join(&name)).unwrap();
    }
    let older = inodes(&workshop);
    (workshop, older)
}

fn inodes(workshop: &Workshop) -> Vec<(String, u64)> {
    let folder = workshop.path("images/minimal");
    names(&folder).into_iter().map(|name| (name.clone(), fs::metadata(folder.join(name)).unwrap().ino())).collect()
}

fn mounts_below(workshop: &Workshop) -> Vec<String> {
    let path = workshop.path("").display().to_string();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().filter(|line| line.contains(path.trim_end_matches('/'))).map(str::to_owned).collect()
}

/// Nothing but finished layers in the cache, nothing but the image in the output.
fn assert_tidy(workshop: &Workshop) {
    assert_eq!(workshop.names("images"), ["minimal"]);
    for kind in workshop.names("cache/v1/layers") {
        let layers = workshop.names(&format!("cache/v1/layers/{kind}"));
        assert!(layers.iter().all(|name| !name.ends_with(".partial")), "{kind}: {layers:?}");
    }
    assert_eq!(mounts_below(workshop), [""; 0]);
}

#[test]
fn a_build_that_is_killed_leaves_the_older_image_and_the_next_one_succeeds() {
    let (workshop, older) = with_older_image();
    let largest =
        workshop.lock("recipes/minimal.lock").packages.into_iter().max_by_key(|package| package.size).unwrap();
    let workshop = workshop.without(&[largest.sha256]);
    let mirror = common::mirror::Mirror::start();
    let original = workshop.lock("recipes/minimal.lock");
    let archive = original.archives[largest.archive].mirror.strip_prefix("http://deb.debian.org").unwrap();
    let path = format!("{archive}/{}", largest.path);
    let bytes = common::mirror::upstream(&path).unwrap();
    workshop.relock("recipes/minimal.lock", |lock| {
        for archive in &mut lock.archives {
            archive.mirror = archive.mirror.replace("http://deb.debian.org", &mirror.url());
        }
    });
    let again = || Build::start(&workshop, &[]);
    let check = |stage: &str| {
        assert_eq!(inodes(&workshop), older, "{stage}");
        assert_eq!(mounts_below(&workshop), [""; 0], "{stage}");
    };
    mirror.set(&path, common::mirror::Answer::Trickle(bytes.clone()));
    let build = again();
    while mirror.asked().is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    build.kill();
    check("fetch");
    mirror.set(&path, common::mirror::Answer::Bytes(bytes));
    again().after("fetch").pause(300).kill();
    check("unpack");
    again().running("dpkg --status-fd").pause(500).kill();
    check("scripts");
    again().after("install").pause(100).kill();
    check("kernel");
    again().after("customize").pause(200).kill();
    check("write");
    again().after("image").pause(50).kill();
    check("initrd");
    original.write(&workshop.path("recipes/minimal.lock")).unwrap();
    workshop.run(&["build", "recipes/minimal.yaml"]).succeeded();
    assert_ne!(inodes(&workshop), older);
    assert_tidy(&workshop);
    let digest = |folder: &Path| Sha256::of(&fs::read(folder.join("manifest.json")).unwrap());
    assert_eq!(digest(&workshop.path("images/minimal")), digest(&common::image("minimal")));
}

#[test]
fn an_interrupt_ends_a_build_at_once_and_leaves_nothing_half() {
    let (workshop, older) = with_older_image();
    let again = || Build::start(&workshop, &["--offline"]);
    let check = |stage: &str| {
        assert_eq!(inodes(&workshop), older, "{stage}");
        assert_tidy(&workshop);
    };
    again().after("fetch").pause(500).interrupt();
    check("unpack");
    again().running("dpkg --status-fd").pause(500).interrupt();
    check("scripts");
    again().after("install").pause(100).interrupt();
    check("kernel");
    again().after("customize").pause(200).interrupt();
    check("write");
    let (status, _) = again().after("customize").end(rustix::process::Signal::TERM);
    assert_eq!(status, Some(143));
    check("terminated");
    workshop.run(&["build", "recipes/minimal.yaml", "--offline"]).succeeded();
    assert_tidy(&workshop);
}

#[test]
fn two_builds_of_one_recipe_at_once_both_succeed() {
    let (workshop, _) = with_older_image();
    let builds = [(); 2].map(|()| {
        let mut command = workshop.goldsmith(&["build", "recipes/minimal.yaml", "--offline"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    let runs = builds.map(|build| Run::from(build.wait_with_output().unwrap()));
    runs.iter().for_each(Run::succeeded);
    let waited = runs.iter().filter(|run| run.stderr.contains("another build of minimal is running; waiting for it"));
    assert_eq!(waited.count(), 1, "{runs:#?}");
    assert_tidy(&workshop);
    let digest = |folder: &Path| Sha256::of(&fs::read(folder.join("manifest.json")).unwrap());
    assert_eq!(digest(&workshop.path("images/minimal")), digest(&common::image("minimal")));
}
