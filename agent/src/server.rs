//! The server: accepts, bounds, answers.

use crate::health::Health;
use crate::http::{self, BadRequest};
use crate::json::Json;
use crate::notify;
use crate::options::Serve;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// So many clients are served at once; the next one is told to come back.
const MAX_CLIENTS: usize = 16;
/// So many of one address; this guest has two, itself as it calls itself and as others do, and must leave room for them.
const MAX_OF_ONE: usize = 6;
/// A verdict this young is given again, so that a flood of questions does not become a flood of checks.
const FRESH: Duration = Duration::from_millis(500);
/// After a failed accept (no descriptors left) the server rests this long.
const REST: Duration = Duration::from_millis(100);

/// What all clients share.
struct State<'a> {
    serve: &'a Serve,
    clients: Clients,
    last: Mutex<Option<(Instant, Health)>>,
}

/// The addresses of those that are being served.
#[derive(Default)]
struct Clients(Mutex<Vec<IpAddr>>);

/// A client's place, free again once it is dropped.
struct Place<'a>(&'a Clients, IpAddr);

impl Clients {
    /// A place for a client from this address. None: there are too many, or too many of it.
    fn enter(&self, from: SocketAddr) -> Option<Place<'_>> {
        // All of a host's own loopback addresses are one client.
        let from = if from.ip().is_loopback() { Ipv4Addr::LOCALHOST.into() } else { from.ip() };
        let mut all = lock(&self.0);
        let free = all.len() < MAX_CLIENTS && all.iter().filter(|one| **one == from).count() < MAX_OF_ONE;
        free.then(|| all.push(from)).map(|()| Place(self, from))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut all = lock(&self.0.0);
        if let Some(at) = all.iter().position(|one| *one == self.1) {
            all.swap_remove(at);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves until the process is ended.
pub fn run(serve: &Serve) -> Result<(), String> {
    let listener =
        TcpListener::bind(serve.listen).map_err(|error| format!("cannot listen on {}: {error}", serve.listen))?;
    notify::ready().map_err(|error| format!("cannot tell the service manager: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    println!("oauth-agent: listening on http://{address}/health");
    accept(serve, &listener)
}

fn accept(serve: &Serve, listener: &TcpListener) -> ! {
    let state = State { serve, clients: Clients::default(), last: Mutex::new(None) };
    thread::scope(|scope| {
        loop {
            let Ok((stream, from)) = listener.accept() else {
                thread::sleep(REST);
                continue;
            };
            let state = &state;
            let Some(place) = state.clients.enter(from) else {
                busy(stream);
                continue;
            };
            // Without a thread the place is free again, and the client is hung up on.
            let _ = thread::Builder::new().spawn_scoped(scope, move || {
                let _place = place;
                client(state, stream);
            });
        }
    })
}

/// Answers one client; a client that fails to listen has only itself to blame.
fn client(state: &State<'_>, mut stream: TcpStream) {
    let _ = stream.set_write_timeout(Some(http::MAX_TIME));
    let (status, body) = match http::read(&mut stream) {
        Ok(request) => respond(state, &request),
        Err(BadRequest::Gone) => return,
        Err(BadRequest::Slow) => (408, error("the request took too long")),
        Err(BadRequest::Large) => (431, error("the request is too large")),
        Err(BadRequest::Malformed) => (400, error("this is not an HTTP/1.1 request")),
    };
    if http::answer(&mut stream, status, &body).is_ok() {
        let _ = stream.shutdown(Shutdown::Write);
    }
}

fn respond(state: &State<'_>, request: &http::Request) -> (u16, String) {
    if !request.is_meant() {
        return (403, error("the Host must be this guest's address, and no web page may ask"));
    }
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/health") => {
            let health = state.health();
            (if health.ok { 200 } else { 503 }, health.document)
        }
        (_, "/health") => (405, error("only GET is answered")),
        _ => (404, error("there is only /health")),
    }
}

impl State<'_> {
    /// The present health. Clients that ask at once share one look: the lock is held while looking.
    fn health(&self) -> Health {
        let mut last = lock(&self.last);
        if let Some((_, health)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return health.clone();
        }
        let health = Health::look(self.serve);
        *last = Some((Instant::now(), health.clone()));
        health
    }
}

fn busy(mut stream: TcpStream) {
    let _ = stream.set_write_timeout(Some(REST));
    let _ = http::answer(&mut stream, 503, &error("too many clients at once"));
}

fn error(reason: &str) -> String {
    Json::Object(vec![("error", reason.into())]).document()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    /// An agent of the test's own; it ends with the test's process.
    fn agent() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || accept(&Serve { interface: "lo".into(), ..Serve::default() }, &listener));
        address
    }

    fn ask(address: SocketAddr, head: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        // What has come before a reset counts.
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    #[test]
    fn a_web_page_elsewhere_hears_nothing() {
        let address = agent();
        let answer = ask(address, &format!("GET /health HTTP/1.1\r\nHost: {address}\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("nosniff"), "{answer}");
        assert!(!answer.to_ascii_lowercase().contains("access-control"), "{answer}");
        for headers in ["Host: evil.example".to_owned(), format!("Host: {address}\r\nOrigin: http://evil.example")] {
            let answer = ask(address, &format!("GET /health HTTP/1.1\r\n{headers}\r\n\r\n"));
            assert!(answer.starts_with("HTTP/1.1 403 ") && !answer.contains("boot_id"), "{answer}");
        }
    }

    #[test]
    fn one_address_cannot_have_all_places() {
        let clients = Clients::default();
        let from = |text: &str| clients.enter(format!("{text}:9").parse().unwrap());
        let own: Vec<_> = (1..9).filter_map(|number| from(&format!("127.0.0.{number}"))).collect();
        assert_eq!(own.len(), MAX_OF_ONE);
        let other: Vec<_> = (0..9).filter_map(|_| from("10.0.2.15")).collect();
        assert_eq!(other.len(), MAX_OF_ONE);
        assert!(from("10.0.2.2").is_some());
        drop(own);
        assert!(from("127.0.0.1").is_some());
    }

    #[test]
    fn who_says_nothing_keeps_nobody_else_from_asking_for_long() {
        let address = agent();
        let silent: Vec<_> = (0..MAX_CLIENTS).map(|_| TcpStream::connect(address).unwrap()).collect();
        let busy = ask(address, "GET /health HTTP/1.0\r\n\r\n");
        assert!(busy.starts_with("HTTP/1.1 503 ") || busy.is_empty(), "{busy}");
        drop(silent);
        let started = Instant::now();
        while !ask(address, "GET /health HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 ") {
            assert!(started.elapsed() < Duration::from_secs(60));
        }
    }
}
