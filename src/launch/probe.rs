//! Asking a guest's services whether they answer.

use crate::manifest::{HttpProbe, ProbeCheck, TcpProbe};
use crate::values::visible;
use std::io::{self, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use ureq::http::Uri;

/// How long one question may take. An emulated guest on a busy host needs seconds for a web page; giving up on it early
/// would only make it begin anew.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection without a banner is watched: user networking accepts before the guest does, and hangs up when
/// the guest refuses.
const LINGER: Duration = Duration::from_millis(250);
/// The most bytes of an answer's head.
const MAX_HEAD: usize = 16 << 10;
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
        ProbeCheck::Http(HttpProbe { path, .. }) => http(at, path),
        ProbeCheck::Tcp(TcpProbe { banner, .. }) => tcp(at, banner.as_deref()),
    }
}

/// A `GET` to this very address: the URL is put together from its parts, no redirect is followed, no proxy asked, and of the
/// answer neither head nor body nor time is without bounds.
fn http(at: SocketAddr, path: &str) -> Result<String, Failure> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_response_header_size(MAX_HEAD)
        .proxy(None)
        .user_agent(concat!("goldsmith/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let url = Uri::builder().scheme("http").authority(at.to_string()).path_and_query(path).build();
    let url = url.map_err(|error| Failure::Answer(format!("the probe's path cannot be asked for: {error}")))?;
    let response = agent.get(url).call().map_err(|error| match error {
        ureq::Error::Io(error) => connection(&error),
        ureq::Error::Timeout(_) => Failure::Silent,
        error => Failure::Answer(plain(error.to_string().as_bytes())),
    })?;
    let status = response.status().as_u16();
    if (200..300).contains(&status) {
        return Ok(format!("HTTP status {status}"));
    }
    let mut body = Vec::new();
    // The status alone already says that it failed.
    let _ = response.into_body().into_reader().take(SHOWN).read_to_end(&mut body);
    Err(Failure::Status { status, body: plain(&body) })
}

/// Words of a guest, for a terminal or a log: what would move the cursor, or hide or turn text, is seen as what it is.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    visible(&text.split_whitespace().collect::<Vec<_>>().join(" "), SHOWN as usize)
}

fn tcp(at: SocketAddr, banner: Option<&str>) -> Result<String, Failure> {
    let started = Instant::now();
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE).map_err(|error| connection(&error))?;
    let Some(wanted) = banner else {
        stream.set_read_timeout(Some(LINGER)).map_err(|error| connection(&error))?;
        return match stream.read(&mut [0]) {
            Ok(0) => Err(Failure::Closed("the connection was closed at once".to_owned())),
            Err(error) if !is_timeout(&error) => Err(connection(&error)),
            _ => Ok("accepts connections".to_owned()),
        };
    };
    let mut said = vec![0; wanted.len()];
    let mut rest = said.as_mut_slice();
    while !rest.is_empty() {
        // Not anew for every byte: a guest that drips would be waited for as long as its greeting has letters.
        let left = PATIENCE.checked_sub(started.elapsed()).filter(|left| !left.is_zero()).ok_or(Failure::Silent)?;
        stream.set_read_timeout(Some(left)).map_err(|error| connection(&error))?;
        match stream.read(rest).map_err(|error| connection(&error))? {
            0 => return Err(Failure::Closed("the connection was closed at once".to_owned())),
            count => rest = rest.get_mut(count..).unwrap_or_default(),
        }
    }
    if said == wanted.as_bytes() {
        Ok(format!("answers `{}`", wanted.trim()))
    } else {
        Err(Failure::Answer(format!("it says `{}`", plain(&said))))
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
        let port = crate::values::Port::MIN;
        let tcp =
            |banner: Option<&str>| ProbeCheck::Tcp(TcpProbe { port, banner: banner.map(|text| text.parse().unwrap()) });
        let http = ProbeCheck::Http(HttpProbe { port, path: "/health".parse().unwrap() });
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

    /// A guest that says something for ever: `head` once, then `more` again and again, with a pause between.
    fn endless(head: &'static [u8], more: &'static [u8], pause: Duration) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let _ = stream.read(&mut [0; 1000]);
                    let mut good = stream.write_all(head).is_ok();
                    while good {
                        good = stream.write_all(more).is_ok();
                        std::thread::sleep(pause);
                    }
                });
            }
        });
        at
    }

    #[test]
    fn a_guest_that_never_ends_is_not_listened_to_for_ever() {
        const NOW: Duration = Duration::ZERO;
        let get = |at| http(at, "/health").unwrap_err();
        let started = Instant::now();
        get(endless(b"HTTP/1.1 200 OK\r\n", b"X-Filler: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n", NOW));
        get(endless(b"HTTP/1.1 200 OK\r\nX: ", &[b'x'; 4096], NOW));
        get(endless(b"", &[0; 4096], NOW));
        let sick = get(endless(b"HTTP/1.1 500 Sick\r\nContent-Length: 99999999999\r\n\r\n", &[b'x'; 4096], NOW));
        assert!(matches!(&sick, Failure::Status { status: 500, body } if body.len() == 400), "{sick}");
        // What it says does not turn the reader's text.
        let turned = get(serve("HTTP/1.1 500 No\r\nContent-Length: 6\r\n\r\n\u{202e}abc".as_bytes()));
        assert_eq!(turned.to_string(), "HTTP status 500: \\u{202e}abc");
        assert!(http(endless(b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 4096], NOW), "/health").is_ok());
        assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
        let drip = std::thread::scope(|scope| {
            let pause = Duration::from_millis(300);
            let head = scope.spawn(move || get(endless(b"HTTP/1.1 200 OK\r\nX: ", b"x", pause)));
            let interim = scope.spawn(move || get(endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", pause)));
            let banner = scope.spawn(move || tcp(endless(b"", b"x", pause), Some(&"x".repeat(128))).unwrap_err());
            [head, interim, banner].map(|thread| thread.join().unwrap())
        });
        assert!(drip.iter().all(|failure| !matches!(failure, Failure::Status { .. })), "{drip:?}");
        assert!(started.elapsed() < 3 * PATIENCE, "{:?}", started.elapsed());
    }

    #[test]
    fn a_guest_sends_nobody_elsewhere() {
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        other.set_nonblocking(true).unwrap();
        let place = other.local_addr().unwrap();
        let answer = format!("HTTP/1.1 302 Found\r\nLocation: http://{place}/\r\nContent-Length: 0\r\n\r\n");
        let guest = serve(answer.leak().as_bytes());
        let failure = http(guest, "/health").unwrap_err();
        assert!(matches!(failure, Failure::Status { status: 302, .. }), "{failure}");
        // No manifest can have such a path; should one get here, the guest is asked and nobody else.
        for path in [format!("@{place}/"), format!("//{place}/"), format!("http://{place}/"), format!("\\@{place}/")] {
            let _ = http(guest, &path);
        }
        assert_eq!(other.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "somebody went there");
    }
}
