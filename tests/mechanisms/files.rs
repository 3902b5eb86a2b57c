//! Whose a file is, where it lies, and how it may be used.

use super::{Mechanism, Package, Way, script};

pub fn all() -> Vec<Mechanism> {
    vec![diversions(), alternatives(), statoverrides(), replaced(), conffiles(), hooks(), ucf(), compiled()]
}

/// A configuration file is not there for the scripts that run before its package is set up, nor a link to one, nor its
/// second name; others' files are.
fn hooks() -> Mechanism {
    let looks = script("ls /etc/hooks.d >/var/lib/hook-runner");
    let packages = vec![
        (
            "hook-runner",
            Package::new("hook-runner")
                .folder("./etc/hooks.d/")
                .file("./usr/bin/hook-runner", b"x")
                .control("./postinst", &looks),
        ),
        (
            "hook-owner",
            Package::with("hook-owner", "Depends: hook-runner\n")
                .folder("./etc/hooks.d/")
                .file("./etc/hooks.d/plain", b"1\n")
                .file("./etc/hooks.d/conf", b"2\n")
                .hard_link("./etc/hooks.d/second", "./etc/hooks.d/conf")
                .symlink("./etc/hooks.d/link", "plain")
                .control("./conffiles", "/etc/hooks.d/conf\n/etc/hooks.d/second\n/etc/hooks.d/link\n"),
        ),
    ];
    let seen = "0644 0:0 conf.dpkg-new\nlink.dpkg-new\nplain\nsecond.dpkg-new";
    Mechanism {
        name: "hooks",
        packages,
        leaves: vec![
            ("/var/lib/hook-runner", seen),
            ("/etc/hooks.d/conf", "0755 0:0 2"),
            ("/etc/hooks.d/second", "0755 0:0 2"),
            ("/etc/hooks.d/link", "-> plain"),
            ("/etc/hooks.d/conf.dpkg-new", "nothing"),
        ],
        ..Mechanism::default()
    }
}

/// Python modules of a package's own folder, which python3's script deletes and has made again: by then goldsmith has made
/// them already.
fn compiled() -> Mechanism {
    const AGAIN: &str = "[ \"$1\" != rtupdate ] || {\n    sleep 2\n    py3clean -p pycompiled /usr/share/pycompiled\n    \
                         py3compile -p pycompiled /usr/share/pycompiled\n}";
    let package = Package::with("pycompiled", "Depends: python3\n")
        .folder("./usr/share/pycompiled/")
        .file("./usr/share/pycompiled/module.py", b"VALUE = 1\n")
        .file("./usr/share/python3/runtime.d/pycompiled.rtupdate", script(AGAIN).as_bytes())
        .control("./postinst", &script("py3compile -p pycompiled /usr/share/pycompiled"));
    let made = "/usr/share/pycompiled/__pycache__/module.cpython-311.pyc";
    Mechanism {
        name: "compiled",
        packages: vec![("pycompiled", package)],
        says: vec![(made, "/usr/share/pycompiled/module.py")],
        ..Mechanism::default()
    }
}

