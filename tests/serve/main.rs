//! A real server that launches real VMs through the real `goldsmith launch`: what it answers, what it refuses, what
//! outlives it, and that nothing is left of what it ends.

mod clients;
#[path = "../common/mod.rs"]
mod common;
mod life;
mod networks;
mod queue;
mod requests;
mod start;

use common::http::Server;
use common::lab::Lab;
use common::{goldsmith, image, need, recipes, succeed};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(240), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A server in the lab, on a socket that the test can reach.
fn serve(lab: &Lab, images: &[(&str, &Path)]) -> Command {
    need("qemu-system-x86_64", "apt-get install qemu-system-x86");
    let mut command = lab.command(env!("CARGO_BIN_EXE_goldsmith"));
    command.env("GOLDSMITH_STATE", lab.folder().join("state")).env("NO_COLOR", "1");
    command.args(["serve", "--accel", "emulation", "--network", "bridge=br0", "--socket"]);
    command.arg(lab.folder().join("socket"));
    for (name, folder) in images {
        command.arg("--images").arg(format!("{name}={}", folder.display()));
    }
    command
}

/// A server of this test's own, on a free port, with user networking, that offers one image under the name of its folder.
fn serve_here(state: &Path, image: &Path) -> Command {
    need("qemu-system-x86_64", "apt-get install qemu-system-x86");
    let mut command = goldsmith();
    command.env("GOLDSMITH_STATE", state).args(["serve", "--accel", "emulation", "--listen", "127.0.0.1:0"]);
    let name = image.file_name().unwrap().display();
    command.arg("--images").arg(format!("{name}={}", image.display()));
    command
}

/// The server has ended and nothing is left of its VMs.
#[track_caller]
fn assert_nothing_left(lab: &Lab) {
    let clean = || lab.processes().is_empty() && lab.interfaces() == ["br0", "lo"];
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(10) && !clean() {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(lab.processes(), [""; 0], "processes are left");
    assert_eq!(lab.interfaces(), ["br0", "lo"], "interfaces are left");
    assert_eq!(left(&lab.folder().join("state")), [""; 0], "folders or tickets are left");
}

/// What is left of VMs in a state folder.
fn left(state: &Path) -> Vec<String> {
    let names = |folder: &str| {
        let entries = std::fs::read_dir(state.join(folder)).into_iter().flatten().flatten();
        entries.map(|entry| entry.path().display().to_string()).collect::<Vec<_>>()
    };
    [names("vms"), names("serve/vms")].concat()
}

/// What the agent at an origin (`http://ADDRESS:PORT`) says, asked from inside the lab.
fn agent(lab: &Lab, origin: &str) -> String {
    let (address, port) = origin.strip_prefix("http://").unwrap().split_once(':').unwrap();
    let script = "exec 3<>\"/dev/tcp/$0/$1\"; printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
    let output = succeed(lab.command("timeout").args(["60", "bash", "-c", script, address, port]));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An image like `minimal`, with more lines in its recipe.
fn image_with(name: &str, lines: &str) -> PathBuf {
    let recipe = format!("schema: goldsmith/v1\nname: {name}\ninclude: [minimal.yaml]\n{lines}");
    std::fs::write(recipes().join(format!("recipes/{name}.yaml")), recipe).unwrap();
    image(name)
}

/// Asks a server in this namespace to end, which it does.
fn end(mut server: Server) {
    succeed(Command::new("kill").args(["-TERM", &server.process().id().to_string()]));
    assert!(server.process().wait().unwrap().success());
}

/// The ids of the VMs in a state.
fn in_state(server: &Server, state: &str) -> Vec<String> {
    let vms = server.ask("GET", "/vms", &[], "").is(200).json();
    let vms = vms["vms"].as_array().unwrap().iter().filter(|vm| vm["state"] == state);
    vms.map(|vm| vm["id"].as_str().unwrap().to_owned()).collect()
}
