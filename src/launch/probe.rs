//! Asking a guest's services whether they answer.

use crate::manifest::ProbeCheck;
use std::io::{self, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long one question may take. An emulated guest on a busy host needs seconds for a web page; giving up on it early
/// would only make it begin anew.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection without a banner is watched: user networking accepts before the guest does, and hangs up when
/// the guest refuses.
const LINGER: Duration = Duration::from_millis(250);
/// How much of an answer is shown.
const SHOWN: u64 = 400;

/// Why a probe has not passed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Nobody is at the address: the kernel says so.
    Unreachable(String),
    /// Nothing was answered in time.
    Silent,
    /// The port is closed.
    Closed(String),
    /// Something else than the service answered, or it hung up.
    Answer(String),
    /// The HTTP status is not 2xx.
    Status {
        /// The status.
        status: u16,
        /// The beginning of the answer.
        body: String,
    },
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Silent => f.write_str("no answer in time"),
            Self::Unreachable(why) | Self::Closed(why) | Self::Answer(why) => f.write_str(why),
            Self::Status { status, body } if body.is_empty() => write!(f, "HTTP status {status}"),
            Self::Status { status, body } => write!(f, "HTTP status {status}: {body}"),
        }
    }
}

/// Asks once. On success: what was answered, in a few words.
pub fn ask(check: &ProbeCheck, at: SocketAddr) -> Result<String, Failure> {
    match check {
        ProbeCheck::Http { path, .. } => http(at, path),
        ProbeCheck::Tcp { banner, .. } => tcp(at, banner.as_deref()),
    }
}

fn http(at: SocketAddr, path: &str) -> Result<String, Failure> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .user_agent(concat!("goldsmith/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let response = agent.get(format!("http://{at}{path}")).call().map_err(|error| match error {
        ureq::Error::Io(error) => connection(&error),
        ureq::Error::Timeout(_) => Failure::Silent,
        error => Failure::Answer(shown(&error.to_string())),
    })?;
    let status = response.status().as_u16();
    if (200..300).contains(&status) {
        return Ok(format!("HTTP status {status}"));
    }
    let mut body = Vec::new();
    // The status alone already says that it failed.
    let _ = response.into_body().into_reader().take(SHOWN).read_to_end(&mut body);
    let body = String::from_utf8_lossy(&body);
    let body = body.split_whitespace().collect::<Vec<_>>().join(" ");
    Err(Failure::Status { status, body: shown(&body) })
}

/// What a guest has said, for a terminal or a log: what would move the cursor, or hide or turn text, is seen as what it is.
fn shown(said: &str) -> String {
    let mut text = String::new();
    for letter in said.chars() {
        if matches!(letter, '"' | '\'' | '\\') { text.push(letter) } else { text.extend(letter.escape_debug()) }
    }
    text
}

fn tcp(at: SocketAddr, banner: Option<&str>) -> Result<String, Failure> {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE).map_err(|error| connection(&error))?;
    let wanted = banner.unwrap_or_default().as_bytes();
    let patience = if wanted.is_empty() { LINGER } else { PATIENCE };
    let (mut said, started) = (Vec::new(), Instant::now());
    while said.len() < wanted.len().max(1) {
        // However slowly it speaks: the question as a whole takes no longer.
        let left = patience.saturating_sub(started.elapsed()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left)).map_err(|error| connection(&error))?;
        let mut piece = vec![0; wanted.len().max(1) - said.len()];
        match stream.read(&mut piece) {
            Ok(0) if said.is_empty() => {
                return Err(Failure::Closed("the connection was closed at once".to_owned()));
            }
            Ok(0) => break,
            Ok(count) => said.extend(piece.into_iter().take(count)),
            Err(error) if wanted.is_empty() && is_timeout(&error) => break,
            Err(error) => return Err(connection(&error)),
        }
        if !wanted.is_empty() && started.elapsed() >= patience {
            return Err(Failure::Silent);
        }
    }
    match banner.filter(|_| !wanted.is_empty()) {
        None => Ok("accepts connections".to_owned()),
        Some(banner) if said == wanted => Ok(format!("answers `{}`", shown(banner.trim()))),
        Some(_) => Err(Failure::Answer(format!("it says `{}`", shown(&String::from_utf8_lossy(&said))))),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn connection(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Failure::Closed("the port is closed".to_owned()),
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => {
            Failure::Closed("the connection was closed at once".to_owned())
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Failure::Unreachable(format!("nobody answers at the address ({error})"))
        }
        _ if is_timeout(error) => Failure::Silent,
        _ => Failure::Answer(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::net::{Ipv4Addr, TcpListener};

    /// A server that says one thing to everybody.
    fn serve(said: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut stream = stream;
                if said.starts_with(b"HTTP") {
                    let _ = stream.read(&mut [0; 1000]);
                }
                let _ = stream.write_all(said);
            }
        });
        at
    }

    #[test]
    fn answers_are_judged() {
        let tcp = |banner: Option<&str>| ProbeCheck::Tcp { port: 0, banner: banner.map(str::to_owned) };
        let http = ProbeCheck::Http { port: 0, path: "/health".to_owned() };
        assert!(ask(&tcp(Some("RFB ")), serve(b"RFB 003.008\n")).is_ok());
        assert!(ask(&tcp(None), serve(b"x")).is_ok());
        assert!(matches!(ask(&tcp(Some("RFB ")), serve(b"SSH-2.0-x")), Err(Failure::Answer(_))));
        assert!(matches!(ask(&tcp(None), serve(b"")), Err(Failure::Closed(_))));
        assert!(ask(&http, serve(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")).is_ok());
        let sick = ask(&http, serve(b"HTTP/1.1 503 Sick\r\nContent-Length: 12\r\n\r\nno\x1b[31m xvfb"));
        assert_eq!(sick.unwrap_err().to_string(), "HTTP status 503: no\\u{1b}[31m xvfb");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        assert!(matches!(ask(&http, free), Err(Failure::Closed(_))));
        assert!(matches!(ask(&tcp(None), free), Err(Failure::Closed(_))));
    }

    #[test]
    fn a_hostile_guest_is_heard_briefly_and_followed_nowhere() {
        let http = ProbeCheck::Http { port: 0, path: "/health".to_owned() };
        // Where it sends one is not gone to.
        let away = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
        assert!(matches!(ask(&http, serve(away)), Err(Failure::Status { status: 302, .. })));
        // A body without end, a head without end, and what is none.
        let endless = |head: &'static [u8]| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let at = listener.local_addr().unwrap();
            std::thread::spawn(move || {
                let Ok((mut stream, _)) = listener.accept() else { return };
                let _ = stream.read(&mut [0; 1000]);
                let _ = stream.write_all(head);
                while stream.write_all(&[b'x'; 10_000]).is_ok() {}
            });
            at
        };
        let Err(Failure::Status { status: 500, body }) = ask(&http, endless(b"HTTP/1.1 500 No\r\n\r\n")) else {
            panic!("a status was answered");
        };
        assert_eq!(body.len() as u64, SHOWN);
        assert!(ask(&http, endless(b"HTTP/1.1 200 OK\r\nX: ")).is_err());
        assert!(ask(&http, endless(b"\x16\x03\x01")).is_err());
        // What it says does not turn the reader's text.
        let turned = ask(&http, serve("HTTP/1.1 500 No\r\nContent-Length: 6\r\n\r\n\u{202e}abc".as_bytes()));
        assert_eq!(turned.unwrap_err().to_string(), "HTTP status 500: \\u{202e}abc");
    }
}
