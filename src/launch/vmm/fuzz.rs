//! Doors to the readers of this room, for `fuzz/` only.

use super::{firecracker::api, qmp};

/// What QEMU answers.
pub fn qmp(mut bytes: &[u8]) {
    while qmp::line(&mut bytes).is_ok() {}
}

/// What Firecracker answers.
pub fn firecracker(mut bytes: &[u8]) {
    let _ = api::answer(&mut bytes);
}
