//! Firecracker's API: HTTP over a Unix socket, one connection a request.
//!
//! Source: Firecracker `src/firecracker/swagger/firecracker.yaml`: 200 with a body or 204 without one when all is well,
//! else a body with `fault_message`.

use super::super::{file, socket};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The longest answer that is read.
const MOST: u64 = 64 << 10;

/// The Firecracker whose socket is in a folder.
#[derive(Debug)]
pub struct Api {
    folder: PathBuf,
}

impl Api {
    /// Nothing is connected yet.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Asks for a document.
    pub fn get(&self, path: &str) -> io::Result<Value> {
        self.request("GET", path, "")
    }

    /// Sends a document.
    pub fn put(&self, path: &str, body: &Value) -> io::Result<()> {
        self.request("PUT", path, &body.to_string()).map(|_| ())
    }

    fn request(&self, method: &str, path: &str, body: &str) -> io::Result<Value> {
        let mut stream = socket::connect(&self.folder, file::CONTROL)?;
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n");
        let body = match body {
            "" => "\r\n".to_owned(),
            body => format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
        };
        stream.write_all(format!("{head}{body}").as_bytes())?;
        let (status, body) = answer(&mut BufReader::new(stream).take(MOST))?;
        if matches!(status, 200 | 204) {
            return Ok(body);
        }
        let fault = body.get("fault_message").and_then(Value::as_str).unwrap_or("no reason given");
        Err(io::Error::other(format!("Firecracker refuses {method} {path} with status {status}: {fault}")))
    }
}

/// Reads a status and a JSON body, which may be missing.
pub(in super::super) fn answer(stream: &mut impl BufRead) -> io::Result<(u16, Value)> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("this is no HTTP answer: {what}"));
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
    let status = status.ok_or_else(|| bad(line.trim()))?;
    let mut length = 0;
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let header = line.trim();
        if header.is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok().filter(|length| *length <= MOST).ok_or_else(|| bad(header))?;
        }
    }
    if length == 0 {
        return Ok((status, Value::Null));
    }
    let mut body = vec![0; usize::try_from(length).unwrap_or_default()];
    stream.read_exact(&mut body)?;
    Ok((status, serde_json::from_slice(&body).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_are_read_to_their_end_and_no_further() {
        let read = |text: &str| answer(&mut text.as_bytes());
        assert_eq!(read("HTTP/1.1 204 \r\nServer: Firecracker API\r\n\r\n").unwrap(), (204, Value::Null));
        let fault = "HTTP/1.1 400 \r\nContent-Length: 22\r\n\r\n{\"fault_message\":\"no\"}tail";
        assert_eq!(read(fault).unwrap(), (400, json!({ "fault_message": "no" })));
        for bad in [
            "",
            "HTTP/1.1\r\n\r\n",
            "SSH-2.0\r\n",
            "HTTP/1.1 200 \r\nContent-Length: 9\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\n",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read("HTTP/1.1 200 \r\nContent-Length: 99999999999\r\n\r\n").is_err());
    }
}
