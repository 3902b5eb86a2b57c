//! Clients that connect and say nothing, or too little.

use super::*;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// A client at 127.0.0.`number` that says this much.
fn from(number: usize, server: &str, said: &str) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let address: SocketAddr = format!("127.0.0.{number}:0").parse().unwrap();
    let client = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&client, &address).unwrap();
    connect(&client, &server.parse::<SocketAddr>().unwrap()).unwrap();
    let mut client = TcpStream::from(client);
    client.set_read_timeout(Some(Duration::from_secs(240))).unwrap();
    // One that was hung up on already cannot be told anything.
    let _ = client.write_all(said.as_bytes());
    client
}

#[test]
fn clients_that_say_nothing_keep_nobody_from_asking() {
    let (state, minimal) = (tempfile::tempdir().unwrap(), image("minimal"));
    let server = Server::start(&mut serve_here(state.path(), &minimal));
    let connect = |said: &str| {
        let mut client = TcpStream::connect(server.address()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(240))).unwrap();
        // One that was hung up on already cannot be told anything.
        let _ = client.write_all(said.as_bytes());
        client
    };
    // More than there may be at once, from one address and from many: the oldest make room for the newest.
    let head = "GET /health HTTP/1.1\r\nHost: localhost\r\n";
    let said = |number: usize| ["", "G", head, &format!("{head}\r\n")][number % 4].to_owned();
    let mut silent: Vec<_> = (0..600).map(|number| connect(&said(number))).collect();
    let prompt = || {
        let started = Instant::now();
        let health = server.raw("GET", "/health", &["Host: localhost"], b"").is(200);
        assert_eq!(health.json()["status"], "ok");
        server.ask("GET", "/vms", &[], "").is(200);
        // Those who say nothing are hung up on after ten seconds: nobody has waited for that.
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    };
    prompt();
    silent.extend((0..600).map(|number| from(number % 200 + 1, server.address(), &said(number))));
    prompt();
    // Whoever has asked is not silent, however long the answer takes, and has a place that others cannot take.
    let events = server.follow("/events");
    let flood: Vec<_> = (0..600).map(|number| from(number % 9 + 1, server.address(), "")).collect();
    let created = server.ask("POST", "/vms", &[], r#"{"image":"nowhere"}"#);
    assert_eq!(created.status, 422);
    prompt();
    drop((events, flood));
    for mut client in silent {
        // It is hung up on, whatever it was told before; a reset is as good.
        if let Err(error) = client.read_to_end(&mut Vec::new()) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
        }
    }
    // A head without end.
    let long = format!("X-Long: {}", "x".repeat(40_000));
    server.raw("GET", "/health", &["Host: localhost", &long], b"").is(431);
    // A head that does not end in time.
    let mut late = connect(head);
    let mut answer = String::new();
    late.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("problem:head-time"), "{answer}");
    // A body that does not come.
    let body = server.headers().join("\r\n");
    let mut late = connect(&format!("POST /vms HTTP/1.0\r\n{body}\r\nContent-Length: 9\r\n\r\n{{"));
    answer.clear();
    late.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 408 ") && answer.contains("problem:body-time"), "{answer}");
}
