//! What `goldsmith serve` costs: latency of its requests and memory with many VMs, against launches that only speak the
//! protocol; then the overhead of real launches, from their own stages. `benches/serve` runs it.
//!
//! Usage: serve GOLDSMITH IMAGE-FOLDER [VMS]
//!
//! The server starts this program too, as `serve launch …`: then it reports what a launch reports, and sleeps.

use goldsmith::launch::{Line, Passed, Ready, Record};
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How many clients ask at once, and how often each VM is looked at.
const CLIENTS: usize = 10;
const LOOKS: usize = 20;
/// How many real launches are measured.
const LAUNCHES: usize = 5;
/// What the stages before the guest runs may take together.
const TARGET_MS: f64 = 150.0;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["launch", options @ ..] => stand_in(options),
        [tool, image] => bench(tool, image, 50),
        [tool, image, count] => bench(tool, image, count.parse()?),
        _ => Err("usage: serve GOLDSMITH IMAGE-FOLDER [VMS]".into()),
    }
}

/// A launch without a machine: its folder, its lock, its record and its report are real.
fn stand_in(options: &[&str]) -> Result<()> {
    let name = options.iter().find_map(|option| option.strip_prefix("--name=")).ok_or("no --name")?;
    let mut signals = Signals::new([SIGTERM])?;
    let root = goldsmith::launch::root()?;
    let all = File::open(&root)?;
    flock(&all, FlockOperation::LockExclusive)?;
    let folder = root.join(name);
    fs::create_dir(&folder)?;
    let lock = File::open(&folder)?;
    flock(&lock, FlockOperation::LockExclusive)?;
    drop(all);
    let print = |line: &Line| println!("{}", serde_json::to_string(line).unwrap_or_default());
    for stage in ["network", "gate", "disk", "start"] {
        print(&Line::Stage { name: stage.to_owned(), summary: String::new(), ms: 1.0 });
    }
    let mut record = record(name);
    record.ready = true;
    fs::write(folder.join("vm.json"), serde_json::to_vec(&record)?)?;
    let probe = Passed { name: "x".into(), place: "x".into(), answer: "x".into(), after_ms: 1 };
    let ready = Ready { name: name.into(), address: record.address, address_after_ms: Some(1), probes: vec![probe] };
    print(&Line::Ready { ready, vm: Box::new(record) });
    signals.forever().next();
    fs::remove_dir_all(&folder)?;
    Ok(())
}

fn record(name: &str) -> Record {
    let value = json!({
        "name": name, "image": "/", "digest": "0".repeat(64), "keep": false, "supervisor": std::process::id(), "vmm": null, "machine": "none", "network": "bridge=none",
        "mac": "52:54:00:00:00:01", "address": "192.0.2.1", "forwards": {}, "args": "", "allowed": {}, "ready": false,
    });
    serde_json::from_value(value).unwrap_or_else(|error| panic!("a record has other fields: {error}"))
}

/// Milliseconds by request.
type Times = Mutex<BTreeMap<&'static str, Vec<f64>>>;

struct Client<'t> {
    agent: ureq::Agent,
    origin: String,
    token: String,
    times: &'t Times,
}

impl Client<'_> {
    fn timed(&self, what: &'static str, path: &str, body: Option<Value>) -> Result<Value> {
        let (url, token) = (format!("{}{path}", self.origin), format!("Bearer {}", self.token));
        let from = Instant::now();
        let answer = match (what.split(' ').next(), body) {
            (Some("POST"), Some(body)) => self
                .agent
                .post(&url)
                .header("Authorization", &token)
                .header("Content-Type", "application/json")
                .send(body.to_string())?,
            (Some("DELETE"), _) => self.agent.delete(&url).header("Authorization", &token).call()?,
            _ => self.agent.get(&url).header("Authorization", &token).call()?,
        };
        let text = answer.into_body().read_to_string()?;
        let took = from.elapsed().as_secs_f64() * 1e3;
        self.times.lock().map_err(|error| error.to_string())?.entry(what).or_default().push(took);
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }
}

fn bench(tool: &str, image: &str, count: u16) -> Result<()> {
    let state = tempfile::tempdir()?;
    let own = std::env::current_exe()?;
    let mut server = Command::new(tool)
        .env("GOLDSMITH_STATE", state.path())
        .args(["serve", "--listen", "127.0.0.1:0", "--memory-budget", "1T", "--cpu-budget", "1000"])
        .args(["--max-starts", "4", "--max-vms", "1000", "--max-queue", "1000", "--images", &format!("image={image}")])
        .arg("--launcher")
        .arg(own)
        .stdout(Stdio::piped())
        .spawn()?;
    let measured = requests(&mut server, count);
    // It has done its work; what it says at its end is nobody's business.
    let _ = server.kill();
    let _ = server.wait();
    measured?;
    overhead(tool, image)
}

