//! Whether one more VM fits. Pure.

use super::problem::Problem;
use crate::values::ByteSize;
use axum::http::StatusCode;
use std::fs;

/// What may run at once.
#[derive(Debug, Clone)]
pub struct Limits {
    /// VMs.
    pub vms: usize,
    /// VMs of one user.
    pub vms_per_user: usize,
    /// Memory of all VMs; None: what the host has to spare at the start.
    pub memory: Option<ByteSize>,
    /// Processors of all VMs; None: four for each of the host's.
    pub cpus: Option<u32>,
    /// Launches that are not ready yet.
    pub starts: usize,
    /// VMs that wait for their turn to be launched.
    pub queue: usize,
}

/// What runs already, or waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Load {
    /// VMs.
    pub vms: usize,
    /// VMs of the user who asks.
    pub of_user: usize,
    /// Their memory.
    pub memory: u64,
    /// Their processors.
    pub cpus: u32,
    /// Those that wait for their turn.
    pub queued: usize,
}

/// When it is worth asking again: a VM that is in the way must be ended, or a launch become ready.
const AGAIN: u32 = 30;
const SOON: u32 = 5;
/// How many guest processors share one of the host's.
const SHARED: u32 = 4;

impl Limits {
    /// Whether a VM of so much memory and so many processors fits beside the load.
    pub fn admit(&self, load: &Load, user: Option<&str>, memory: u64, cpus: u8) -> Result<(), Problem> {
        let (most_memory, most_cpus) = (self.memory.unwrap_or(ByteSize(u64::MAX)).0, self.cpus.unwrap_or(u32::MAX));
        if memory > most_memory {
            let detail =
                format!("{} is more than all VMs together may have, {}", ByteSize(memory), ByteSize(most_memory));
            return Err(Problem::value("/memory", detail));
        }
        if u32::from(cpus) > most_cpus {
            return Err(Problem::value("/cpus", format!("all VMs together may have {most_cpus} processors")));
        }
        let full = |kind, seconds, detail| Err(Problem::full(StatusCode::SERVICE_UNAVAILABLE, kind, seconds, detail));
        if user.is_some() && load.of_user >= self.vms_per_user {
            let detail = format!("{} has {} VMs; more are not allowed", user.unwrap_or_default(), load.of_user);
            return Err(Problem::full(StatusCode::TOO_MANY_REQUESTS, "user-quota", AGAIN, detail));
        }
        if load.vms >= self.vms {
            return full("quota", AGAIN, format!("{} VMs are there; more are not allowed", load.vms));
        }
        if load.memory.saturating_add(memory) > most_memory {
            let (used, most) = (ByteSize(load.memory), ByteSize(most_memory));
            return full("memory", AGAIN, format!("{} do not fit beside {used} of {most}", ByteSize(memory)));
        }
        if load.cpus + u32::from(cpus) > most_cpus {
            return full("cpus", AGAIN, format!("{cpus} processors do not fit beside {} of {most_cpus}", load.cpus));
        }
        if load.queued >= self.queue {
            return full("queue", SOON, format!("{} VMs wait to be launched; no more may wait", load.queued));
        }
        Ok(())
    }

    /// Fills in what the host decides. `held` is the memory of VMs that run already: it is not available, but theirs.
    pub fn settle(&mut self, held: u64) {
        let available = available(&fs::read_to_string("/proc/meminfo").unwrap_or_default());
        self.memory = self.memory.or_else(|| Some(ByteSize(available?.saturating_add(held))));
        let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
        self.cpus = self.cpus.or(Some(cores * SHARED));
    }
}

/// Bytes that can be had without swapping. Source: proc(5), `/proc/meminfo`, `MemAvailable`.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const G: u64 = 1 << 30;

    fn limits() -> Limits {
        Limits { vms: 4, vms_per_user: 2, memory: Some(ByteSize(4 * G)), cpus: Some(8), starts: 1, queue: 2 }
    }

    #[test]
    fn each_limit_has_its_own_refusal() {
        let load = Load { vms: 2, of_user: 1, memory: 2 * G, cpus: 4, queued: 0 };
        let refusal = |load: &Load, memory, cpus| {
            let problem = limits().admit(load, Some("ann"), memory, cpus).err()?;
            Some((problem.status, problem.kind, problem.retry_after.is_some()))
        };
        let refused = |status, kind, again| Some((status, kind, again));
        assert_eq!(refusal(&load, G, 2), None);
        assert_eq!(refusal(&load, 2 * G, 4), None);
        assert_eq!(refusal(&Load { of_user: 2, ..load.clone() }, G, 2), refused(429, "user-quota", true));
        assert_eq!(refusal(&Load { vms: 4, ..load.clone() }, G, 2), refused(503, "quota", true));
        assert_eq!(refusal(&load, 3 * G, 2), refused(503, "memory", true));
        assert_eq!(refusal(&load, G, 5), refused(503, "cpus", true));
        assert_eq!(refusal(&Load { queued: 2, ..load.clone() }, G, 2), refused(503, "queue", true));
        // What never fits is the request's fault.
        assert_eq!(refusal(&load, 5 * G, 2), refused(422, "value", false));
        assert_eq!(refusal(&load, G, 9), refused(422, "value", false));
    }

    #[test]
    fn the_hosts_memory_is_read() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), Some(2 << 20));
        assert_eq!(available("MemAvailable: much\n"), None);
    }
}
