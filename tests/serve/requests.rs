//! Requests and servers that make no sense.

use super::*;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

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
    for origin in ["Origin: http://evil.example", "Origin: null", "Origin: https://localhost"] {
        server.raw("GET", "/health", &["Host: localhost", origin], b"").is(403);
        server.raw("GET", "/vms", &["Host: localhost", origin], b"").is(403);
    }
    let own = server.raw("GET", "/health", &["Host: localhost", "Origin: http://localhost"], b"").is(200);
    assert_eq!(own.header("access-control-allow-origin"), None);
    assert_eq!(own.header("x-content-type-options"), Some("nosniff"));
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
    // What is hardly HTTP: each is told so in a problem document, and hung up on.
    for (request, status) in [
        ("GET /vms/%ff%fe HTTP/1.0\r\nTOKEN", 400),
        ("DELETE /vms/%ff HTTP/1.0\r\nTOKEN", 400),
        ("GET /vms/%C3%A4 HTTP/1.0\r\nTOKEN", 404),
        ("GET /vms/%ff/console HTTP/1.0\r\nTOKEN", 400),
        ("GET /vms HTTP/3.0\r\nTOKEN", 400),
        ("hello\r\n\r\n", 400),
        ("GET /vms HTTP/1.1\nHost: localhost\n\n", 400),
        ("GET /vms HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n", 400),
        ("GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET http://evil.example/health HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        ("GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        ("POST /vms HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("POST /vms HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        ("POST /vms HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nTOKEN", 400),
        (&format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(9000)), 414),
        (&format!("GET /health HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100)), 431),
        ("TRACE /health HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    ] {
        let token = format!("Host: localhost\r\nAuthorization: Bearer {}\r\n\r\n{}", token.trim(), "zz\r\n");
        let mut stream = std::net::TcpStream::connect(server.address()).unwrap();
        // Behind it hides another request, which is none.
        let hidden = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(format!("{}{hidden}", request.replace("TOKEN", &token)).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap_or_else(|error| panic!("{error}: {request}"));
        assert_eq!(answer.split(' ').nth(1), Some(status.to_string().as_str()), "{request}: {answer}");
        assert!(answer.contains("content-type: application/problem+json\r\n"), "{request}: {answer}");
        assert_eq!(answer.matches("content-length:").count(), 1, "{request}: {answer}");
    }
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
    // What no VM could run on is said now, not to the first who asks for one.
    fails(&[&images, "--vmm", "firecracker"], "no user networking");
    fails(&[&images, "--vmm", "firecracker", "--machine", "q35"], "Firecracker has one machine");
    fails(&[&images, "--network", "user", "--subnet", "10.77.0.1/24"], "managed networks");
    fails(&[&images, "--network", "user", "--vmm", "qemu", "--jail"], "only Firecracker has a jail");
}
