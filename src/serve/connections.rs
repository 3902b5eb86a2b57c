//! Connections. Each carries one request. Until its head has been read and understood nobody knows whose it is, so it must
//! not stand in anybody's way: there are so many of them, and the oldest makes room for the newest. There is always a place
//! for one more, and whoever says at once what they want is heard.

use super::head::{self, Bad};
use super::problem::Problem;
use axum::Router;
use axum::http::StatusCode;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::Cursor;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};

/// How many connections may be open without having asked, and how many of them from one address.
const WAITING: usize = 256;
const WAITING_OF_ONE: usize = 64;
/// How long a client may take to send the head of its request.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much of a body that nobody wants is read so that its sender sees the answer, how long that may take, and how many
/// senders are treated so kindly at once.
const UNWANTED: u64 = 1 << 20;
const KINDNESS: Duration = Duration::from_secs(1);
const KINDLY: usize = 64;

/// Where a connection comes from; None: from a Unix socket, which only the server's own user can open.
type Peer = Option<IpAddr>;

/// The connections that have not asked yet, oldest first.
#[derive(Debug, Default)]
struct Waiting(Mutex<VecDeque<(u64, Peer, AbortHandle)>>);

impl Waiting {
    /// Makes room for one more connection. One that has said nothing for longest loses its place: of the same address if
    /// that has its share, else of all.
    fn enter(&self, number: u64, peer: Peer, task: AbortHandle) {
        let mut all = super::fleet::lock(&self.0);
        let of_one = all.iter().filter(|(_, one, _)| *one == peer).count() >= WAITING_OF_ONE;
        if of_one || all.len() >= WAITING {
            let oldest = all.iter().position(|(_, one, _)| !of_one || *one == peer);
            if let Some((_, _, task)) = oldest.and_then(|at| all.remove(at)) {
                task.abort();
            }
        }
        all.push_back((number, peer, task));
    }

    /// A connection has asked, or has gone.
    fn leave(&self, number: u64) {
        super::fleet::lock(&self.0).retain(|(one, _, _)| *one != number);
    }
}

/// What all connections share.
struct Server {
    http: http1::Builder,
    service: TowerToHyperService<Router>,
    waiting: Waiting,
    kindly: Semaphore,
    closing: watch::Receiver<bool>,
}

/// Answers requests until `closing` says true; then those that have begun.
pub async fn serve<L: Listener>(
    mut listener: L,
    peer: impl Fn(&L::Addr) -> Peer,
    router: Router,
    mut closing: watch::Receiver<bool>,
) {
    let mut http = http1::Builder::new();
    http.keep_alive(false).max_buf_size(head::MOST * 2);
    let service = TowerToHyperService::new(router);
    let (waiting, kindly) = (Waiting::default(), Semaphore::new(KINDLY));
    let server = Arc::new(Server { http, service, waiting, kindly, closing: closing.clone() });
    let mut tasks = JoinSet::new();
    for number in 0_u64.. {
        let (stream, address) = loop {
            tokio::select! {
                next = listener.accept() => break next,
                Some(_) = tasks.join_next() => {}
                // An error means that nobody is left who could ask for the end.
                _ = closing.wait_for(|closing| *closing) => {
                    drop(listener);
                    while tasks.join_next().await.is_some() {}
                    return;
                }
            }
        };
        let of_task = Arc::clone(&server);
        let task = tasks.spawn(async move { of_task.talk(number, stream).await });
        // It runs on this thread, so it has not begun yet.
        server.waiting.enter(number, peer(&address), task);
    }
}

impl Server {
    /// Hears one request and answers it.
    async fn talk(&self, number: u64, mut stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let (mut closing, mut bytes) = (self.closing.clone(), Vec::new());
        let read = async {
            let late = |_| {
                let detail = format!("the head of the request did not arrive within {} s", PATIENCE.as_secs());
                Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "head-time", detail).into())
            };
            tokio::time::timeout(PATIENCE, head::read(&mut stream, &mut bytes)).await.unwrap_or_else(late)
        };
        let head = tokio::select! {
            head = read => head,
            _ = closing.wait_for(|closing| *closing) => Err(Bad::Gone),
        };
        self.waiting.leave(number);
        match head {
            Ok(()) => {
                let (rest, answers) = tokio::io::split(stream);
                let stream = tokio::io::join(Cursor::new(bytes).chain(rest), answers);
                let mut connection = self.http.serve_connection(TokioIo::new(stream), self.service.clone());
                // How it ended is its client's business.
                if poll_fn(|context| connection.poll_without_shutdown(context)).await.is_ok() {
                    self.part(connection.into_parts().io.into_inner()).await;
                }
            }
            Err(Bad::Gone) => {}
            Err(Bad::Told(problem)) => {
                let said = tokio::time::timeout(KINDNESS, stream.write_all(&problem.whole())).await;
                if matches!(said, Ok(Ok(()))) {
                    self.part(stream).await;
                }
            }
        }
    }

    /// Ends a connection. What its client still sends is taken for a moment: else the kernel resets the connection, and the
    /// client may never see the answer (RFC 9112, section 9.6).
    async fn part(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let _ = stream.shutdown().await;
        if let Ok(_place) = self.kindly.try_acquire() {
            let mut rest = stream.take(UNWANTED);
            let _ = tokio::time::timeout(KINDNESS, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
        }
    }
}
