//! What others say to goldsmith and to its agent: guests, clients, VMMs, the kernel. The first byte says who.
#![no_main]
#![allow(dead_code, reason = "the agent is a program: its modules are taken in as they are, and only readers are called")]

use goldsmith::launch::{self, fuzz};
use goldsmith::launch::host::frame;
use goldsmith_fuzz::choices::Choices;
use goldsmith::manifest::Probe;
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex};

#[path = "../../agent/src/check.rs"]
mod check;
#[path = "../../agent/src/cmdline.rs"]
mod cmdline;
#[path = "../../agent/src/health.rs"]
mod health;
#[path = "../../agent/src/http.rs"]
mod http;
#[path = "../../agent/src/json.rs"]
mod json;
#[path = "../../agent/src/netlink.rs"]
mod netlink;
#[path = "../../agent/src/network.rs"]
mod network;
#[path = "../../agent/src/notify.rs"]
mod notify;
#[path = "../../agent/src/options.rs"]
mod options;
#[path = "../../agent/src/server.rs"]
mod server;
#[path = "../../agent/src/x11.rs"]
mod x11;

type Reader = fn(&[u8]);

/// New ones go to the end: the corpus knows them by number.
const READERS: &[Reader] = &[
    |bytes| drop((frame::read(bytes).map(|said| (said.to_string(), said.claim())), frame::source(bytes))),
    dhcp,
    goldsmith::serve::fuzz::head,
    goldsmith::serve::fuzz::body,
    fuzz::netlink,
    fuzz::qmp,
    fuzz::firecracker,
    |bytes| fuzz::tables(&String::from_utf8_lossy(bytes)),
    console,
    |bytes| drop(http::read(&mut Said(bytes))),
    |bytes| drop(cmdline::value(&String::from_utf8_lossy(bytes), "decodo_port")),
    agent_netlink,
    |bytes| _ = x11::screen(bytes),
    |bytes| drop(options::parse(String::from_utf8_lossy(bytes).split('\n').map(str::to_owned))),
    probe,
];

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else { return };
    READERS[usize::from(*choice) % READERS.len()](rest);
});

/// A DHCP message in sound frames: what is in it is the input.
fn dhcp(payload: &[u8]) {
    let payload = payload.get(..1400).unwrap_or(payload);
    let mut message = vec![2, 1, 6, 0, 0, 0, 0, 7, 0, 0, 0, 0];
    message.resize(236, 0);
    message.extend([99, 130, 83, 99]);
    message.extend(payload);
    let short = |number: usize| (number as u16).to_be_bytes();
    let mut bytes = vec![0; 12];
    bytes.extend([8, 0, 0x45, 0]);
    bytes.extend(short(28 + message.len()));
    bytes.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 255, 255, 255, 255]);
    bytes.extend([0, 67, 0, 68]);
    bytes.extend(short(8 + message.len()));
    bytes.extend([0, 0]);
    bytes.extend(message);
    let _ = frame::read(&bytes).map(|said| said.to_string());
}

/// What a guest printed, and frames with it.
fn console(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let text = String::from_utf8_lossy(choices.bytes());
    let said = std::iter::from_fn(|| Some(choices.bytes()).filter(|frame| !frame.is_empty())).take(16);
    let said = said.filter_map(frame::read).collect();
    fuzz::symptoms(&text, said);
}

struct Said<'a>(&'a [u8]);

impl std::io::Read for Said<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(into)
    }
}

impl http::Timed for Said<'_> {
    fn limit(&self, _: std::time::Duration) -> std::io::Result<()> {
        Ok(())
    }
}

fn agent_netlink(mut bytes: &[u8]) {
    while let Some((_, body, rest)) = netlink::split_message(bytes) {
        let _ = (netlink::address(body), netlink::default_route(body));
        bytes = rest;
    }
}

/// A service that answers a probe with the input.
fn probe(bytes: &[u8]) {
    static SERVICE: LazyLock<(SocketAddr, Mutex<Sender<Vec<u8>>>)> = LazyLock::new(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("a port");
        let (send, answers) = channel::<Vec<u8>>();
        std::thread::spawn(move || {
            for answer in answers {
                if let Ok((mut client, _)) = listener.accept() {
                    let _ = client.write_all(&answer);
                    let _ = client.shutdown(std::net::Shutdown::Write);
                    // What was asked is read, so that the end is no reset.
                    let _ = client.set_read_timeout(Some(std::time::Duration::from_millis(200)));
                    let _ = std::io::copy(&mut std::io::Read::take(&client, 1 << 16), &mut std::io::sink());
                }
            }
        });
        (at, Mutex::new(send))
    });
    let Some((kind, answer)) = bytes.split_first() else { return };
    let probe: Probe = serde_json::from_value(match kind % 2 {
        0 => json!({ "name": "a", "timeout_seconds": 1, "http": { "port": 80, "path": "/" } }),
        _ => json!({ "name": "a", "timeout_seconds": 1, "tcp": { "port": 80, "banner": "SSH-2.0" } }),
    })
    .expect("a probe");
    let (at, send) = &*SERVICE;
    send.lock().expect("a service").send(answer.to_vec()).expect("a service");
    let _ = launch::ask(&probe.check, *at).map_err(|failure| failure.to_string());
}
