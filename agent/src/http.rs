//! Just enough HTTP/1.1 (RFC 9112) to answer one question: bytes in, a verdict on them out.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// The longest request line with headers.
pub const MAX_HEAD: usize = 8 * 1024;
/// How long a client may take for its request, all in all.
pub const MAX_TIME: Duration = Duration::from_secs(5);

/// The parts of a request that matter.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, …
    pub method: String,
    /// The path without query.
    pub path: String,
    /// Whom the client thinks to ask. Only HTTP/1.0 can do without.
    pub host: Option<String>,
    /// The web page that made a browser ask.
    pub origin: Option<String>,
}

impl Request {
    /// Whether it is for this guest, and not from a web page elsewhere. A host that is an address, or `localhost`, is no name
    /// that somebody else lets point here (DNS rebinding); a browser names the page that asks unless it is a plain `GET`
    /// whose answer that page cannot read.
    pub fn is_meant(&self) -> bool {
        let same = |origin: &str| self.host.as_ref().is_some_and(|host| origin == format!("http://{host}"));
        self.host.as_deref().is_none_or(is_address) && self.origin.as_deref().is_none_or(same)
    }
}

/// Whether a `Host` is an IP address or `localhost`, with a port or without.
fn is_address(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(name) => name.parse::<Ipv6Addr>().is_ok(),
        None => name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok(),
    }
}

/// Why no request could be read.
#[derive(Debug, PartialEq, Eq)]
pub enum BadRequest {
    /// The client left, or never said anything.
    Gone,
    /// It took longer than [`MAX_TIME`].
    Slow,
    /// It said more than [`MAX_HEAD`].
    Large,
    /// It is not HTTP/1.
    Malformed,
}

/// A stream whose next read can be given a limit.
pub trait Timed: Read {
    /// Sets the most that the next read may take.
    fn limit(&self, time: Duration) -> std::io::Result<()>;
}

impl Timed for std::net::TcpStream {
    fn limit(&self, time: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(time))
    }
}

impl Timed for std::os::unix::net::UnixStream {
    fn limit(&self, time: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(time))
    }
}

/// Reads up to the empty line; a body, if any, is never read.
pub fn read(stream: &mut impl Timed) -> Result<Request, BadRequest> {
    let start = Instant::now();
    let mut head = Vec::new();
    let mut part = [0; 1024];
    loop {
        let left = MAX_TIME.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(BadRequest::Slow);
        }
        stream.limit(left).map_err(|_| BadRequest::Gone)?;
        let length = match stream.read(&mut part) {
            Ok(0) => return Err(BadRequest::Gone),
            Ok(length) => length,
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                return Err(BadRequest::Slow);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return Err(BadRequest::Gone),
        };
        head.extend_from_slice(part.get(..length).unwrap_or_default());
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            return parse(head.get(..end).unwrap_or_default());
        }
        if head.len() > MAX_HEAD {
            return Err(BadRequest::Large);
        }
    }
}

fn parse(head: &[u8]) -> Result<Request, BadRequest> {
    if head.len() > MAX_HEAD {
        return Err(BadRequest::Large);
    }
    let head = std::str::from_utf8(head).map_err(|_| BadRequest::Malformed)?;
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version @ ("HTTP/1.1" | "HTTP/1.0")), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(BadRequest::Malformed);
    };
    let plain = |target: &str| target.starts_with('/') && target.bytes().all(|b| b.is_ascii_graphic());
    if method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase()) || !plain(target) {
        return Err(BadRequest::Malformed);
    }
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let mut request = Request { method: method.to_owned(), path: path.to_owned(), host: None, origin: None };
    for line in lines {
        let (name, value) = field(line).ok_or(BadRequest::Malformed)?;
        let kept = match name.to_ascii_lowercase().as_str() {
            "host" => &mut request.host,
            "origin" => &mut request.origin,
            // Nothing here takes a body.
            "content-length" if value != "0" => return Err(BadRequest::Malformed),
            "transfer-encoding" => return Err(BadRequest::Malformed),
            _ => continue,
        };
        if kept.replace(value.to_owned()).is_some() {
            return Err(BadRequest::Malformed);
        }
    }
    if request.host.is_none() && version == "HTTP/1.1" {
        return Err(BadRequest::Malformed);
    }
    Ok(request)
}

