//! The network model: kernel arguments + guest files + kernel, VMM and host facts → the effective configuration of
//! each interface, who set it and why, and the conflicts.
//!
//! Pure: bytes in, values out, no I/O. Rules are statements over the model. Uses `findings`, `yaml`, `boot` (the argument list).

mod activation;
mod capture;
mod evaluate;
mod generator;
mod identities;
mod ifupdown;
mod inputs;
mod ip_argument;
mod link;
mod matching;
mod model;
pub mod netplan;
mod networkd;
mod others;
mod place;
mod rules;
mod snapshot;
mod spec;
#[cfg(test)]
mod tests;
mod timeline;
mod udev;
mod verdict;

pub use activation::Activation;
pub use capture::{capture, is_needed, makes_host_keys};
pub use evaluate::{Evaluation, Interface, Step, evaluate};
pub use generator::{Generated, Rejected, Written, generator};
pub use identities::{IDENTITIES, Identity, Maker, RENEWABLE, Remedy, Setting, expand, fits};
pub use ifupdown::Stanza;
pub use inputs::*;
pub use ip_argument::{Dracut, KernelIp, dracut};
pub use link::{LinkFile, Naming};
pub use matching::{Answer, Match, Nic};
pub use model::{Claim, Early, MachineId, Model, Resolver};
pub use networkd::{DefaultRoute, NetworkFile, NetworkFiles, NetworkdConfig};
pub use others::CloudInit;
pub use place::{Place, Said};
pub use rules::{RULES, Rule, rules};
pub use snapshot::*;
pub use spec::*;
pub use verdict::{Predicted, Reachability};
