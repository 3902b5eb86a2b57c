//! Where requests come in: a loopback address, or a Unix socket that only its owner can open.

use super::connections;
use axum::Router;
use axum::serve::ListenerExt as _;
use rustix::fs::Mode;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::watch;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A loopback address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Socket(PathBuf),
}

/// Why nobody can be listened to there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Everybody could reach it.
    #[error(
        "{0} is not a loopback address: whoever can reach this server can start machines\nhelp: use 127.0.0.1 or [::1], and a proxy with TLS in front of it for others"
    )]
    NotLoopback(SocketAddr),
    /// The file is in use, or is none of ours.
    #[error("{} is there already{why}\nhelp: choose another `--socket`, or delete it", path.display())]
    Taken {
        /// The file.
        path: PathBuf,
        /// What it is.
        why: &'static str,
    },
    /// The address or the path cannot be had.
    #[error("cannot listen on {place}")]
    Bind {
        /// Where.
        place: String,
        /// Why not.
        #[source]
        cause: io::Error,
    },
}

/// A place that is listened at.
#[derive(Debug)]
pub enum Listener {
    /// A loopback address.
    Tcp(TcpListener, SocketAddr),
    /// A Unix socket; its file is deleted at the end.
    Socket(UnixListener, SocketFile),
}

/// The file of a socket.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // The next server replaces what cannot be deleted.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Begins to listen.
    pub async fn bind(place: &Place) -> Result<Self, Error> {
        match place {
            Place::Tcp(address) => {
                let fail = |cause| Error::Bind { place: address.to_string(), cause };
                if !address.ip().is_loopback() {
                    return Err(Error::NotLoopback(*address));
                }
                let listener = TcpListener::bind(address).await.map_err(fail)?;
                let address = listener.local_addr().map_err(fail)?;
                Ok(Self::Tcp(listener, address))
            }
            Place::Socket(path) => {
                make_room(path)?;
                // Nobody else may open it, not even between its creation and a chmod.
                let before = rustix::process::umask(Mode::from_raw_mode(0o177));
                let bound = UnixListener::bind(path);
                rustix::process::umask(before);
                let listener = bound.map_err(|cause| Error::Bind { place: path.display().to_string(), cause })?;
                Ok(Self::Socket(listener, SocketFile(path.clone())))
            }
        }
    }

    /// What clients are told.
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(_, address) => format!("http://{address}"),
            Self::Socket(_, file) => format!("unix:{}", file.0.display()),
        }
    }

    /// Answers requests until `closing` says true; then those that have begun.
    pub async fn serve(self, router: Router, closing: watch::Receiver<bool>) {
        match self {
            Self::Tcp(listener, _) => {
                let peer = |peer: &SocketAddr| Some(peer.ip());
                connections::serve(listener.tap_io(hang_up_on_the_deaf), peer, router, closing).await;
            }
            Self::Socket(listener, _file) => connections::serve(listener, |_| None, router, closing).await,
        }
    }
}

/// The kernel ends a connection whose client does not take what it was sent for so long: else silent clients could keep all
/// connections. Source: tcp(7), `TCP_USER_TIMEOUT`. Only the server's own user can open the Unix socket.
const DEAF: u32 = 30_000;

fn hang_up_on_the_deaf(stream: &mut TcpStream) {
    // Without it, the client may take its time.
    let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, DEAF);
}

/// Deletes the socket of a server that has been killed. Anything else stays.
fn make_room(path: &Path) -> Result<(), Error> {
    let taken = |why| Err(Error::Taken { path: path.to_owned(), why });
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return taken(" and is no socket");
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|cause| Error::Bind { place: path.display().to_string(), cause })
        }
        _ => taken(", and somebody answers on it"),
    }
}
