//! Settings and hooks of dpkg and apt that packages ship; what scripts are told.

use super::{Mechanism, Package, Way, script};

pub fn all() -> Vec<Mechanism> {
    vec![dpkg(), apt(), environment()]
}

fn dpkg() -> Mechanism {
    let settings = "# Of a package\nforce-unsafe-io\n\
        path-exclude=/usr/share/cut/*\npath-include=/usr/share/cut/*/copyright\npath-exclude=\"/usr/share/cut-[ab]\"\n\
        post-invoke=\"echo $DPKG_HOOK_ACTION >>/var/lib/hook-after\"\n";
    let hook = "pre-invoke=\"echo $DPKG_HOOK_ACTION >>/var/lib/hook-before\"\n";
    let packages = vec![
        (
            "cfg-ships",
            Package::new("cfg-ships")
                .control(
                    "./conffiles",
                    "/etc/dpkg/dpkg.cfg.d/made\n/etc/dpkg/dpkg.cfg.d/made-hook\n/etc/dpkg/dpkg.cfg.d/not.read\n",
                )
                .file("./etc/dpkg/dpkg.cfg.d/made", settings.as_bytes())
                .file("./etc/dpkg/dpkg.cfg.d/not.read", b"path-exclude=/usr/share/kept\n")
                .file("./etc/dpkg/dpkg.cfg.d/made-hook", hook.as_bytes()),
        ),
        (
            "cfg-cut",
            Package::with("cfg-cut", "Pre-Depends: cfg-ships\n")
                .control("./preinst", &script("true"))
                .file("./usr/share/kept", b"kept\n")
                .file("./usr/share/cut-a", b"cut\n")
                .file("./usr/share/cut-c", b"kept\n")
                .folder("./usr/share/cut/")
                .folder("./usr/share/cut/here/")
                .file("./usr/share/cut/here/text", b"cut\n")
                .symlink("./usr/share/cut/here/link", "text")
                .file("./usr/share/cut/here/copyright", b"kept\n"),
        ),
    ];
    let leaves = vec![
        ("/usr/share/kept", "0755 0:0 kept"),
        ("/usr/share/cut-a", "nothing"),
        ("/usr/share/cut-c", "0755 0:0 kept"),
        ("/usr/share/cut/here/text", "nothing"),
        ("/usr/share/cut/here/copyright", "0755 0:0 kept"),
    ];
    let says = vec![("/var/lib/hook-after", "configure\n"), ("/var/lib/hook-before", "configure\n")];
    let why = "dpkg itself is only asked to set packages up: its hooks run then, and not for unpacking";
    let links = "dpkg unpacks links last; the packages that dpkg-deb makes have them last";
    let differs = vec![
        ("/var/lib/dpkg/info/cfg-cut.list", Way::Order, links),
        ("/var/lib/hook-after", Way::Other, why),
        ("/var/lib/hook-before", Way::Other, why),
    ];
    Mechanism { name: "settings of dpkg", packages, leaves, says, differs, ..Mechanism::default() }
}

fn apt() -> Mechanism {
    let hooks = "DPkg::Pre-Install-Pkgs { \"touch /var/lib/apt-hook\"; };\nDPkg::Pre-Invoke { \"touch /var/lib/apt-hook\"; };\n\
        DPkg::Post-Invoke { \"touch /var/lib/apt-hook\"; };\nAPT::Update::Post-Invoke { \"touch /var/lib/apt-hook\"; };\n";
    let packages = vec![(
        "apt-hooks",
        Package::new("apt-hooks")
            .control("./conffiles", "/etc/apt/apt.conf.d/99made\n")
            .file("./etc/apt/apt.conf.d/99made", hooks.as_bytes()),
    )];
    let leaves = vec![("/var/lib/apt-hook", "nothing")];
    Mechanism { name: "hooks of apt", packages, leaves, ..Mechanism::default() }
}

fn environment() -> Mechanism {
    let tells = |file: &str| {
        script(&format!(
            "{{ echo \"$0 $# $*\"; pwd; umask; env | grep -E '^DPKG_(MAINTSCRIPT|ROOT|ADMINDIR|RUNNING)' | sort; ls -l /proc/self/fd/0 | sed 's/.*-> //'; }} >/var/lib/{file}"
        ))
    };
    let packages = vec![(
        "env-tells",
        Package::new("env-tells")
            .control("./preinst", &tells("env-preinst"))
            .control("./postinst", &tells("env-postinst")),
    )];
    let says = vec![
        ("/var/lib/env-preinst", "/preinst 1 install\n/\n0022\n"),
        ("/var/lib/env-postinst", ".postinst 2 configure \n/\n0022\n"),
        ("/var/lib/env-preinst", "DPKG_MAINTSCRIPT_PACKAGE=env-tells\n"),
        ("/var/lib/env-preinst", "DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1\n"),
    ];
    Mechanism { name: "environment", packages, says, ..Mechanism::default() }
}
