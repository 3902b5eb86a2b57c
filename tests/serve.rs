//! A real server that launches real VMs through the real `goldsmith launch`: what it answers, what it refuses, what
//! outlives it, and that nothing is left of what it ends.

mod common;

use common::http::{Server, valid};
use common::lab::{Dhcp, Lab};
use common::{goldsmith, image, need, succeed};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
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

/// A server of this test's own, on a free port, with user networking.
fn serve_here(state: &Path, images: &Path) -> Command {
    need("qemu-system-x86_64", "apt-get install qemu-system-x86");
    let mut command = goldsmith();
    command.env("GOLDSMITH_STATE", state).args(["serve", "--accel", "emulation", "--listen", "127.0.0.1:0"]);
    command.arg("--images").arg(format!("minimal={}", images.display()));
    command
}

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

#[test]
fn vms_are_launched_outlive_the_server_and_leave_nothing() {
    let (lab, minimal) = (Lab::new(Dhcp::Served), image("minimal"));
    let fixed = image("static");
    let start = || {
        let mut command = serve(&lab, &[("minimal", &minimal), ("static", &fixed)]);
        Server::start(command.args(["--auth-image", "minimal", "--max-vms", "2", "--max-vms-per-user", "1"]))
    };
    let mut server = start();
    let ann = json!({ "image": "minimal", "user": "ann" }).to_string();

    // One VM, however often it is asked for with one key.
    let key = "Idempotency-Key: first";
    let created = server.ask("POST", "/vms", &[key], &ann).is(201);
    let vm = created.json();
    let id = vm["id"].as_str().unwrap().to_owned();
    let place = format!("/vms/{id}");
    assert_eq!(created.header("location"), Some(place.as_str()));
    assert_eq!((&vm["state"], &vm["address"]), (&json!("booting"), &Value::Null), "{vm:#}");
    assert_eq!(server.ask("POST", "/vms", &[key], &ann).is(201).json(), vm);
    let other = json!({ "image": "minimal", "user": "bob" }).to_string();
    let problem = server.ask("POST", "/vms", &[key], &other).is(422).json();
    assert_eq!(problem["field"], "Idempotency-Key");
    let full = server.ask("POST", "/vms", &[], &ann).is(429);
    assert!(full.header("retry-after").is_some() && full.body.contains("user-quota"), "{full:?}");

    wait_until("the VM is ready", || {
        let vm = server.ask("GET", &place, &[], "").is(200).json();
        assert!(["booting", "ready"].contains(&vm["state"].as_str().unwrap()), "{vm:#}");
        vm["state"] == "ready"
    });
    let vm = server.ask("GET", &place, &[], "").is(200).json();
    let address = vm["address"].as_str().unwrap();
    wait_until("the lease is written down", || lab.leases().contains(&format!(" {address} ")));
    assert_eq!(vm["endpoints"]["oauth-agent"], format!("http://{address}:8080/health"));
    for stage in ["network", "gate", "disk", "start", "address"] {
        assert!(vm["stages"][stage].as_f64().is_some_and(|ms| ms >= 0.0), "{stage}: {vm:#}");
    }
    assert!(agent(&lab, &format!("http://{address}:8080")).starts_with("HTTP/1.1 200"));
    let console = server.ask("GET", &format!("{place}/console"), &[], "").is(200);
    assert!(console.body.contains("Linux version"), "{console:?}");

    // The server is killed; the VM is not.
    succeed(lab.command("pkill").args(["-KILL", "-f", "goldsmith serve"]));
    server.process().wait().unwrap();
    drop(server);
    let server = start();
    let adopted = server.ask("GET", "/vms", &[], "").is(200).json();
    let mut expected = vm.clone();
    // How long its stages took is known to nobody any more.
    expected["stages"] = json!({});
    assert_eq!(adopted["vms"], json!([expected]));
    assert_eq!(server.ask("GET", &place, &[], "").is(200).json(), expected);
    server.ask("GET", &format!("{place}/console"), &[], "").is(200);
    server.ask("POST", "/vms", &[], &ann).is(429);
    let mut events = server.follow("/events");
    let mut console = server.follow(&format!("{place}/console?follow=true"));
    assert!(console.any(|line| line.contains("Linux version")));

    // The founding request: a VM whose agent is reachable, answered only when it is.
    let login = json!({ "userId": "bob", "provider": "github" }).to_string();
    let started = server.ask("POST", "/api/auth/start", &[], &login).is(200).json();
    let bobs = started["vm"].as_str().unwrap().to_owned();
    assert_ne!(bobs, id);
    let origin = format!("http://{}:8080", started["address"].as_str().unwrap());
    assert_eq!((&started["agent"], &started["desktop"]), (&json!(origin), &Value::Null));
    assert!(agent(&lab, &origin).starts_with("HTTP/1.1 200"));
    assert!(lab.leases().contains(started["address"].as_str().unwrap()), "{}", lab.leases());
    // He has one already, and so has Ann, whom another server has launched it for.
    assert_eq!(server.ask("POST", "/api/auth/start", &[], &login).is(200).json(), started);
    let login = json!({ "userId": "ann", "provider": "github" }).to_string();
    assert_eq!(server.ask("POST", "/api/auth/start", &[], &login).is(200).json()["vm"], id);
    let full = server.ask("POST", "/vms", &[], &json!({ "image": "minimal" }).to_string()).is(503);
    assert!(full.header("retry-after").is_some(), "{full:?}");

    for id in [&id, &bobs] {
        server.ask("DELETE", &format!("/vms/{id}"), &[], "").is(204);
        server.ask("GET", &format!("/vms/{id}"), &[], "").is(404);
    }
    assert_eq!(server.ask("GET", "/vms", &[], "").is(200).json(), json!({ "vms": [] }));
    // It ends with its VM.
    console.for_each(drop);
    let mut told = Vec::new();
    while told.len() < 4 {
        let line = events.next().unwrap();
        if let Some(name) = line.strip_prefix("event: ") {
            told.push(name.to_owned());
        } else if let Some(data) = line.strip_prefix("data: ") {
            let schema = json!({ "$ref": "#/components/schemas/Happened" });
            valid(server.document(), &schema, &serde_json::from_str(data).unwrap());
        }
    }
    assert_eq!(told, ["created", "ready", "stopped", "stopped"]);

    // What the gate refuses is not started: the bridge is in another subnet than the image.
    succeed(lab.command("ip").args("addr flush dev br0".split(' ')));
    succeed(lab.command("ip").args("addr add 10.9.0.1/24 dev br0".split(' ')));
    let order = json!({ "image": "static", "user": "ann" }).to_string();
    let refused = server.ask("POST", "/vms", &["Idempotency-Key: refused"], &order).is(409);
    let rules: Vec<_> = refused.json()["findings"]["findings"].as_array().unwrap().clone();
    assert!(rules.iter().any(|finding| finding["rule"] == "NET-H001"), "{refused:?}");
    assert_eq!(server.ask("POST", "/vms", &["Idempotency-Key: refused"], &order).is(409).body, refused.body);
    let metrics = server.ask("GET", "/metrics", &[], "").is(200).body;
    assert!(metrics.contains("goldsmith_refusals_total{rule=\"NET-H001\"} 1\n"), "{metrics}");
    assert!(metrics.contains("goldsmith_start_duration_seconds_count 1\n"), "{metrics}");
    server.ask("GET", "/health", &[], "").is(200);
    server.ask("GET", "/openapi.json", &[], "").is(200);
    assert_eq!(
        server.unseen(),
        ["GET /events", "POST /vms"],
        "the one was followed, the other is what was launched first"
    );

    succeed(lab.command("pkill").args(["-TERM", "-f", "goldsmith serve"]));
    wait_until("the server ends", || !lab.folder().join("socket").exists());
    // The stream ends with its server.
    let told: Vec<_> = events.filter(|line| line.starts_with("event: ")).collect();
    assert_eq!(told, ["event: created", "event: failed"], "the refused one");
    assert_nothing_left(&lab);
}

