//! The finished tree → the manifest's network contract, refused when the image would not keep it.

use super::Error;
use crate::boot::KernelFacts;
use crate::findings::{Finding, Severity};
use crate::manifest;
use crate::network::{self, Contract, Inputs};
use crate::progress::{Event, Observer};
use crate::recipe::Recipe;
use crate::tree::Tree;
use std::collections::BTreeMap;

/// Computes what the network comes to, as the gate will at launch. An image that the gate would refuse with its own
/// arguments is not built.
pub(super) fn contract(
    tree: &Tree,
    kernel: KernelFacts,
    recipe: &Recipe,
    observer: &dyn Observer,
) -> Result<manifest::Network, Error> {
    let image = "rootfs.ext4";
    let fail = |cause| Error::Folder { path: image.into(), cause };
    let snapshot = network::capture(image, tree).map_err(fail)?;
    let mut contract = manifest::Network {
        declared: recipe.network.clone(),
        files: snapshot.participants(),
        effective: BTreeMap::new(),
    };
    let inputs =
        Inputs { contract: Some(Contract::from(&contract)), ..Inputs::new(snapshot, recipe.boot_args.clone(), kernel) };
    let mut evaluation = network::evaluate(&inputs);
    for finding in &mut evaluation.findings {
        let waiver = recipe.waivers.iter().find(|waiver| waiver.rule == finding.rule);
        finding.waived = waiver.map(|waiver| waiver.reason.to_string());
        let text = format!("{}: {}", finding.rule, finding.message);
        observer.event(if finding.severity >= Severity::Warning { Event::Warning(text) } else { Event::Detail(text) });
    }
    if evaluation.findings.iter().any(Finding::refuses) {
        return Err(Error::Refused(evaluation.findings));
    }
    // A NIC has no other name in a kernel; one that a file of the image asks for in vain has nothing to promise.
    contract.effective =
        evaluation.effective().into_iter().filter_map(|(name, is)| Some((name.parse().ok()?, is))).collect();
    Ok(contract)
}
