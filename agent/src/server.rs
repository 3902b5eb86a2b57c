//! The server: accepts, bounds, answers.

use crate::health::Health;
use crate::http::{self, BadRequest};
use crate::json::Json;
use crate::notify;
use crate::options::Serve;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// So many clients are served at once; the next one is told to come back.
const MAX_CLIENTS: usize = 16;
/// A verdict this young is given again, so that a flood of questions does not become a flood of checks.
const FRESH: Duration = Duration::from_millis(500);
/// After a failed accept (no descriptors left) the server rests this long.
const REST: Duration = Duration::from_millis(100);

/// What all clients share.
struct State<'a> {
    serve: &'a Serve,
    clients: AtomicUsize,
    last: Mutex<Option<(Instant, Health)>>,
}

/// Serves until the process is ended.
pub fn run(serve: &Serve) -> Result<(), String> {
    let listener =
        TcpListener::bind(serve.listen).map_err(|error| format!("cannot listen on {}: {error}", serve.listen))?;
    notify::ready().map_err(|error| format!("cannot tell the service manager: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    println!("oauth-agent: listening on http://{address}/health");
    let state = State { serve, clients: AtomicUsize::new(0), last: Mutex::new(None) };
    thread::scope(|scope| {
        loop {
            let Ok((stream, _)) = listener.accept() else {
                thread::sleep(REST);
                continue;
            };
            let state = &state;
            if state.clients.fetch_add(1, Ordering::AcqRel) >= MAX_CLIENTS {
                busy(stream);
                state.clients.fetch_sub(1, Ordering::AcqRel);
                continue;
            }
            let served = thread::Builder::new().spawn_scoped(scope, move || {
                client(state, stream);
                state.clients.fetch_sub(1, Ordering::AcqRel);
            });
            if served.is_err() {
                state.clients.fetch_sub(1, Ordering::AcqRel);
            }
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
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
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
