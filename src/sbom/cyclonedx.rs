//! CycloneDX 1.6 in JSON. Source: its `bom-1.6.schema.json`.

use super::{download, purl, utc};
use crate::debian::{Lock, LockedPackage};
use crate::manifest::canonical;
use crate::values::Sha256;
use serde_json::{Value, json};

/// The image's packages as a CycloneDX document.
pub fn cyclonedx(name: &str, lock: &Lock) -> Vec<u8> {
    let components: Vec<_> = lock.packages.iter().map(|package| component(lock, package)).collect();
    canonical(&json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", uuid(&Sha256::of(&canonical(&json!([name, components]))))),
        "version": 1,
        "metadata": {
            "timestamp": utc(lock.epoch),
            "tools": {
                "components": [{ "type": "application", "name": "goldsmith", "version": env!("CARGO_PKG_VERSION") }],
            },
            "component": { "type": "operating-system", "name": name, "bom-ref": "image" },
        },
        "components": components,
    }))
}

fn component(lock: &Lock, package: &LockedPackage) -> Value {
    let origin: Vec<_> =
        download(lock, package).into_iter().map(|url| json!({ "type": "distribution", "url": url })).collect();
    let purl = purl(lock, package);
    json!({
        "type": "library",
        "bom-ref": format!("{}:{purl}", package.role.as_str()),
        "name": package.name,
        "version": package.version,
        "purl": purl,
        "hashes": [{ "alg": "SHA-256", "content": package.sha256.to_string() }],
        "externalReferences": origin,
    })
}

/// A UUID whose bits come from a digest: version 8 of RFC 9562.
fn uuid(digest: &Sha256) -> String {
    let mut bytes: [u8; 16] = std::array::from_fn(|index| digest.0.get(index).copied().unwrap_or_default());
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut groups = [8, 4, 4, 4, 12].into_iter();
    let mut text = String::new();
    let mut rest = hex.as_str();
    while let Some((group, behind)) = groups.next().and_then(|length| rest.split_at_checked(length)) {
        text.push_str(if text.is_empty() { "" } else { "-" });
        text.push_str(group);
        rest = behind;
    }
    text
}
