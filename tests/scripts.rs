//! Packages whose scripts misbehave, or want what dpkg gives them: who is named, what is said, what is kept.

mod common;

use common::made::{Made, script};
use common::package::Package;
use common::workshop::Workshop;
use goldsmith::image::View;
use std::fs;

#[test]
fn a_failing_script_is_named_with_its_own_last_words() {
    // With Python there is a queue beside dpkg.
    let made = Made::new(&["python3"]);
    // Set up in an order that is dpkg's: others come before and after.
    let postinst =
        script("echo first words\nprintf 'no newline'\necho >&2\necho 'cannot go on: mailname' >&2\nexit 75");
    made.with(vec![
        ("aa-other", Package::new("aa-other").control("./postinst", &script("echo others words"))),
        ("mm-broken", Package::new("mm-broken").control("./postinst", &postinst)),
        ("zz-after", Package::with("zz-after", "Depends: mm-broken\n")),
    ]);
    let log = "images/made.failed.log";
    let words = [
        "  | first words\n  | no newline\n  | cannot go on: mailname\nhelp: all that was said is in images/made.failed.log; \
         to look around there: goldsmith shell recipes/made.yaml --before mm-broken\n",
    ];
    let run = made.fails("mm-broken: postinst failed with exit status 75", &words);
    assert!(!run.stderr.contains("others words") && !run.stderr.contains("zz-after"), "{run:#?}");
    assert_eq!(made.workshop.names("images"), ["made.failed.log"]);
    let text = fs::read_to_string(made.workshop.path(log)).unwrap();
    for part in ["  mm-broken: cannot go on: mailname", "  unpacking mm-broken", "  setting up libc6"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let times = text.lines().all(|line| line.get(..8).is_some_and(|time| time.trim().parse::<f64>().is_ok()));
    assert!(times, "{text}");
}

#[test]
fn scripts_of_every_kind_are_named() {
    let made = Made::new(&["debconf"]);
    let asks = "#!/bin/sh\n. /usr/share/debconf/confmodule\nset -e\ndb_input critical asks/name\ndb_go\n";
    let templates = "Template: asks/name\nType: string\nDescription: a name\n";
    let trigger = Package::new("has-trigger")
        .control("./postinst", "#!/bin/sh\n[ \"$1\" != triggered ] || { echo pulled; exit 7; }\n")
        .control("./triggers", "interest-noawait pull-it\n");
    let pull = Package::with("pulls", "Depends: has-trigger\n").control("./postinst", &script("dpkg-trigger pull-it"));
    let one = |name: &'static str, kind: &str, text: &str| vec![(name, Package::new(name).control(kind, text))];
    let cases = [
        (
            one("early", "./preinst", &script("echo wants more\nexit 3")),
            "early: preinst failed with exit status 3",
            "  | wants more\nhelp: all that was said is in images/made.failed.log; \
             to look around there: goldsmith shell recipes/made.yaml --before early:preinst\n",
        ),
        (
            vec![("has-trigger", trigger), ("pulls", pull)],
            "has-trigger: postinst for its triggers failed with exit status 7",
            "  | pulled\n",
        ),
        (
            one("shot", "./postinst", &script("kill -9 $$")),
            "shot: postinst was killed by signal (Killed)",
            "help: all that",
        ),
        (
            vec![(
                "asks",
                Package::with("asks", "Depends: debconf\n")
                    .control("./postinst", asks)
                    .control("./templates", templates),
            )],
            "asks: postinst failed with exit status 30",
            "without a default are `asks/name`; all that was said",
        ),
        (
            one("reads", "./postinst", &script("read answer")),
            "reads: postinst failed with exit status 1",
            "standard input, which is empty",
        ),
    ];
    for (packages, first, part) in cases {
        made.with(packages).fails(first, &[part]);
    }
}

#[test]
fn a_script_that_never_ends_is_named_while_it_runs_and_when_it_is_ended() {
    let made = Made::new(&["dpkg"]);
    let postinst = script("echo starting bad-hangd\nexec sleep 1000000");
    made.with(vec![("bad-hang", Package::new("bad-hang").control("./postinst", &postinst))]);
    let run = made.build(&["--step-timeout=25s"]);
    run.failed(
        1,
        &[
            "  setting up bad-hang (postinst), 10 s\n",
            "error: bad-hang: postinst was ended: it ran for more than 25 seconds\n  | starting bad-hangd\nhelp: ",
            "--step-timeout",
            "images/made.failed.log",
        ],
    );
}

#[test]
fn a_step_of_the_recipe_is_named_with_what_it_wants() {
    let workshop = Workshop::furnished();
    let cases = [
        (
            "[[\"true\"], [sh, -c, \"echo from the step; exit 4\"]]",
            "error: run: step 2 (`sh -c echo from the step; exit 4`) failed with exit status 4\n  | from the step\nhelp: all that was said is in images/made.failed.log; \
             to look around there: goldsmith shell recipes/made.yaml --before run:2\n",
        ),
        (
            "[[python3, -c, \"import urllib.request as u; u.urlopen('http://example.org')\"]]",
            "build steps have no network",
        ),
        ("[[sh, -c, \"read x </dev/tty\"]]", "nobody types in a build"),
        ("[[timedatectl]]", "no service runs in a build"),
    ];
    for (steps, part) in cases {
        workshop.write(
            "recipes/made.yaml",
            format!("schema: goldsmith/v1\nname: made\ninclude: [minimal.yaml]\nrun: {steps}\n"),
        );
        fs::copy(workshop.path("recipes/minimal.lock"), workshop.path("recipes/made.lock")).unwrap();
        workshop.run(&["build", "recipes/made.yaml", "--offline"]).failed(1, &[part, "images/made.failed.log"]);
    }
}

/// Binds and connects both loopbacks, and takes shared memory.
const SURROUNDINGS: &str = "\
import multiprocessing, socket
for family, place in ((socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')):
    server = socket.socket(family)
    server.bind((place, 0))
    server.listen()
    socket.create_connection(server.getsockname()[:2]).close()
multiprocessing.Lock()
open('/dev/shm/goldsmith', 'w').write('x')
";

#[test]
fn scripts_find_what_dpkg_promises_them() {
    let made = Made::new(&[]);
    // Policy 7.2: what a package pre-depends on is set up before its preinst runs.
    let users = Package::with("zz-users", "Depends: passwd\n").control("./postinst", &script("groupadd -r zzgrp"));
    let predep =
        Package::with("aa-predep", "Pre-Depends: zz-users\n").control("./preinst", &script("getent group zzgrp"));
    // A file that is there already, and one that is not; the same file, and another.
    let early = Package::new("conf-early").control(
        "./preinst",
        &script(
            "echo mine >/etc/conf-kept\necho same >/etc/conf-same\nchmod 600 /etc/conf-kept\necho mine >/etc/not-conf",
        ),
    );
    let conf = Package::new("conf-owner")
        .control("./conffiles", "/etc/conf-kept\n/etc/conf-same\n/etc/conf-new\n")
        .file("./etc/conf-kept", b"theirs\n")
        .file("./etc/conf-same", b"same\n")
        .file("./etc/conf-new", b"theirs\n")
        .file("./etc/not-conf", b"theirs\n");
    let around = Package::with("around", "Depends: python3\n").control(
        "./postinst",
        &format!("#!/usr/bin/python3\n{SURROUNDINGS}\nprint('around: warning: nothing is wrong')\n"),
    );
    made.with(vec![
        ("zz-users", users),
        ("aa-predep", predep),
        ("conf-early", early),
        ("conf-owner", conf),
        ("around", around),
    ]);
    let run = made.build(&[]);
    run.succeeded();
    run.failed(0, &["around: around: warning: nothing is wrong", "build.log"]);
    assert_eq!(made.workshop.names("images"), ["made"]);
    let log = fs::read_to_string(made.workshop.path("images/made/build.log")).unwrap();
    assert!(log.contains("  around: around: warning: ") && log.contains("  setting up around (postinst)"), "{log}");

    let view = View::open_path(&made.workshop.path("images/made/rootfs.ext4")).unwrap();
    let read =
        |path: &str| view.read(&path.parse().unwrap(), 1 << 24).unwrap().map(|bytes| String::from_utf8(bytes).unwrap());
    for (path, text) in [
        ("/etc/conf-kept", Some("mine\n")),
        ("/etc/conf-kept.dpkg-dist", Some("theirs\n")),
        ("/etc/conf-kept.dpkg-new", None),
        ("/etc/conf-same", Some("same\n")),
        ("/etc/conf-same.dpkg-dist", None),
        ("/etc/conf-same.dpkg-new", None),
        ("/etc/conf-new", Some("theirs\n")),
        ("/etc/not-conf", Some("theirs\n")),
    ] {
        assert_eq!(read(path).as_deref(), text, "{path}");
    }
    let status = read("/var/lib/dpkg/status").unwrap();
    assert!(
        status.contains(" /etc/conf-kept 4b60e63c902af33ad002c798dc6b91e6\n"),
        "the shipped one's digest, as dpkg notes it"
    );
    assert!(!status.contains("newconffile"));
}

#[test]
fn questions_are_answered_by_the_recipe_and_those_that_were_not_are_named() {
    let made = Made::new(&[]);
    let templates = "Template: asks/name\nType: string\nDefault: nobody\nDescription: a\n\n\
                     Template: asks/kind\nType: select\nChoices: red, green\nDefault: red\nDescription: b\n\n\
                     Template: asks/left\nType: boolean\nDefault: false\nDescription: c\n";
    let config = "#!/bin/sh\n. /usr/share/debconf/confmodule\ndb_input high asks/name || true\ndb_input high asks/kind || true\n\
                  db_input critical asks/left || true\ndb_input low asks/kind || true\ndb_go || true\n";
    let postinst = "#!/bin/sh\nset -e\n. /usr/share/debconf/confmodule\ndb_get asks/name\nname=$RET\ndb_get asks/kind\n\
                    echo \"$name, $RET\" >/etc/asked\n";
    let asks = Package::with("asks", "Depends: debconf\n")
        .control("./templates", templates)
        .control("./config", config)
        .control("./postinst", postinst);
    made.with(vec![("asks", asks)]);
    let recipe = |answers: &str| {
        let text = format!("schema: goldsmith/v1\nname: made\ninclude: [minimal.yaml]\ndebconf:\n{answers}");
        made.workshop.write("recipes/made.yaml", text);
    };
    // Of two answers the later one counts; a file may be meant for other images too.
    made.workshop.write(
        "recipes/answers.cfg",
        "# ours\nother other/name string x\nasks asks/kind select green\nasks asks/name string from the file\nd-i netcfg/x string y\n",
    );
    recipe("  - preseed: answers.cfg\n  - { owner: asks, question: asks/name, type: string, value: some one }\n");
    let run = made.build(&[]);
    run.succeeded();
    let named = "under `debconf:`\n    - { owner: asks, question: asks/left, type: boolean, value: \"false\" }\n";
    assert!(run.stderr.contains(named) && !run.stderr.contains("asks/name"), "{run:#?}");
    let view = View::open_path(&made.workshop.path("images/made/rootfs.ext4")).unwrap();
    let asked = view.read(&"/etc/asked".parse().unwrap(), 100).unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&asked), "some one, green\n");
    let log = fs::read_to_string(made.workshop.path("images/made/build.log")).unwrap();
    assert!(!log.contains("developer"), "{log}");
    // A build that finds all this in the cache says it again.
    let run = made.build(&[]);
    run.succeeded();
    assert!(run.stderr.contains("from the cache") && run.stderr.contains(named), "{run:#?}");
    let log = fs::read_to_string(made.workshop.path("images/made/build.log")).unwrap();
    assert!(log.contains("  when this layer was made:\n") && log.contains("  setting up asks"), "{log}");

    // What fits no question is said at once, each with its place.
    made.workshop.write("recipes/answers.cfg", "\nasks asks/kind select gren\n");
    recipe(
        "  - preseed: answers.cfg\n  - { owner: asks, question: asks/nmae, type: string, value: x }\n  - { owner: asks, question: asks/left, type: string, value: x }\n",
    );
    made.fails(
        "answers.cfg:2: `gren` cannot be chosen for `asks/kind`; did you mean `green`?",
        &[
            "recipes/made.yaml:6:5: no package of the image asks `asks/nmae`; did you mean `asks/name`?",
            "recipes/made.yaml:7:5: `asks/left` is a question of type boolean, not string",
        ],
    );
    recipe("  - { owner: asks, question: asks/left }\n  - { preseed: none.cfg, owner: x1 }\n");
    made.build(&[]).failed(1, &["the answer has no `type`", "the answer has no `value`", "none.cfg does not exist"]);
}
