//! A stand-in for Firecracker: it speaks its API over a real Unix socket, checks every body against the schema of the
//! version it plays, and boots what it was told with QEMU's emulator. It is this very test program, started by a shell
//! script called `firecracker`.

use crate::schema::Schema;
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What the stand-in does with a machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Play {
    /// Boots it.
    Boot,
    /// Says that it has been started, and does nothing.
    Sit,
    /// Refuses its NIC.
    Refuse,
}

/// What the stand-in was asked, a JSON list `[path, body]` a line, in the folder in which it works.
pub const ASKED: &str = "asked.json";

const SCRIPT: &str = r#"#!/bin/sh
if [ "$1" = --version ]; then
    echo "Firecracker v@VERSION@.1"
    exit
fi
here=$(dirname "$0")
PLAYS=@PLAY@ VERSION=@VERSION@ API=$4 exec "$here/stand-in" --exact stand_in::plays --nocapture
"#;

/// The jailer as far as goldsmith sees it, but for the root folder: the stand-in needs QEMU, so it only works there.
const JAILER: &str = r#"#!/bin/sh
set -eu
while [ "$1" != -- ]; do
    case $1 in
    --id) id=$2 ;;
    --exec-file) exec=$2 ;;
    --uid) uid=$2 ;;
    --gid) gid=$2 ;;
    --chroot-base-dir) base=$2 ;;
    --netns) netns=$2 ;;
    --cgroup-version | --parent-cgroup | --cgroup) groups="${groups:-} $2" ;;
    *) echo "jailer: $1 is not known" >&2; exit 1 ;;
    esac
    shift 2
done
shift
root=$base/$(basename "$exec")/$id/root
cp "$exec" "$(dirname "$exec")/stand-in" "$root"
mkdir -p "$root/dev/net"
echo "$groups" >"$root/groups"
mknod "$root/dev/net/tun" c 10 200
chown "$uid:$gid" "$root" "$root/dev/net/tun"
cd "$root"
export uid gid root
exec nsenter --net="$netns" unshare --mount sh -ec 'mount --bind "$root/dev/net/tun" /dev/net/tun
    exec setpriv --reuid "$uid" --regid "$gid" --clear-groups "$@"' sh "./$(basename "$exec")" --id "$id" "$@"
"#;