fn diversions() -> Mechanism {
    let divert = |more: &str| script(&format!("dpkg-divert --package $DPKG_MAINTSCRIPT_PACKAGE --add {more}"));
    let packages = vec![
        ("div-victim", Package::new("div-victim").file("./usr/bin/victim", b"victim's\n")),
        (
            "div-taker",
            Package::with("div-taker", "Pre-Depends: div-victim\n")
                .control("./preinst", &divert("--rename --divert /usr/bin/victim.real /usr/bin/victim"))
                .file("./usr/bin/victim", b"taker's\n"),
        ),
        // Before its victim comes, whose link and second name move too.
        (
            "div-early",
            Package::new("div-early")
                .control(
                    "./preinst",
                    &script(
                        "for name in late late-link late-conf; do dpkg-divert --add --no-rename --divert /etc/$name.real /etc/$name; done",
                    ),
                )
                .file("./etc/late", b"early's\n"),
        ),
        (
            "div-late",
            Package::with("div-late", "Pre-Depends: div-early\n")
                .control("./preinst", &script("true"))
                .control("./conffiles", "/etc/late-conf\n")
                .file("./etc/late", b"late's\n")
                .hard_link("./etc/late-second", "./etc/late")
                .symlink("./etc/late-link", "late")
                .file("./etc/late-conf", b"conf\n"),
        ),
        // Of an essential package.
        (
            "div-essential",
            Package::new("div-essential")
                .control("./preinst", &divert("--rename /usr/bin/yes"))
                .file("./usr/bin/yes", b"no\n"),
        ),
        // Of the administrator, for all packages.
        (
            "div-local",
            Package::new("div-local").control(
                "./preinst",
                &script("dpkg-divert --local --rename --add --divert /usr/share/mine /usr/share/theirs"),
            ),
        ),
        (
            "div-moved",
            Package::with("div-moved", "Pre-Depends: div-local\n")
                .control("./preinst", &script("true"))
                .file("./usr/share/theirs", b"moved\n"),
        ),
        // After all is there.
        (
            "div-after",
            Package::with("div-after", "Depends: div-victim\n").control(
                "./postinst",
                &divert("--rename --divert /usr/share/after.real /usr/share/after"),
            ),
        ),
        ("div-aftermath", Package::with("div-aftermath", "").file("./usr/share/after", b"after\n")),
    ];
    let leaves = vec![
        ("/usr/bin/victim", "0755 0:0 taker's"),
        ("/usr/bin/victim.real", "0755 0:0 victim's"),
        ("/etc/late", "0755 0:0 early's"),
        ("/etc/late.real", "0755 0:0 late's"),
        ("/etc/late-second", "0755 0:0 late's"),
        ("/etc/late-link", "nothing"),
        ("/etc/late-link.real", "-> late"),
        ("/etc/late-conf", "nothing"),
        ("/etc/late-conf.real", "0755 0:0 conf"),
        ("/usr/bin/yes", "0755 0:0 no"),
        ("/usr/share/theirs", "nothing"),
        ("/usr/share/mine", "0755 0:0 moved"),
        ("/usr/share/after", "nothing"),
        ("/usr/share/after.real", "0755 0:0 after"),
    ];
    let says = vec![
        ("/var/lib/dpkg/diversions", "/usr/share/theirs\n/usr/share/mine\n:\n"),
        ("/var/lib/dpkg/diversions", "/usr/bin/yes\n/usr/bin/yes.distrib\ndiv-essential\n"),
        ("/var/lib/dpkg/info/div-victim.list", "/usr/bin/victim\n"),
        ("/var/lib/dpkg/info/div-late.list", "/etc/late-link\n"),
    ];
    let links = "dpkg unpacks links last; the packages that dpkg-deb makes have them last";
    let differs = vec![("/var/lib/dpkg/info/div-late.list", Way::Order, links)];
    Mechanism { name: "diversions", packages, leaves, says, differs, ..Mechanism::default() }
}

fn alternatives() -> Mechanism {
    let provider = |name: &'static str, priority: u32, slave: &str| {
        let install =
            format!("update-alternatives --install /usr/bin/choice choice /usr/bin/{name} {priority} {slave}");
        Package::new(name)
            .control("./postinst", &script(&install))
            .file(&format!("./usr/bin/{name}"), b"#!/bin/sh\n")
            .file(&format!("./usr/share/{name}.data"), b"x")
    };
    let slave = |name: &str| format!("--slave /usr/share/choice.data choice.data /usr/share/{name}.data");
    let packages = vec![
        ("alt-low", provider("alt-low", 10, &slave("alt-low"))),
        ("alt-high", provider("alt-high", 50, "")),
        (
            "alt-forced",
            Package::with("alt-forced", "Depends: alt-low, alt-high\n").file("./usr/bin/alt-forced", b"x").control(
                "./postinst",
                &script(
                    "update-alternatives --install /usr/bin/forced forced /usr/bin/alt-low 90\n\
                     update-alternatives --install /usr/bin/forced forced /usr/bin/alt-forced 1 --slave /usr/share/forced.data forced.data /usr/share/alt-low.data\n\
                     update-alternatives --set forced /usr/bin/alt-forced",
                ),
            ),
        ),
    ];
    let leaves = vec![
        ("/usr/bin/choice", "-> /etc/alternatives/choice"),
        ("/etc/alternatives/choice", "-> /usr/bin/alt-high"),
        ("/usr/share/choice.data", "nothing"),
        ("/etc/alternatives/choice.data", "nothing"),
        ("/etc/alternatives/forced", "-> /usr/bin/alt-forced"),
        ("/usr/share/forced.data", "-> /etc/alternatives/forced.data"),
    ];
    let says = vec![
        ("/var/lib/dpkg/alternatives/choice", "auto\n/usr/bin/choice\n"),
        ("/var/lib/dpkg/alternatives/forced", "manual\n"),
    ];
    Mechanism { name: "alternatives", packages, leaves, says, ..Mechanism::default() }
}

