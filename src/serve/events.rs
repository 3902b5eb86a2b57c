//! What happens to VMs, for whoever listens.

use super::api::{Happened, Vm};
use tokio::sync::broadcast;

/// How far a listener may fall behind.
const BEHIND: usize = 256;

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Counts from 1.
    pub number: u64,
    /// `created`, `ready`, `failed`, `stopped`.
    pub name: &'static str,
    /// Its data.
    pub data: Happened,
}

/// Tells listeners what happens.
#[derive(Debug)]
pub struct Events {
    sender: broadcast::Sender<Event>,
    number: std::sync::atomic::AtomicU64,
}

impl Default for Events {
    fn default() -> Self {
        Self { sender: broadcast::channel(BEHIND).0, number: 0.into() }
    }
}

impl Events {
    /// Tells everybody who listens.
    pub fn tell(&self, name: &'static str, vm: &Vm) {
        let number = self.number.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        // An error means that nobody listens.
        let _ = self.sender.send(Event { number, name, data: Happened { vm: vm.clone() } });
    }

    /// Listens from now on.
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }
}