fn requests(server: &mut Child, count: u16) -> Result<()> {
    let mut lines = BufReader::new(server.stdout.take().ok_or("no output")?).lines();
    let mut next = |start: &str| -> Result<String> {
        let line = lines.next().ok_or("the server has ended")??;
        Ok(line.strip_prefix(start).ok_or("the server says something else")?.to_owned())
    };
    let (origin, token) = (next("goldsmith serves on ")?, next("token: ")?);
    let token = fs::read_to_string(token)?.trim().to_owned();
    let memory = || rss(server.id());
    // One VM without being measured: what the server needs at its first request is not the VMs'.
    round(&origin, &token, 1, &Times::default(), &|| Ok(()))?;
    let before = memory()?;
    let (times, with) = (Times::default(), Mutex::new(0.0));
    round(&origin, &token, count, &times, &|| {
        *with.lock().map_err(|error| error.to_string())? = memory()?;
        Ok(())
    })?;
    println!(
        "{count} VMs, {CLIENTS} clients at once\n{:22} {:>7} {:>9} {:>9} {:>9}",
        "request", "count", "p50", "p95", "p99"
    );
    for (what, mut times) in times.into_inner()? {
        times.sort_by(f64::total_cmp);
        let at =
            |part: usize| times.get((times.len() * part).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default();
        println!("{what:22} {:>7} {:>6.2} ms {:>6.2} ms {:>6.2} ms", times.len(), at(50), at(95), at(99));
    }
    let with = with.into_inner()?;
    println!("memory of the server: {before:.1} MB without VMs, {with:.1} MB with {count}");
    println!("  a VM: {:.0} kB (target: under 1000)", (with - before).max(0.0) * 1e3 / f64::from(count));
    Ok(())
}

/// All clients create, look at and delete their share of the VMs; `full` is called when all are there.
fn round(origin: &str, token: &str, count: u16, times: &Times, full: &dyn Fn() -> Result<()>) -> Result<()> {
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| Client { agent: ureq::Agent::new_with_defaults(), origin: origin.into(), token: token.into(), times })
        .collect();
    let ids = all(&clients, |client, index| {
        let mut ids = Vec::new();
        for _ in (index..count.into()).step_by(CLIENTS) {
            let vm = client.timed("POST /vms", "/vms", Some(json!({ "image": "image" })))?;
            ids.push(vm.get("id").and_then(Value::as_str).ok_or("no id")?.to_owned());
        }
        for id in &ids {
            for _ in 0..LOOKS {
                client.timed("GET /vms/{id}", &format!("/vms/{id}"), None)?;
            }
            client.timed("GET /vms", "/vms", None)?;
            client.timed("GET /metrics", "/metrics", None)?;
            client.timed("GET /health", "/health", None)?;
        }
        Ok(ids)
    })?;
    full()?;
    all(&clients, |client, index| {
        for id in ids.get(index).into_iter().flatten() {
            client.timed("DELETE /vms/{id}", &format!("/vms/{id}"), None)?;
        }
        Ok(())
    })?;
    Ok(())
}

fn all<T: Send>(clients: &[Client], work: impl Fn(&Client, usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> =
            clients.iter().enumerate().map(|(index, client)| scope.spawn(move || work(client, index))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a client panicked")?).collect()
    })
}

/// Resident megabytes of a process. Source: proc(5), `VmRSS`.
fn rss(process: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1e3)
}

/// What passes before a real guest runs, by the stages of real launches.
fn overhead(tool: &str, image: &str) -> Result<()> {
    println!(
        "{LAUNCHES} real launches of {} until QEMU runs (user networking, emulation), ms",
        Path::new(image).display()
    );
    let state = tempfile::tempdir()?;
    // The first one hashes the image, all later ones know it.
    let first = stages(tool, image, state.path())?;
    println!("  {:>5.0}  = {} (the first, not counted)", first.0, first.1);
    let mut sums = Vec::new();
    for _ in 0..LAUNCHES {
        let (sum, parts) = stages(tool, image, state.path())?;
        println!("  {sum:>5.0}  = {parts}");
        sums.push(sum);
    }
    sums.sort_by(f64::total_cmp);
    println!("  median {:.0} (target: under {TARGET_MS})", sums.get(LAUNCHES / 2).copied().unwrap_or_default());
    Ok(())
}

/// Milliseconds from the start of a launch to its VMM's, and by stage.
fn stages(tool: &str, image: &str, state: &Path) -> Result<(f64, String)> {
    let mut launch = Command::new(tool)
        .env("GOLDSMITH_STATE", state)
        .args(["launch", "--accel", "emulation", "--format", "lines", image])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stages = Vec::new();
    let pipe = launch.stdout.take().ok_or("no output")?;
    for line in BufReader::new(pipe).lines() {
        match serde_json::from_str(&line?)? {
            Line::Stage { name, ms, .. } => stages.push((name, ms)),
            Line::Note(_) | Line::Warning(_) => {}
            line => return Err(format!("{line:?}").into()),
        }
        if stages.last().is_some_and(|(name, _)| name == "start") {
            break;
        }
    }
    let process = rustix::process::Pid::from_child(&launch);
    rustix::process::kill_process(process, rustix::process::Signal::TERM)?;
    launch.wait()?;
    let parts: Vec<_> = stages.iter().map(|(name, ms)| format!("{name} {ms:.0}")).collect();
    Ok((stages.iter().map(|(_, ms)| ms).sum(), parts.join(" + ")))
}