/// `Name: value` (RFC 9112, section 5). A line that continues another, or hides one, is none.
fn field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let good = !name.is_empty() && name.bytes().all(token) && !value.contains(['\r', '\n', '\0']);
    good.then(|| (name, value.trim_matches([' ', '\t'])))
}

/// Writes a whole answer with a JSON body; the connection ends with it.
pub fn answer(stream: &mut impl Write, status: u16, body: &str) -> std::io::Result<()> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
        _ => "Service Unavailable",
    };
    let allow = if status == 405 { "Allow: GET\r\n" } else { "" };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{allow}\
         Cache-Control: no-store\r\nContent-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes())?;
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Script(Vec<Vec<u8>>);

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let part = self.0.remove(0);
            buffer[..part.len()].copy_from_slice(&part);
            Ok(part.len())
        }
    }

    impl Timed for Script {
        fn limit(&self, _: Duration) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn request(bytes: &[u8]) -> Result<Request, BadRequest> {
        read(&mut Script(bytes.chunks(7).map(<[u8]>::to_vec).collect()))
    }

    #[test]
    fn a_request_is_read_in_whatever_pieces_it_comes() {
        let host = Some("a".into());
        let expected = Request { method: "GET".into(), path: "/health".into(), host, origin: None };
        assert_eq!(request(b"GET /health?x=1 HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(expected));
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for bytes in [
            b"hello\r\n\r\n".as_slice(),
            b"GET  /health HTTP/1.1\r\n\r\n",
            b"GET /health HTTP/2\r\n\r\n",
            b"GET health HTTP/1.1\r\n\r\n",
            b"get /health HTTP/1.1\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x02\r\n\r\n",
            b"\r\n\r\n",
            b"GET /health HTTP/1.1\r\n\r\n",
            b"GET http://a/health HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: a\r\nOrigin: b\r\norigin: c\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost : a\r\n\r\n",
            b"GET /health HTTP/1.1\r\nX: a\nHost: b\r\n\r\n",
            b"GET /health HTTP/1.1\nHost: a\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            b"GET /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET /health\x0b HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert_eq!(request(bytes), Err(BadRequest::Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn a_request_is_for_an_address_and_from_no_page_elsewhere() {
        let meant = |headers: &str| request(format!("GET / HTTP/1.0\r\n{headers}\r\n").as_bytes()).unwrap().is_meant();
        for headers in [
            "",
            "Host: 10.0.2.15:8080\r\n",
            "Host: [::1]:8080\r\n",
            "host:LocalHost\r\n",
            "Host: 127.0.0.1:8080\r\nOrigin: http://127.0.0.1:8080\r\n",
        ] {
            assert!(meant(headers), "{headers}");
        }
        for headers in [
            "Host: evil.example:8080\r\n",
            "Host: 127.0.0.1.evil.example\r\n",
            "Host: \r\n",
            "Host: [evil]\r\n",
            "Host: 127.0.0.1:\r\n",
            "Origin: http://127.0.0.1\r\n",
            "Host: 127.0.0.1:8080\r\nOrigin: http://evil.example\r\n",
            "Host: 127.0.0.1:8080\r\nOrigin: http://127.0.0.1:6080\r\n",
            "Host: 127.0.0.1:8080\r\nOrigin: null\r\n",
        ] {
            assert!(!meant(headers), "{headers}");
        }
    }

    #[test]
    fn a_request_without_end_is_cut_off() {
        assert_eq!(request(b"GET /health HT"), Err(BadRequest::Gone));
        assert_eq!(request(b""), Err(BadRequest::Gone));
        assert_eq!(request(&[b'A'; MAX_HEAD + 1024]), Err(BadRequest::Large));
    }

    #[test]
    fn an_answer_is_complete() {
        let mut bytes = Vec::new();
        answer(&mut bytes, 405, "{}\n").unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{text}");
        assert!(text.contains("\r\nContent-Length: 3\r\nAllow: GET\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n{}\n"), "{text}");
    }
}
