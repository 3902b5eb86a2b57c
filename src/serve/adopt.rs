//! Taking over the VMs that a former server has started and that still run.

use super::api::State;
use super::fleet::{Entry, Fleet};
use super::ticket::Ticket;
use crate::launch::{self, Process, Running};
use std::path::Path;
use std::sync::Arc;

/// A VM that runs already.
pub struct Orphan {
    ticket: Ticket,
    running: Running,
    process: Process,
}

impl Orphan {
    /// Bytes of memory that it has.
    pub fn memory(&self) -> u64 {
        self.ticket.order.memory
    }
}

/// What a server with this folder has started and still runs, oldest first. Tickets of other VMs are deleted.
pub fn running(folder: &Path) -> Result<Vec<Orphan>, launch::RunningError> {
    let mut orphans = Vec::new();
    for running in launch::list()? {
        // A VM without a ticket was launched by hand: it is none of ours.
        let Some(ticket) = Ticket::read(folder, &running.record.name) else { continue };
        orphans.extend(running.process().map(|process| Orphan { ticket, running, process }));
    }
    orphans.sort_by(|a, b| a.ticket.order.created.cmp(&b.ticket.order.created));
    for entry in std::fs::read_dir(folder.join("vms")).into_iter().flatten().flatten() {
        // What a killed server had half written is none either.
        if !orphans.iter().any(|orphan| Ticket::path(folder, &orphan.ticket.order.id) == entry.path()) {
            // One that cannot be deleted is looked at again at the next start.
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(orphans)
}

impl Fleet {
    /// Takes VMs over.
    pub fn adopt(self: &Arc<Self>, orphans: Vec<Orphan>) {
        for Orphan { ticket, running, process } in orphans {
            let entry = Arc::new(Entry::new(ticket.order));
            entry.locate(&running.record, running.secret().as_ref());
            entry.update(|vm| {
                // One that was not ready ends with the server that started it.
                vm.state = if running.record.ready { State::Ready } else { State::Booting };
                vm.stages = ticket.stages;
            });
            self.put(Arc::clone(&entry));
            self.thread(&entry, move || process.wait());
        }
    }
}
