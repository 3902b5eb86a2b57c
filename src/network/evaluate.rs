//! The one function that `verify`, `launch` and a build's self-check call.

use super::Inputs;
use super::model::Model;
use super::rules::RULES;
use super::verdict::{Predicted, Reachability};
use crate::findings::Finding;
use crate::manifest::EffectiveInterface;
use std::collections::BTreeMap;

/// The answer: each interface, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// By name as userspace knows it. A VM has one NIC.
    pub interfaces: BTreeMap<String, Interface>,
    /// What the rules say, refusals first.
    pub findings: Vec<Finding>,
}

impl Evaluation {
    /// What each interface ends up with: what a manifest records.
    pub fn effective(&self) -> BTreeMap<String, EffectiveInterface> {
        self.interfaces.iter().map(|(name, interface)| (name.clone(), interface.effective.clone())).collect()
    }

    /// The NIC: a VM has one.
    pub fn interface(&self) -> Option<&Interface> {
        self.interfaces.values().next()
    }
}

/// One interface through the boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name in userspace; `en*` when only the beginning is known.
    pub name: String,
    /// What happens to it, in order.
    pub timeline: Vec<Step>,
    /// What it ends up with.
    pub effective: EffectiveInterface,
    /// What kind of address it answers at.
    pub predicted: Predicted,
    /// Whether it can be reached where it is expected.
    pub reachability: Reachability,
    /// What the host must provide for that, one sentence each.
    pub needs: Vec<String>,
    /// Who it says it is to a DHCP server and to the world, one sentence each.
    pub identity: Vec<String>,
    /// How names become addresses in the guest, in one sentence.
    pub resolver: String,
    /// What cannot be known from here, and what would settle it.
    pub unknowns: Vec<String>,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `kernel`, `initrd`, `udev`, `userspace`.
    pub stage: &'static str,
    /// Who acts.
    pub who: String,
    /// What follows.
    pub what: String,
}

/// Recomputes the network and lets every rule speak.
pub fn evaluate(inputs: &Inputs) -> Evaluation {
    let model = Model::new(inputs);
    let mut findings = Vec::new();
    for rule in RULES {
        (rule.check)(&model, &mut findings);
    }
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.rule.cmp(b.rule)));
    let interface = Interface {
        name: model.nic.name.clone(),
        timeline: model.timeline(),
        effective: model.effective(),
        predicted: model.predicted(),
        reachability: model.reachability(&findings),
        needs: model.needs(),
        identity: model.identity(),
        resolver: model.names_to_addresses(),
        unknowns: model.unknowns.clone(),
    };
    Evaluation { interfaces: BTreeMap::from([(interface.name.clone(), interface)]), findings }
}
