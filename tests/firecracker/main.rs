//! The Firecracker driver: what it says validates against the API of every version, over a real socket; what it makes on
//! the host is gone afterwards. A real Firecracker boots where there is one and KVM works; a stand-in that boots with QEMU's
//! emulator takes its part everywhere.

#[path = "../common/mod.rs"]
mod common;
mod schema;
mod served;
mod stand_in;

use common::lab::{Dhcp, Lab};
use common::{image, is_root, need, succeed};
use schema::{Schema, VERSIONS};
use serde_json::{Value, json};
use stand_in::{ASKED, Play};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A network with a stand-in in it.
struct Stage {
    lab: Lab,
    path: String,
}

impl Stage {
    fn new(version: &str, play: Play) -> Self {
        need("qemu-system-x86_64", "apt-get install qemu-system-x86");
        let lab = Lab::new(Dhcp::Served);
        let path = stand_in::install(&lab.folder().join("bin"), version, play);
        lab.give_kvm();
        Self { lab, path }
    }

    fn goldsmith(&self) -> Command {
        let mut command = self.lab.command(env!("CARGO_BIN_EXE_goldsmith"));
        command.env("GOLDSMITH_STATE", self.lab.folder().join("state")).env("NO_COLOR", "1").env("PATH", &self.path);
        command
    }

    fn launch(&self) -> Command {
        let mut command = self.goldsmith();
        // Asked for, KVM need only be there: the stand-in does without.
        command.args(["launch", "--vmm", "firecracker", "--accel", "kvm", "--network", "bridge=br0", "--name", "vm_1"]);
        command.arg(image("minimal"));
        command
    }

    /// Where the VM is.
    fn vm(&self) -> PathBuf {
        self.lab.folder().join("state/vms/vm_1")
    }

