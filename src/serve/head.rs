//! The head of a request, read and judged before hyper sees it. A connection carries one request, so nothing that hides
//! behind it is ever taken for another one.
//!
//! What hyper would accept and something in front of it might read otherwise is refused here, as a problem document; hyper
//! would hang up with an empty answer, or be lenient. Source: RFC 9112, sections 2.2, 3, 5 and 6.3.

use super::problem::Problem;
use axum::http::{StatusCode, Uri};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// How many bytes a head may have, the empty line included. Real ones have a few hundred.
pub const MOST: usize = 32 << 10;
/// How many bytes its target may have, and how many fields it.
const MOST_TARGET: usize = 8 << 10;
const MOST_FIELDS: usize = 64;
/// How much is read at a time.
const PIECE: usize = 4 << 10;

/// Why there is no request.
#[derive(Debug)]
pub enum Bad {
    /// The client has left.
    Gone,
    /// It is told why.
    Told(Problem),
}

impl From<Problem> for Bad {
    fn from(problem: Problem) -> Self {
        Self::Told(problem)
    }
}

impl From<io::Error> for Bad {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// Reads a head, and what comes with it of the body, behind what was read before.
pub async fn read(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> Result<(), Bad> {
    loop {
        let from = bytes.len().saturating_sub(3);
        let mut piece = [0; PIECE];
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            return Err(Bad::Gone);
        }
        bytes.extend_from_slice(piece.get(..count).unwrap_or_default());
        if let Some(end) = end(bytes, from) {
            let head = bytes.get(..end).filter(|head| head.len() <= MOST).ok_or_else(large)?;
            return Ok(judge(head)?);
        }
        // What never becomes a head of these lines need not be waited for.
        let mut pairs = bytes.get(from..).unwrap_or_default().windows(2);
        if bytes.starts_with(b"\n") || pairs.any(|pair| pair.ends_with(b"\n") && !pair.starts_with(b"\r")) {
            return Err(broken("a line ends in LF alone").into());
        }
        if bytes.len() >= MOST {
            return Err(large().into());
        }
    }
}

/// Where the head ends, the empty line included; nothing before `from` needs another look.
fn end(bytes: &[u8], from: usize) -> Option<usize> {
    let at = bytes.get(from..)?.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some(from + at + 4)
}

fn large() -> Problem {
    let detail = format!("the head of a request has at most {MOST} bytes and {MOST_FIELDS} fields");
    Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head-size", detail)
}

fn broken(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "http", detail)
}

/// Whether a whole head is one that everybody reads the same.
fn judge(head: &[u8]) -> Result<(), Problem> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r"));
    let mut next = || lines.next().flatten().filter(|line| !line.contains(&b'\r'));
    let newer = start(next().ok_or_else(|| broken("the first line does not end in CR LF"))?)?;
    let (mut hosts, mut lengths, mut codings, mut fields) = (0, 0, 0, 0);
    let mut host = None;
    loop {
        let line = next().ok_or_else(|| broken("a line does not end in CR LF alone"))?;
        if line.is_empty() {
            break;
        }
        fields += 1;
        if fields > MOST_FIELDS {
            return Err(large());
        }
        let (name, value) = field(line).ok_or_else(|| broken("a line of the head is not `Name: value`"))?;
        match name.to_ascii_lowercase().as_slice() {
            b"host" => (hosts, host) = (hosts + 1, Some(value)),
            b"content-length" => {
                lengths += 1;
                if !value.iter().all(u8::is_ascii_digit) || value.is_empty() || value.len() > 18 {
                    return Err(broken("`Content-Length` is no whole number"));
                }
            }
            b"transfer-encoding" => {
                codings += 1;
                if !newer.is_newer || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(broken("the only `Transfer-Encoding` is `chunked`, from HTTP/1.1 on"));
                }
            }
            _ => {}
        }
    }
    if hosts > 1 || lengths + codings > 1 {
        return Err(broken("there is more than one `Host`, or more than one length of the body"));
    }
    if newer.authority.is_some_and(|authority| Some(authority) != host) {
        return Err(broken("the target names another host than `Host`"));
    }
    Ok(())
}

