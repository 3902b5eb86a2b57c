//! What goldsmith costs a control plane: latency of `goldsmith serve` and memory with many VMs at once, and what a launch
//! takes until its VMM runs. `benches/serve` runs it.
//!
//! Usage: serve GOLDSMITH IMAGE-FOLDER STATE-FOLDER [VMS], as root, in a network namespace with nothing else in it; without
//! VMs only launches are measured.
//!
//! Most VMs are run by a VMM that only speaks Firecracker's API, which is this program too (`vmm`); some are real.

mod vmm;

use goldsmith::launch::Line;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How many real VMs are launched at once: as many as two processors emulate in a minute.
const REAL: usize = 4;
/// How often each VM is looked at once it is ready.
const LOOKS: usize = 20;
/// How long a VM may take to be ready.
const PATIENCE: Duration = Duration::from_secs(300);
/// How many launches are measured one after the other.
const LAUNCHES: usize = 5;
/// What the stages before the guest runs may take together, and the memory of a VM in the server.
const TARGETS: (f64, f64) = (150.0, 1000.0);
/// The stages of a launch before the guest runs.
const STAGES: [&str; 4] = ["network", "gate", "disk", "start"];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--version"] => println!("Firecracker v1.16.0"),
        ["--id", _, "--api-sock", api] => return vmm::run(api),
        [tool, image, state] => return bench(&Tool::new(tool, image, state)?, 50),
        [tool, image, state, count] => return bench(&Tool::new(tool, image, state)?, count.parse()?),
        _ => return Err("usage: serve GOLDSMITH IMAGE-FOLDER STATE-FOLDER [VMS]".into()),
    }
    Ok(())
}

/// What runs VMs.
#[derive(Clone, Copy)]
enum Runs {
    /// The stand-in.
    StandIn,
    /// QEMU, emulating.
    Qemu,
}

impl Runs {
    fn options(self) -> [&'static str; 2] {
        match self {
            Self::StandIn => ["--vmm", "firecracker"],
            Self::Qemu => ["--accel", "emulation"],
        }
    }
}

struct Tool {
    program: PathBuf,
    image: PathBuf,
    state: PathBuf,
    path: String,
}

impl Tool {
    /// Puts a `firecracker` that is this program in front of all others.
    fn new(program: &str, image: &str, state: &str) -> Result<Self> {
        let state = PathBuf::from(state);
        let programs = state.join("programs");
        fs::create_dir_all(&programs)?;
        std::os::unix::fs::symlink(std::env::current_exe()?, programs.join("firecracker"))?;
        let path = format!("{}:{}", programs.display(), std::env::var("PATH")?);
        Ok(Self { program: program.into(), image: image.into(), state, path })
    }

    fn command(&self, verb: &str, runs: Runs, network: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env("GOLDSMITH_STATE", &self.state).env("PATH", &self.path);
        command.arg(verb).args(runs.options()).args(["--network", network]).stdout(Stdio::piped());
        command
    }
}

fn bench(tool: &Tool, count: usize) -> Result<()> {
    for (runs, network, what) in [
        (Runs::Qemu, "user", "QEMU, user networking"),
        (Runs::Qemu, "managed", "QEMU, managed network"),
        (Runs::StandIn, "managed", "a VMM that only speaks the API, managed network"),
    ] {
        overhead(tool, runs, network, what)?;
    }
    if count == 0 {
        return Ok(());
    }
    served(tool, Runs::StandIn, count, "VMs that only speak the protocol")?;
    served(tool, Runs::Qemu, REAL.min(count), "real VMs, emulated")
}

/// What passes before a guest runs, by the stages of launches one after the other. All but the first know the image.
fn overhead(tool: &Tool, runs: Runs, network: &str, what: &str) -> Result<()> {
    println!("launches of {}: {what}, ms until the guest runs", tool.image.display());
    let mut sums = Vec::new();
    for launch in 0..=LAUNCHES {
        let mut process = tool.command("launch", runs, network).args(["--format", "lines"]).arg(&tool.image).spawn()?;
        let stages = stages(&mut process);
        let id = rustix::process::Pid::from_child(&process);
        rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        process.wait()?;
        let stages = stages?;
        let sum: f64 = stages.iter().map(|(_, ms)| ms).sum();
        let parts: Vec<_> = stages.iter().map(|(name, ms)| format!("{name} {ms:.0}")).collect();
        println!("  {sum:>5.0}  = {}{}", parts.join(" + "), if launch == 0 { " (not counted)" } else { "" });
        if launch > 0 {
            sums.push(sum);
        }
    }
    println!("  {:>5.0}  median (target: under {})", percentile(&mut sums, 50), TARGETS.0);
    Ok(())
}

fn stages(launch: &mut Child) -> Result<Vec<(String, f64)>> {
    let mut stages = Vec::new();
    for line in BufReader::new(launch.stdout.take().ok_or("no output")?).lines() {
        match serde_json::from_str(&line?)? {
            Line::Stage { name, ms, .. } => stages.push((name, ms)),
            Line::Note(_) | Line::Warning(_) => {}
            line => return Err(format!("{line:?}").into()),
        }
        if stages.last().is_some_and(|(name, _)| name == "start") {
            return Ok(stages);
        }
    }
    Err("the launch has ended".into())
}

/// Milliseconds by request or stage.
type Times = Mutex<BTreeMap<&'static str, Vec<f64>>>;

struct Client<'t> {
    agent: ureq::Agent,
    origin: &'t str,
    token: &'t str,
    times: &'t Times,
}

