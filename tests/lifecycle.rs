//! What outlives a launch: kept VMs boot again with what was written on their disks, grown disks have the room, the golden
//! image stays what it was.

mod common;

use common::{goldsmith, image, is_root, need, recipes, succeed};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

struct State(tempfile::TempDir);

impl State {
    fn new() -> Self {
        need("qemu-system-x86_64", "apt-get install qemu-system-x86");
        Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
    }

    fn verb(&self, line: &str) -> Command {
        let mut command = goldsmith();
        command.env("GOLDSMITH_STATE", self.0.path()).args(line.split(' '));
        command
    }

    fn launch(&self, line: &str) -> Command {
        self.verb(&format!("launch --accel emulation --memory 512M --cpus 1 --quiet {line}"))
    }

    fn vm(&self) -> serde_json::Value {
        let output = succeed(&mut self.verb("ps --format json"));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["vms"][0].clone()
    }

    fn is_empty(&self) -> bool {
        fs::read_dir(self.0.path().join("vms")).unwrap().next().is_none()
    }
}

#[track_caller]
fn fails(command: &mut Command, words: &str) {
    let output = command.output().unwrap();
    assert!(!output.status.success() && text(&output).contains(words), "{words}: {}", text(&output));
}

fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n{out}\n{err}", output.status)
}

/// A recipe whose guest lets this key in as root, and makes its own host keys at its first boot.
fn recipe_with_ssh(key: &Path) {
    let overlay = recipes().join("overlays/ssh");
    let file = |path: &str, mode: u32, text: &str| {
        let path = overlay.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    file("root/.ssh/authorized_keys", 0o600, &public);
    let unit = "[Unit]\nBefore=ssh.service\n[Service]\nType=oneshot\nExecStart=/usr/bin/ssh-keygen -A\n\
                [Install]\nWantedBy=multi-user.target\n";
    file("etc/systemd/system/host-keys.service", 0o644, unit);
    let recipe = "schema: goldsmith/v1\nname: ssh\ninclude: [minimal.yaml]\npackages: [openssh-server]\n\
                  overlays: [../overlays/ssh]\nunits:\n  enable: [host-keys.service, ssh.service]\n\
                  probes:\n  - { name: ssh, tcp: \":22\", banner: \"SSH-2.0\", timeout: 240s }\n";
    fs::write(recipes().join("recipes/ssh.yaml"), recipe).unwrap();
}

#[test]
fn what_was_written_on_a_kept_overlay_is_there_again() {
    need("qemu-img", "apt-get install qemu-utils");
    need("ssh-keygen", "apt-get install openssh-client");
    let state = State::new();
    let key = state.0.path().join("key");
    succeed(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key));
    recipe_with_ssh(&key);
    let folder = image("ssh");
    let run = |command: &[&str]| {
        let mut ssh = state.verb("ssh box --identity");
        ssh.arg(&key).arg("--").args(command);
        ssh.output().unwrap()
    };
    succeed(state.launch("--name box --keep --disk overlay --disk-size 20G --detach").arg(&folder));
    succeed(&mut state.verb("wait box"));
    let output = run(&["echo kept >/root/note && sync && uname -n"]);
    assert!(output.status.success(), "{}", text(&output));
    wait_for_console(&state, "box", "resized filesystem to 5242880");
    let output = run(&["df --output=size -BG / | tail -n 1"]);
    assert!(text(&output).contains("20G"), "{}", text(&output));
    assert_eq!(run(&["exit 7"]).status.code(), Some(7));
    fails(&mut state.verb("rm box"), "box is running");
    succeed(&mut state.verb("stop box"));
    assert_eq!(state.vm()["state"], "stopped");
    fails(&mut state.verb("ssh box"), "does not run");
    fails(&mut state.verb("wait box"), "does not run");

    succeed(&mut state.launch("--name box --detach"));
    let output = run(&["cat /root/note"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "kept\n", "{}", text(&output));
    succeed(&mut state.verb("stop box"));
    fails(&mut state.launch("--name box --disk-size 19G"), "the disk has 20G already");
    succeed(&mut state.verb("rm box"));
    assert!(state.is_empty());
    succeed(goldsmith().arg("verify").arg(&folder));
}

#[test]
fn a_kept_disk_survives_kill_and_boots_only_on_its_own_image() {
    need("e2fsck", "apt-get install e2fsprogs");
    let (state, folder) = (State::new(), image("minimal"));
    succeed(state.launch("--name big --keep --disk-size 3G --detach").arg(&folder));
    let vm = state.vm();
    wait_for_console(&state, "big", "resized filesystem to 786432");
    succeed(Command::new("kill").args(["-KILL", &vm["supervisor"].to_string()]));
    let started = Instant::now();
    while state.vm()["state"] != "stopped" {
        assert!(started.elapsed() < Duration::from_secs(60), "{:#}", state.vm());
        std::thread::sleep(Duration::from_millis(50));
    }
    let home = state.0.path().join("vms/big");
    fails(&mut state.launch("--name big --disk-size 1G"), "disks do not shrink");

    // The image is another one now.
    let record = fs::read_to_string(home.join("vm.json")).unwrap();
    let digest = vm["digest"].as_str().unwrap();
    fs::write(home.join("vm.json"), record.replace(digest, &"0".repeat(digest.len()))).unwrap();
    fails(&mut state.launch("--name big"), "goldsmith rm big");
    assert!(home.join("disk.ext4").exists());
    fs::write(home.join("vm.json"), record).unwrap();

    succeed(&mut state.launch("--name big --stop-after-ready"));
    let disk = home.join("disk.ext4");
    assert!(text(&succeed(Command::new("e2fsck").arg("-fn").arg(&disk))).contains("/786432 blocks"));
    succeed(&mut state.verb("rm big"));
    assert!(state.is_empty());
    fails(&mut state.launch("--name big"), "there is no VM called big");
    succeed(goldsmith().arg("verify").arg(&folder));
}

#[test]
fn a_disk_shares_blocks_with_the_image_where_the_filesystem_can() {
    if !is_root("a loop mount") {
        return;
    }
    need("mkfs.xfs", "apt-get install xfsprogs");
    let (state, folder) = (State::new(), image("minimal"));
    let script = r#"
        truncate -s 2G "$1/xfs" && mkfs.xfs -q "$1/xfs" && mkdir "$1/there" && mount -o loop "$1/xfs" "$1/there"
        cp -r --sparse=always "$2" "$1/there/image" && export GOLDSMITH_STATE="$1/there/state"
        shift 2 && exec "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", script, "sh"]).arg(state.0.path()).arg(&folder);
    command.env("PATH", std::env::var("PATH").unwrap() + ":/usr/sbin").arg(env!("CARGO_BIN_EXE_goldsmith"));
    command.args("launch --accel emulation --memory 512M --stop-after-ready --format lines".split(' '));
    let output = succeed(command.arg(state.0.path().join("there/image")));
    assert!(text(&output).contains("shares the image's blocks"), "{}", text(&output));
}

