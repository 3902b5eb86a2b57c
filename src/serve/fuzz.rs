//! Doors to the readers of this room, for `fuzz/` only.

use super::api::{CreateVm, StartAuth};
use super::{body::Body, head};
use futures_util::FutureExt as _;

/// The head of a request.
pub fn head(mut bytes: &[u8]) {
    let mut read = Vec::new();
    // There is always something to read, so it is never waited for.
    let _ = head::read(&mut bytes, &mut read).now_or_never();
}

/// The body of a request.
pub fn body(bytes: &[u8]) {
    let body = Body(bytes.to_vec().into());
    let _ = (body.read::<CreateVm>(), body.read::<StartAuth>());
}
