//! Many VMs started, stopped and killed at random: nothing of them may be left. `make soak`; the seconds are those of
//! `GOLDSMITH_SOAK_SECONDS` (600), the choices those of `GOLDSMITH_SOAK_SEED` (printed).

mod common;

use common::dice::{Dice, number};
use common::host::Host;
use common::{goldsmith, image, succeed};
use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// VMs at a time: they are emulated.
const MOST: usize = 3;

struct Soak {
    host: Host,
    dice: Dice,
    launches: Vec<Child>,
    started: usize,
}

impl Soak {
    fn run(&self, line: &str) -> String {
        let output = self.host.goldsmith(line).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    fn launch(&mut self) {
        let network = self.dice.one(&["user", "managed", "managed=a", "managed=b"]);
        let disk = self.dice.one(&["copy", "overlay"]);
        let kept = self.dice.one(&["", "", " --keep --name k1", " --keep --name k2"]);
        let recipe = self.dice.one(&["minimal", "minimal", "static"]);
        let mut command: Command = self.host.launch(recipe, &format!("--network {network} --disk {disk}{kept}"));
        self.launches.push(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        self.started += 1;
    }

    /// Ends one process of this kind, if there is one.
    fn kill(&mut self, signal: &str, pattern: &str) {
        let found = self.host.lab.command("pgrep").args(["-f", pattern]).output().unwrap();
        let text = String::from_utf8_lossy(&found.stdout).into_owned();
        let processes: Vec<&str> = text.split_whitespace().collect();
        if !processes.is_empty() {
            let process = self.dice.one(&processes);
            // It may have ended by itself meanwhile.
            let _ = self.host.lab.command("kill").args([signal, process]).output().unwrap();
        }
    }

    fn vms(&self) -> Vec<serde_json::Value> {
        let document = succeed(&mut self.host.goldsmith("ps --format json")).stdout;
        let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
        document["vms"].as_array().unwrap().clone()
    }

    fn named(&mut self) -> Option<String> {
        let vms = self.vms();
        let vm = (!vms.is_empty()).then(|| vms[self.dice.below(vms.len())].clone());
        vm.and_then(|vm| vm["name"].as_str().map(str::to_owned))
    }

    fn step(&mut self) {
        self.launches.retain_mut(|launch| launch.try_wait().unwrap().is_none());
        match self.dice.below(12) {
            0..=4 if self.launches.len() < MOST => self.launch(),
            0..=4 => self.kill("-TERM", "goldsmith launch"),
            5 => self.kill("-INT", "goldsmith launch"),
            6 => self.kill("-KILL", "goldsmith launch"),
            7 => self.kill("-KILL", "^qemu-system"),
            8 => self.kill("-KILL", "dnsmasq --conf-file"),
            9 => drop(self.vms()),
            // Of a VM that is just ending there may be nothing left to stop, and a running one is not deleted.
            verb => {
                if let Some(name) = self.named() {
                    self.run(&format!("{} {name}", if verb == 10 { "stop" } else { "rm" }));
                }
            }
        }
        std::thread::sleep(Duration::from_millis(100 + 100 * self.dice.below(40) as u64));
    }
}

fn mounts(host: &Host) -> BTreeSet<String> {
    let table = succeed(host.lab.command("cat").arg("/proc/self/mounts")).stdout;
    String::from_utf8_lossy(&table).lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "takes ten minutes: make soak"]
fn nothing_is_left_after_a_long_day() {
    let seconds = number("GOLDSMITH_SOAK_SECONDS", 600);
    println!("{seconds} s");
    let dice = Dice::of("GOLDSMITH_SOAK_SEED");
    let folders = [image("minimal"), image("static")];
    let mut soak = Soak { host: Host::new(), dice, launches: Vec::new(), started: 0 };
    let before = mounts(&soak.host);
    let (begun, mut steps) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(seconds) {
        soak.step();
        steps += 1;
    }
    let stopped = soak.run("stop --all");
    for launch in &mut soak.launches {
        // One that had not got so far as to be listed.
        while launch.try_wait().unwrap().is_none() {
            soak.host.goldsmith("stop --all").output().unwrap();
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    for vm in soak.vms() {
        assert_eq!(vm["state"], "stopped", "{vm:#}");
        soak.run(&format!("rm {}", vm["name"].as_str().unwrap()));
    }
    println!("{steps} steps, {} launches; {stopped}", soak.started);
    soak.host.assert_as_before();
    let left: Vec<_> = mounts(&soak.host).difference(&before).cloned().collect();
    assert!(left.is_empty(), "mounts are left: {left:?}");
    for folder in folders {
        succeed(goldsmith().arg("verify").arg(folder));
    }
}
