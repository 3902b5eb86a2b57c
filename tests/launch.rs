//! Real VMs behind a real bridge with a real dnsmasq, and behind user networking: they become ready, they are refused,
//! they are stopped, and nothing of them is left.

mod common;

use common::lab::{Dhcp, Lab};
use common::{goldsmith, image, need, succeed};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const FOUNDING: &str = "ip=192.168.100.12::192.168.100.1:255.255.255.0::eth0:on";

/// `goldsmith launch` inside the lab, emulated on every machine so that all see the same.
fn launch(lab: &Lab, folder: &Path) -> Command {
    need("qemu-system-x86_64", "apt-get install qemu-system-x86");
    let mut command = lab.command(env!("CARGO_BIN_EXE_goldsmith"));
    command.env("GOLDSMITH_STATE", lab.folder().join("state")).env("NO_COLOR", "1");
    command.args(["launch", "--accel", "emulation", "--cpus", "1", "--network", "bridge=br0"]).arg(folder);
    command
}

fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n{out}\n{err}", output.status)
}

/// Nothing of a launch is left: no process, no tap, no folder; and the golden image is what it was.
#[track_caller]
fn assert_nothing_left(lab: &Lab, folder: &Path) {
    // The kernel takes a moment to take a dead process's interface away, and the lab to reap the process.
    let started = Instant::now();
    let clean = || lab.processes().is_empty() && lab.interfaces() == ["br0", "lo"];
    while started.elapsed() < Duration::from_secs(5) && !clean() {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(lab.processes(), [""; 0], "processes are left");
    assert_eq!(lab.interfaces(), ["br0", "lo"], "interfaces are left");
    let vms = lab.folder().join("state/vms");
    let left: Vec<_> = std::fs::read_dir(&vms).map(|entries| entries.flatten().collect()).unwrap_or_default();
    assert!(left.is_empty(), "folders are left: {left:?}");
    succeed(goldsmith().arg("verify").arg(folder));
}

/// What a command prints, if it succeeds.
fn succeed_text(command: &mut Command) -> Option<String> {
    let output = command.output().unwrap();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(240), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn console(lab: &Lab) -> PathBuf {
    lab.folder().join("state/vms/minimal-1/console.log")
}

fn running(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_vm_behind_a_bridge_takes_a_lease_answers_and_leaves_nothing() {
    let (lab, folder) = (Lab::new(Dhcp::Served), image("minimal"));
    let output = launch(&lab, &folder).args(["--stop-after-ready", "--format", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let (address, mac) = (report["ready"]["address"].as_str().unwrap(), report["vm"]["mac"].as_str().unwrap());
    let lease = format!("{mac} {address}");
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(5) && !lab.leases().contains(&lease) {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(lab.leases().contains(&lease), "{lease}: {}\n{}", lab.leases(), text(&output));
    assert_eq!(report["ready"]["probes"][0]["place"], format!("http://{address}:8080/health"));
    assert_nothing_left(&lab, &folder);

    // The founding case: the same image, with the argument of the fleet. Nothing is started.
    let output = launch(&lab, &folder).args(["--append", FOUNDING]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    for words in ["NET-K002", "192.168.100.12", "/etc/netplan/01-netcfg.yaml:7", "nothing was started"] {
        assert!(text(&output).contains(words), "{words}: {}", text(&output));
    }
    assert_nothing_left(&lab, &folder);
}

#[test]
fn a_fixed_address_is_reached_and_refused_where_it_cannot_be() {
    let (lab, folder) = (Lab::new(Dhcp::None), image("static"));
    let output = launch(&lab, &folder).args(["--stop-after-ready", "--format", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ready"]["address"], "192.168.100.12");

    // Expected elsewhere, by the control plane or by the arguments.
    let refused = |arguments: &[&str], rule: &str| {
        let output = launch(&lab, &folder).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", text(&output));
        assert!(text(&output).contains(rule), "{rule}: {}", text(&output));
    };
    refused(&["--expect", "192.168.100.13"], "NET-G003");
    refused(&["--append", "ip=192.168.100.13::192.168.100.1:255.255.255.0::eth0:off"], "NET-K003");
    // Another machine holds the address.
    let mut other = lab.command("unshare").args(["--net", "sleep", "60"]).spawn().unwrap();
    let process = || succeed_text(lab.command("pgrep").args(["-fx", "sleep 60"])).unwrap_or_default();
    wait_until("the other machine is there", || !process().is_empty());
    let process = process();
    let inside = |line: &str| {
        succeed(lab.command("nsenter").args(["--target", &process, "--net", "ip"]).args(line.split(' ')));
    };
    succeed(lab.command("ip").args("link add holder type veth peer name port".split(' ')));
    succeed(lab.command("ip").args("link set port master br0 up".split(' ')));
    succeed(lab.command("ip").args(["link", "set", "holder", "netns", &process]));
    inside("addr add 192.168.100.12/24 dev holder");
    inside("link set holder up");
    refused(&[], "NET-H007");
    succeed(lab.command("kill").arg(&process));
    other.wait().unwrap();
    // The bridge is in another subnet.
    succeed(lab.command("ip").args("addr flush dev br0".split(' ')));
    succeed(lab.command("ip").args("addr add 10.9.0.1/24 dev br0".split(' ')));
    refused(&[], "NET-H001");
    wait_until("the veth pair goes with its namespace", || lab.interfaces() == ["br0", "lo"]);
    assert_nothing_left(&lab, &folder);
}

#[test]
fn a_guest_that_wants_a_lease_is_refused_where_nobody_serves_dhcp() {
    let (lab, folder) = (Lab::new(Dhcp::None), image("minimal"));
    let output = launch(&lab, &folder).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains("NET-H003"), "{}", text(&output));
    assert_nothing_left(&lab, &folder);
}

#[test]
fn ctrl_c_and_kill_leave_nothing_behind() {
    let (lab, folder) = (Lab::new(Dhcp::Served), image("minimal"));
    let signal = |name: &str| {
        let mut process = running(launch(&lab, &folder));
        let speaks = || std::fs::read_to_string(console(&lab)).is_ok_and(|text| text.contains("Linux version"));
        wait_until("the guest's kernel speaks", || speaks() || process.try_wait().unwrap().is_some());
        assert!(speaks(), "it ended before the guest spoke: {}", text(&process.wait_with_output().unwrap()));
        succeed(lab.command("pkill").args([name, "-x", "goldsmith"]));
        process.wait_with_output().unwrap()
    };
    let output = signal("-INT");
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    assert_nothing_left(&lab, &folder);

    // Nobody can clean up after SIGKILL at once, but the VM and its tap go, and the next launch removes the folder.
    signal("-KILL");
    wait_until("the VM ends with its launcher", || lab.processes().is_empty());
    assert_eq!(lab.interfaces(), ["br0", "lo"]);
    assert!(console(&lab).exists());
    let output = launch(&lab, &folder).args(["--append", FOUNDING]).output().unwrap();
    assert!(text(&output).contains("cleaned up after minimal-1"), "{}", text(&output));
    assert_nothing_left(&lab, &folder);
}

#[test]
fn user_networking_needs_no_privileges_and_no_bridge() {
    let state = tempfile::tempdir().unwrap();
    for name in ["minimal", "static"] {
        let mut command = goldsmith();
        command.env("GOLDSMITH_STATE", state.path()).arg("launch").arg(image(name));
        command.args(["--accel", "emulation", "--stop-after-ready", "--format", "json"]);
        let output = succeed(&mut command);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let expected = if name == "static" { "192.168.100.12" } else { "10.0.2.15" };
        assert_eq!(report["ready"]["address"], expected);
        assert!(report["ready"]["probes"][0]["place"].as_str().unwrap().starts_with("http://127.0.0.1:"));
        assert!(std::fs::read_dir(state.path().join("vms")).unwrap().next().is_none());
    }
}

/// KVM is remembered to work, whether it does or not, and the disk's filesystem has no room for what a boot writes.
#[test]
fn a_vm_that_stops_is_given_up_at_once_and_emulated_if_kvm_was_to_blame() {
    let lab = Lab::new(Dhcp::Bare);
    lab.give_kvm();
    let state = lab.folder().join("state");
    std::fs::create_dir(&state).unwrap();
    succeed(lab.command("mount").args(["-t", "tmpfs", "-o", "size=1200k", "none"]).arg(&state));
    let verb = |arguments: &[&str]| {
        let mut command = lab.command(env!("CARGO_BIN_EXE_goldsmith"));
        command.env("GOLDSMITH_STATE", &state).env("NO_COLOR", "1").args(arguments);
        command
    };
    let works = text(&verb(&["doctor"]).output().unwrap()).contains("ok    kvm");
    let trust = r#"sed -i 's/"broken":{.*}/"broken":null}/' "$1""#;
    succeed(lab.command("sh").args(["-ec", trust, "sh"]).arg(state.join("kvm")));
    let output = verb(&["launch", "--vmm", "qemu"]).arg(image("minimal")).output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(works || said.contains("KVM gives up before the guest's first word"), "{said}");
    assert!(works || said.contains("QEMU microvm, emulation"), "{said}");
    assert!(
        said.contains("the machine does not run: io-error") && said.contains("is the host's filesystem full?"),
        "{said}"
    );
    assert!(lab.processes().is_empty(), "{:?}", lab.processes());
}

#[test]
fn what_cannot_be_launched_says_what_to_type() {
    let folder = image("minimal");
    let state = tempfile::tempdir().unwrap();
    let fails = |arguments: &[&str], status: i32, words: &str| {
        let mut command = goldsmith();
        command.env("GOLDSMITH_STATE", state.path()).arg("launch").arg(&folder).args(arguments);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{}", text(&output));
        assert!(text(&output).contains(words), "{words}: {}", text(&output));
        assert!(std::fs::read_dir(state.path().join("vms")).is_ok_and(|mut left| left.next().is_none()));
    };
    fails(&["--accel", "emulation", "--network", "bridge=nobridge0"], 1, "ip link add nobridge0 type bridge");
    fails(&["--accel", "emulation", "--set", "decodo_port=1"], 1, "it declares none");
    fails(&["--accel", "emulation", "--name", "../x"], 1, "at most 63 letters");
    fails(&["--network", "nothing"], 2, "user");
    fails(&["--mac", "53:54:00:00:00:01"], 2, "group address");
}

#[test]
fn a_detached_vm_is_listed_followed_and_stopped() {
    let (state, folder) = (tempfile::tempdir().unwrap(), image("minimal"));
    let verb = |arguments: &[&str]| {
        let mut command = goldsmith();
        command.env("GOLDSMITH_STATE", state.path()).args(arguments);
        command
    };
    let mut launch = verb(&["launch", "--accel", "emulation", "--detach", "--quiet", "--name", "stays"]);
    let output = succeed(launch.arg(&folder));
    assert!(text(&output).contains("stays is ready"), "{}", text(&output));
    let listed = succeed(&mut verb(&["ps", "--format", "json"]));
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let vm = &listed["vms"][0];
    assert_eq!((&vm["name"], &vm["state"]), (&"stays".into(), &"ready".into()), "{listed:#}");
    assert!(text(&succeed(&mut verb(&["ps"]))).contains("10.0.2.15"));
    assert!(text(&succeed(&mut verb(&["logs", "stays"]))).contains("Linux version"));
    let output = verb(&["stop", "stay"]).output().unwrap();
    assert!(!output.status.success() && text(&output).contains("these are: stays"), "{}", text(&output));
    let output = verb(&["screenshot", "stays", "screen.png"]).output().unwrap();
    assert!(!output.status.success() && text(&output).contains("--machine q35"), "{}", text(&output));
    succeed(&mut verb(&["stop", "stays"]));
    assert!(std::fs::read_dir(state.path().join("vms")).unwrap().next().is_none());
    let port = vm["forwards"]["8080"].as_u64().unwrap() as u16;
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "the VM still answers");
}
