//! A client for `goldsmith serve` that believes nothing: every answer is compared with what the OpenAPI document promises.

use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};

/// A running server.
pub struct Server {
    process: Child,
    place: String,
    token: String,
    document: OnceLock<Value>,
    seen: Mutex<BTreeSet<String>>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The status, which is asserted.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        self
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Server {
    /// Starts a server, which must say where it listens.
    pub fn start(command: &mut Command) -> Self {
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut next = |start: &str| {
            let line = lines.next().unwrap_or_else(|| panic!("{command:?} ended before it said `{start}`")).unwrap();
            line.strip_prefix(start).unwrap_or_else(|| panic!("`{line}` is not `{start}…`")).to_owned()
        };
        let (place, token) = (next("goldsmith serves on "), next("token: "));
        // Whatever else it says must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let token = std::fs::read_to_string(token).unwrap().trim().to_owned();
        Self { process, place, token, document: OnceLock::new(), seen: Mutex::default() }
    }

    /// The server's process, or the one that has put it into its namespaces.
    pub fn process(&mut self) -> &mut Child {
        &mut self.process
    }

    /// The address that it listens on.
    pub fn address(&self) -> &str {
        self.place.strip_prefix("http://").unwrap()
    }

    fn connect(&self) -> Box<dyn Stream> {
        match self.place.strip_prefix("unix:") {
            Some(path) => Box::new(UnixStream::connect(path).unwrap()),
            None => Box::new(TcpStream::connect(self.address()).unwrap()),
        }
    }

    /// Sends a request of exactly these lines. HTTP/1.0, so the end of the answer is the end of the connection.
    fn send(&self, method: &str, path: &str, headers: &[String], body: &[u8]) -> BufReader<Box<dyn Stream>> {
        let mut stream = self.connect();
        let mut head = format!("{method} {path} HTTP/1.0\r\n");
        headers.iter().for_each(|header| head += &format!("{header}\r\n"));
        stream.write_all(head.as_bytes()).unwrap();
        // A server that has seen enough may answer and hang up before it has read all.
        let _ = stream.write_all(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        let _ = stream.write_all(body);
        BufReader::new(stream)
    }

    /// A request with these headers and no others.
    pub fn raw(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Reply {
        let headers: Vec<_> = headers.iter().map(|&header| header.to_owned()).collect();
        let mut bytes = Vec::new();
        // What has come before a reset counts.
        let _ = self.send(method, path, &headers, body).read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) =
            text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {method} {path}: {text}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// The headers of a request with the token and a JSON body.
    pub fn headers(&self) -> [String; 3] {
        [
            "Host: localhost".to_owned(),
            format!("Authorization: Bearer {}", self.token),
            "Content-Type: application/json".to_owned(),
        ]
    }

    /// A request with the token, whose answer must be one that the document promises.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, more: &[&str], body: &str) -> Reply {
        let headers = self.headers();
        let headers: Vec<_> = headers.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let reply = self.raw(method, path, &headers, body.as_bytes());
        self.promised(method, path, &reply);
        reply
    }

    /// A stream of lines with the token.
    pub fn follow(&self, path: &str) -> impl Iterator<Item = String> + use<> {
        self.send("GET", path, &self.headers(), b"").lines().map_while(Result::ok)
    }

    /// The document.
    pub fn document(&self) -> &Value {
        self.document.get_or_init(|| {
            let headers = self.headers();
            let headers: Vec<_> = headers.iter().map(String::as_str).collect();
            self.raw("GET", "/openapi.json", &headers, b"").is(200).json()
        })
    }

    /// Whether an answer is what the document promises.
    #[track_caller]
    fn promised(&self, method: &str, path: &str, reply: &Reply) {
        let document = self.document();
        let path = path.split('?').next().unwrap();
        let fits = |template: &str| {
            let (a, b): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.starts_with('{') || *a == b)
        };
        let paths = document["paths"].as_object().unwrap();
        let template =
            paths.keys().find(|template| fits(template)).unwrap_or_else(|| panic!("{path} is not described"));
        let operation = &document["paths"][template][method.to_lowercase()];
        let promise = &operation["responses"][reply.status.to_string()];
        assert!(promise.is_object(), "{method} {template} does not promise {}: {}", reply.status, reply.body);
        let mark = if reply.status < 300 { "" } else { " !" };
        self.seen.lock().unwrap().insert(format!("{method} {template}{mark}"));
        let Some(content) = promise["content"].as_object() else {
            assert_eq!(reply.body, "", "{method} {template}: {}", reply.status);
            return;
        };
        let (media, content) = content.iter().next().unwrap();
        assert_eq!(reply.header("content-type"), Some(media.as_str()), "{method} {template}: {}", reply.status);
        if media.contains("json") {
            valid(document, &content["schema"], &reply.json());
        }
    }

    /// Routes of the document that have not been seen to answer as they should.
    pub fn unseen(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let paths = self.document()["paths"].as_object().unwrap().iter();
        let routes = paths.flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        });
        routes.filter(|route| !seen.contains(route)).collect()
    }
}

/// Whether a value is what a schema of the document describes.
#[track_caller]
pub fn valid(document: &Value, schema: &Value, value: &Value) {
    let mut whole = schema.clone();
    whole["components"] = document["components"].clone();
    let validator = jsonschema::draft202012::new(&whole).unwrap();
    let errors: Vec<_> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{value:#}");
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
