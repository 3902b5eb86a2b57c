//! How much of the machine a command may take, and what ends it when it takes more.
//!
//! Where this process may make a control group, the kernel counts memory and processes (version 2 or 1 of the interface);
//! elsewhere the processes are looked at four times a second. Source: cgroups(7), kernel
//! `Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/{memory,pids}.rst`.

use rustix::fs::statvfs;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What one command may take. The limits are generous: they are there for what never ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory of all its processes together, `/tmp` and `/dev/shm` included.
    pub memory: u64,
    /// Processes and threads at once.
    pub processes: u64,
    /// From start to end.
    pub time: Duration,
}

impl Limits {
    /// The limit of one kind: seconds, bytes or processes.
    pub(super) fn of(&self, excess: Excess) -> u64 {
        match excess {
            Excess::Time => self.time.as_secs(),
            Excess::Memory => self.memory,
            Excess::Processes => self.processes,
            Excess::Disk => RESERVE,
        }
    }
}

impl Default for Limits {
    /// Three quarters of the machine's memory, 1024 processes, two hours.
    fn default() -> Self {
        Self { memory: machine_memory() / 4 * 3, processes: 1024, time: Duration::from_secs(2 * 3600) }
    }
}

/// The machine's memory in bytes; 4 GiB where it does not say.
fn machine_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    kibibytes.map_or(4 << 30, |count: u64| count.saturating_mul(1024))
}

/// What a command had too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Excess {
    /// [`Limits::time`].
    Time,
    /// [`Limits::memory`].
    Memory,
    /// [`Limits::processes`].
    Processes,
    /// The disk under the tree: less than [`RESERVE`] was left.
    Disk,
}

/// What is left of the disk, at the least; of a small one, a part.
const RESERVE: u64 = 256 << 20;
const PART: u64 = 64;

/// Bounds that the kernel keeps for each process: no core dump (a host's handler would read it), no more processes for one
/// user than for all.
pub(super) fn bound(limits: &Limits) -> io::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none)?;
    let most = getrlimit(Resource::Nproc).maximum.map_or(limits.processes, |most| most.min(limits.processes));
    Ok(setrlimit(Resource::Nproc, Rlimit { current: Some(most), maximum: Some(most) })?)
}

/// Watches a command from outside.
pub(super) struct Watch<'a> {
    limits: Limits,
    tree: &'a Path,
    group: Option<Group>,
    namespace: PathBuf,
}

impl<'a> Watch<'a> {
    /// Puts process 1 of the sandbox, which waits to be let go, under watch.
    pub fn begin(limits: Limits, tree: &'a Path, process: u32) -> Self {
        let group = Group::make(&limits, process);
        let namespace = fs::read_link(format!("/proc/{process}/ns/pid")).unwrap_or_default();
        Self { limits, tree, group, namespace }
    }

    /// What there is too much of now, after this long.
    pub fn excess(&self, elapsed: Duration) -> Option<Excess> {
        let bytes = |blocks: u64, size: u64| blocks.saturating_mul(size);
        let full = statvfs(self.tree).is_ok_and(|disk| {
            bytes(disk.f_bavail, disk.f_frsize) < RESERVE.min(bytes(disk.f_blocks, disk.f_frsize) / PART)
        });
        if elapsed >= self.limits.time {
            return Some(Excess::Time);
        }
        if full {
            return Some(Excess::Disk);
        }
        if self.group.is_some() { None } else { self.counted() }
    }

    /// What the kernel ended it for. The group is gone afterwards.
    pub fn end(self) -> Option<Excess> {
        let group = self.group?;
        group.starved().then_some(Excess::Memory)
    }

    /// Adds up the processes of the sandbox; what they share is bounded by the sizes of its tmpfs mounts.
    fn counted(&self) -> Option<Excess> {
        let processes = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
        let ours = processes.filter(|path| fs::read_link(path.join("ns/pid")).is_ok_and(|ns| ns == self.namespace));
        let (mut count, mut memory) = (0, 0_u64);
        for process in ours {
            let status = fs::read_to_string(process.join("status")).unwrap_or_default();
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name))?;
                line.split_whitespace().next()?.parse::<u64>().ok()
            };
            count += field("Threads:").unwrap_or(1);
            memory = memory.saturating_add(field("RssAnon:").unwrap_or(0).saturating_mul(1024));
        }
        if memory > self.limits.memory {
            return Some(Excess::Memory);
        }
        (count > self.limits.processes).then_some(Excess::Processes)
    }
}

