//! Triggers: deb-triggers(5).

use super::{Mechanism, Package, Way, script};

pub fn all() -> Vec<Mechanism> {
    vec![triggers()]
}

/// Notes how it was called.
fn notes(name: &str, more: &str) -> String {
    script(&format!("echo \"$1 $2\" >>/var/lib/{name}\n{more}"))
}

fn triggers() -> Mechanism {
    let listens = |name: &'static str, interest: &str, more: &str| {
        (name, Package::new(name).control("./triggers", interest).control("./postinst", &notes(name, more)))
    };
    let packages = vec![
        listens("trig-files", "interest /usr/share/trig\ninterest-noawait /usr/share/trig-single\n", ""),
        (
            "trig-ships",
            Package::with("trig-ships", "Pre-Depends: trig-files\n")
                .control("./preinst", &script("true"))
                .folder("./usr/share/trig/")
                .folder("./usr/share/trig/deep/")
                .file("./usr/share/trig/deep/file", b"x")
                .file("./usr/share/trig-single", b"x")
                .file("./usr/share/trig-other", b"x"),
        ),
        listens("trig-named", "interest trig-await\ninterest-noawait trig-noawait\ninterest-await trig-explicit\n", ""),
        (
            "trig-activates",
            Package::with("trig-activates", "Pre-Depends: trig-named\n")
                .control("./preinst", &script("true"))
                .control("./triggers", "activate trig-await\nactivate-noawait trig-noawait\nactivate-await trig-nobody\n"),
        ),
        (
            "trig-calls",
            Package::with("trig-calls", "Depends: trig-named\n")
                .control("./postinst", &script("dpkg-trigger trig-explicit\ndpkg-trigger --no-await trig-noawait\ndpkg-trigger --by-package=trig-calls trig-await")),
        ),
        // Nobody listens when they come: both are unpacked before one is set up.
        listens("trig-together", "interest /usr/share/trig-together\n", ""),
        ("trig-beside", Package::new("trig-beside").folder("./usr/share/trig-together/").file("./usr/share/trig-together/file", b"x")),
        // One that pulls another when it is pulled.
        listens("trig-chain", "interest-noawait trig-first\n", "[ \"$1\" != triggered ] || dpkg-trigger --no-await trig-second"),
        listens("trig-chained", "interest-noawait trig-second\n", ""),
        (
            "trig-starts",
            Package::with("trig-starts", "Depends: trig-chain, trig-chained\n").control("./postinst", &script("dpkg-trigger --no-await trig-first")),
        ),
        // Its own.
        listens("trig-own", "interest-noawait trig-myself\n", "[ \"$1\" != configure ] || dpkg-trigger --no-await trig-myself"),
        // Two that wait for each other's package.
        listens("trig-cycle-a", "interest trig-a\n", "[ \"$1\" != configure ] || dpkg-trigger trig-b"),
        listens("trig-cycle-b", "interest trig-b\n", "[ \"$1\" != configure ] || dpkg-trigger trig-a"),
    ];
    let says = vec![
        ("/var/lib/trig-files", "configure \ntriggered /usr/share/trig"),
        ("/var/lib/trig-files", "/usr/share/trig-single"),
        ("/var/lib/trig-named", "configure \ntriggered "),
        ("/var/lib/trig-named", "trig-explicit"),
        ("/var/lib/trig-named", "trig-noawait"),
        ("/var/lib/trig-chained", "configure \ntriggered trig-second\n"),
        ("/var/lib/dpkg/triggers/trig-explicit", "trig-named\n"),
        ("/var/lib/dpkg/triggers/trig-noawait", "trig-named/noawait\n"),
    ];
    let never = vec![("/var/lib/dpkg/status", "triggers-"), ("/var/lib/dpkg/status", "Triggers-")];
    let why = "apt has triggers run last, dpkg by itself when it comes to them; the same ones, some of them twice";
    let differs = vec![("/var/lib/trig-files", Way::Other, why), ("/var/lib/trig-named", Way::Other, why)];
    Mechanism { name: "triggers", packages, says, never, differs, ..Mechanism::default() }
}
