//! The same attempts under the kernels of Debian 12 and 13, in guests: other system calls, version 2 of control groups, and
//! systemd as the host's own first process.

use super::{common, program};
use common::workshop::Workshop;
use common::{need, succeed};
use std::path::Path;
use std::process::Command;

/// Runs at boot and says on the console what came of it.
const UNIT: &str = "[Unit]\nDescription=Escapes\nBefore=multi-user.target\n[Service]\nType=oneshot\nStandardOutput=tty\nTTYPath=/dev/ttyS0\nExecStart=/usr/libexec/try\n[Install]\nWantedBy=multi-user.target\n";

/// The summary only: a guest's console is slow. What is left behind in the host's own view would be `ls`ed here.
const TRY: &str = r#"#!/bin/sh
echo untouched >/var/tmp/canary
sandbox /usr/bin/escape /srv/report /var/tmp/canary 1 >/run/report 2>&1
echo "kernel $(uname -r) group $(stat -f -c %T /sys/fs/cgroup)"
grep ESCAPED /run/report | head -40
echo "contained $(grep -c ^contained /run/report) escaped $(grep -c ^ESCAPED /run/report) $(tail -n 1 /run/report)"
echo "canary $(cat /var/tmp/canary) groups $(ls -d /sys/fs/cgroup/goldsmith-* 2>/dev/null | wc -l) left $(grep -l gs-left-behind /proc/[0-9]*/comm 2>/dev/null | wc -l)"
"#;

fn under(suite: &str) {
    need("qemu-system-x86_64", "apt-get install qemu-system-x86");
    let workshop = Workshop::new();
    workshop.write("overlay/usr/lib/systemd/system/escapes.service", UNIT);
    workshop.write("overlay/usr/libexec/try", TRY);
    succeed(Command::new("chmod").arg("755").arg(workshop.path("overlay/usr/libexec/try")));
    workshop.write("escape", program());
    let example = Path::new(env!("CARGO_BIN_EXE_goldsmith")).with_file_name("examples").join("sandbox");
    assert!(example.exists(), "this test needs {}: type `cargo build --examples`", example.display());
    succeed(Command::new("strip").arg("-o").arg(workshop.path("sandbox")).arg(example));
    workshop.write(
        "recipes/guest.yaml",
        format!(
            "schema: goldsmith/v1\nname: guest\ninclude: [minimal.yaml]\ndistribution: {{ suite: {suite} }}\npackages: [libgcc-s1]\noverlays: [../overlay]\nartifacts:\n  - {{ source: ../escape, path: /usr/bin/escape, mode: '0755' }}\n  - {{ source: ../sandbox, path: /usr/bin/sandbox, mode: '0755' }}\nunits: {{ enable: [escapes.service] }}\n"
        ),
    );
    workshop.run(&["build", "recipes/guest.yaml"]).succeeded();
    let launch =
        ["launch", "images/guest", "--accel", "emulation", "--memory", "1G", "--timeout", "300s", "--keep", "--detach"];
    let mut command = workshop.goldsmith(&launch);
    command.env("GOLDSMITH_STATE", workshop.path("state"));
    let run: common::workshop::Run = command.output().unwrap().into();
    run.succeeded();
    let goldsmith = |arguments: &[&str]| {
        let mut command = workshop.goldsmith(arguments);
        succeed(command.env("GOLDSMITH_STATE", workshop.path("state")))
    };
    let started = std::time::Instant::now();
    let console = loop {
        let console = String::from_utf8_lossy(&goldsmith(&["logs", "guest-1"]).stdout).into_owned();
        if console.contains("canary ") || started.elapsed().as_secs() > 300 {
            break console;
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    };
    goldsmith(&["stop", "guest-1"]);
    goldsmith(&["rm", "guest-1"]);
    let said = |start: &str| {
        console.lines().find(|line| line.contains(start)).unwrap_or_else(|| panic!("{console}")).to_owned()
    };
    println!("{suite}: {} / {}", said("group cgroup"), said("contained "));
    assert!(said("contained ").contains("escaped 0 all tried"), "{console}");
    assert!(said("canary ").contains("canary untouched groups 0 left 0"), "{console}");
}

#[test]
#[ignore = "builds and boots an image of its own: `make escape`"]
fn nothing_gets_out_under_debian_12s_kernel() {
    under("bookworm");
}

#[test]
#[ignore = "builds and boots an image of its own: `make escape`"]
fn nothing_gets_out_under_debian_13s_kernel() {
    under("trixie");
}