fn statoverrides() -> Mechanism {
    let before = "groupadd --gid 777 --system stat\n\
        dpkg-statoverride --add root games 2751 /usr/bin/stat-late\n\
        dpkg-statoverride --add root games 2751 /usr/bin/stat-first\n\
        dpkg-statoverride --add '#12' '#34' 0700 /var/lib/stat-late\n\
        dpkg-statoverride --add games stat 0640 /etc/stat-late.conf\n\
        dpkg-statoverride --add root stat 4750 /usr/bin/stat-away\n\
        dpkg-statoverride --add root stat 0600 /usr/bin/stat-link";
    let after = "dpkg-statoverride --update --add root mail 4750 /usr/bin/stat-there\n\
        dpkg-statoverride --add root mail 0600 /usr/bin/stat-recorded";
    let packages = vec![
        ("stat-early", Package::with("stat-early", "Pre-Depends: passwd\n").control("./preinst", &script(before))),
        (
            "stat-late",
            Package::with("stat-late", "Pre-Depends: stat-early\n")
                .control("./preinst", &script("true"))
                .control("./conffiles", "/etc/stat-late.conf\n")
                .file("./usr/bin/stat-late", b"late\n")
                .file("./usr/bin/stat-first", b"second\n")
                .hard_link("./usr/bin/stat-second", "./usr/bin/stat-first")
                .folder("./var/lib/stat-late/")
                .file("./var/lib/stat-late/inside", b"inside\n")
                .file("./etc/stat-late.conf", b"conf\n")
                .symlink("./usr/bin/stat-link", "stat-late"),
        ),
        (
            "stat-there",
            Package::new("stat-there")
                .control("./postinst", &script(after))
                .file("./usr/bin/stat-there", b"there\n")
                .file("./usr/bin/stat-recorded", b"there\n"),
        ),
    ];
    let leaves = vec![
        ("/usr/bin/stat-late", "2751 0:60 late"),
        ("/usr/bin/stat-second", "0755 0:0 second"),
        ("/usr/bin/stat-first", "0755 0:0 second"),
        ("/var/lib/stat-late", "folder 0700 12:34"),
        ("/var/lib/stat-late/inside", "0755 0:0 inside"),
        ("/etc/stat-late.conf", "0640 5:777 conf"),
        ("/usr/bin/stat-there", "4750 0:8 there"),
        ("/usr/bin/stat-recorded", "0755 0:0 there"),
        ("/usr/bin/stat-away", "nothing"),
    ];
    let says = vec![("/var/lib/dpkg/statoverride", "#12 backup 700 /var/lib/stat-late\n")];
    Mechanism { name: "statoverrides", packages, leaves, says, ..Mechanism::default() }
}

/// Files that go from one package to another, and folders that are links.
fn replaced() -> Mechanism {
    let packages = vec![
        ("rep-old", Package::new("rep-old").file("./usr/share/rep", b"old\n").control("./conffiles", "/etc/rep.conf\n").file("./etc/rep.conf", b"old\n")),
        (
            "rep-new",
            Package::with("rep-new", "Replaces: rep-old (<< 2)\nPre-Depends: rep-old\n")
                .control("./preinst", &script("true"))
                .control("./conffiles", "/etc/rep.conf\n")
                .file("./usr/share/rep", b"new\n")
                .file("./etc/rep.conf", b"new\n"),
        ),
        // Comes before what it replaces.
        ("rep-aa", Package::with("rep-aa", "Replaces: rep-zz\n").file("./usr/share/rep-reverse", b"aa\n")),
        (
            "rep-zz",
            Package::with("rep-zz", "Pre-Depends: rep-aa\n")
                .control("./preinst", &script("true"))
                .file("./usr/share/rep-reverse", b"zz\n")
                .file("./usr/share/rep-only", b"zz\n"),
        ),
        ("rep-link", Package::new("rep-link").folder("./usr/share/rep-real/").symlink("./usr/share/rep-folder", "rep-real")),
        (
            "rep-through",
            Package::with("rep-through", "Pre-Depends: rep-link\n")
                .control("./preinst", &script("true"))
                .folder("./usr/share/rep-folder/")
                .file("./usr/share/rep-folder/inside", b"inside\n"),
        ),
        // A script's file, link and folder in the way of a package's.
        (
            "rep-way",
            Package::new("rep-way")
                .control(
                    "./preinst",
                    &script("cd /usr/share; echo mine >way-file; ln -s nowhere way-link; mkdir way-folder; ln -s rep-way way-linked-folder"),
                )
                .file("./usr/share/way-file", b"shipped\n")
                .file("./usr/share/way-link", b"shipped\n")
                .symlink("./usr/share/way-folder", "rep-real"),
        ),
    ];
    let leaves = vec![
        ("/usr/share/rep", "0755 0:0 new"),
        ("/etc/rep.conf", "0755 0:0 new"),
        ("/usr/share/rep-reverse", "0755 0:0 aa"),
        ("/usr/share/rep-only", "0755 0:0 zz"),
        ("/usr/share/rep-folder", "-> rep-real"),
        ("/usr/share/rep-real/inside", "0755 0:0 inside"),
        ("/usr/share/way-file", "0755 0:0 shipped"),
        ("/usr/share/way-link", "0755 0:0 shipped"),
        ("/usr/share/way-folder", "folder 0755 0:0"),
    ];
    let never =
        vec![("/var/lib/dpkg/info/rep-old.list", "/usr/share/rep\n"), ("/var/lib/dpkg/info/rep-zz.list", "reverse")];
    Mechanism { name: "replaced files", packages, leaves, never, ..Mechanism::default() }
}

