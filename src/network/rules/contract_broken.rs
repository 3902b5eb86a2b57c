use super::prelude::*;

rule! {
    /// The image's effective network is not what its manifest promises.
    ///
    /// # Why it is refused
    /// Whoever reads the manifest looks for the guest at an address it does not have.
    ///
    /// # Fix
    /// Rebuild the image from its recipe, or boot it with the arguments it was built for.
    CONTRACT_BROKEN, "NET-G002", "contract-broken", Error, |net, report| {
        let Some(contract) = &net.inputs.contract else { return };
        let now = net.effective();
        let declared = declared(&contract.declared);
        let promised = contract.effective.get(&net.nic.name).unwrap_or(&declared);
        if contract.declared.interface != *net.nic.name {
            let message = format!("the manifest promises {}, but the NIC will be {}", contract.declared.interface, net.nic.name);
            report.push(RULE.finding(message).help("boot it on the transport it was built for, or rebuild it"));
            return;
        }
        let keeps = now.dhcp4 == declared.dhcp4 && now.addresses == declared.addresses;
        if now.manager == "unknown" {
            report.push(RULE.warning(format!("unknown: whether {} keeps what the manifest promises", net.nic.name)));
            return;
        }
        if !keeps || contract.effective.contains_key(&net.nic.name) && *promised != now {
            let mut finding = RULE.finding(format!("the manifest promises {}: {}, but the image comes to {}", net.nic.name, summary(promised), summary(&now)));
            for claim in &net.claims {
                let (place, label) = if claim.dhcp4 { (&claim.dhcp4_place, "asks for a lease") } else { (&claim.address_place, "sets the address") };
                finding = finding.at(place.evidence(label));
            }
            report.push(finding.help("rebuild the image: `goldsmith build`"));
        }
    }
}

/// What a declaration comes to.
fn declared(spec: &NetworkSpec) -> EffectiveInterface {
    let (dhcp4, addresses) = match &spec.mode {
        NetworkMode::Dhcp => (true, Vec::new()),
        NetworkMode::Static { address, .. } => (false, vec![*address]),
    };
    EffectiveInterface {
        manager: crate::values::Line::lossy("networkd"),
        dhcp4,
        addresses,
        gateways: Vec::new(),
        dns: Vec::new(),
    }
}
