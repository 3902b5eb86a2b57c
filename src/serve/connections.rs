//! Connections: so many at once, and none that is kept for nothing. Whoever says nothing is hung up on.

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// How many may be open; the next ones wait in the kernel until one is closed.
const MOST: u32 = 512;
/// How long a client may take to send the head of a request, its first or its next one.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many bytes a head may have. Real ones have a few hundred.
const HEAD: usize = 32 << 10;

/// Answers requests until `closing` says true; then those that have begun.
pub async fn serve(mut listener: impl Listener, router: Router, mut closing: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(MOST as usize));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(HEAD);
    let service = TowerToHyperService::new(router);
    loop {
        let mut closed = closing.clone();
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await.0)
        };
        let (place, stream) = tokio::select! {
            next = next => next,
            // An error means that nobody is left who could ask for the end.
            _ = closing.wait_for(|closing| *closing) => break,
        };
        let connection = http.serve_connection(TokioIo::new(stream), service.clone());
        tokio::spawn(async move {
            let _place = place;
            let mut connection = pin!(connection);
            tokio::select! {
                // How it ended is its client's business.
                _ = connection.as_mut() => return,
                _ = closed.wait_for(|closing| *closing) => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        });
    }
    drop(listener);
    // All places are free once all connections have ended.
    let _ = places.acquire_many(MOST).await;
}