impl Client<'_> {
    fn note(&self, what: &'static str, ms: f64) -> Result<()> {
        self.times.lock().map_err(|error| error.to_string())?.entry(what).or_default().push(ms);
        Ok(())
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Result<Value> {
        let url = format!("{}{path}", self.origin);
        let token = format!("Bearer {}", self.token);
        let answer = match method {
            "POST" => {
                self.agent.post(&url).header("Authorization", &token).content_type("application/json").send(body)?
            }
            "DELETE" => self.agent.delete(&url).header("Authorization", &token).call()?,
            _ => self.agent.get(&url).header("Authorization", &token).call()?,
        };
        Ok(serde_json::from_str(&answer.into_body().read_to_string()?).unwrap_or_default())
    }

    fn timed(&self, what: &'static str, path: &str, body: &str) -> Result<Value> {
        let from = Instant::now();
        let answer = self.ask(what.split(' ').next().unwrap_or_default(), path, body)?;
        self.note(what, millis(from))?;
        Ok(answer)
    }

    /// Has a VM made, and waits until it is ready.
    fn make(&self) -> Result<String> {
        let from = Instant::now();
        let vm = self.timed("POST /vms", "/vms", &json!({ "image": "image", "memory": "512M" }).to_string())?;
        let id = vm.get("id").and_then(Value::as_str).ok_or("no id")?.to_owned();
        loop {
            let vm = self.ask("GET", &format!("/vms/{id}"), "")?;
            match vm.get("state").and_then(Value::as_str) {
                Some("ready") => {
                    self.note("  until it is ready", millis(from))?;
                    let stage = |name: &&str| vm.pointer(&format!("/stages/{name}")).and_then(Value::as_f64);
                    self.note("  of which its launch", STAGES.iter().filter_map(stage).sum())?;
                    return Ok(id);
                }
                Some("booting") if from.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(20)),
                _ => return Err(vm.to_string().into()),
            }
        }
    }

    fn look(&self, id: &str) -> Result<()> {
        for _ in 0..LOOKS {
            self.timed("GET /vms/{id}", &format!("/vms/{id}"), "")?;
        }
        for (what, path) in [("GET /vms", "/vms"), ("GET /metrics", "/metrics"), ("GET /health", "/health")] {
            self.timed(what, path, "")?;
        }
        Ok(())
    }
}

/// As many clients as VMs ask for them at the same time.
fn served(tool: &Tool, runs: Runs, count: usize, what: &str) -> Result<()> {
    let mut server = tool
        .command("serve", runs, "managed")
        .args(["--listen", "127.0.0.1:0", "--memory-budget", "1T", "--cpu-budget", "1000", "--max-vms", "1000"])
        .args(["--max-queue", "1000", "--stop-vms", "--images"])
        .arg(format!("image={}", tool.image.display()))
        .spawn()?;
    let measured = requests(&mut server, count, what);
    rustix::process::kill_process(rustix::process::Pid::from_child(&server), rustix::process::Signal::TERM)?;
    server.wait()?;
    measured
}

fn requests(server: &mut Child, count: usize, what: &str) -> Result<()> {
    let mut lines = BufReader::new(server.stdout.take().ok_or("no output")?).lines();
    let mut next = |start: &str| -> Result<String> {
        let line = lines.next().ok_or("the server has ended")??;
        Ok(line.strip_prefix(start).ok_or("the server says something else")?.to_owned())
    };
    let (origin, token) = (next("goldsmith serves on ")?, next("token: ")?);
    let token = fs::read_to_string(token)?.trim().to_owned();
    let client = |times| Client { agent: ureq::Agent::new_with_defaults(), origin: &origin, token: &token, times };
    // One VM without being measured: what the server needs at its first request is not the VMs'.
    let first = Times::default();
    let id = client(&first).make()?;
    client(&first).timed("DELETE /vms/{id}", &format!("/vms/{id}"), "")?;
    let (before, times) = (rss(server.id())?, Times::default());
    let from = Instant::now();
    let clients: Vec<_> = (0..count).map(|_| client(&times)).collect();
    let ids = all(clients.iter(), Client::make)?;
    let all_ready = from.elapsed();
    all(clients.iter().zip(&ids), |(client, id)| client.look(id))?;
    let with = rss(server.id())?;
    all(clients.iter().zip(&ids), |(client, id)| {
        client.timed("DELETE /vms/{id}", &format!("/vms/{id}"), "").map(drop)
    })?;

    println!("{count} {what}, asked for at once by as many clients: all ready after {:.1} s", all_ready.as_secs_f64());
    println!("{:22} {:>7} {:>12} {:>12} {:>12}", "request", "count", "p50", "p95", "p99");
    for (what, mut times) in times.into_inner()? {
        let [p50, p95, p99] = [50, 95, 99].map(|part| percentile(&mut times, part));
        println!("{what:22} {:>7} {p50:>9.2} ms {p95:>9.2} ms {p99:>9.2} ms", times.len());
    }
    println!("memory of the server: {before:.1} MB without VMs, {with:.1} MB with {count}");
    println!(
        "  a VM: {:.0} kB (target: under {})",
        (with - before).max(0.0) * 1e3 / f64::from(u32::try_from(count)?),
        TARGETS.1
    );
    Ok(())
}

/// Does something for each at the same time.
fn all<I: Send, T: Send>(each: impl Iterator<Item = I>, work: impl Fn(I) -> Result<T> + Sync) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = each.map(|one| scope.spawn(move || work(one))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a client panicked")?).collect()
    })
}

fn percentile(times: &mut [f64], part: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get((times.len() * part).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}

fn millis(from: Instant) -> f64 {
    from.elapsed().as_secs_f64() * 1e3
}

/// Resident megabytes of a process. Source: proc(5), `VmRSS`.
fn rss(process: u32) -> Result<f64> {
    let status = fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1e3)
}