#[test]
fn vms_that_are_not_ready_end_with_their_request_or_their_server() {
    let (state, minimal) = (tempfile::tempdir().unwrap(), image("minimal"));
    let mut server = Server::start(&mut serve_here(state.path(), &minimal));
    let order = json!({ "image": "minimal" }).to_string();
    let create = || {
        let vm = server.ask("POST", "/vms", &[], &order).is(201).json();
        vm["id"].as_str().unwrap().to_owned()
    };
    let id = create();
    server.ask("DELETE", &format!("/vms/{id}"), &[], "").is(204);
    assert_eq!(left(state.path()), [""; 0]);
    create();
    let process = server.process().id().to_string();
    succeed(Command::new("kill").args(["-TERM", &process]));
    assert!(server.process().wait().unwrap().success());
    wait_until("the VM ends with its server", || std::fs::read_dir(state.path().join("vms")).unwrap().next().is_none());
}

#[test]
fn a_guest_that_nobody_leases_an_address_is_refused() {
    let (lab, minimal) = (Lab::new(Dhcp::None), image("minimal"));
    let server = Server::start(serve(&lab, &[("minimal", &minimal)]).args(["--auth-image", "minimal"]));
    let login = json!({ "userId": "ann", "provider": "github" }).to_string();
    let refused = server.ask("POST", "/api/auth/start", &[], &login).is(409);
    assert!(refused.body.contains("NET-H003"), "{refused:?}");
    succeed(lab.command("pkill").args(["-TERM", "-f", "goldsmith serve"]));
    wait_until("the server ends", || !lab.folder().join("socket").exists());
    assert_nothing_left(&lab);
}

