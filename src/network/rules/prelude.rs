//! What a rule needs.

pub(super) use super::Rule;
pub(super) use crate::boot::Presence;
pub(super) use crate::findings::{Evidence, Origin, Severity};
pub(super) use crate::manifest::EffectiveInterface;
pub(super) use crate::network::{
    Answer, Cidr, Claim, DefaultRoute, DhcpServer, Dracut, FileBytes, HostFacts, Initrd, MachineId, NetworkFile,
    NetworkMode, NetworkSpec, Place, SnapshotNode, Stanza, Tap, Transport,
};
pub(super) use std::net::IpAddr;

/// Declares a rule from its doc comment, which is also what `explain` prints.
macro_rules! rule {
    ($(#[doc = $doc:literal])* $name:ident, $id:literal, $slug:literal, $severity:ident, $check:expr) => {
        $(#[doc = $doc])*
        pub const $name: Rule = Rule {
            id: $id,
            slug: $slug,
            severity: Severity::$severity,
            text: concat!($($doc, "\n"),*),
            check: $check,
        };
        const RULE: &Rule = &$name;
    };
}
pub(super) use rule;

/// Addresses as a list for a sentence, without prefix lengths.
pub(super) fn list(addresses: &[Cidr]) -> String {
    addresses.iter().map(|cidr| cidr.address.to_string()).collect::<Vec<_>>().join(", ")
}

/// The names a file matches, for a sentence.
pub(super) fn names(file: &NetworkFile) -> String {
    let matches = &file.matches;
    let all = matches.names.iter().chain(&matches.macs).chain(&matches.drivers);
    all.map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// A host fact as evidence.
pub(super) fn host_evidence(host: &HostFacts, label: &str) -> Evidence {
    let text = host.cidr.map(|cidr| cidr.to_string()).unwrap_or_default();
    Evidence::new(Origin::Host(host.name.clone()), (1, 1, text.len()), &text, label)
}

/// An effective configuration in a few words.
pub(super) fn summary(effective: &EffectiveInterface) -> String {
    let mut parts = vec![effective.manager.to_string()];
    if effective.dhcp4 {
        parts.push("DHCP".to_owned());
    }
    parts.extend(effective.addresses.iter().map(ToString::to_string));
    parts.extend(effective.gateways.iter().map(|gateway| format!("gateway {gateway}")));
    parts.extend(effective.dns.iter().map(|server| format!("DNS {server}")));
    parts.join(" ")
}
