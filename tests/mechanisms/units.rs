//! Services: enabled as packages and presets say, and not started.

use super::{Mechanism, Package, script};

pub fn all() -> Vec<Mechanism> {
    vec![units(), presets(), init_scripts()]
}

const UNIT: &str = "[Service]\nExecStart=/bin/touch /var/lib/started\n[Install]\nWantedBy=multi-user.target\n";

/// What dh_installsystemd puts into a `postinst`.
fn enabled(unit: &str) -> String {
    script(&format!(
        "deb-systemd-helper unmask '{unit}' >/dev/null || true\n\
         if deb-systemd-helper --quiet was-enabled '{unit}'; then\n\
             deb-systemd-helper enable '{unit}' >/dev/null || true\n\
         else\n\
             deb-systemd-helper update-state '{unit}' >/dev/null || true\n\
         fi\n\
         if [ -d /run/systemd/system ]; then systemctl --system daemon-reload >/dev/null || true; fi\n\
         deb-systemd-invoke start '{unit}' >/dev/null || true\n\
         deb-systemd-invoke restart '{unit}'"
    ))
}

/// A package with a unit of its name.
fn unit(name: &'static str, install: &str, postinst: &str) -> (&'static str, Package) {
    let package = Package::with(name, "Depends: systemd, init-system-helpers, unit-preset\n")
        .file(&format!("./usr/lib/systemd/system/{name}.service"), install.as_bytes())
        .control("./postinst", postinst);
    (name, package)
}

fn units() -> Mechanism {
    let also = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\nRequiredBy=basic.target\nAlias=unit-other-name.service\nAlso=unit-plain.service\n";
    let masks = script("deb-systemd-helper mask unit-masked.service\n");
    let packages = vec![
        unit("unit-plain", UNIT, &enabled("unit-plain.service")),
        unit("unit-also", also, &enabled("unit-also.service")),
        unit("unit-static", "[Service]\nExecStart=/bin/true\n", &enabled("unit-static.service")),
        unit("unit-masked", UNIT, &masks),
        unit(
            "unit-user",
            UNIT,
            &script(
                "deb-systemd-helper --user enable unit-user-own.service\ndeb-systemd-invoke --user start unit-user-own.service",
            ),
        ),
        (
            "unit-user-own",
            Package::new("unit-user-own")
                .file("./usr/lib/systemd/user/unit-user-own.service", UNIT.replace("multi-user", "default").as_bytes()),
        ),
        (
            "unit-template",
            Package::with("unit-template", "Depends: systemd\n")
                .file("./usr/lib/systemd/system/unit-template@.service", UNIT.as_bytes())
                .control("./postinst", &script("systemctl enable unit-template@one.service unit-template@two.service")),
        ),
    ];
    let leaves = vec![
        ("/etc/systemd/system/multi-user.target.wants/unit-plain.service", "-> /lib/systemd/system/unit-plain.service"),
        ("/etc/systemd/system/basic.target.requires/unit-also.service", "-> /lib/systemd/system/unit-also.service"),
        ("/etc/systemd/system/unit-other-name.service", "-> /lib/systemd/system/unit-also.service"),
        ("/etc/systemd/system/unit-masked.service", "-> /dev/null"),
        ("/var/lib/started", "nothing"),
    ];
    Mechanism { name: "units", packages, leaves, ..Mechanism::default() }
}

fn presets() -> Mechanism {
    let preset =
        "disable unit-off.service\nenable unit-kept.service\ndisable unit-kept.service\ndisable unit-helped.service\n";
    let packages = vec![
        (
            "unit-preset",
            Package::new("unit-preset").file("./usr/lib/systemd/system-preset/20-made.preset", preset.as_bytes()),
        ),
        unit("unit-off", UNIT, &script("systemctl preset unit-off.service")),
        unit("unit-kept", UNIT, &script("systemctl preset unit-kept.service")),
        unit("unit-on", UNIT, &script("systemctl preset unit-on.service")),
        // Debian's helper asks presets too.
        unit("unit-helped", UNIT, &enabled("unit-helped.service")),
    ];
    let leaves = vec![
        ("/etc/systemd/system/multi-user.target.wants/unit-off.service", "nothing"),
        ("/etc/systemd/system/multi-user.target.wants/unit-kept.service", "-> /lib/systemd/system/unit-kept.service"),
        ("/etc/systemd/system/multi-user.target.wants/unit-on.service", "-> /lib/systemd/system/unit-on.service"),
        ("/etc/systemd/system/multi-user.target.wants/unit-helped.service", "nothing"),
    ];
    Mechanism { name: "presets", packages, leaves, ..Mechanism::default() }
}

fn init_scripts() -> Mechanism {
    let init = |name: &str| {
        format!(
            "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: {name}\n# Required-Start: $remote_fs\n# Required-Stop: $remote_fs\n# Default-Start: 2 3 4 5\n# Default-Stop: 0 1 6\n# Short-Description: {name}\n### END INIT INFO\ntouch /var/lib/rc-started\n"
        )
    };
    let package = |name: &'static str, postinst: &str| {
        let package = Package::with(name, "Depends: init-system-helpers\n")
            .control("./conffiles", &format!("/etc/init.d/{name}\n"))
            .file(&format!("./etc/init.d/{name}"), init(name).as_bytes())
            .control("./postinst", &script(postinst));
        (name, package)
    };
    let packages = vec![
        package(
            "rc-plain",
            "update-rc.d rc-plain defaults >/dev/null\ninvoke-rc.d rc-plain start\ninvoke-rc.d --skip-systemd-native rc-plain restart || exit 9",
        ),
        package(
            "rc-off",
            "update-rc.d rc-off defaults\nupdate-rc.d rc-off disable\ninvoke-rc.d --disclose-deny rc-off start || [ $? = 101 ]",
        ),
        package("rc-query", "invoke-rc.d --query rc-query start >/var/lib/rc-query || echo $? >>/var/lib/rc-query"),
    ];
    let leaves = vec![("/var/lib/rc-started", "nothing"), ("/var/lib/rc-query", "0644 0:0 101")];
    Mechanism { name: "init scripts", packages, leaves, ..Mechanism::default() }
}
