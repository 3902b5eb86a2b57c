//! Every layer between a VM and its being ready is broken on purpose, on real VMs, and the report must say which, with what
//! shows it and the rule that predicts it.
//!
//! One image has a unit for every break; nothing starts them but `systemd.wants=UNIT` among the kernel arguments.

#[path = "../common/mod.rs"]
mod common;

use common::lab::{Dhcp, Lab};
use common::{goldsmith, need, recipes, repository, succeed};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a guest that will never be ready is given, in seconds, unless this machine has turned out to be too slow for that.
static PATIENCE: AtomicU64 = AtomicU64::new(15);
/// For guests whose fault takes its time to show: the kernel believes in a neighbour for some seconds, and a connection that
/// nobody answers is given up after ten.
const LONG: u64 = 30;
/// For launches that must end by themselves.
const FOR_EVER: u64 = 3600;
/// How long anything is waited for.
const DEADLINE: Duration = Duration::from_secs(500);

/// What is broken, and what the report must say. Words must be in the field in which they are looked for.
struct Case {
    image: &'static str,
    network: &'static str,
    append: &'static str,
    arguments: &'static [&'static str],
    /// How long the guest is given at least.
    patience: u64,
    /// What is done to the host before the launch.
    before: Option<fn(&Lab)>,
    /// What is done once the gate is past and the guest's kernel has spoken.
    meanwhile: Option<fn(&Lab)>,
    layer: &'static str,
    rule: Option<&'static str>,
    message: &'static [&'static str],
    help: &'static str,
    exchange: &'static [&'static str],
    /// Nothing in the exchange has these words.
    unsaid: &'static [&'static str],
    bridge: &'static [&'static str],
    console: &'static [&'static str],
}

const CASE: Case = Case {
    image: "broken",
    network: "bridge=br0",
    append: "",
    arguments: &[],
    patience: 0,
    before: None,
    meanwhile: None,
    layer: "",
    rule: None,
    message: &[],
    help: "",
    exchange: &[],
    unsaid: &[],
    bridge: &[],
    console: &[],
};

impl Case {
    /// Launches until the report says what it must. The guest is given twice the time each time, because one that has not come
    /// far enough is rightly told to be somewhere else.
    #[track_caller]
    fn holds(&self) {
        let mut patience = PATIENCE.load(Ordering::Relaxed).max(self.patience);
        while let Err(differs) = self.compare(&self.launch(patience)) {
            assert!(patience < DEADLINE.as_secs() / 2, "{differs}");
            patience *= 2;
        }
        if self.patience == 0 {
            PATIENCE.fetch_max(patience, Ordering::Relaxed);
        }
    }

    /// The report of one launch.
    fn launch(&self, patience: u64) -> Value {
        let lab = Lab::new(Dhcp::Served);
        if let Some(before) = self.before {
            before(&lab);
        }
        let mut command = lab.command(env!("CARGO_BIN_EXE_goldsmith"));
        command.env("GOLDSMITH_STATE", lab.folder().join("state")).env("NO_COLOR", "1");
        command.args(["launch", "--accel", "emulation", "--memory", "512M", "--cpus", "1"]);
        command.args(["--format", "json", "--quiet", "--network", self.network, "--append", self.append]);
        command.args(["--stop-after-ready", "--timeout", &format!("{patience}s")]);
        command.args(self.arguments).arg(if self.image == "broken" { broken() } else { common::image(self.image) });
        let mut child = spawn(&mut command);
        if let Some(meanwhile) = self.meanwhile {
            let spoken = || {
                std::fs::read_to_string(vm(&lab).join("console.log")).is_ok_and(|text| text.contains("Linux version"))
            };
            wait_until("the guest's kernel speaks", || spoken() || child.try_wait().unwrap().is_some());
            meanwhile(&lab);
        }
        wait_until("the launch ends", || child.try_wait().unwrap().is_some());
        let output = child.wait_with_output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{out}\n{err}");
        println!("{}: {err}", self.append);
        let left: Vec<_> = std::fs::read_dir(lab.folder().join("state/vms")).unwrap().collect();
        assert!(left.is_empty(), "folders are left: {left:?}");
        serde_json::from_str(&out).unwrap()
    }

    fn compare(&self, report: &Value) -> Result<(), String> {
        let diagnosis = &report["diagnosis"];
        let fail = |what: &str| Err(format!("{what}:\n{report:#}"));
        if diagnosis["layer"] != self.layer || diagnosis["rule"] != serde_json::json!(self.rule) {
            return fail(&format!("not {} by {:?}", self.layer, self.rule));
        }
        let text = |field: &str| match &diagnosis[field] {
            Value::String(text) => text.clone(),
            lines => lines.as_array().unwrap().iter().map(|line| format!("{}\n", line.as_str().unwrap())).collect(),
        };
        for (field, words) in [
            ("message", self.message),
            ("help", &[self.help]),
            ("exchange", self.exchange),
            ("bridge", self.bridge),
            ("console", self.console),
        ] {
            if let Some(word) = words.iter().find(|word| !text(field).contains(*word)) {
                return fail(&format!("no {word:?} in {field}"));
            }
        }
        match self.unsaid.iter().find(|word| text("exchange").contains(*word)) {
            Some(word) => fail(&format!("{word:?} was said")),
            None => Ok(()),
        }
    }
}

