//! `POST /api/auth/start`: what is handed over, and what is answered when the agent is not reached.

use super::*;
use common::lab::Dhcp;
use serde_json::{Value, json};

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

const LOGIN: &str = "boot:
  parameters:
    user_id: { type: string, optional: true }
    provider: { type: string, optional: true }
overlays: [../overlays/login]
";
const DROP_IN: &str = "usr/lib/systemd/system/oauth-agent.service.d/50-login.conf";

#[test]
fn the_guest_is_told_whose_login_it_is() {
    let drop_in = recipes().join("overlays/login").join(DROP_IN);
    std::fs::create_dir_all(drop_in.parent().unwrap()).unwrap();
    let agent = "[Service]\nEnvironment=\"AGENT_PARAMETERS=--parameter user_id --parameter provider\"\n";
    std::fs::write(&drop_in, agent).unwrap();
    let (state, login) = (tempfile::tempdir().unwrap(), image_with("login", LOGIN));
    let mut command = serve_here(state.path(), &login);
    let server = Server::start(command.args(["--auth-image", "login", "--max-vms-per-user", "1", "--stop-vms"]));
    let ask = |user: &str, provider: &str| {
        let body = json!({ "userId": user, "provider": provider }).to_string();
        server.ask("POST", "/api/auth/start", &[], &body)
    };
    let started = ask("ann@example.org", "github").is(200).json();
    let health = ureq::get(format!("{}/health", started["agent"].as_str().unwrap())).call().unwrap();
    let health: Value = serde_json::from_str(&health.into_body().read_to_string().unwrap()).unwrap();
    assert_eq!(health["parameters"], json!({ "user_id": "ann@example.org", "provider": "github" }), "{health:#}");

    // A VM that was told of one provider is not another's.
    assert_eq!(ask("ann@example.org", "github").is(200).json(), started);
    let full = ask("ann@example.org", "gitlab").is(429);
    assert!(full.header("retry-after").is_some() && full.body.contains("user-quota"), "{full:?}");
    end(server);
    assert_eq!(left(state.path()), [""; 0]);
}

#[test]
fn a_vm_that_does_not_become_ready_is_diagnosed_and_gone() {
    // Nobody in the guest listens there.
    let deaf = image_with("deaf", "probes: [{ name: nobody, tcp: \":9\", timeout: 20s }]\n");
    let state = tempfile::tempdir().unwrap();
    let server = Server::start(serve_here(state.path(), &deaf).args(["--auth-image", "deaf"]));
    let login = json!({ "userId": "ann", "provider": "github" }).to_string();
    let late = server.ask("POST", "/api/auth/start", &[], &login).is(504).json();
    let (vm, why) = (late["vm"].as_str().unwrap(), &late["diagnosis"]);
    assert_eq!(late["type"], "urn:goldsmith:problem:not-ready", "{late:#}");
    assert_eq!(why["passed"][0]["name"], "oauth-agent", "{late:#}");
    assert!(why["failed"][0].as_str().unwrap().starts_with("nobody: "), "{late:#}");
    assert!(why["diagnosis"]["layer"].is_string() && late["help"].is_string(), "{late:#}");

    let place = format!("/vms/{vm}");
    wait_until("the VM is gone", || left(state.path()).is_empty());
    let failed = server.ask("GET", &place, &[], "").is(200).json();
    assert_eq!((&failed["state"], &failed["failure"]["diagnosis"]), (&json!("failed"), why), "{failed:#}");
    server.ask("GET", &format!("{place}/console"), &[], "").is(409);
    server.ask("DELETE", &place, &[], "").is(204);
    server.ask("GET", &place, &[], "").is(404);
    end(server);
}