fn conffiles() -> Mechanism {
    let before = "echo mine >/etc/conf-target; ln -s conf-target /etc/conf-link; ln -s conf-nowhere /etc/conf-dangling\n\
        echo mine >/etc/conf-kept; echo same >/etc/conf-same; chmod 600 /etc/conf-kept /etc/conf-same; mkdir -p /etc/conf.d";
    let packages = vec![
        ("conf-early", Package::new("conf-early").control("./preinst", &script(before))),
        (
            "conf-owner",
            Package::with("conf-owner", "Pre-Depends: conf-early\n")
                .control("./preinst", &script("true"))
                .control(
                    "./conffiles",
                    "/etc/conf-link\n/etc/conf-dangling\n/etc/conf-kept\n/etc/conf-same\n/etc/conf-new\nremove-on-upgrade /etc/conf-gone\n",
                )
                .file("./etc/conf-link", b"theirs\n")
                .file("./etc/conf-dangling", b"theirs\n")
                .file("./etc/conf-kept", b"theirs\n")
                .file("./etc/conf-same", b"same\n")
                .file("./etc/conf-new", b"theirs\n"),
        ),
        // What packages say who had other configuration files in earlier versions.
        (
            "conf-helper",
            Package::new("conf-helper").file("./usr/share/conf-helper", b"x").control(
                "./postinst",
                &script(
                    "dpkg-maintscript-helper rm_conffile /etc/conf-kept 0.9~ conf-helper -- \"$@\"\n\
                     dpkg-maintscript-helper mv_conffile /etc/a /etc/b 0.9~ conf-helper -- \"$@\"\n\
                     dpkg-maintscript-helper symlink_to_dir /usr/share/doc/conf-helper other 0.9~ conf-helper -- \"$@\"",
                ),
            ),
        ),
    ];
    let leaves = vec![
        ("/etc/conf-link", "-> conf-target"),
        ("/etc/conf-target", "0644 0:0 mine"),
        ("/etc/conf-kept", "0600 0:0 mine"),
        ("/etc/conf-kept.dpkg-dist", "0600 0:0 theirs"),
        ("/etc/conf-same", "0600 0:0 same"),
        ("/etc/conf-new", "0755 0:0 theirs"),
        ("/etc/conf-gone", "nothing"),
    ];
    Mechanism { name: "configuration files", packages, leaves, ..Mechanism::default() }
}

fn ucf() -> Mechanism {
    let postinst = "cd /usr/share/ucf-user\n\
        echo mine >/etc/ucf-local; echo older >/etc/ucf-older; echo shipped >/etc/ucf-same\n\
        for name in new local same; do ucf --debconf-ok --three-way /usr/share/ucf-user/shipped /etc/ucf-$name; ucfr ucf-user /etc/ucf-$name; done\n\
        ucf --debconf-ok --sum-file /usr/share/ucf-user/md5sums /usr/share/ucf-user/shipped /etc/ucf-older\n\
        ucfr ucf-user /etc/ucf-older";
    // The digest of `older`.
    let sums = "cf1f86574dcc6fd88cf567a21b506c8f  shipped\n";
    let packages = vec![(
        "ucf-user",
        Package::with("ucf-user", "Depends: ucf\n")
            .control("./postinst", &script(postinst))
            .folder("./usr/share/ucf-user/")
            .file("./usr/share/ucf-user/shipped", b"shipped\n")
            .file("./usr/share/ucf-user/md5sums", sums.as_bytes()),
    )];
    let leaves = vec![
        ("/etc/ucf-new", "0755 0:0 shipped"),
        ("/etc/ucf-local", "0644 0:0 mine"),
        ("/etc/ucf-same", "0644 0:0 shipped"),
    ];
    let says =
        vec![("/var/lib/ucf/hashfile", "  /etc/ucf-new\n"), ("/var/lib/ucf/registry", "ucf-user \t /etc/ucf-local\n")];
    Mechanism { name: "ucf", packages, leaves, says, ..Mechanism::default() }
}