/// The image with all the breaks.
fn broken() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        need("qemu-system-x86_64", "apt-get install qemu-system-x86");
        let copy = recipes().join("tests/layers");
        succeed(Command::new("mkdir").arg("-p").arg(&copy));
        succeed(Command::new("cp").arg("-a").arg(repository().join("tests/layers/.")).arg(&copy));
        let images = recipes().join("images");
        succeed(goldsmith().arg("build").arg(copy.join("broken.yaml")).arg("--output").arg(&images));
        images.join("broken")
    };
    BUILT.get_or_init(build).clone()
}

fn spawn(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The VM's folder.
fn vm(lab: &Lab) -> PathBuf {
    let vms = lab.folder().join("state/vms");
    let first = std::fs::read_dir(&vms).ok().and_then(|mut entries| entries.next());
    first.map_or(vms, |entry| entry.unwrap().path())
}

#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < DEADLINE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn run(lab: &Lab, line: &str) {
    let mut words = line.split(' ');
    succeed(lab.command(words.next().unwrap()).args(words));
}

/// Drops what matches on its way into the lab's host.
fn drop_incoming(lab: &Lab, what: &str) {
    need("nft", "apt-get install nftables");
    run(lab, "nft add table inet lab");
    run(lab, "nft add chain inet lab incoming { type filter hook input priority filter; }");
    run(lab, &format!("nft add rule inet lab incoming {what} drop"));
}

