//! The desktop image, booted: its web page in a real browser, a VNC handshake, a picture that is not blank.

mod common;

use common::{goldsmith, need, recipes, succeed};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A VM that is running; ends with the test.
struct Running {
    child: Child,
    report: serde_json::Value,
    _state: tempfile::TempDir,
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
        Self { child, report, _state: state }
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

/// The whole screen over VNC (RFC 6143), as bytes of true colour.
fn screen(place: &str) -> (u16, u16, Vec<u8>) {
    let mut stream = TcpStream::connect(place).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let take = |stream: &mut TcpStream, count: usize| {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).unwrap();
        bytes
    };
    assert!(take(&mut stream, 12).starts_with(b"RFB 003.008"));
    stream.write_all(b"RFB 003.008\n").unwrap();
    let methods = take(&mut stream, 1)[0];
    assert!(take(&mut stream, methods.into()).contains(&1), "no security type without a password");
    stream.write_all(&[1]).unwrap();
    assert_eq!(take(&mut stream, 4), [0; 4], "the handshake failed");
    stream.write_all(&[1]).unwrap();
    let init = take(&mut stream, 24);
    let (width, height) = (u16::from_be_bytes([init[0], init[1]]), u16::from_be_bytes([init[2], init[3]]));
    let name = u32::from_be_bytes([init[20], init[21], init[22], init[23]]);
    take(&mut stream, name as usize);
    // Raw encoding only, then the whole screen.
    stream.write_all(&[2, 0, 0, 1, 0, 0, 0, 0]).unwrap();
    let [a, b, c, d] = [width.to_be_bytes(), height.to_be_bytes()].concat().try_into().unwrap();
    stream.write_all(&[3, 0, 0, 0, 0, 0, a, b, c, d]).unwrap();
    let mut pixels = vec![0; usize::from(width) * usize::from(height) * 4];
    let mut filled = 0;
    while filled < pixels.len() {
        let head = take(&mut stream, 4);
        assert_eq!(head[0], 0, "a framebuffer update is expected");
        for _ in 0..u16::from_be_bytes([head[2], head[3]]) {
            let rectangle = take(&mut stream, 12);
            let [x, y, w, h] =
                [0, 2, 4, 6].map(|at| usize::from(u16::from_be_bytes([rectangle[at], rectangle[at + 1]])));
            for row in 0..h {
                let start = ((y + row) * usize::from(width) + x) * 4;
                let bytes = take(&mut stream, w * 4);
                pixels[start..start + w * 4].copy_from_slice(&bytes);
            }
            filled += w * h * 4;
        }
    }
    (width, height, pixels)
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
    let vm = Running::start(&folder, &["--set", "decodo_port=10001"]);

    // The agent has seen the X server, the window manager, the VNC server and the web page, and its boot parameter.
    let health = ureq::get(&vm.place("oauth-agent")).call().unwrap().into_body().read_to_string().unwrap();
    let health: serde_json::Value = serde_json::from_str(&health).unwrap();
    assert_eq!(health["parameters"]["decodo_port"], "10001", "{health:#}");
    assert!(health.to_string().contains("10.0.2.15") && health.to_string().contains("dhcp"), "{health:#}");

    let (width, height, pixels) = screen(&vm.place("vnc"));
    assert_eq!((width, height), (1280, 800));
    assert!(colours(&pixels, 4) > 50, "the screen is blank: {} colours", colours(&pixels, 4));

    let shot = images.join("desktop.png");
    let profile = tempfile::tempdir().unwrap();
    let page = vm.place("desktop") + "?autoconnect=true&resize=scale";
    let mut chromium = Command::new("chromium");
    chromium
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
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