/// Puts `firecracker` and `jailer` into a folder; returns a `PATH` in which they come first.
pub fn install(folder: &Path, version: &str, play: Play) -> String {
    fs::create_dir_all(folder).unwrap();
    let play = match play {
        Play::Boot => "boot",
        Play::Sit => "sit",
        Play::Refuse => "refuse",
    };
    let script = SCRIPT.replace("@VERSION@", version).replace("@PLAY@", play);
    for (name, text) in [("firecracker", script.as_str()), ("jailer", JAILER)] {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::copy(std::env::current_exe().unwrap(), folder.join("stand-in")).unwrap();
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
}

/// Not a test by itself: without its surroundings it does nothing.
#[test]
fn plays() {
    let Ok(play) = std::env::var("PLAYS") else { return };
    let listener = UnixListener::bind(std::env::var("API").unwrap()).unwrap();
    let asked = OpenOptions::new().create(true).append(true).open(ASKED).unwrap();
    let mut player = Player {
        schema: Schema::of(&std::env::var("VERSION").unwrap()),
        play,
        asked,
        config: json!({}),
        machine: None,
        started: false,
    };
    listener.set_nonblocking(true).unwrap();
    loop {
        if let Ok((stream, _)) = listener.accept() {
            player.serve(&stream);
        }
        if let Some(machine) = &mut player.machine
            && machine.try_wait().unwrap().is_some()
        {
            // As Firecracker does when its guest resets the machine.
            std::process::exit(0);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

struct Player {
    schema: Schema,
    play: String,
    asked: fs::File,
    config: Value,
    machine: Option<Child>,
    started: bool,
}

impl Player {
    /// Answers until the other side hangs up.
    fn serve(&mut self, mut stream: &UnixStream) {
        stream.set_nonblocking(false).unwrap();
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let mut length = 0;
            loop {
                line.clear();
                lines.read_line(&mut line).unwrap();
                match line.trim().split_once(": ") {
                    Some(("Content-Length", value)) => length = value.parse().unwrap(),
                    Some(_) => {}
                    None => break,
                }
            }
            let mut body = vec![0; length];
            lines.read_exact(&mut body).unwrap();
            let (status, answer) = match self.answer(&words[0], &words[1], &body) {
                Ok(Value::Null) => (204, String::new()),
                Ok(value) => (200, value.to_string()),
                Err(problem) => (400, json!({ "fault_message": problem }).to_string()),
            };
            let mut text = format!("HTTP/1.1 {status} \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n");
            if !answer.is_empty() {
                text += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", answer.len());
            }
            stream.write_all(format!("{text}\r\n{answer}").as_bytes()).unwrap();
            line.clear();
        }
    }

    fn answer(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Value, String> {
        if (method, path) == ("GET", "/version") {
            return Ok(json!({ "firecracker_version": "1" }));
        }
        if (method, path) == ("GET", "/") {
            return Ok(
                json!({ "app_name": "Firecracker", "state": if self.started { "Running" } else { "Not started" } }),
            );
        }
        let body: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        writeln!(self.asked, "{}", json!([path, body])).unwrap();
        self.schema.request(method, path, &body)?;
        if self.play == "refuse" && path.starts_with("/network-interfaces") {
            return Err("Open tap device failed: it is Tuesday".to_owned());
        }
        if path != "/actions" {
            if self.started {
                return Err("The requested operation is not supported after starting the microVM.".to_owned());
            }
            let key = path.trim_start_matches('/').split('/').next().unwrap();
            self.config[key] = body;
            return self.files().map(|()| Value::Null);
        }
        match body["action_type"].as_str() {
            Some("InstanceStart") if !self.started => {
                self.started = true;
                if self.play == "boot" {
                    self.machine = Some(self.boot());
                }
            }
            Some("SendCtrlAltDel") if self.started => press(),
            _ => return Err(format!("{body} does not go with the state of the machine")),
        }
        Ok(Value::Null)
    }

    /// Files that are named must be there for whoever this process runs as.
    fn files(&self) -> Result<(), String> {
        let named = [("boot-source", "kernel_image_path"), ("boot-source", "initrd_path"), ("drives", "path_on_host")];
        let logs = [("logger", "log_path"), ("metrics", "metrics_path")];
        for (write, (key, name)) in named.map(|one| (false, one)).into_iter().chain(logs.map(|one| (true, one))) {
            let Some(path) = self.config[key][name].as_str() else { continue };
            let write = write || key == "drives";
            OpenOptions::new().read(true).write(write).open(path).map_err(|error| format!("{path}: {error}"))?;
        }
        Ok(())
    }

    fn boot(&self) -> Child {
        let text = |key: &str, name: &str| self.config[key][name].as_str().unwrap().to_owned();
        let number = |name: &str| self.config["machine-config"][name].as_u64().unwrap().to_string();
        let kernel = text("boot-source", "kernel_image_path");
        assert!(fs::read(&kernel).unwrap().starts_with(b"\x7fELF"), "the kernel is no ELF file");
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-M", "microvm,acpi=on,pit=on,pic=on,rtc=on,isa-serial=on,x-option-roms=off"]);
        qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-nodefaults", "-no-user-config", "-no-reboot"]);
        qemu.args(["-smp", &number("vcpu_count"), "-m", &number("mem_size_mib"), "-kernel", &kernel]);
        qemu.args(["-initrd", &text("boot-source", "initrd_path"), "-append"]);
        // What Firecracker appends, and what an emulated machine needs on a busy host.
        qemu.arg(format!("{} pci=off tsc_early_khz=2600000", text("boot-source", "boot_args")));
        qemu.args(["-drive", &format!("id=d,file={},format=raw,if=none", text("drives", "path_on_host"))]);
        qemu.args(["-device", "virtio-blk-device,drive=d", "-device", "virtio-rng-device", "-device", "i8042"]);
        let nic = |name: &str| text("network-interfaces", name);
        qemu.args(["-netdev", &format!("tap,id=n,ifname={},script=no,downscript=no", nic("host_dev_name"))]);
        qemu.args(["-device", &format!("virtio-net-device,netdev=n,mac={}", nic("guest_mac"))]);
        qemu.args([
            "-serial",
            "stdio",
            "-display",
            "none",
            "-monitor",
            "none",
            "-qmp",
            "unix:qmp.sock,server=on,wait=off",
        ]);
        let with_parent = || Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?);
        // SAFETY: between fork and exec only prctl(2) is called.
        unsafe { qemu.pre_exec(with_parent) };
        qemu.stdin(Stdio::null()).spawn().unwrap()
    }
}

/// Presses Ctrl-Alt-Del on QEMU's keyboard.
fn press() {
    let Ok(mut stream) = UnixStream::connect("qmp.sock") else { return };
    let keys = ["ctrl", "alt", "delete"].map(|key| json!({ "type": "qcode", "data": key }));
    let commands =
        [json!({ "execute": "qmp_capabilities" }), json!({ "execute": "send-key", "arguments": { "keys": keys } })];
    let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
    answers.next();
    for command in commands {
        writeln!(stream, "{command}").unwrap();
        answers.next();
    }
}