#[test]
fn the_vmm_is_killed() {
    let kill = |lab: &Lab| {
        let record = Path::join(&vm(lab), "vm.json");
        let record: Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
        run(lab, &format!("kill -KILL {}", record["vmm"]));
    };
    Case {
        patience: FOR_EVER,
        meanwhile: Some(kill),
        layer: "vmm",
        message: &["the VMM ended with signal 9"],
        help: "the host's kernel log",
        console: &["[    0."],
        bridge: &["the VM's tap, is a port of br0 (192.168.100.1/24)"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_guest_powers_off() {
    Case {
        patience: FOR_EVER,
        append: "systemd.wants=power-off.service",
        layer: "vmm",
        message: &["the guest has ended itself", "exit status 0", "reboot: Power down"],
        help: "before it went down",
        console: &["reboot: Power down"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_kernel_panics() {
    Case {
        patience: FOR_EVER,
        // It would stay so until the probes are late.
        append: "init=/bin/false panic=0",
        layer: "kernel",
        message: &["Kernel panic - not syncing", "Attempted to kill init"],
        console: &["Kernel panic - not syncing", "Comm: false"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_root_is_not_found() {
    Case {
        patience: FOR_EVER,
        append: "root=/dev/vdz rootdelay=1",
        layer: "root",
        message: &["the root device /dev/vdz did not appear"],
        help: "the block devices that the console lists",
        console: &["initrd: looked for root=/dev/vdz", "initrd:   vda: 1024 MiB"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_kernel_has_no_driver_for_the_disk() {
    Case {
        patience: FOR_EVER,
        append: "module_blacklist=virtio_blk rootdelay=1",
        layer: "root",
        rule: Some("NET-K016"),
        message: &["the root device /dev/vda did not appear"],
        console: &["initrd: block devices:", "initrd:   none"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_unit_that_answers_the_probe_fails() {
    Case {
        append: "systemd.wants=break-agent.service systemd.wants=unrelated.service",
        layer: "unit",
        message: &["oauth-agent.service failed to start: oauth-agent at 192.168.100.", "port 8080 is closed"],
        help: "goldsmith logs broken-1",
        console: &["[FAILED] Failed to start oauth-agen", "See 'systemctl status oauth-agent.service'"],
        exchange: &["DHCPACK", "ARP: 192.168.100.", "refuses port 8080"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_unit_that_configures_the_nic_fails() {
    Case {
        append: "systemd.wants=break-networkd.service systemd.wants=unrelated.service",
        layer: "unit",
        message: &["systemd-networkd.service failed to start: the guest has not asked for a lease"],
        help: "goldsmith logs broken-1",
        console: &["[FAILED] Failed to start systemd-ne", "See 'systemctl status systemd-networkd.service'"],
        unsaid: &["DHCP"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_guest_never_asks_for_a_lease() {
    Case {
        append: "systemd.wants=no-network.service systemd.wants=unrelated.service",
        layer: "discover",
        rule: Some("NET-D008"),
        message: &["the guest has not asked for a lease", "besides, failed to start: unrelated.service"],
        help: "goldsmith inspect net",
        console: &["Reached target multi-user.target"],
        unsaid: &["DHCP"],
        bridge: &["the VM's tap, is a port of br0", "a program of this host listens on UDP port 67"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_gate_was_told_to_let_it_through() {
    Case {
        append: "systemd.mask=systemd-networkd.service",
        arguments: &["--allow", "NET-K026=a test", "--allow", "NET-N007=a test", "--allow", "NET-G002=a test"],
        layer: "discover",
        rule: Some("NET-K026"),
        console: &["Reached target multi-user.target"],
        unsaid: &["DHCP"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_dhcp_server_dies() {
    Case {
        meanwhile: Some(|lab| run(lab, "pkill -x dnsmasq")),
        layer: "offer",
        rule: Some("NET-H003"),
        message: &["the guest asks for a lease and nobody answers"],
        help: "start a DHCP server",
        exchange: &["DHCPDISCOVER from 52:54:"],
        unsaid: &["DHCPOFFER"],
        bridge: &["no program of this host listens on UDP port 67"],
        ..CASE
    }
    .holds();
}

#[test]
fn a_firewall_drops_dhcp() {
    Case {
        before: Some(|lab| drop_incoming(lab, "udp dport 67")),
        layer: "offer",
        rule: Some("NET-H003"),
        message: &["nobody answers, though a DHCP server runs on this host"],
        help: "NET-H008",
        exchange: &["DHCPDISCOVER from 52:54:"],
        unsaid: &["DHCPOFFER"],
        bridge: &["a program of this host listens on UDP port 67"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_tap_leaves_the_bridge() {
    let leave = |lab: &Lab| {
        let tap = lab.interfaces().into_iter().find(|name| !["br0", "lo"].contains(&name.as_str())).unwrap();
        run(lab, &format!("ip link set {tap} nomaster"));
    };
    Case {
        meanwhile: Some(leave),
        layer: "offer",
        rule: Some("NET-H006"),
        message: &["nobody answers", "the VM's tap, is no port of br0"],
        help: "master br0",
        exchange: &["DHCPDISCOVER"],
        unsaid: &["DHCPOFFER"],
        bridge: &["the VM's tap, is no port of br0"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_offer_is_not_confirmed() {
    Case {
        // A DHCPREQUEST: behind the UDP header (8 bytes) and the fixed fields (240) option 53, length 1, type 3 (RFC 2131).
        before: Some(|lab| drop_incoming(lab, "udp dport 67 @th,1984,24 0x350103")),
        layer: "lease",
        message: &["an address was offered and asked for, and no server confirmed it"],
        help: "a firewall between the two",
        exchange: &["DHCPDISCOVER", "DHCPOFFER 192.168.100.", "by 192.168.100.1", "DHCPREQUEST"],
        unsaid: &["DHCPACK", "DHCPNAK"],
        bridge: &["a program of this host listens on UDP port 67"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_guest_has_a_lease_and_answers_no_arp() {
    Case {
        patience: LONG,
        append: "systemd.wants=no-arp.service",
        layer: "reach",
        message: &["the guest has its lease, and does not answer ARP at 192.168.100.", "times)"],
        exchange: &["DHCPACK 192.168.100.", "ARP: who has 192.168.100.", "asks 192.168.100.1 at", "times)"],
        unsaid: &["is at 52:54:"],
        bridge: &["this host goes over br0", "neighbour 192.168.100.", "nobody has answered"],
        ..CASE
    }
    .holds();
}

#[test]
fn nobody_listens_on_the_port() {
    Case {
        append: "systemd.mask=oauth-agent.service systemd.wants=unrelated.service",
        layer: "port",
        message: &["answers ARP, and port 8080 is closed", "besides, failed to start: unrelated.service"],
        help: "nothing listens there",
        exchange: &["is at 52:54:", "is asked for port 8080", "refuses port 8080"],
        unsaid: &["accepts on port"],
        bridge: &["this host goes over br0", "has answered"],
        console: &["Reached target multi-user.target"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_guest_drops_what_it_is_asked() {
    Case {
        patience: LONG,
        append: "systemd.wants=no-answer.service",
        layer: "port",
        message: &["answers ARP, and drops what comes for port 8080"],
        help: "a firewall in the guest",
        exchange: &["is at 52:54:", "is asked for port 8080"],
        unsaid: &["accepts on port"],
        bridge: &["52:54:", "has answered"],
        console: &["Reached target multi-user.target"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_service_is_not_well() {
    Case {
        network: "user",
        append: "systemd.mask=oauth-agent.service systemd.wants=sick.service",
        layer: "answer",
        message: &["oauth-agent at 10.0.2.15: HTTP status 503", "\"failed\":[\"vnc\"]"],
        help: "says what it lacks",
        exchange: &["DHCPACK 10.0.2.15", "accepts on port 8080"],
        bridge: &["user networking: QEMU takes 127.0.0.1:", "to port 8080 of 10.0.2.15", "the guest's NIC, has sent"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_bridge_loses_the_guests_subnet() {
    Case {
        image: "static",
        meanwhile: Some(|lab| run(lab, "ip address flush dev br0")),
        layer: "reach",
        rule: Some("NET-H001"),
        message: &["this host has no route to the guest at 192.168.100.12"],
        help: "give the bridge an address",
        bridge: &["to 192.168.100.12 this host has no route"],
        ..CASE
    }
    .holds();
}
