//! Who is alive, and whose child it is.

use super::workshop::names;
use std::fs;
use std::path::Path;

/// A process that is alive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its command line, or its name in brackets where it has none.
    pub line: String,
}

impl Process {
    /// Whether it still is.
    pub fn lives(&self) -> bool {
        look(self.pid).is_some_and(|(_, line)| line == self.line)
    }

    /// Ends it. It may have ended by itself meanwhile.
    pub fn kill(&self) -> bool {
        let pid = rustix::process::Pid::from_raw(self.pid.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok()
    }
}

/// Parent and command line of a process that is alive.
fn look(pid: u32) -> Option<(u32, String)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if field("State:")?.starts_with(['Z', 'X']) {
        return None;
    }
    let line = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).ok()?).replace('\0', " ");
    let line = if line.is_empty() { format!("[{}]", field("Name:")?) } else { line };
    Some((field("PPid:")?.parse().ok()?, line))
}

/// Everybody below a process, itself not counted; parents come before their children.
pub fn descendants(root: u32) -> Vec<Process> {
    let processes: Vec<_> = names(Path::new("/proc"))
        .into_iter()
        .filter_map(|name| name.parse().ok())
        .filter_map(|pid| look(pid).map(|(parent, line)| (parent, Process { pid, line })))
        .collect();
    let (mut family, mut at) = (Vec::new(), 0);
    let mut parent = Some(root);
    while let Some(pid) = parent {
        family.extend(processes.iter().filter(|(of, _)| *of == pid).map(|(_, process)| process.clone()));
        parent = family.get(at).map(|process: &Process| process.pid);
        at += 1;
    }
    family
}

/// From now on orphans of this process's descendants are its own children: none gets out of sight.
pub fn adopt_orphans() {
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1)).unwrap();
}
