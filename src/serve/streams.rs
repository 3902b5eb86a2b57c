//! Answers that go on: a VM's console, and what happens to VMs. They end with the server.

use super::Shared;
use super::events::Event;
use super::handlers::Id;
use super::problem::Problem;
use crate::launch;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use schemars::JsonSchema;
use serde::Deserialize;
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};

/// How many streams may flow at once.
pub const MOST: usize = 64;
/// How often a console that says nothing is looked at again.
const AGAIN: Duration = Duration::from_millis(100);
/// How much of a console is sent at a time.
const PIECE: usize = 32 << 10;

/// How a console is read.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Follow {
    /// Go on until the VM ends.
    #[serde(default)]
    follow: bool,
}

fn place(shared: &Shared) -> Result<OwnedSemaphorePermit, Problem> {
    let full = |_| Problem::full(StatusCode::SERVICE_UNAVAILABLE, "streams", 10, format!("{MOST} streams are open"));
    Arc::clone(&shared.streams).try_acquire_owned().map_err(full)
}

struct Console {
    log: File,
    vm: launch::Running,
    follow: bool,
    closing: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

pub async fn console(
    State(shared): State<Arc<Shared>>,
    Id(id): Id,
    query: Result<Query<Follow>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(Follow { follow }) = query.map_err(|_| {
        let detail = "the query can be `follow=true` or `follow=false` and nothing else";
        Problem::new(StatusCode::BAD_REQUEST, "query", detail)
    })?;
    shared.fleet.find(&id)?;
    let place = place(&shared)?;
    let open = move || {
        let vm = launch::find(&id).map_err(|_| silent(&id))?;
        let log = File::open(vm.console()).map_err(|_| silent(&id))?;
        Ok((log, vm))
    };
    let (log, vm) = tokio::task::spawn_blocking(open).await.map_err(|error| Problem::internal(error.to_string()))??;
    let console = Console { log, vm, follow, closing: shared.closing.clone(), _place: place };
    let pieces = unfold(console, |mut console| async move {
        loop {
            let (piece, alive);
            (console, piece, alive) = tokio::task::spawn_blocking(move || read(console)).await.ok()?;
            match piece {
                Ok(bytes) if bytes.is_empty() && console.follow && alive => {}
                Ok(bytes) if bytes.is_empty() => return None,
                piece => return Some((piece, console)),
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                _ = console.closing.wait_for(|closing| *closing) => return None,
            }
        }
    });
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

fn silent(id: &str) -> Problem {
    Problem::new(StatusCode::CONFLICT, "no-console", format!("{id} has no console now"))
}

/// The next piece, and whether the VM was alive before it was read: what it says last must not be missed.
fn read(mut console: Console) -> (Console, io::Result<Bytes>, bool) {
    let alive = console.vm.is_alive();
    let mut piece = vec![0; PIECE];
    let read = console.log.read(&mut piece);
    let piece = read.map(|count| {
        piece.truncate(count);
        Bytes::from(piece)
    });
    (console, piece, alive)
}

struct Listening {
    events: broadcast::Receiver<Event>,
    closing: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

pub async fn events(State(shared): State<Arc<Shared>>) -> Result<impl IntoResponse, Problem> {
    let place = place(&shared)?;
    let events = shared.fleet.events.listen();
    let listening = Listening { events, closing: shared.closing.clone(), _place: place };
    let stream = unfold(listening, |mut listening| async move {
        let event = tokio::select! {
            event = listening.events.recv() => event,
            _ = listening.closing.wait_for(|closing| *closing) => return None,
        };
        let event = match event {
            Ok(Event { number, name, data }) => {
                let data = serde_json::to_string(&data).unwrap_or_default();
                sse::Event::default().id(number.to_string()).event(name).data(data)
            }
            // Whoever reads too slowly is told that it has missed something: it can list the VMs.
            Err(RecvError::Lagged(count)) => sse::Event::default().event("missed").data(count.to_string()),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok::<_, Infallible>(event), listening))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}
