//! A Debian mirror of the test's own: it hands on what the public mirror has, and misbehaves where it is told to.

use super::cache;
use goldsmith::values::Sha256;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Where everything comes from that is not told otherwise.
const UPSTREAM: &str = "http://deb.debian.org";

/// What the mirror does when it is asked for a path.
#[derive(Clone)]
pub enum Answer {
    /// These bytes; `Range` is honoured.
    Bytes(Vec<u8>),
    /// This status and nothing else.
    Status(u16),
    /// Nothing, for ever.
    Silence,
    /// The header at once, then a byte now and then.
    Trickle(Vec<u8>),
    /// The header for all the bytes, then only so many of them.
    Cut(Vec<u8>, usize),
    /// The first time one answer, from then on another.
    Once(Box<Answer>, Box<Answer>),
}

struct Shared {
    address: SocketAddr,
    routes: Mutex<BTreeMap<String, Answer>>,
    asked: Mutex<Vec<String>>,
    over: AtomicBool,
}

/// A running server; ends with the value.
pub struct Mirror(Arc<Shared>);

impl Mirror {
    /// Starts it on a free port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            address: listener.local_addr().unwrap(),
            routes: Mutex::default(),
            asked: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let server = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if server.over.load(Ordering::SeqCst) {
                    return;
                }
                let server = server.clone();
                // A client that hangs up amid an answer is what some tests are about.
                std::thread::spawn(move || stream.and_then(|stream| server.serve(&stream)));
            }
        });
        Self(shared)
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// Decides what a path is answered with.
    pub fn set(&self, path: &str, answer: Answer) {
        self.0.routes.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// The paths asked for so far.
    pub fn asked(&self) -> Vec<String> {
        self.0.asked.lock().unwrap().clone()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.0.address);
    }
}

/// What the public mirror has at a path. What never changes is kept beside the packages.
pub fn upstream(path: &str) -> Option<Vec<u8>> {
    let fixed = path.contains("/pool/") || path.contains("/by-hash/");
    let kept: PathBuf = cache().join("mirror").join(Sha256::of(path.as_bytes()).to_string());
    if fixed && let Ok(bytes) = std::fs::read(&kept) {
        return Some(bytes);
    }
    let answer = ureq::get(format!("{UPSTREAM}{path}")).call();
    let bytes = match answer {
        Ok(response) => response.into_body().into_with_config().limit(1 << 30).read_to_vec().unwrap(),
        Err(ureq::Error::StatusCode(404)) => return None,
        Err(error) => panic!("this test needs {UPSTREAM}{path}: {error}"),
    };
    if fixed {
        std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
        let mut file = tempfile::NamedTempFile::new_in(kept.parent().unwrap()).unwrap();
        file.write_all(&bytes).unwrap();
        file.persist(&kept).unwrap();
    }
    Some(bytes)
}

impl Shared {
    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut start = 0;
        for line in lines {
            let line = line?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(range) = line.strip_prefix("range: bytes=") {
                start = range.trim_end_matches('-').parse().unwrap();
            }
        }
        self.asked.lock().unwrap().push(path.clone());
        let answer = {
            let mut routes = self.routes.lock().unwrap();
            match routes.get(&path).cloned() {
                Some(Answer::Once(first, then)) => {
                    routes.insert(path.clone(), *then);
                    Some(*first)
                }
                known => known,
            }
        };
        let answer = answer.unwrap_or_else(|| upstream(&path).map_or(Answer::Status(404), Answer::Bytes));
        self.answer(stream, answer, start)
    }

    fn answer(&self, mut stream: &TcpStream, answer: Answer, start: usize) -> std::io::Result<()> {
        let header = |status: u16, length: usize, extra: &str| {
            format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n{extra}\r\n")
        };
        match answer {
            Answer::Bytes(bytes) if start > 0 && start < bytes.len() => {
                let range = format!("Content-Range: bytes {start}-{}/{}\r\n", bytes.len() - 1, bytes.len());
                stream.write_all(header(206, bytes.len() - start, &range).as_bytes())?;
                stream.write_all(&bytes[start..])
            }
            Answer::Bytes(bytes) => {
                stream.write_all(header(200, bytes.len(), "").as_bytes())?;
                stream.write_all(&bytes)
            }
            Answer::Status(status) => stream.write_all(header(status, 0, "").as_bytes()),
            Answer::Silence => {
                self.idle();
                Ok(())
            }
            Answer::Trickle(bytes) => {
                stream.write_all(header(200, bytes.len(), "").as_bytes())?;
                for byte in bytes {
                    if self.over.load(Ordering::SeqCst) {
                        break;
                    }
                    stream.write_all(&[byte])?;
                    std::thread::sleep(Duration::from_millis(50));
                }
                Ok(())
            }
            Answer::Cut(bytes, length) => {
                stream.write_all(header(200, bytes.len(), "").as_bytes())?;
                stream.write_all(&bytes[..length])
            }
            Answer::Once(..) => unreachable!("unwrapped by the caller"),
        }
    }

    fn idle(&self) {
        while !self.over.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