#[test]
fn a_larger_disk_is_refused_where_the_guest_would_not_use_it() {
    let recipe = "schema: goldsmith/v1\nname: fixed\ninclude: [minimal.yaml]\nunits:\n  mask: [growfs.service]\n";
    fs::write(recipes().join("recipes/fixed.yaml"), recipe).unwrap();
    let state = State::new();
    fails(state.launch("--disk-size 20G").arg(image("fixed")), "`growfs.service` enabled");
    assert!(state.is_empty());
}

#[test]
fn what_was_hashed_before_is_hashed_again_once_it_was_written_to() {
    let (state, copy) = (State::new(), tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
    succeed(Command::new("cp").args(["-r", "--sparse=always"]).arg(image("minimal").join(".")).arg(copy.path()));
    let dry_run = || state.launch("--dry-run").arg(copy.path()).output().unwrap();
    let remembered = || walkdir::WalkDir::new(state.0.path().join("verified")).into_iter().flatten().skip(2).count();
    assert!(dry_run().status.success());
    assert_eq!(remembered(), 0, "files that have just been written");
    let started = Instant::now();
    while remembered() < 4 {
        assert!(started.elapsed() < Duration::from_secs(60), "{}", text(&dry_run()));
        assert!(dry_run().status.success());
        std::thread::sleep(Duration::from_millis(500));
    }
    // One byte in the middle, with all times that a program may set as they were.
    let path = copy.path().join("rootfs.ext4");
    let times = fs::metadata(&path).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[1], times.len() / 2 + 5).unwrap();
    file.set_times(fs::FileTimes::new().set_modified(times.modified().unwrap())).unwrap();
    drop(file);
    let output = dry_run();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains("IMG-001"), "{}", text(&output));
    assert_eq!(remembered(), 4);
}

fn wait_for_console(state: &State, name: &str, words: &str) {
    let path = state.0.path().join("vms").join(name).join("console.log");
    let said = || fs::read_to_string(&path).unwrap_or_default();
    let started = Instant::now();
    while !said().contains(words) {
        assert!(started.elapsed() < Duration::from_secs(60), "no `{words}`:\n{}", said());
        std::thread::sleep(Duration::from_millis(50));
    }
}
