//! goldsmith compiles a declarative recipe into a golden VM image, emits a manifest that says exactly how that
//! image must be booted, and launches VMs from it, refusing every image whose network disagrees with the
//! manifest, the boot arguments or the host.
//!
//! The rooms, left to right (`ARCHITECTURE.md` shows the map):
//! `recipe` → `debian` → `store` → `install` → `tree` → `image` → `manifest` → `launch`.
//! `network`, `boot`, `manifest` and `findings` are pure: bytes in, values out.

pub mod boot;
pub mod cli;
pub mod debian;
pub mod doctor;
pub mod door;
pub mod findings;
pub mod gate;
pub mod image;
pub mod inherit;
pub mod install;
pub mod interrupt;
pub mod launch;
pub mod leash;
pub mod manifest;
pub mod network;
pub mod pipeline;
pub mod progress;
pub mod recipe;
pub mod sandbox;
pub mod sbom;
pub mod serve;
pub mod store;
pub mod tree;
pub mod values;
pub mod whole;
pub mod yaml;
