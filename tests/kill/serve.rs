//! `goldsmith serve`, killed: VMs that were ready go on, the others end, and the next server finds just those.

use crate::common::host::Host;
use crate::common::succeed;
use crate::common::workshop::names;
use crate::victim::{Point, Tally, Victim};
use crate::{alone, dice, kills};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long launches that end with their server may take to clean up.
const PATIENCE: Duration = Duration::from_secs(15);

fn serve(host: &Host, network: &str) -> Command {
    let mut command = host.goldsmith("serve --accel emulation --disk overlay");
    command.args(["--network", network, "--socket"]).arg(host.lab.folder().join("socket"));
    let image = crate::common::image("minimal");
    command.arg("--images").arg(format!("minimal={}", image.display()));
    command
}

/// One request; none when the server is gone before it has answered.
fn ask(host: &Host, method: &str, path: &str, body: &str) -> Option<Value> {
    let token = std::fs::read_to_string(host.lab.folder().join("state/serve/token")).ok()?;
    let mut stream = UnixStream::connect(host.lab.folder().join("socket")).ok()?;
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        token.trim(),
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

/// The VMs that `ps` lists, by name.
fn vms(host: &Host) -> Vec<(String, bool)> {
    let document = succeed(&mut host.goldsmith("ps --format json")).stdout;
    let document: Value = serde_json::from_slice(&document).unwrap();
    let vm = |vm: &Value| (vm["name"].as_str().unwrap().to_owned(), vm["ready"] == true);
    let mut all: Vec<_> = document["vms"].as_array().unwrap().iter().map(vm).collect();
    all.sort();
    all
}

/// What the killed server and its launches have left that is not of a VM which was ready.
fn left(host: &Host) -> Vec<String> {
    let folder = host.lab.folder();
    let known: Vec<_> = vms(host).into_iter().filter(|(_, ready)| *ready).map(|(name, _)| name).collect();
    let vms = names(&folder.join("state/vms")).into_iter().filter(|name| !known.contains(name));
    vms.chain(names(&folder.join("tmp"))).collect()
}

/// The next server starts, and knows exactly the VMs that go on; then everything is ended.
fn check(host: &Host, network: &str, what: &str) {
    let started = Instant::now();
    while !left(host).is_empty() && started.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(left(host), [""; 0], "{what}");
    let mut next = Victim::start(&mut serve(host, network));
    assert!(next.hears("VMs run on"), "{what}: {:#?}", next.said());
    let answer = ask(host, "GET", "/vms", "").unwrap();
    let listed = answer["vms"].as_array().unwrap();
    let mut ids: Vec<_> = listed.iter().map(|vm| vm["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    let running: Vec<_> = vms(host).into_iter().map(|(name, _)| name).collect();
    assert_eq!(ids, running, "{what}");
    let mut tickets = names(&host.lab.folder().join("state/serve/vms"));
    tickets.sort();
    assert_eq!(tickets, ids.iter().map(|id| format!("{id}.json")).collect::<Vec<_>>(), "{what}");
    succeed(&mut host.goldsmith("stop --all --timeout 0s"));
    assert!(next.kill_inner());
    succeed(&mut host.goldsmith("ps"));
    host.assert_as_before();
}

/// Kills a server: while it starts, or after it was asked for VMs.
fn kill_one(host: &Host, network: &str, vms: usize, later: Duration) -> Option<String> {
    let mut victim = Victim::start(&mut serve(host, network));
    if vms == 0 {
        victim.wait_for(Point::after(later));
    } else {
        assert!(victim.hears("VMs run on"), "{:#?}", victim.said());
        let order = json!({ "image": "minimal", "memory": "256M", "cpus": 1 }).to_string();
        std::thread::scope(|scope| {
            for _ in 0..vms {
                scope.spawn(|| ask(host, "POST", "/vms", &order));
            }
            std::thread::sleep(later);
        });
    }
    let states: Vec<_> = if vms == 0 {
        vec![victim.stage()]
    } else {
        let answer = ask(host, "GET", "/vms", "").unwrap_or_default();
        let states = answer["vms"].as_array().into_iter().flatten();
        states.map(|vm| vm["state"].as_str().unwrap_or("?").to_owned()).collect()
    };
    let killed = victim.kill_inner();
    let what = format!("{network}, {vms} VMs, after {later:?}: {states:?}");
    check(host, network, &what);
    killed.then(|| states.first().cloned().unwrap_or_else(|| "request".to_owned()))
}

fn kill_servers(many: usize, tally: &mut Tally) {
    let (mut dice, host) = (dice(), Host::new());
    // Its image is built first.
    let mut command = serve(&host, "user");
    let started = Instant::now();
    let mut first = Victim::start(&mut command);
    assert!(first.hears("VMs run on"));
    let start = started.elapsed();
    assert!(first.kill_inner());
    while tally.all() < many {
        let network = dice.one(&["user", "managed"]);
        let stage = match dice.below(10) {
            0..=3 => {
                // The token is made anew, too.
                let _ = std::fs::remove_file(host.lab.folder().join("state/serve/token"));
                let later = dice.within(start);
                kill_one(&host, network, 0, later)
            }
            4..=8 => {
                let (vms, later) = (1 + dice.below(2), dice.within(Duration::from_millis(2500)));
                kill_one(&host, network, vms, later)
            }
            _ => {
                let later = dice.within(Duration::from_secs(25));
                kill_one(&host, network, 1, later)
            }
        };
        if let Some(stage) = stage {
            tally.count(stage);
        }
    }
}

#[test]
#[ignore = "takes long: make kill"]
fn servers() {
    let (_alone, mut tally) = (alone(), Tally::default());
    kill_servers(kills(), &mut tally);
    tally.print("serve");
}