/// A control group in each hierarchy that counts memory and processes. Removed when dropped; what a killed build left is
/// removed by [`sweep`].
struct Group {
    folders: Vec<PathBuf>,
}

/// Names of groups begin so; the rest is the process that made them.
const PREFIX: &str = "goldsmith-";

impl Group {
    /// None where this process may not: in most containers, and for ordinary users.
    fn make(limits: &Limits, process: u32) -> Option<Self> {
        let group = Self {
            folders: hierarchies()?
                .iter()
                .map(|folder| folder.join(format!("{PREFIX}{}", std::process::id())))
                .collect(),
        };
        group.fill(limits, process).ok().map(|()| group)
    }

    fn fill(&self, limits: &Limits, process: u32) -> io::Result<()> {
        let set = |folder: &Path, file: &str, value: &str| fs::write(folder.join(file), value);
        for folder in &self.folders {
            // That of an earlier process of this number.
            let _ = fs::remove_dir(folder);
            fs::create_dir(folder)?;
            let memory = limits.memory.to_string();
            if folder.join("memory.max").exists() {
                set(folder, "memory.max", &memory)?;
                let _ = set(folder, "memory.oom.group", "1");
                let _ = set(folder, "memory.swap.max", "0");
            } else if folder.join("memory.limit_in_bytes").exists() {
                set(folder, "memory.limit_in_bytes", &memory)?;
            }
            if folder.join("pids.max").exists() {
                set(folder, "pids.max", &limits.processes.to_string())?;
            }
            set(folder, "cgroup.procs", &process.to_string())?;
        }
        Ok(())
    }

    /// Whether the kernel killed a process for want of memory. Source: `memory.events` (v2), `memory.oom_control` (v1).
    fn starved(&self) -> bool {
        let files = self
            .folders
            .iter()
            .flat_map(|folder| ["memory.events", "memory.oom_control"].map(|file| folder.join(file)));
        let text: String = files.filter_map(|file| fs::read_to_string(file).ok()).collect();
        text.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count.trim() != "0")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for folder in &self.folders {
            // The last process may still be on its way out.
            for _ in 0..100 {
                match fs::remove_dir(folder) {
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    _ => break,
                }
            }
        }
    }
}

/// Removes the empty groups of builds that are no more. (A group with processes cannot be removed.)
pub fn sweep() {
    let folders = hierarchies().unwrap_or_default();
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    for path in entries.map(|entry| entry.path()) {
        let maker = path.file_name().and_then(|name| name.to_str()?.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if maker.is_some_and(|maker| !Path::new("/proc").join(maker.to_string()).exists()) {
            let _ = fs::remove_dir(path);
        }
    }
}

/// The folders in which groups that count memory and processes are made: one for both (version 2), or one each.
fn hierarchies() -> Option<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mounted = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let place = PathBuf::from(left.split(' ').nth(4)?);
        let mut right = right.split(' ');
        Some((place, right.next()?.to_owned(), right.nth(1)?.to_owned()))
    };
    let mounts: Vec<_> = mounts.lines().filter_map(mounted).collect();
    let one = |controller: &str| {
        let has = |options: &str| options.split(',').any(|option| option == controller);
        mounts.iter().find(|(_, kind, options)| kind == "cgroup" && has(options)).map(|(place, ..)| place.clone())
    };
    let unified = mounts.iter().find(|(_, kind, _)| kind == "cgroup2").map(|(place, ..)| place.clone());
    match (unified, one("memory"), one("pids")) {
        (Some(unified), None, None) => {
            // Controllers count in a group only when its parent hands them on.
            let _ = fs::write(unified.join("cgroup.subtree_control"), "+memory +pids");
            let handed = fs::read_to_string(unified.join("cgroup.subtree_control")).unwrap_or_default();
            handed.split_whitespace().any(|name| name == "memory").then(|| vec![unified])
        }
        (_, Some(memory), Some(pids)) if memory != pids => Some(vec![memory, pids]),
        (_, Some(memory), _) => Some(vec![memory]),
        _ => None,
    }
}
