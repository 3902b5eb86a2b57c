//! One broken VM: the launch, and what its report must say.

use super::common::lab::{Dhcp, Lab};
use super::common::{self, goldsmith, need, recipes, repository, succeed};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a guest that will never be ready is given, in seconds, unless this machine has turned out to be too slow for that.
static PATIENCE: AtomicU64 = AtomicU64::new(15);
/// For guests whose fault takes its time to show: the kernel believes in a neighbour for some seconds, and a connection that
/// nobody answers is given up after ten.
pub const LONG: u64 = 30;
/// For launches that must end by themselves.
pub const FOR_EVER: u64 = 3600;
/// How long anything is waited for.
const DEADLINE: Duration = Duration::from_secs(600);

/// What is broken, and what the report must say. Words must be in the field in which they are looked for.
pub struct Case {
    pub image: &'static str,
    pub network: &'static str,
    pub append: &'static str,
    pub arguments: &'static [&'static str],
    /// How long the guest is given at least.
    pub patience: u64,
    /// What is done to the host before the launch.
    pub before: Option<fn(&Lab)>,
    /// What is done once the gate is past and the guest's kernel has spoken.
    pub meanwhile: Option<fn(&Lab)>,
    pub layer: &'static str,
    pub rule: Option<&'static str>,
    pub message: &'static [&'static str],
    pub help: &'static str,
    pub exchange: &'static [&'static str],
    /// Nothing in the exchange has these words.
    pub unsaid: &'static [&'static str],
    pub bridge: &'static [&'static str],
    pub console: &'static [&'static str],
}

pub const CASE: Case = Case {
    image: "broken",
    network: "bridge=br0",
    append: "",
    arguments: &[],
    patience: 0,
    before: None,
    meanwhile: None,
    layer: "",
    rule: None,
    message: &[],
    help: "",
    exchange: &[],
    unsaid: &[],
    bridge: &[],
    console: &[],
};

impl Case {
    /// Launches until the report says what it must. The guest is given twice the time each time, because one that has not come
    /// far enough is rightly told to be somewhere else.
    #[track_caller]
    pub fn holds(&self) {
        let mut patience = PATIENCE.load(Ordering::Relaxed).max(self.patience);
        while let Err(differs) = self.compare(&self.launch(patience)) {
            assert!(patience < DEADLINE.as_secs() / 2, "{differs}");
            patience *= 2;
        }
        if self.patience == 0 {
            PATIENCE.fetch_max(patience, Ordering::Relaxed);
        }
    }

    /// The report of one launch.
    fn launch(&self, patience: u64) -> Value {
        let lab = Lab::new(Dhcp::Served);
        if let Some(before) = self.before {
            before(&lab);
        }
        let mut command = lab.command(env!("CARGO_BIN_EXE_goldsmith"));
        command.env("GOLDSMITH_STATE", lab.folder().join("state")).env("NO_COLOR", "1");
        command.args(["launch", "--accel", "emulation", "--memory", "512M", "--cpus", "1"]);
        command.args(["--format", "json", "--quiet", "--network", self.network, "--append", self.append]);
        command.args(["--stop-after-ready", "--timeout", &format!("{patience}s")]);
        command.args(self.arguments).arg(if self.image == "broken" { broken() } else { common::image(self.image) });
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        if let Some(meanwhile) = self.meanwhile {
            let spoken = || {
                std::fs::read_to_string(vm(&lab).join("console.log")).is_ok_and(|text| text.contains("Linux version"))
            };
            wait_until("the guest's kernel speaks", || spoken() || child.try_wait().unwrap().is_some());
            meanwhile(&lab);
        }
        wait_until("the launch ends", || child.try_wait().unwrap().is_some());
        let output = child.wait_with_output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{out}\n{err}");
        println!("{}: {err}", self.append);
        let left: Vec<_> = std::fs::read_dir(lab.folder().join("state/vms")).unwrap().collect();
        assert!(left.is_empty(), "folders are left: {left:?}");
        serde_json::from_str(&out).unwrap()
    }

    fn compare(&self, report: &Value) -> Result<(), String> {
        let diagnosis = &report["diagnosis"];
        let fail = |what: &str| Err(format!("{what}:\n{report:#}"));
        if diagnosis["layer"] != self.layer || diagnosis["rule"] != serde_json::json!(self.rule) {
            return fail(&format!("not {} by {:?}", self.layer, self.rule));
        }
        let text = |field: &str| match &diagnosis[field] {
            Value::String(text) => text.clone(),
            lines => lines.as_array().unwrap().iter().map(|line| format!("{}\n", line.as_str().unwrap())).collect(),
        };
        for (field, words) in [
            ("message", self.message),
            ("help", &[self.help]),
            ("exchange", self.exchange),
            ("bridge", self.bridge),
            ("console", self.console),
        ] {
            if let Some(word) = words.iter().find(|word| !text(field).contains(*word)) {
                return fail(&format!("no {word:?} in {field}"));
            }
        }
        match self.unsaid.iter().find(|word| text("exchange").contains(*word)) {
            Some(word) => fail(&format!("{word:?} was said")),
            None => Ok(()),
        }
    }
}

/// The image with all the breaks.
fn broken() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        need("qemu-system-x86_64", "apt-get install qemu-system-x86");
        let copy = recipes().join("tests/layers");
        succeed(Command::new("mkdir").arg("-p").arg(&copy));
        succeed(Command::new("cp").arg("-a").arg(repository().join("tests/layers/.")).arg(&copy));
        let images = recipes().join("images");
        succeed(goldsmith().arg("build").arg(copy.join("broken.yaml")).arg("--output").arg(&images));
        images.join("broken")
    };
    BUILT.get_or_init(build).clone()
}

/// The VM's folder.
pub fn vm(lab: &Lab) -> PathBuf {
    let vms = lab.folder().join("state/vms");
    let first = std::fs::read_dir(&vms).ok().and_then(|mut entries| entries.next());
    first.map_or(vms, |entry| entry.unwrap().path())
}

#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < DEADLINE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs a command line in the lab.
pub fn run(lab: &Lab, line: &str) {
    let mut words = line.split(' ');
    succeed(lab.command(words.next().unwrap()).args(words));
}
