//! Clients that connect and say nothing, or too little.

use super::*;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

#[test]
fn clients_that_say_nothing_keep_nobody_from_asking() {
    let (state, minimal) = (tempfile::tempdir().unwrap(), image("minimal"));
    let server = Server::start(&mut serve_here(state.path(), &minimal));
    let connect = |said: &str| {
        let mut client = TcpStream::connect(server.address()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(240))).unwrap();
        client.write_all(said.as_bytes()).unwrap();
        client
    };
    // More than there may be at once; the last ones wait for the first ones to be hung up on.
    let head = "GET /health HTTP/1.1\r\nHost: localhost\r\n";
    let silent: Vec<_> =
        ["", "G", head, &format!("{head}\r\n")].iter().cycle().take(600).map(|said| connect(said)).collect();
    let health = server.raw("GET", "/health", &["Host: localhost"], b"").is(200);
    assert_eq!(health.json()["status"], "ok");
    for mut client in silent {
        // It is hung up on, whatever it was told before; a reset is as good.
        if let Err(error) = client.read_to_end(&mut Vec::new()) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
        }
    }
    // A head without end.
    let long = format!("X-Long: {}", "x".repeat(40_000));
    server.raw("GET", "/health", &["Host: localhost", &long], b"").is(431);
    // A body that does not come.
    let body = server.headers().join("\r\n");
    let mut late = connect(&format!("POST /vms HTTP/1.0\r\n{body}\r\nContent-Length: 9\r\n\r\n{{"));
    let mut answer = String::new();
    late.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 408 ") && answer.contains("problem:body-time"), "{answer}");
}
