//! `goldsmith serve`: an HTTP interface over `launch`, on loopback or a Unix socket, for whoever has its token.
//!
//! In: requests and the images named at the start. Out: VMs, each run by a `goldsmith launch` process of its own, so that
//! they outlive this one; a restarted `serve` finds them by their records. Nothing here starts a VM, makes a network or
//! judges an image: that process does, gate first. Uses `launch`, `gate`, `manifest`, `findings`, `values`.
//!
//! `routes` is the table of everything that answers: router and OpenAPI document come from it. `fleet` knows the VMs,
//! `admission` decides whether one more fits, `supervise` is the thread that starts a launch and listens to it.

mod access;
mod admission;
mod adopt;
mod api;
mod body;
mod connections;
mod events;
mod fleet;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
mod handlers;
mod head;
mod idempotency;
mod images;
mod listen;
mod login;
mod metrics;
mod openapi;
mod order;
mod problem;
mod routes;
mod streams;
mod supervise;
mod ticket;
mod token;

pub use admission::Limits;
pub use images::Images;
pub use listen::Place;
pub use supervise::Launcher;

use fleet::Fleet;
use idempotency::Answers;
use rustix::fs::{FlockOperation, flock};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How long requests may take to finish once the server is asked to end.
const GRACE: Duration = Duration::from_secs(10);

/// How to serve.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen.
    pub place: Place,
    /// The file that holds the token; by default one in the state folder, made at the first start.
    pub token: Option<PathBuf>,
    /// The images that requests may name.
    pub images: Images,
    /// The image behind `POST /api/auth/start`.
    pub auth_image: Option<String>,
    /// What may run at once.
    pub limits: Limits,
    /// How VMs are launched.
    pub launcher: Launcher,
    /// Whether the VMs end with the server.
    pub stop_vms: bool,
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The place to listen at cannot be had.
    #[error(transparent)]
    Listen(#[from] listen::Error),
    /// The token cannot be used.
    #[error(transparent)]
    Token(#[from] token::Error),
    /// An image cannot be offered.
    #[error(transparent)]
    Images(#[from] images::Error),
    /// No VM could be launched.
    #[error(transparent)]
    Launch(#[from] crate::launch::Error),
    /// There is no place for records, or the running VMs cannot be listed.
    #[error(transparent)]
    Running(#[from] crate::launch::RunningError),
    /// Another server has this state folder.
    #[error(
        "another `goldsmith serve` uses {}\nhelp: end it, or set GOLDSMITH_STATE to another folder", .0.display()
    )]
    Twice(PathBuf),
    /// A file operation failed.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The server itself cannot run.
    #[error("cannot run the server")]
    Run(#[source] io::Error),
}

/// What handlers share.
#[derive(Debug)]
pub(crate) struct Shared {
    fleet: Arc<Fleet>,
    token: token::Token,
    answers: Arc<Answers>,
    login: Option<login::Login>,
    streams: Arc<tokio::sync::Semaphore>,
    requests: tokio::sync::Semaphore,
    /// Whether requests come over TCP, where a browser may have been talked into sending them.
    tcp: bool,
    closing: watch::Receiver<bool>,
}

/// Serves until SIGTERM, SIGINT or SIGHUP. `say` is told what an operator wants to know, a line at a time.
pub fn run(options: Options, say: &dyn Fn(String)) -> Result<(), Error> {
    let folder = crate::launch::root().map_err(crate::launch::RunningError::from)?.with_file_name("serve");
    let _lock = claim(&folder)?;
    let (token, file) = token::Token::read(options.token.as_deref(), &folder)?;
    let login = options.auth_image.as_deref().map(|name| login::Login::new(name, &options.images)).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Run)?;
    runtime.block_on(async {
        let (close, closing) = watch::channel(false);
        let mut ends = ends().map_err(Error::Run)?;
        let running = adopt::running(&folder)?;
        let mut limits = options.limits;
        limits.settle(running.iter().map(adopt::Orphan::memory).sum());
        let fleet = Arc::new(Fleet::new(limits, options.launcher, options.images, &folder));
        let adopted = running.len();
        fleet.adopt(running);
        let answers = Arc::new(Answers::default());
        for entry in fleet.all() {
            // One that is not ready does not outlive the server that has launched it.
            if let (Some(asked), api::State::Ready) = (entry.order.asked, entry.state()) {
                answers.restore(asked, handlers::created(&entry.vm()));
            }
        }
        let listener = listen::Listener::bind(&options.place).await?;
        say(format!("goldsmith serves on {}", listener.address()));
        say(format!("token: {}", file.display()));
        say(format!("VMs run on {}", fleet.launcher.machine));
        if adopted > 0 {
            say(format!("VMs that run already and are taken over: {adopted}"));
        }
        let shared = Arc::new(Shared {
            fleet: Arc::clone(&fleet),
            token,
            answers,
            login,
            streams: Arc::new(tokio::sync::Semaphore::new(streams::MOST)),
            requests: tokio::sync::Semaphore::new(access::MOST),
            tcp: matches!(options.place, Place::Tcp(_)),
            closing: closing.clone(),
        });
        let server = listener.serve(routes::router(shared), closing);
        tokio::pin!(server);
        tokio::select! {
            () = &mut server => return Ok(()),
            () = asked(&mut ends) => {}
        }
        // Nobody may be listening if the server has ended by itself meanwhile.
        let _ = close.send(true);
        if options.stop_vms {
            let count = fleet.stop_all().await;
            say(format!("VMs that were stopped: {count}"));
        }
        if tokio::time::timeout(GRACE, server).await.is_err() {
            say("requests that took too long were given up".to_owned());
        }
        let (stay, go) = fleet.census();
        if stay > 0 {
            say(format!("VMs that go on: {stay} (`goldsmith ps`)"));
        }
        if go > 0 {
            say(format!("VMs that were not ready and end with the server: {go}"));
        }
        Ok(())
    })
}

/// The signals that ask for the end, listened to from now on.
fn ends() -> io::Result<[Signal; 3]> {
    let listen = |kind| signal(SignalKind::from_raw(kind));
    Ok([listen(SIGTERM)?, listen(SIGINT)?, listen(SIGHUP)?])
}

async fn asked([term, int, hup]: &mut [Signal; 3]) {
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        _ = hup.recv() => {}
    }
}

/// Makes the server's folder, and makes sure that no other server has it.
fn claim(folder: &Path) -> Result<File, Error> {
    let io = |what| move |cause| Error::Io { what, path: folder.to_owned(), cause };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder.join("vms")).map_err(io("create"))?;
    let lock = File::open(folder).map_err(io("open"))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| Error::Twice(folder.to_owned()))?;
    Ok(lock)
}
