//! A host of the test's own, on which goldsmith makes networks.

use super::lab::{Dhcp, Lab};
use super::{image, need, succeed};
use std::process::Command;
use std::time::{Duration, Instant};

/// A host of the test's own, without any bridge, as goldsmith found it.
pub struct Host {
    /// Its namespaces.
    pub lab: Lab,
    /// The interfaces it had before.
    pub interfaces: Vec<String>,
    /// Whether it forwarded before.
    pub forwarding: String,
}

impl Host {
    /// Makes it.
    pub fn new() -> Self {
        for (program, package) in [
            ("qemu-system-x86_64", "qemu-system-x86"),
            ("nft", "nftables"),
            ("dnsmasq", "dnsmasq-base"),
            ("bridge", "iproute2"),
            ("busybox", "busybox-static"),
            ("pkill", "procps"),
        ] {
            need(program, &format!("apt-get install {package}"));
        }
        let lab = Lab::new(Dhcp::Bare);
        let interfaces = lab.interfaces();
        std::fs::create_dir(lab.folder().join("tmp")).unwrap();
        Self { interfaces, forwarding: forwarding(&lab), lab }
    }

    /// A world beyond the host, at 203.0.113.2, that knows no way back to the VMs: the command for its web server.
    pub fn world(&mut self) -> Command {
        self.ip("netns add world");
        self.ip("link add uplink type veth peer name far netns world");
        self.ip("addr add 203.0.113.1/24 dev uplink");
        self.ip("link set uplink up");
        self.ip("-n world addr add 203.0.113.2/24 dev far");
        self.ip("-n world link set far up");
        self.interfaces = self.lab.interfaces();
        let mut httpd = self.lab.command("ip");
        httpd.args("netns exec world busybox httpd -f -p 80 -h".split(' ')).arg(self.lab.folder());
        httpd
    }

    /// A goldsmith verb inside, with a state folder of the lab's own.
    pub fn goldsmith(&self, line: &str) -> Command {
        let mut command = self.lab.command(env!("CARGO_BIN_EXE_goldsmith"));
        command.env("GOLDSMITH_STATE", self.lab.folder().join("state")).env("NO_COLOR", "1");
        command.env("TMPDIR", self.lab.folder().join("tmp")).args(line.split(' '));
        command
    }

    /// A launch, emulated on every machine so that all see the same.
    pub fn launch(&self, recipe: &str, line: &str) -> Command {
        let mut command = self.goldsmith("launch --accel emulation --memory 512M --cpus 1 --format json");
        command.args(line.split(' ')).arg(image(recipe));
        command
    }

    /// `ip` inside.
    pub fn ip(&self, line: &str) {
        succeed(self.lab.command("ip").args(line.split(' ')));
    }

    /// Whether somebody in another network namespace of this host can connect there.
    pub fn reaches(&self, from: &str, address: &str, port: u16) -> bool {
        let connect = format!("exec 3<>/dev/tcp/{address}/{port}");
        let mut command = self.lab.command("ip");
        command.args(["netns", "exec", from, "timeout", "5", "bash", "-c", &connect]);
        command.output().unwrap().status.success()
    }

    /// How many dnsmasqs there are.
    pub fn servers(&self) -> usize {
        self.lab.processes().iter().filter(|line| line.contains("dnsmasq")).count()
    }

    /// The address of a managed network's bridge.
    pub fn address(&self, bridge: &str) -> Option<String> {
        let output = self.lab.command("ip").args(["-4", "-br", "addr", "show", "dev", bridge]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.split_whitespace().nth(2).map(str::to_owned)
    }

    /// The managed networks that `ps` lists.
    pub fn networks(&self) -> serde_json::Value {
        let output = succeed(&mut self.goldsmith("ps --format json"));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["networks"].clone()
    }

    /// What goldsmith has changed on the host and not changed back.
    pub fn changed(&self) -> Vec<String> {
        let mut changed = self.lab.processes();
        changed.extend(self.lab.interfaces().into_iter().filter(|name| !self.interfaces.contains(name)));
        let tables = succeed(self.lab.command("nft").args(["list", "tables"]));
        changed.extend(String::from_utf8_lossy(&tables.stdout).lines().map(str::to_owned));
        if forwarding(&self.lab) != self.forwarding {
            changed.push("ip_forward".to_owned());
        }
        // It is there once a network has been made.
        let files = self.lab.command("find").args(["/run/goldsmith", "-mindepth", "1"]).output().unwrap();
        changed.extend(String::from_utf8_lossy(&files.stdout).lines().map(str::to_owned));
        let tmp = std::fs::read_dir(self.lab.folder().join("tmp")).unwrap();
        changed.extend(tmp.map(|entry| entry.unwrap().path().display().to_string()));
        let vms = std::fs::read_dir(self.lab.folder().join("state/vms")).into_iter().flatten();
        changed.extend(vms.map(|entry| entry.unwrap().path().display().to_string()));
        changed
    }

    /// Nothing is left, once the kernel has taken the interfaces of dead processes away.
    #[track_caller]
    pub fn assert_as_before(&self) {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(10) && !self.changed().is_empty() {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(self.changed(), [""; 0], "this is left");
    }
}

/// `ip_forward` inside.
pub fn forwarding(lab: &Lab) -> String {
    let output = succeed(lab.command("cat").arg("/proc/sys/net/ipv4/ip_forward"));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
