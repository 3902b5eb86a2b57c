//! `goldsmith serve` with Firecracker: what the operator chose is what every VM gets.

use super::*;
use common::http::Server;

#[test]
fn a_server_launches_jailed_machines_and_nothing_is_left_of_them() {
    if !is_root("the jail") {
        return;
    }
    let stage = Stage::new("1.16", Play::Boot);
    let socket = stage.lab.folder().join("socket");
    let mut command = stage.goldsmith();
    command.args([
        "serve",
        "--auth-image",
        "minimal",
        "--vmm",
        "firecracker",
        "--accel",
        "kvm",
        "--network",
        "bridge=br0",
    ]);
    command.args(["--jail", "--cgroup", "memory.max=2G", "--limit-net", "100M", "--socket"]).arg(&socket);
    command.arg(format!("--images=minimal={}", image("minimal").display()));
    let server = Server::start(&mut command);
    let login = json!({ "userId": "ann", "provider": "github" }).to_string();
    let started = server.ask("POST", "/api/auth/start", &[], &login).is(200).json();
    let id = started["vm"].as_str().unwrap();
    assert!(stage.lab.leases().contains(started["address"].as_str().unwrap()), "{}", stage.lab.leases());

    let folder = stage.lab.folder().join("state/vms").join(id);
    let root = folder.join("jail/firecracker").join(id).join("root");
    assert_eq!(fs::read_to_string(root.join("groups")).unwrap(), " 2 goldsmith memory.max=2G\n");
    let nic = Stage::asked(&root).into_iter().find(|(path, _)| path == "/network-interfaces/nic").unwrap().1;
    assert_eq!(nic["rx_rate_limiter"]["bandwidth"]["size"], 100 << 20, "{nic}");
    server.ask("DELETE", &format!("/vms/{id}"), &[], "").is(204);
    assert!(!folder.exists());
    succeed(stage.lab.command("pkill").args(["-TERM", "-x", "goldsmith"]));
    let started = Instant::now();
    while socket.exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "the server does not end");
        std::thread::sleep(Duration::from_millis(50));
    }
    stage.assert_nothing_left();
}
