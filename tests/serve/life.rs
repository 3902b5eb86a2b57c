//! The life of VMs and of the server.

use super::*;
use common::http::valid;
use common::lab::Dhcp;
use serde_json::{Value, json};

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
    assert_eq!(server.ask("GET", "/vms", &[], "").is(200).json()["vms"], json!([vm]));
    assert_eq!(server.ask("GET", &place, &[], "").is(200).json(), vm);
    // It knows what was asked for, and by which request.
    assert_eq!(server.ask("POST", "/vms", &[key], &ann).is(201).json(), vm);
    assert_eq!(server.ask("POST", "/vms", &[key], &other).is(422).json()["field"], "Idempotency-Key");
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
    assert_eq!(server.ask("GET", "/vms", &[], "").is(200).json(), json!({ "vms": [] }));
    assert!(!lab.processes().iter().any(|line| line.starts_with("qemu")), "{:?}", lab.processes());
    let metrics = server.ask("GET", "/metrics", &[], "").is(200).body;
    assert!(metrics.contains("goldsmith_refusals_total{rule=\"NET-H001\"} 1\n"), "{metrics}");
    assert!(metrics.contains("goldsmith_start_duration_seconds_count 1\n"), "{metrics}");
    server.ask("GET", "/health", &[], "").is(200);
    server.ask("GET", "/openapi.json", &[], "").is(200);
    assert_eq!(server.unseen(), ["GET /events"], "it was followed");

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
    let server = Server::start(&mut serve_here(state.path(), &minimal));
    let order = json!({ "image": "minimal" }).to_string();
    let create = || {
        let vm = server.ask("POST", "/vms", &[], &order).is(201).json();
        vm["id"].as_str().unwrap().to_owned()
    };
    let id = create();
    server.ask("DELETE", &format!("/vms/{id}"), &[], "").is(204);
    assert_eq!(left(state.path()), [""; 0]);
    create();
    end(server);
    wait_until("the VM ends with its server", || std::fs::read_dir(state.path().join("vms")).unwrap().next().is_none());
}

#[test]
fn ready_vms_end_with_the_server_only_if_it_was_told_so() {
    let (state, minimal) = (tempfile::tempdir().unwrap(), image("minimal"));
    let server = Server::start(&mut serve_here(state.path(), &minimal));
    let order = json!({ "image": "minimal", "user": "ann" }).to_string();
    server.ask("POST", "/vms", &[], &order).is(201);
    wait_until("the VM is ready", || in_state(&server, "ready").len() == 1);
    let vms = server.ask("GET", "/vms", &[], "").is(200).body;
    end(server);

    let server = Server::start(serve_here(state.path(), &minimal).arg("--stop-vms"));
    assert_eq!(server.ask("GET", "/vms", &[], "").is(200).body, vms);
    end(server);
    assert_eq!(left(state.path()), [""; 0]);
}
