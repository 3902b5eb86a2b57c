//! Users and groups.

use super::{Mechanism, Package, Way, script};

pub fn all() -> Vec<Mechanism> {
    vec![accounts()]
}

fn accounts() -> Mechanism {
    // One after the other, so that both trees count alike.
    let packages = vec![
        (
            "acc-adduser",
            Package::with("acc-adduser", "Depends: adduser\n").control(
                "./postinst",
                &script(
                    "adduser --system --group --home /var/lib/acc-adduser --gecos 'A, B' acc-adduser\n\
                     adduser --system --group --no-create-home --home /nonexistent --uid 333 acc-fixed\n\
                     addgroup --system acc-group\nadduser acc-adduser acc-group\n\
                     install -d -o acc-adduser -g acc-group -m 2770 /var/lib/acc-shared",
                ),
            ),
        ),
        (
            "acc-useradd",
            Package::with("acc-useradd", "Depends: passwd, acc-adduser\n").control(
                "./postinst",
                &script(
                    "useradd --system --shell /usr/sbin/nologin --home-dir /var/lib/acc-useradd --create-home acc-useradd\n\
                     groupadd --gid 4444 acc-wide\nusermod -aG acc-wide acc-useradd\nuseradd --uid 4445 --create-home acc-person\n\
                     chpasswd -e <<END\nacc-person:$(printf '%s' '$6$salt$hash')\nEND",
                ),
            ),
        ),
        (
            "acc-sysusers",
            Package::with("acc-sysusers", "Depends: systemd, acc-useradd\n")
                .file(
                    "./usr/lib/sysusers.d/acc.conf",
                    b"g acc-sysgroup 888\nu acc-sysfixed 889:acc-sysgroup \"Fixed\" /var/lib/acc /bin/sh\nu acc-sysany - \"Any\"\nm acc-sysany acc-sysgroup\nr - 600-700\n",
                )
                .control("./postinst", &script("systemd-sysusers acc.conf")),
        ),
        (
            "acc-tmpfiles",
            Package::with("acc-tmpfiles", "Depends: systemd, acc-sysusers\n")
                .file(
                    "./usr/lib/tmpfiles.d/acc.conf",
                    b"d /var/lib/acc-tmp 0750 acc-sysfixed acc-sysgroup -\nf /var/lib/acc-tmp/file 0640 acc-sysany - - text\nL /etc/acc-link - - - - acc-target\nd /run/acc 0755 - - -\n",
                )
                .control("./postinst", &script("systemd-tmpfiles --create acc.conf")),
        ),
    ];
    let leaves = vec![("/var/lib/acc-tmp", "folder 0750 889:888"), ("/etc/acc-link", "-> acc-target")];
    let says = vec![
        ("/etc/passwd", "acc-fixed:x:333:333::/nonexistent:/usr/sbin/nologin\n"),
        ("/etc/passwd", "acc-sysfixed:x:889:888:Fixed:/var/lib/acc:/bin/sh\n"),
        ("/etc/passwd", "acc-sysany:x:"),
        ("/etc/group", "acc-wide:x:4444:acc-useradd\n"),
        ("/etc/group", "acc-group:x:"),
        ("/etc/shadow", "acc-person:$6$salt$hash:"),
        ("/var/lib/acc-tmp/file", "text"),
    ];
    let differs = vec![("/etc/passwd", Way::Order, "packages are configured in another order")];
    Mechanism { name: "accounts", packages, leaves, says, differs, ..Mechanism::default() }
}
