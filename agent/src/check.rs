//! A question to a service that only a working one answers.

use crate::http::Timed;
use crate::options::Wait;
use crate::x11;
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How long one question may take.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// How long `wait` rests between two questions.
const REST: Duration = Duration::from_millis(25);

/// Where a VNC server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A port of the loopback interface.
    Port(u16),
    /// A Unix socket.
    Socket(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "port {port}"),
            Self::Socket(path) => path.display().fmt(f),
        }
    }
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Does the X server of this display complete the connection handshake?
    X11(u16),
    /// Does a window manager own this display?
    WindowManager(u16),
    /// Does a VNC server on this local port, or this socket, send its banner (RFC 6143, 7.1.1)?
    Rfb(Place),
    /// Does a web server on this local port answer 200 for this path?
    Http(u16, String),
}

impl FromStr for Check {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a check (x11:0, wm:0, rfb:5900, rfb:/run/vnc, http:6080/vnc.html)");
        let (kind, target) = text.split_once(':').ok_or_else(bad)?;
        let number = |text: &str| text.parse::<u16>().map_err(|_| bad());
        match kind {
            "x11" => Ok(Self::X11(number(target)?)),
            "wm" => Ok(Self::WindowManager(number(target)?)),
            "rfb" if target.starts_with('/') => Ok(Self::Rfb(Place::Socket(target.into()))),
            "rfb" => Ok(Self::Rfb(Place::Port(number(target)?))),
            "http" => {
                let (port, path) = target.split_once('/').ok_or_else(bad)?;
                if !path.bytes().all(|b| b.is_ascii_graphic()) {
                    return Err(bad());
                }
                Ok(Self::Http(number(port)?, format!("/{path}")))
            }
            _ => Err(bad()),
        }
    }
}

impl Check {
    /// Asks once. Ok: what the service said of itself; Err: why it does not count as up.
    pub fn ask(&self) -> Result<String, String> {
        match self {
            Self::X11(display) => {
                let screen = x11::Connection::open(*display, PATIENCE)?.screen();
                Ok(format!("display :{display} is {}x{}", screen.width, screen.height))
            }
            Self::WindowManager(display) => x11::Connection::open(*display, PATIENCE)?.window_manager(),
            Self::Rfb(place) => rfb(place),
            Self::Http(port, path) => http(*port, path),
        }
    }
}

/// Asks until the answer is yes, at most for the time given, and not after the process that should answer is gone.
pub fn wait(wait: &Wait) -> Result<(), String> {
    let start = Instant::now();
    loop {
        let Err(error) = wait.check.ask() else { return Ok(()) };
        if start.elapsed() >= wait.timeout {
            return Err(format!("gave up after {} s: {error}", wait.timeout.as_secs()));
        }
        if let Some(pid) = wait.pid.filter(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            return Err(format!("process {pid} ended: {error}"));
        }
        std::thread::sleep(REST);
    }
}

fn connect(port: u16) -> Result<TcpStream, String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream =
        TcpStream::connect_timeout(&address, PATIENCE).map_err(|error| format!("port {port}: {}", plain(&error)))?;
    let timed = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
    timed.map_err(|error| format!("port {port}: {}", plain(&error)))?;
    Ok(stream)
}

fn rfb(place: &Place) -> Result<String, String> {
    let banner = match place {
        Place::Port(port) => said(&mut connect(*port)?, 12),
        Place::Socket(path) => UnixStream::connect(path).and_then(|mut stream| said(&mut stream, 12)),
    };
    let banner = banner.map_err(|error| format!("{place} sent no VNC banner: {}", plain(&error)))?;
    let text = String::from_utf8_lossy(&banner);
    if banner.starts_with(b"RFB ") && banner.ends_with(b"\n") {
        Ok(format!("{place} speaks {}", text.trim_end()))
    } else {
        Err(format!("{place} sent {text:?}, which is no VNC banner"))
    }
}

