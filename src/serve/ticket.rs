//! What a restarted server must know of a running VM and the VM's own record does not say.

use super::order::Order;
use crate::whole;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// `vms/ID.json` in the server's folder, as long as the VM is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ticket {
    /// What was ordered, by whom.
    pub order: Order,
    /// Milliseconds that the stages of its launch took, once it is ready.
    pub stages: BTreeMap<String, f64>,
}

impl Ticket {
    /// The ticket of a VM that has not been launched yet.
    pub fn new(order: &Order) -> Self {
        Self { order: order.clone(), stages: BTreeMap::new() }
    }

    /// Writes it, whole or not at all.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        whole::write(&Self::path(folder, &self.order.id), &serde_json::to_vec(self)?, 0o600)
    }

    /// The ticket of a VM, if this server's folder has one.
    pub fn read(folder: &Path, id: &str) -> Option<Self> {
        serde_json::from_slice(&fs::read(Self::path(folder, id)).ok()?).ok()
    }

    /// Deletes a ticket.
    pub fn forget(folder: &Path, id: &str) {
        // One that cannot be deleted is looked at again at the next start.
        let _ = fs::remove_file(Self::path(folder, id));
    }

    /// Where the ticket of a VM is.
    pub fn path(folder: &Path, id: &str) -> PathBuf {
        folder.join("vms").join(format!("{id}.json"))
    }
}
