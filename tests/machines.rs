//! QEMU's other machine, and how guests are stopped: a q35 boots, is pictured and shuts down when it is asked.

mod common;

use common::{goldsmith, image, need, succeed};
use std::path::Path;
use std::process::{Command, Output};

/// A verb with VMs of the test's own.
fn verb(state: &Path, arguments: &[&str]) -> Command {
    need("qemu-system-x86_64", "apt-get install qemu-system-x86");
    let mut command = goldsmith();
    command.env("GOLDSMITH_STATE", state).args(arguments);
    command
}

fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n{out}\n{err}", output.status)
}

const Q35: [&str; 5] = ["launch", "--accel", "emulation", "--machine", "q35"];

#[test]
fn a_q35_boots_is_pictured_and_shuts_down() {
    let (state, folder) = (tempfile::tempdir().unwrap(), image("minimal"));
    let mut launch = verb(state.path(), &Q35);
    // The guest's messages go to its display; a `reboot=` by EFI, which this machine has not, to the keyboard.
    launch.args(["--detach", "--name", "pc", "--limit-disk", "200M/s", "--append", "console=tty0 reboot=efi"]);
    let output = succeed(launch.arg(&folder));
    assert!(text(&output).contains("pc is ready"), "{}", text(&output));
    let vm = state.path().join("vms/pc");
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(vm.join("vm.json")).unwrap()).unwrap();
    assert_eq!((&record["machine"], &record["address"]), (&"QEMU q35, emulation".into(), &"10.0.2.15".into()));
    assert!(record["args"].as_str().unwrap().ends_with("reboot=k"), "{record:#}");

    let picture = state.path().join("screen.png");
    succeed(verb(state.path(), &["screenshot", "pc"]).arg(&picture));
    let file = std::io::BufReader::new(std::fs::File::open(&picture).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    assert!(reader.info().width >= 640 && pixels.iter().any(|byte| *byte != pixels[0]), "the display is blank");
    // Where it cannot be written, that is said, and the VM goes on.
    let output = verb(state.path(), &["screenshot", "pc", "/nowhere/screen.png"]).output().unwrap();
    assert!(text(&output).contains("/nowhere/screen.png"), "{}", text(&output));

    // The console is kept from before the folder goes: what the guest says when it shuts down.
    let console = state.path().join("kept.log");
    std::fs::hard_link(vm.join("console.log"), &console).unwrap();
    succeed(&mut verb(state.path(), &["stop", "pc", "--timeout", "4m"]));
    assert!(!vm.exists());
    let console = String::from_utf8_lossy(&std::fs::read(console).unwrap()).into_owned();
    assert!(console.contains("reboot: Restarting system"), "it was killed:\n{console}");
}

#[test]
fn the_gate_knows_what_a_nic_on_pci_is_called() {
    let (state, folder) = (tempfile::tempdir().unwrap(), image("minimal"));
    let run = |arguments: &[&str]| verb(state.path(), &Q35).args(arguments).arg(&folder).output().unwrap();
    let output = run(&["--append", "net.ifnames=1"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    for words in ["the NIC will be en*", "NET-G002", "nothing was started"] {
        assert!(text(&output).contains(words), "{words}: {}", text(&output));
    }
    // As it is declared it is let through, and what QEMU would be told is a list of words.
    let output = run(&["--dry-run"]);
    assert!(output.status.success(), "{}", text(&output));
    let line: Vec<String> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line[0], "qemu-system-x86_64");
    assert!(line.iter().any(|word| word.starts_with("virtio-net-pci,")), "{line:?}");
    assert!(line.contains(&folder.join("vmlinux").display().to_string()), "{line:?}");
    assert!(std::fs::read_dir(state.path().join("vms")).unwrap().next().is_none(), "something is left");
}

#[test]
fn what_does_not_go_together_is_said_before_anything_is_started() {
    let (state, folder) = (tempfile::tempdir().unwrap(), image("minimal"));
    let fails = |arguments: &[&str], status: i32, words: &str| {
        let output = verb(state.path(), &["launch"]).args(arguments).arg(&folder).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{}", text(&output));
        assert!(text(&output).contains(words), "{words}: {}", text(&output));
    };
    fails(&["--vmm", "firecracker"], 1, "`--network bridge=NAME`");
    fails(&["--vmm", "firecracker", "--machine", "q35"], 1, "leave one of the two out");
    fails(&["--vmm", "firecracker", "--network", "bridge=b", "--accel", "emulation"], 1, "`--vmm qemu`");
    fails(&["--vmm", "firecracker", "--network", "bridge=b", "--memory", "1000K"], 1, "`--memory 512M`");
    fails(&["--vmm", "qemu", "--jail"], 1, "`--vmm firecracker");
    fails(&["--machine", "q35", "--limit-net", "5M"], 1, "leave `--limit-net` out");
    // Only Firecracker can do these, so it is meant.
    fails(&["--jail"], 1, "Firecracker has no user networking");
    fails(&["--limit-net", "5M"], 1, "Firecracker has no user networking");
    fails(&["--limit-disk", "0"], 2, "nothing would ever be read");
    fails(&["--jail", "--cgroup", "memory"], 2, "memory.max=2G");
}