fn http(port: u16, path: &str) -> Result<String, String> {
    let mut stream = connect(port)?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let failed = |error: io::Error| format!("port {port} did not answer: {}", plain(&error));
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let line = said(&mut stream, 256).map_err(failed)?;
    let line = String::from_utf8_lossy(&line);
    let mut words = line.split_whitespace();
    match (words.next(), words.next()) {
        (Some(version), Some("200")) if version.starts_with("HTTP/1.") => {
            Ok(format!("port {port} answers 200 for {path}"))
        }
        _ => Err(format!("port {port} answered {:?} for {path}", line.trim_end())),
    }
}

/// The first line that a service says, or so many bytes of it. However slowly it speaks, it is not listened to for longer.
fn said(stream: &mut impl Timed, most: usize) -> io::Result<Vec<u8>> {
    let started = Instant::now();
    let (mut line, mut byte) = (Vec::new(), [0]);
    while line.len() < most && line.last() != Some(&b'\n') {
        let left = PATIENCE.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.limit(left)?;
        match stream.read(&mut byte)? {
            0 => break,
            _ => line.extend(byte),
        }
    }
    Ok(line)
}

/// A socket error in words that do not need an error number looked up.
pub fn plain(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer in time".into(),
        ErrorKind::ConnectionRefused => "nobody listens".into(),
        ErrorKind::UnexpectedEof => "the connection was closed".into(),
        ErrorKind::NotFound => "no such socket".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    /// A server on a free port that says `answer` to its first visitor.
    fn server(answer: &'static [u8]) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(answer).unwrap();
            let _ = stream.read(&mut [0; 512]);
        });
        port
    }

    #[test]
    fn checks_are_written_as_kind_and_target() {
        assert_eq!("x11:0".parse(), Ok(Check::X11(0)));
        assert_eq!("wm:12".parse(), Ok(Check::WindowManager(12)));
        assert_eq!("rfb:5900".parse(), Ok(Check::Rfb(Place::Port(5900))));
        assert_eq!("rfb:/run/vnc".parse(), Ok(Check::Rfb(Place::Socket("/run/vnc".into()))));
        assert_eq!("http:6080/vnc.html".parse(), Ok(Check::Http(6080, "/vnc.html".into())));
        for bad in ["", "x11", "x11:", "x11:-1", "rfb:70000", "http:6080", "http:1/a b", "ping:1"] {
            assert!(bad.parse::<Check>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_vnc_server_is_known_by_its_banner() {
        assert!(Check::Rfb(Place::Port(server(b"RFB 003.008\n"))).ask().unwrap().ends_with("RFB 003.008"));
        assert!(Check::Rfb(Place::Port(server(b"SSH-2.0-Open\n"))).ask().unwrap_err().contains("no VNC banner"));
        assert!(Check::Rfb(Place::Port(server(b"RFB"))).ask().is_err());
    }

    #[test]
    fn a_web_server_must_answer_200() {
        assert!(Check::Http(server(b"HTTP/1.1 200 OK\r\n\r\n"), "/".into()).ask().is_ok());
        for answer in [b"HTTP/1.1 404 Not Found\r\n\r\n".as_slice(), b"hello", b""] {
            assert!(Check::Http(server(answer), "/".into()).ask().is_err());
        }
    }

    #[test]
    fn a_closed_port_is_reported_in_plain_words() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        assert_eq!(Check::Rfb(Place::Port(port)).ask(), Err(format!("port {port}: nobody listens")));
    }

    #[test]
    fn waiting_ends_with_the_time_or_with_the_process() {
        let nobody = |pid, timeout| wait(&Wait { check: Check::X11(65_000), timeout, pid }).unwrap_err();
        let error = nobody(None, Duration::ZERO);
        assert!(error.starts_with("gave up after 0 s"), "{error}");
        let error = nobody(Some(u32::MAX), Duration::MAX);
        assert!(error.starts_with("process 4294967295 ended"), "{error}");
    }
}
