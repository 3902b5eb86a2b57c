//! The network model: kernel arguments + guest files + kernel, VMM and host facts → the effective configuration of
//! each interface, who set it and why, and the conflicts.
//!
//! Pure: bytes in, values out, no I/O. Rules are statements over the model. Uses `findings`, `yaml`, `boot` (the argument list).

mod capture;
mod evaluate;
mod inputs;
mod ip_argument;
mod managers;
mod model;
pub mod netplan;
mod networkd;
mod place;
mod rules;
mod snapshot;
mod spec;

pub use capture::capture;
pub use evaluate::evaluate;
pub use inputs::*;
pub use ip_argument::{KernelIp, Rejected, generator};
pub use managers::{Activation, Stanza};
pub use model::{Claim, Evaluation, Interface, Model, Step};
pub use networkd::{Answer, Match, NetworkFile, NetworkdConfig, Nic};
pub use place::{Place, Said};
pub use rules::{RULES, Rule, rules};
pub use snapshot::*;
pub use spec::*;
