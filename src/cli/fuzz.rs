//! Doors to what this room prints, for `fuzz/` only.

use super::{inspect, inspect_net};
use crate::image::View;
use crate::network::Evaluation;
use crate::values::GuestPath;

/// `inspect net`.
pub fn pages(network: &Evaluation) -> String {
    network.interfaces.values().map(inspect_net::page).collect()
}

/// A line of `inspect ls`.
pub fn line(view: &View, path: &GuestPath) {
    let _ = inspect::line(view, path, &mut std::io::sink());
}
