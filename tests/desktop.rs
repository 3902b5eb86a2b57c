//! The desktop image, booted: its web page in a real browser, a VNC handshake, a picture that is not blank.

mod common;

use common::{goldsmith, need, recipes, succeed};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A VM that is running; ends with the test.
struct Running {
    child: Child,
    report: serde_json::Value,
    state: tempfile::TempDir,
}

impl Running {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        need("qemu-system-x86_64", "apt-get install qemu-system-x86");
        let state = tempfile::tempdir().unwrap();
        let mut child = goldsmith()
            .env("GOLDSMITH_STATE", state.path())
            .arg("launch")
            .arg(folder)
            .args(["--accel", "emulation", "--format", "json", "--memory", "1536M"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut text = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            text += &line;
            if line == "}" {
                break;
            }
        }
        let report = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        Self { child, report, state }
    }

    /// Where a probe is reached.
    fn place(&self, probe: &str) -> String {
        let probes = self.report["ready"]["probes"].as_array().unwrap_or_else(|| panic!("{:#}", self.report));
        probes.iter().find(|one| one["name"] == probe).unwrap()["place"].as_str().unwrap().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// Knocks at the desktop's door: what it answers to the head of a request, and the connection.
fn knock(at: &str, path: &str, headers: &[&str]) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    stream.write_all(format!("GET {path} HTTP/1.1\r\n{headers}\r\n").as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    (String::from_utf8(head).unwrap(), stream)
}

/// The headers that ask for a WebSocket (RFC 6455, section 4.1).
const UPGRADE: [&str; 4] = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

/// A WebSocket (RFC 6455, section 5), as far as a VNC client needs one.
struct Socket {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Socket {
    fn send(&mut self, bytes: &[u8]) {
        // One short masked frame; the mask is zeros.
        let head = [0x82, 0x80 | u8::try_from(bytes.len()).unwrap(), 0, 0, 0, 0];
        self.stream.write_all(&[&head, bytes].concat()).unwrap();
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head).unwrap();
            let more = match head[1] {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            let mut wide = [0; 8];
            self.stream.read_exact(&mut wide[8 - more..]).unwrap();
            let length = if more == 0 { head[1].into() } else { u64::from_be_bytes(wide) };
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.stream.read_exact(&mut payload).unwrap();
            // Pings need no answer for so short a visit.
            if head[0] & 0xf <= 2 {
                self.unread.extend(payload);
            }
        }
        let rest = self.unread.split_off(count);
        std::mem::replace(&mut self.unread, rest)
    }
}

/// The whole screen over VNC (RFC 6143), as bytes of true colour.
fn screen(at: &str, path: &str) -> (u16, u16, Vec<u8>) {
    let host = format!("Host: {at}");
    let (head, stream) = knock(at, path, &[&[host.as_str()], UPGRADE.as_slice()].concat());
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let mut socket = Socket { stream, unread: Vec::new() };
    assert!(socket.take(12).starts_with(b"RFB 003.008"));
    socket.send(b"RFB 003.008\n");
    let methods = socket.take(1)[0];
    assert!(socket.take(methods.into()).contains(&1), "no security type without a password");
    socket.send(&[1]);
    assert_eq!(socket.take(4), [0; 4], "the handshake failed");
    socket.send(&[1]);
    let init = socket.take(24);
    let (width, height) = (u16::from_be_bytes([init[0], init[1]]), u16::from_be_bytes([init[2], init[3]]));
    let name = u32::from_be_bytes([init[20], init[21], init[22], init[23]]);
    socket.take(name as usize);
    // Raw encoding only, then the whole screen.
    socket.send(&[2, 0, 0, 1, 0, 0, 0, 0]);
    let [a, b, c, d] = [width.to_be_bytes(), height.to_be_bytes()].concat().try_into().unwrap();
    socket.send(&[3, 0, 0, 0, 0, 0, a, b, c, d]);
    let mut pixels = vec![0; usize::from(width) * usize::from(height) * 4];
    let mut filled = 0;
    while filled < pixels.len() {
        let head = socket.take(4);
        assert_eq!(head[0], 0, "a framebuffer update is expected");
        for _ in 0..u16::from_be_bytes([head[2], head[3]]) {
            let rectangle = socket.take(12);
            let [x, y, w, h] =
                [0, 2, 4, 6].map(|at| usize::from(u16::from_be_bytes([rectangle[at], rectangle[at + 1]])));
            for row in 0..h {
                let start = ((y + row) * usize::from(width) + x) * 4;
                let bytes = socket.take(w * 4);
                pixels[start..start + w * 4].copy_from_slice(&bytes);
            }
            filled += w * h * 4;
        }
    }
    (width, height, pixels)
}

/// Who may not come in at the desktop's door, although all but one thing is right.
fn strangers(at: &str, path: &str) {
    let [host, own] = [format!("Host: {at}"), format!("Origin: http://{at}")];
    let answers = |path: &str, headers: &[&str]| knock(at, path, headers).0.split(' ').nth(1).unwrap().to_owned();
    let socket = |path: &str, headers: &[&str]| answers(path, &[headers, UPGRADE.as_slice()].concat());
    assert_eq!(socket(path, &[&host, &own]), "101");
    let (bare, token) = path.split_once('?').unwrap();
    for wrong in ["", "?token=", "?token=0123456789abcdef0123456789abcdef", &format!("?{token}0")] {
        assert_eq!(socket(&format!("{bare}{wrong}"), &[&host, &own]), "403", "{wrong}");
    }
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1", &own.replace("Origin: http", "https")] {
        assert_eq!(socket(path, &[&host, &format!("Origin: {origin}")]), "403", "{origin}");
    }
    for name in ["evil.example", "127.0.0.1.evil.example:6080", "desktop"] {
        let (host, same) = (format!("Host: {name}"), format!("Origin: http://{name}"));
        assert_eq!(socket(path, &[&host, &same]), "403", "{name}");
        assert_eq!(answers("/vnc.html", &[&host]), "403", "{name}");
    }
    assert_eq!(socket(path, &[&host, "Host: evil.example"]), "403");
    assert_eq!(socket(path, &[&own]), "403");
    // The page itself is no secret, and no page of others may hold it.
    let page = knock(at, "/vnc.html", &[&host]).0;
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("frame-ancestors 'none'"), "{page}");
}