#[test]
fn requests_that_make_no_sense_are_answered_with_the_field_at_fault() {
    let (state, minimal) = (tempfile::tempdir().unwrap(), image("minimal"));
    let server = Server::start(serve_here(state.path(), &minimal).args(["--memory-budget", "2G", "--max-vms", "0"]));
    // Who asks.
    assert_eq!(server.raw("GET", "/health", &["Host: localhost"], b"").is(200).json()["status"], "ok");
    let nobody = server.raw("GET", "/vms", &["Host: localhost"], b"").is(401);
    assert_eq!(nobody.header("www-authenticate"), Some("Bearer realm=\"goldsmith\""));
    for wrong in ["Authorization: Bearer x", "Authorization: Bearer ", "Authorization: Basic eDp5", "Authorization: B"]
    {
        server.raw("GET", "/vms", &["Host: 127.0.0.1", wrong], b"").is(401);
    }
    server.raw("GET", "/nowhere", &["Host: 127.0.0.1"], b"").is(401);
    // Whom they think to ask.
    for host in ["Host: example.org", "Host: 10.0.0.1", "X-No-Host: at all"] {
        server.raw("GET", "/health", &[host], b"").is(421);
    }
    // What they ask.
    let fault = |body: &str| {
        let reply = server.ask("POST", "/vms", &[], body);
        let field = reply.json()["field"].as_str().unwrap_or_default().to_owned();
        (reply.status, field)
    };
    let at = |field: &str| (422, field.to_owned());
    assert_eq!(fault("{"), (400, String::new()));
    assert_eq!(fault("{}"), at("/"));
    assert_eq!(fault(r#"{"image":"minimal","append":"init=/bin/sh"}"#), at("/append"));
    assert_eq!(fault(r#"{"image":"../minimal"}"#), at("/image"));
    assert_eq!(fault(&json!({ "image": minimal }).to_string()), at("/image"));
    assert_eq!(fault(r#"{"image":"minimal","parameters":{"init":"/bin/sh"}}"#), at("/parameters/init"));
    assert_eq!(fault(r#"{"image":"minimal","user":"a b"}"#), at("/user"));
    assert_eq!(fault(r#"{"image":"minimal","memory":"1X"}"#), at("/memory"));
    assert_eq!(fault(r#"{"image":"minimal","memory":"1M"}"#), at("/memory"));
    assert_eq!(fault(r#"{"image":"minimal","memory":"3G"}"#), at("/memory"));
    assert_eq!(fault(r#"{"image":"minimal","cpus":0}"#), at("/cpus"));
    assert_eq!(fault(r#"{"image":"minimal","expect":"nowhere"}"#), at("/expect"));
    assert_eq!(fault(r#"{"image":"minimal"}"#).0, 503, "none may run");
    let large = json!({ "image": "x".repeat(100_000) }).to_string();
    assert_eq!(fault(&large).0, 413);
    server.ask("POST", "/vms", &[&format!("Idempotency-Key: {}", "k".repeat(256))], r#"{"image":"minimal"}"#).is(400);
    server.ask("GET", "/vms/vm-0", &[], "").is(404);
    server.ask("DELETE", "/vms/vm-0", &[], "").is(404);
    server.ask("GET", "/vms/vm-0/console", &[], "").is(404);
    server.ask("GET", "/vms/vm-0/console?follow=maybe", &[], "").is(400);
    server.ask("POST", "/api/auth/start", &[], r#"{"userId":"a","provider":"b"}"#).is(404);
    let token = std::fs::read_to_string(state.path().join("serve/token")).unwrap();
    let raw = |method: &str, path: &str| {
        let token = format!("authorization: bearer {}", token.trim());
        server.raw(method, path, &["Host: [::1]:80", &token], b"{}")
    };
    raw("POST", "/vms").is(415);
    raw("PUT", "/vms").is(405);
    raw("GET", "/nowhere").is(404);
    assert_eq!(left(state.path()), [""; 0]);

    // A second server must not think that it is alone.
    let output = serve_here(state.path(), &minimal).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("another `goldsmith serve`"), "{text}");
}

#[test]
fn a_server_that_others_could_use_does_not_start() {
    let (state, minimal) = (tempfile::tempdir().unwrap(), image("minimal"));
    let fails = |arguments: &[&str], words: &str| {
        let mut command = goldsmith();
        command.env("GOLDSMITH_STATE", state.path()).arg("serve").args(arguments);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(words), "{words}: {text}");
    };
    let images = format!("--images=minimal={}", minimal.display());
    fails(&[&images, "--listen", "0.0.0.0:0"], "not a loopback address");
    let token = state.path().join("open");
    std::fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    fails(&[&images, "--token-file", token.to_str().unwrap()], "chmod 600");
    fails(&[&images, "--socket", token.to_str().unwrap()], "is no socket");
    fails(&[&images, "--auth-image", "desktop"], "no such image");
    fails(&["--images", state.path().to_str().unwrap()], "there is no image");
    fails(&["--images=../x=/tmp"], "cannot be the name");
    fails(&["--images", "x=/nowhere"], "/nowhere");
}