/// What the first line says that the others depend on.
struct Start<'a> {
    is_newer: bool,
    authority: Option<&'a [u8]>,
}

fn start(line: &[u8]) -> Result<Start<'_>, Problem> {
    let words: Vec<_> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words.as_slice() else {
        return Err(broken("the first line is not `METHOD TARGET HTTP/1.1`"));
    };
    let is_newer = match *version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return Err(broken("the version is not HTTP/1.1 or HTTP/1.0")),
    };
    if method.is_empty() || !method.iter().copied().all(is_token) {
        return Err(broken("the method is no word"));
    }
    if target.len() > MOST_TARGET {
        let detail = format!("the target of a request has at most {MOST_TARGET} bytes");
        return Err(Problem::new(StatusCode::URI_TOO_LONG, "target-size", detail));
    }
    let rest = target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case(b"http://")).and_then(|_| target.get(7..));
    let authority = rest.map(|rest| rest.split(|byte| matches!(byte, b'/' | b'?')).next().unwrap_or_default());
    let plain = target.iter().all(u8::is_ascii_graphic) && !target.contains(&b'#');
    if !plain || Uri::try_from(*target).is_err() || (authority.is_none() && !target.starts_with(b"/")) {
        return Err(broken("the target is no path, and no `http://` with one"));
    }
    Ok(Start { is_newer, authority })
}

/// `Name: value`. A line that continues the one before begins with a space, which is no letter of a name.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    let value = value.get(1..)?.trim_ascii();
    let visible = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    (!name.is_empty() && name.iter().copied().all(is_token) && value.iter().all(visible)).then_some((name, value))
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn status(head: &str) -> u16 {
        let mut bytes = Vec::new();
        match read(&mut head.as_bytes(), &mut bytes).await {
            Ok(()) => 200,
            Err(Bad::Told(problem)) => problem.status,
            Err(Bad::Gone) => 0,
        }
    }

    #[tokio::test]
    async fn a_head_that_two_readers_may_read_differently_is_refused() {
        for good in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /vms?follow=true HTTP/1.0\r\n\r\n",
            "POST /vms HTTP/1.1\r\nHost:a\r\nContent-Length: 2\r\n\r\n{}GET / HTTP/1.1\n",
            "POST /vms HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
            "GET http://a:1/vms HTTP/1.1\r\nHost: a:1\r\n\r\n",
        ] {
            assert_eq!(status(good).await, 200, "{good:?}");
        }
        for bad in [
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nX: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\n X: a\r\n\r\n",
            "GET / HTTP/1.1\r\nX : a\r\n\r\n",
            "GET / HTTP/1.1\r\nX\r\n\r\n",
            "GET / HTTP/1.1\r\nX: \0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: +2\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 2, 2\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET http://b/vms HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://a@b/vms HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET https://a/vms HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "GET /a#b HTTP/1.1\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "GET /\r\n\r\n",
            "G(T / HTTP/1.1\r\n\r\n",
            "\r\n\r\n",
            "\u{16}\u{3}\u{1}\n",
        ] {
            assert_eq!(status(bad).await, 400, "{bad:?}");
        }
        assert_eq!(status("GET / HT").await, 0);
    }

    #[tokio::test]
    async fn a_head_has_as_many_bytes_as_promised() {
        let line = |length: usize| {
            let head = "GET / HTTP/1.1\r\nX: \r\n\r\n";
            format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(length - head.len()))
        };
        assert_eq!(status(&line(MOST)).await, 200);
        assert_eq!(status(&line(MOST + 1)).await, 431);
        assert_eq!(status(&line(MOST * 9)).await, 431);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(MOST_FIELDS))).await, 200);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(MOST_FIELDS + 1))).await, 431);
        assert_eq!(status(&format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(MOST_TARGET - 1))).await, 200);
        assert_eq!(status(&format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(MOST_TARGET))).await, 414);
    }
}