/// What a page of another origin becomes in a real browser when it has the desktop's secret and tries to use it.
fn page_elsewhere(at: &str, path: &str) -> String {
    let script = format!(
        "<title>waits</title><script>let s = new WebSocket('ws://{at}{path}');\
         s.onopen = () => document.title = 'it is in'; s.onerror = () => document.title = 'it is kept out';</script>"
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}", script.len());
            let _ = stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n{script}").as_bytes());
        }
    });
    let mut chromium = chromium();
    chromium.args(["--timeout=10000", "--dump-dom", &format!("http://{address}/")]);
    String::from_utf8(succeed(&mut chromium).stdout).unwrap()
}

fn chromium() -> Command {
    let mut chromium = Command::new("chromium");
    chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]).args([
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]);
    chromium
}

fn colours(pixels: &[u8], each: usize) -> usize {
    pixels.chunks_exact(each).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect::<BTreeSet<_>>().len()
}

#[test]
fn the_desktop_is_on_the_screen_and_in_a_browser() {
    need("chromium", "apt-get install chromium");
    let images = recipes().join("images");
    // Everything but the browser in the guest, which only makes the image three times as large.
    let mut build = goldsmith();
    build.arg("build").arg(recipes().join("recipes/desktop.yaml")).arg("--output").arg(&images);
    succeed(build.args(["--set", "chromium=false"]));
    let folder = images.join("desktop");
    // Its port of old, forwarded: nobody must be behind it.
    let vm = Running::start(&folder, &["--set", "decodo_port=10001", "--publish", "5900"]);

    // The agent has seen the X server, the window manager, the VNC server and the web page, and its boot parameter.
    let health = ureq::get(&vm.place("oauth-agent")).call().unwrap().into_body().read_to_string().unwrap();
    let health: serde_json::Value = serde_json::from_str(&health).unwrap();
    assert_eq!(health["parameters"]["decodo_port"], "10001", "{health:#}");
    assert!(health.to_string().contains("10.0.2.15") && health.to_string().contains("dhcp"), "{health:#}");
    for (name, value) in [("Host", "evil.example"), ("Origin", "http://evil.example")] {
        let refused = ureq::get(&vm.place("oauth-agent")).header(name, value).call();
        assert!(matches!(refused, Err(ureq::Error::StatusCode(403))), "{name}: {refused:?}");
    }

    // The address lets one in, and nobody else.
    let page = vm.place("desktop");
    let (url, fragment) = page.split_once('#').unwrap();
    let at = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let secret = fragment.rsplit_once("token%3D").unwrap().1;
    let path = format!("/websockify?token={secret}");
    let (width, height, pixels) = screen(at, &path);
    assert_eq!((width, height), (1280, 800));
    assert!(colours(&pixels, 4) > 50, "the screen is blank: {} colours", colours(&pixels, 4));
    strangers(at, &path);
    let title = page_elsewhere(at, &path);
    assert!(title.contains("it is kept out"), "{title}");
    let vnc = vm.report["vm"]["forwards"]["5900"].as_u64().unwrap();
    let mut said = Vec::new();
    // User networking takes the connection before it knows; then it is closed or reset.
    let _ = TcpStream::connect(format!("127.0.0.1:{vnc}")).and_then(|mut stream| stream.read_to_end(&mut said));
    assert_eq!(said, b"", "the VNC server answers outside of the guest");

    // The secret is in the report and in one file of the VM's folder.
    let home = vm.state.path().join("vms/desktop-1");
    assert_eq!(secret.len(), 32);
    assert_eq!(fs::read_to_string(home.join("secret")).unwrap(), secret);
    assert_eq!(fs::metadata(home.join("secret")).unwrap().permissions().mode() & 0o777, 0o600);
    let listed = goldsmith().env("GOLDSMITH_STATE", vm.state.path()).args(["ps", "--format", "json"]).output().unwrap();
    let command = fs::read(format!("/proc/{}/cmdline", vm.report["vm"]["vmm"])).unwrap();
    let console = fs::read(home.join("console.log")).unwrap();
    for (name, text) in [("ps", &listed.stdout), ("command line", &command), ("console", &console)] {
        assert!(!text.is_empty() && !String::from_utf8_lossy(text).contains(secret), "{name}");
    }

    let shot = images.join("desktop.png");
    let profile = tempfile::tempdir().unwrap();
    let mut chromium = chromium();
    chromium
        .args(["--hide-scrollbars", "--window-size=1280,800", "--timeout=20000"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--screenshot={}", shot.display()))
        .arg(&page);
    succeed(&mut chromium);
    let decoder = png::Decoder::new(BufReader::new(fs::File::open(&shot).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    let each = info.buffer_size() / (info.width as usize * info.height as usize);
    assert!(colours(&pixels, each) > 100, "the page is blank: {}", shot.display());
}
