//! The QEMU Machine Protocol over a Unix socket: one command, one answer. QEMU serves one connection after the other, so
//! none is kept. Source: QEMU `docs/interop/qmp-spec.rst`.

use super::{file, socket};
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The longest line that is read.
const MAX_LINE: u64 = 1 << 20;

/// A connection that is ready for commands.
#[derive(Debug)]
pub struct Qmp {
    lines: BufReader<UnixStream>,
}

impl Qmp {
    /// Connects to the QEMU that runs in a folder, and leaves negotiation mode.
    pub fn connect(folder: &Path) -> io::Result<Self> {
        let mut qmp = Self { lines: BufReader::new(socket::connect(folder, file::CONTROL)?) };
        let greeting = qmp.line()?;
        if greeting.get("QMP").is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no QMP server"));
        }
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs a command and returns what it returns. Events that come meanwhile are passed over.
    pub fn execute(&mut self, command: &str, arguments: Value) -> io::Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        self.lines.get_mut().write_all(format!("{request}\n").as_bytes())?;
        loop {
            let answer = self.line()?;
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
            if let Some(error) = answer.get("error") {
                let text = error.get("desc").and_then(Value::as_str).unwrap_or("no reason given");
                return Err(io::Error::other(format!("QMP {command}: {text}")));
            }
        }
    }

    fn line(&mut self) -> io::Result<Value> {
        line(&mut self.lines)
    }
}

/// The next line's document.
pub(super) fn line(lines: &mut impl BufRead) -> io::Result<Value> {
    let mut text = String::new();
    let read = io::Read::take(lines, MAX_LINE).read_line(&mut text)?;
    if read == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_str(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
