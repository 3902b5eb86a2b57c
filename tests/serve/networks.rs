//! A network that goldsmith makes for the VMs of a server, and takes away.

use super::*;
use common::host::Host;
use serde_json::json;

#[test]
fn vms_share_a_managed_network_that_goes_with_them() {
    let (host, minimal) = (Host::new(), image("minimal"));
    let state = host.lab.folder().join("state");
    let mut command = host.goldsmith("serve --accel emulation --vmm qemu --machine microvm --network managed=fleet");
    command.args(["--subnet", "10.77.0.1/24", "--auth-image", "minimal", "--socket"]);
    command.arg(host.lab.folder().join("socket")).arg(format!("--images=minimal={}", minimal.display()));
    let server = Server::start(&mut command);
    let start = |user: &str| {
        let login = json!({ "userId": user, "provider": "github" }).to_string();
        server.ask("POST", "/api/auth/start", &[], &login).is(200).json()
    };
    let started = std::thread::scope(|scope| {
        let both = ["ann", "bob"].map(|user| scope.spawn(move || start(user)));
        both.map(|one| one.join().unwrap())
    });
    let leases = succeed(host.lab.command("sh").args(["-c", "cat /run/goldsmith/*/fleet/leases"]));
    let leases = String::from_utf8_lossy(&leases.stdout).into_owned();
    for vm in &started {
        let address = vm["address"].as_str().unwrap();
        assert!(address.starts_with("10.77.0.") && leases.contains(&format!(" {address} ")), "{vm}\n{leases}");
        assert!(agent(&host.lab, vm["agent"].as_str().unwrap()).starts_with("HTTP/1.1 200"));
    }
    assert_ne!(started[0]["address"], started[1]["address"]);
    let walls = succeed(host.lab.command("sh").args(["-c", "cat /sys/class/net/gs[0-9]/brport/isolated"]));
    assert_eq!(String::from_utf8_lossy(&walls.stdout), "1\n1\n", "the VMs are not kept apart");
    assert_eq!(host.networks()[0]["vms"], 2);

    let [ann, bob] = [0, 1].map(|index: usize| format!("/vms/{}", started[index]["vm"].as_str().unwrap()));
    server.ask("DELETE", &ann, &[], "").is(204);
    assert_eq!((&host.networks()[0]["vms"], host.servers()), (&json!(1), 1));
    server.ask("DELETE", &bob, &[], "").is(204);
    // It is gone while the server still runs.
    wait_until("only the server is left", || host.changed().iter().all(|line| line.contains("goldsmith serve")));
    succeed(host.lab.command("pkill").args(["-TERM", "-f", "goldsmith serve"]));
    wait_until("the server ends", || !host.lab.folder().join("socket").exists());
    host.assert_as_before();
    assert_eq!(left(&state), [""; 0]);
}
