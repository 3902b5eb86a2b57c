//! Just enough HTTP/1.1 (RFC 9112) to answer one question: bytes in, a verdict on them out.

use std::io::{Read, Write};
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
    let line = head.split("\r\n").next().unwrap_or_default();
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(BadRequest::Malformed);
    };
    if method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase()) || !target.starts_with('/') {
        return Err(BadRequest::Malformed);
    }
    let path = target.split(['?', '#']).next().unwrap_or_default();
    Ok(Request { method: method.to_owned(), path: path.to_owned() })
}

/// Writes a whole answer with a JSON body; the connection ends with it.
pub fn answer(stream: &mut impl Write, status: u16, body: &str) -> std::io::Result<()> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
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
         Cache-Control: no-store\r\nConnection: close\r\n\r\n"
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
        let expected = Request { method: "GET".into(), path: "/health".into() };
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
        ] {
            assert_eq!(request(bytes), Err(BadRequest::Malformed), "{bytes:?}");
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