    /// What the stand-in in this folder was asked.
    fn asked(folder: &Path) -> Vec<(String, Value)> {
        let text = fs::read_to_string(folder.join(ASKED)).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Nothing of a launch is left: no process, no tap, no folder.
    #[track_caller]
    fn assert_nothing_left(&self) {
        let clean = || self.lab.processes().is_empty() && self.lab.interfaces() == ["br0", "lo"];
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(5) && !clean() {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(self.lab.processes(), [""; 0], "processes are left");
        assert_eq!(self.lab.interfaces(), ["br0", "lo"], "interfaces are left");
        let vms = self.lab.folder().join("state/vms");
        let left: Vec<_> = fs::read_dir(vms).map(|entries| entries.flatten().collect()).unwrap_or_default();
        assert!(left.is_empty(), "folders are left: {left:?}");
    }
}

fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n{out}\n{err}", output.status)
}

fn running(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until something holds while a launch goes on.
fn wait_until(what: &str, launch: &mut Child, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(launch.try_wait().unwrap().is_none(), "the launch ended before this: {what}");
        assert!(started.elapsed() < Duration::from_secs(240), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What `--dry-run` prints.
fn described(stage: &Stage, arguments: &[&str]) -> Value {
    let output = succeed(stage.launch().arg("--dry-run").args(arguments));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_schema_refuses_what_firecracker_would_ignore() {
    let schema = Schema::of("1.13");
    let good = json!({ "boot-source": { "kernel_image_path": "k" }, "drives": [] });
    schema.check("FullVmConfiguration", &good).unwrap();
    for (key, value) in
        [("boot_source", json!({})), ("entropi", json!({})), ("vsock", json!({ "guest_cid": 2, "uds_path": "v" }))]
    {
        let mut bad = good.clone();
        bad[key] = value;
        assert!(schema.check("FullVmConfiguration", &bad).is_err(), "{bad}");
    }
    let nic = json!({ "iface_id": "nic", "host_dev_name": "gs0", "mtu": 1400 });
    assert!(schema.request("PUT", "/network-interfaces/nic", &nic).is_err());
    let newest = Schema::of("1.16");
    newest.request("PUT", "/network-interfaces/nic", &nic).unwrap();
    assert!(newest.request("PUT", "/network-interfaces/other", &nic).is_err());
    assert!(newest.request("PUT", "/nothing", &nic).is_err());
}

#[test]
fn a_dry_run_prints_a_configuration_that_every_version_reads_and_leaves_nothing() {
    let stage = Stage::new("1.13", Play::Sit);
    // A machine that is only described needs no Firecracker.
    fs::remove_file(stage.lab.folder().join("bin/firecracker")).unwrap();
    let plain = described(&stage, &[]);
    let limited =
        described(&stage, &["--limit-disk", "50M/s", "--limit-net", "100M", "--memory", "512M", "--cpus", "3"]);
    for version in VERSIONS {
        let schema = Schema::of(version);
        schema.check("FullVmConfiguration", &plain).unwrap();
        schema.check("FullVmConfiguration", &limited).unwrap();
    }
    let source = &plain["boot-source"];
    assert_eq!(source["kernel_image_path"], json!(image("minimal").join("vmlinux")));
    let args = source["boot_args"].as_str().unwrap();
    // Firecracker puts `pci=off` there itself.
    assert!(args.contains("root=/dev/vda") && args.contains("reboot=k") && !args.contains("pci=off"), "{args}");
    assert_eq!(plain["drives"][0]["is_root_device"], false);
    assert_eq!(plain["network-interfaces"][0]["host_dev_name"], "gs0");
    assert_eq!(plain["entropy"], json!({}));
    let bucket = |rate: u64| json!({ "bandwidth": { "size": rate << 20, "refill_time": 1000 } });
    assert_eq!(limited["drives"][0]["rate_limiter"], bucket(50));
    assert_eq!(limited["network-interfaces"][0]["tx_rate_limiter"], bucket(100));
    assert_eq!(limited["machine-config"], json!({ "vcpu_count": 3, "mem_size_mib": 512, "smt": false }));
    stage.assert_nothing_left();
}

#[test]
fn every_version_is_told_the_same_in_order_and_a_refusal_is_handed_on() {
    for version in VERSIONS {
        let stage = Stage::new(version, Play::Sit);
        let mut launch = running(stage.launch());
        let started = |asked: &[(String, Value)]| asked.last().is_some_and(|(path, _)| path == "/actions");
        wait_until("the machine has been started", &mut launch, || started(&Stage::asked(&stage.vm())));
        let asked = Stage::asked(&stage.vm());
        let paths: Vec<&str> = asked.iter().map(|(path, _)| path.as_str()).collect();
        let wanted =
            ["/logger", "/metrics", "/machine-config", "/boot-source", "/drives/root", "/network-interfaces/nic"];
        assert_eq!(paths, [&wanted[..], &["/vsock", "/entropy", "/actions"]].concat());
        // The stand-in has checked every body, but that must not be a matter of trust.
        for (path, body) in &asked {
            Schema::of(version).request("PUT", path, body).unwrap();
        }
        succeed(stage.lab.command("pkill").args(["-INT", "-x", "goldsmith"]));
        let output = launch.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", text(&output));
        stage.assert_nothing_left();
    }
    let stage = Stage::new("1.16", Play::Refuse);
    let output = stage.launch().output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    for words in ["/network-interfaces/nic", "status 400", "it is Tuesday"] {
        assert!(text(&output).contains(words), "{words}: {}", text(&output));
    }
    stage.assert_nothing_left();
}

#[test]
fn a_machine_boots_takes_a_lease_and_shuts_down_when_it_is_asked() {
    let stage = Stage::new("1.14", Play::Boot);
    let mut launch = running(stage.launch());
    let ready = || fs::read_to_string(stage.vm().join("vm.json")).is_ok_and(|text| text.contains("\"ready\": true"));
    wait_until("the machine is ready", &mut launch, ready);
    let record: Value = serde_json::from_slice(&fs::read(stage.vm().join("vm.json")).unwrap()).unwrap();
    let lease = format!("{} {}", record["mac"].as_str().unwrap(), record["address"].as_str().unwrap());
    assert!(stage.lab.leases().contains(&lease), "{lease}: {}", stage.lab.leases());
    assert!(record["args"].as_str().unwrap().ends_with("pci=off"), "{record:#}");
    assert_eq!(record["machine"], "Firecracker, KVM");
    let console = fs::read_to_string(stage.vm().join("console.log")).unwrap();
    assert!(console.contains("Linux version"), "{console}");
    // It has no display.
    let output = stage.goldsmith().args(["screenshot", "vm_1", "screen.png"]).output().unwrap();
    assert!(text(&output).contains("--machine q35"), "{}", text(&output));
    succeed(stage.goldsmith().args(["stop", "vm_1", "--timeout", "2m"]));
    let output = launch.wait_with_output().unwrap();
    assert!(output.status.success() && text(&output).contains("vm_1 has shut down"), "{}", text(&output));
    stage.assert_nothing_left();
}

#[test]
fn what_a_killed_launch_leaves_of_a_tap_is_removed_by_the_next_one() {
    let stage = Stage::new("1.15", Play::Sit);
    let mut launch = running(stage.launch());
    let started = || Stage::asked(&stage.vm()).last().is_some_and(|(path, _)| path == "/actions");
    wait_until("the machine has been started", &mut launch, started);
    succeed(stage.lab.command("pkill").args(["-KILL", "-x", "goldsmith"]));
    launch.wait().unwrap();
    assert!(stage.vm().exists());
    assert!(stage.lab.interfaces().contains(&"gs0".to_owned()), "a tap that Firecracker opens by its name stays");
    let output =
        stage.launch().args(["--append", "ip=192.168.100.12::192.168.100.1:255.255.255.0::eth0:on"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains("cleaned up after vm_1"), "{}", text(&output));
    stage.assert_nothing_left();
}

#[test]
fn a_kept_machine_starts_again_and_keeps_nothing_but_its_disk_and_logs() {
    let stage = Stage::new("1.16", Play::Sit);
    let begun = || {
        let mut command = stage.launch();
        command.arg("--keep");
        let mut launch = running(command);
        let started = || Stage::asked(&stage.vm()).last().is_some_and(|(path, _)| path == "/actions");
        wait_until("the machine has been started", &mut launch, started);
        fs::remove_file(stage.vm().join(ASKED)).unwrap();
        launch
    };
    // Killed, it leaves its tap and all its files; the next command puts that in order.
    let mut launch = begun();
    succeed(stage.lab.command("pkill").args(["-KILL", "-x", "goldsmith"]));
    launch.wait().unwrap();
    assert!(stage.vm().join("vmlinux").exists());
    succeed(stage.goldsmith().arg("ps"));
    let kept = || {
        let mut names: Vec<_> = fs::read_dir(stage.vm()).unwrap().map(|one| one.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(kept(), ["console.log", "disk.ext4", "vm.json", "vmm.log"]);
    assert_eq!(stage.lab.interfaces(), ["br0", "lo"]);
    let launch = begun();
    succeed(stage.lab.command("pkill").args(["-INT", "-x", "goldsmith"]));
    launch.wait_with_output().unwrap();
    assert_eq!(kept(), ["console.log", "disk.ext4", "vm.json", "vmm.log"]);
    // An overlay is not for Firecracker.
    succeed(stage.goldsmith().args(["rm", "vm_1"]));
    let output = stage.launch().args(["--disk", "overlay"]).output().unwrap();
    assert!(text(&output).contains("does not read qcow2"), "{}", text(&output));
    stage.assert_nothing_left();
}

#[test]
fn a_jailed_machine_has_a_user_of_its_own_and_ends_with_its_launch() {
    if !is_root("the jail") {
        return;
    }
    let stage = Stage::new("1.16", Play::Boot);
    let root = stage.vm().join("jail/firecracker/vm-1/root");
    let launched = || {
        let mut command = stage.launch();
        command.args(["--jail", "--cgroup", "memory.max=2G"]);
        running(command)
    };
    let mut launch = launched();
    let ready = || fs::read_to_string(stage.vm().join("vm.json")).is_ok_and(|text| text.contains("\"ready\": true"));
    wait_until("the machine is ready", &mut launch, ready);
    let users = succeed(stage.lab.command("ps").args(["-C", "qemu-system-x86", "-o", "uid="]));
    let user: u32 = String::from_utf8_lossy(&users.stdout).trim().parse().unwrap();
    assert_eq!(user >> 24, 0x70 | (user >> 24 & 7), "{user} is not from the range for jails");
    use std::os::unix::fs::MetadataExt as _;
    for name in ["disk.ext4", "vmlinux", "initrd.img", "vmm.log"] {
        assert_eq!(fs::metadata(root.join(name)).unwrap().uid(), user, "{name}");
    }
    // It sees its tap and the way out, nothing of the host's.
    let machine = succeed(stage.lab.command("pgrep").args(["-x", "qemu-system-x86"]));
    let inside =
        ["--target", String::from_utf8_lossy(&machine.stdout).trim(), "--net", "ip", "-o", "link"].map(str::to_owned);
    let links = succeed(stage.lab.command("nsenter").args(inside)).stdout;
    let links = String::from_utf8_lossy(&links);
    let mut names: Vec<_> = links.lines().filter_map(|line| line.split(": ").nth(1)?.split('@').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["gs0", "inner", "lo", "uplink"], "{links}");
    assert_eq!(stage.lab.interfaces(), ["br0", "gs0", "lo"]);
    assert_eq!(Stage::asked(&root).len(), 9);
    assert_eq!(fs::read_to_string(root.join("groups")).unwrap(), " 2 goldsmith memory.max=2G\n");
    succeed(stage.goldsmith().args(["stop", "vm_1", "--timeout", "2m"]));
    let output = launch.wait_with_output().unwrap();
    assert!(text(&output).contains("vm_1 has shut down"), "{}", text(&output));
    stage.assert_nothing_left();

    // A jailed process is not told of its parent's death, and yet it goes.
    let mut launch = launched();
    wait_until("the guest's kernel speaks", &mut launch, || {
        fs::read_to_string(stage.vm().join("console.log")).is_ok_and(|text| text.contains("Linux version"))
    });
    succeed(stage.lab.command("pkill").args(["-KILL", "-x", "goldsmith"]));
    launch.wait().unwrap();
    let started = Instant::now();
    let clean = || stage.lab.processes().is_empty() && stage.lab.interfaces() == ["br0", "lo"];
    while started.elapsed() < Duration::from_secs(30) && !clean() {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(stage.lab.processes(), [""; 0]);
    assert_eq!(stage.lab.interfaces(), ["br0", "lo"]);
}

/// Where Firecracker is installed and KVM works it boots; else what is missing is said, and what to type.
#[test]
fn firecracker_itself() {
    let lab = Lab::new(Dhcp::Served);
    let mut command = lab.command(env!("CARGO_BIN_EXE_goldsmith"));
    command.env("GOLDSMITH_STATE", lab.folder().join("state")).env("NO_COLOR", "1");
    command
        .args(["launch", "--vmm", "firecracker", "--network", "bridge=br0", "--stop-after-ready"])
        .arg(image("minimal"));
    let output = command.output().unwrap();
    let found = Command::new("firecracker").arg("--version").output().is_ok();
    if found && goldsmith::launch::kvm().is_ok() {
        assert!(output.status.success(), "{}", text(&output));
    } else {
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        let broken = found && fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
        let words = if found { "/dev/kvm" } else { "install -m 755 release-*/firecracker" };
        // Where KVM is there and broken, it is Firecracker that says so.
        assert!(broken || text(&output).contains(words), "{}", text(&output));
    }
    assert_eq!(lab.interfaces(), ["br0", "lo"]);
    // Without a bridge there is nothing to attach it to.
    let mut command = common::goldsmith();
    let output = command.args(["launch", "--vmm", "firecracker"]).arg(image("minimal")).output().unwrap();
    assert!(text(&output).contains("no user networking"), "{}", text(&output));
}
