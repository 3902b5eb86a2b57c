//! `goldsmith launch`, killed; and what runs for it: QEMU, dnsmasq.

use crate::common::dice::Dice;
use crate::common::host::Host;
use crate::common::succeed;
use crate::victim::{Course, Tally, Victim};
use crate::{alone, dice, kills};
use std::process::Command;
use std::time::{Duration, Instant};

/// A launch ends as soon as its VMM has, however slow the machine is: long before its probes give up.
const AT_ONCE: Duration = Duration::from_secs(60);

const NETWORKS: [&str; 3] = ["user", "managed", "managed=b"];
const DISKS: [&str; 2] = ["copy", "overlay"];

fn launch(host: &Host, network: &str, disk: &str, more: &str) -> Command {
    let mut command = host.goldsmith("launch --accel emulation --memory 256M --cpus 1 --timeout 10m --format lines");
    command.args(["--network", network, "--disk", disk]).args(more.split_whitespace());
    command.arg(crate::common::image("minimal"));
    command
}

/// After the next command nothing of it is left; the kernel may need a moment to take interfaces away.
#[track_caller]
fn check(host: &Host, what: &str) {
    succeed(&mut host.goldsmith("ps"));
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(5) && !changed(host).is_empty() {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(changed(host), [""; 0], "{what}: this is left");
}

/// What is on the host that was not, files that were half written to the state folder included.
fn changed(host: &Host) -> Vec<String> {
    let mut changed = host.changed();
    let state = walkdir::WalkDir::new(host.lab.folder().join("state")).into_iter().flatten();
    let half = state.filter(|entry| {
        let name = entry.file_name().to_string_lossy();
        name.starts_with('.') || name.ends_with(".part")
    });
    changed.extend(half.map(|entry| entry.path().display().to_string()));
    changed
}

/// How long the two parts of a launch take: until the VMM runs, and until the VM is ready.
fn courses(host: &Host, network: &str) -> (Course, Course) {
    // Its image is built first.
    let mut command = launch(host, network, "copy", "--stop-after-ready");
    let started = Instant::now();
    let mut victim = Victim::start(&mut command);
    assert!(victim.hears("\"start\""), "{:#?}", victim.said());
    let early = Course { whole: started.elapsed(), stages: victim.said().len() };
    (early, victim.course())
}

/// Kills launches: nine in ten before the VMM runs or just then, the others anywhere until the VM is ready.
fn kill_launches(host: &Host, many: usize, dice: &mut Dice, tally: &mut Tally) {
    let (early, whole) = courses(host, "managed");
    println!("until the VMM runs {early:?}, until the VM is ready {whole:?}");
    while tally.all() < many {
        let (network, disk) = (dice.one(&NETWORKS), dice.one(&DISKS));
        let kept = dice.one(&["", "", "--keep --name kept"]);
        let course = if dice.below(10) == 0 { whole } else { early };
        let point = course.point(dice);
        let mut victim = Victim::start(&mut launch(host, network, disk, kept));
        if !victim.wait_for(point) || !victim.kill_inner() {
            continue;
        }
        let what = format!("{network} {disk} {kept}, {point:?}: {:#?}", victim.said());
        if !kept.is_empty() {
            // Only what boots again is kept.
            let vms = succeed(&mut host.goldsmith("ps --format json")).stdout;
            if String::from_utf8_lossy(&vms).contains("\"kept\"") {
                succeed(&mut host.goldsmith("launch --name kept --dry-run --network user --accel emulation --quiet"));
                succeed(&mut host.goldsmith("rm kept"));
            }
        }
        check(host, &what);
        tally.count(victim.stage());
    }
}

/// Kills QEMU: its launch says so and ends, and needs no other command to clean up.
fn kill_qemu(host: &Host, many: usize, dice: &mut Dice, tally: &mut Tally) {
    let (_, whole) = courses(host, "user");
    while tally.all() < many {
        let (network, disk) = (dice.one(&NETWORKS), dice.one(&DISKS));
        // Most just behind its start.
        let most = if dice.below(5) == 0 { whole.whole } else { Duration::from_millis(800) };
        let mut victim = Victim::start(&mut launch(host, network, disk, ""));
        let qemu = loop {
            let qemu = victim.family().into_iter().find(|process| process.line.starts_with("qemu-system"));
            if qemu.is_some() || victim.ended().is_some() {
                break qemu;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let qemu = qemu.unwrap_or_else(|| panic!("{:#?}", victim.said()));
        std::thread::sleep(dice.within(most));
        assert!(qemu.kill());
        let killed = Instant::now();
        // A VM that was ready has ended by itself, and its launch has done what it was to do.
        let good = victim.end();
        let what = format!("{network} {disk}: {:#?}", victim.said());
        assert!(killed.elapsed() < AT_ONCE, "{what}: it took {:?}", killed.elapsed());
        assert!(good || victim.said().iter().any(|line| line.contains("\"failed\"")), "{what}");
        host.assert_as_before();
        check(host, &what);
        tally.count(victim.stage());
    }
}

/// Kills dnsmasq: the next command gives the network a new one, and the VM gets ready.
fn kill_dnsmasq(host: &Host, many: usize, dice: &mut Dice, tally: &mut Tally) {
    let (_, whole) = courses(host, "managed");
    while tally.all() < many {
        let mut victim = Victim::start(&mut launch(host, "managed", "overlay", ""));
        let mut round = 0;
        // One launch bears many of them: the last ones while the VM is ready.
        while round < 10 && tally.all() < many {
            std::thread::sleep(dice.within(whole.whole / 5));
            let family = host.lab.command("pgrep").args(["-x", "dnsmasq"]).output().unwrap().stdout;
            let servers = String::from_utf8_lossy(&family).into_owned();
            for server in servers.split_whitespace() {
                host.lab.command("kill").args(["-KILL", server]).output().unwrap();
            }
            if victim.ended().is_some() {
                break;
            }
            if servers.trim().is_empty() {
                continue;
            }
            let stage = victim.stage();
            succeed(&mut host.goldsmith("ps"));
            let started = Instant::now();
            while host.servers() != 1 && started.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(20));
            }
            if victim.ended().is_some() {
                break;
            }
            assert_eq!(host.servers(), 1, "{:#?}", victim.said());
            tally.count(stage);
            round += 1;
        }
        if victim.hears("\"ready\":{\"ready\"") {
            succeed(&mut host.goldsmith("stop --all --timeout 0s"));
            assert!(victim.end(), "{:#?}", victim.said());
        } else {
            // It was killed while its launch was starting it.
            assert!(victim.said().iter().any(|line| line.contains("\"failed\"")), "{:#?}", victim.said());
        }
        host.assert_as_before();
    }
}

#[test]
fn a_few_launches() {
    let (_alone, mut dice, mut tally, host) = (alone(), dice(), Tally::default(), Host::new());
    let early = Course { whole: Duration::from_millis(1500), stages: 4 };
    while tally.all() < 5 {
        let point = early.point(&mut dice);
        let mut victim = Victim::start(&mut launch(&host, dice.one(&NETWORKS), "overlay", ""));
        if victim.wait_for(point) && victim.kill_inner() {
            check(&host, &format!("{point:?}"));
            tally.count(victim.stage());
        }
    }
}

#[test]
#[ignore = "takes long: make kill"]
fn launches() {
    let (_alone, mut dice, mut tally, host) = (alone(), dice(), Tally::default(), Host::new());
    kill_launches(&host, kills(), &mut dice, &mut tally);
    tally.print("launch");
}

#[test]
#[ignore = "takes long: make kill"]
fn qemu() {
    let (_alone, mut dice, mut tally, host) = (alone(), dice(), Tally::default(), Host::new());
    kill_qemu(&host, kills(), &mut dice, &mut tally);
    tally.print("QEMU");
}

#[test]
#[ignore = "takes long: make kill"]
fn dnsmasq() {
    let (_alone, mut dice, mut tally, host) = (alone(), dice(), Tally::default(), Host::new());
    kill_dnsmasq(&host, kills(), &mut dice, &mut tally);
    tally.print("dnsmasq");
}
