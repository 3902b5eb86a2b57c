//! SPDX 2.3 in JSON. Source: the SPDX 2.3 specification and its `spdx-schema.json`.

use super::{download, purl, utc};
use crate::debian::{Lock, LockedPackage, Role};
use crate::manifest::canonical;
use crate::values::Sha256;
use serde_json::{Value, json};

const IMAGE: &str = "SPDXRef-Image";

/// The image's packages as an SPDX document.
pub fn spdx(name: &str, lock: &Lock) -> Vec<u8> {
    let mut packages = vec![json!({
        "SPDXID": IMAGE,
        "name": name,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "primaryPackagePurpose": "OPERATING-SYSTEM",
    })];
    packages.extend(lock.packages.iter().map(|locked| package(lock, locked)));
    let contains = |locked: &LockedPackage| relation(IMAGE, "CONTAINS", &id(locked));
    let relations = std::iter::once(relation("SPDXRef-DOCUMENT", "DESCRIBES", IMAGE));
    let identity = Sha256::of(&canonical(&packages));
    canonical(&json!({
        "SPDXID": "SPDXRef-DOCUMENT",
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "name": name,
        "documentNamespace": format!("https://spdx.org/spdxdocs/goldsmith-{name}-{identity}"),
        "creationInfo": {
            "created": utc(lock.epoch),
            "creators": [format!("Tool: goldsmith-{}", env!("CARGO_PKG_VERSION"))],
        },
        "packages": packages,
        "relationships": relations.chain(lock.packages.iter().map(contains)).collect::<Vec<_>>(),
    }))
}

fn package(lock: &Lock, package: &LockedPackage) -> Value {
    let mut value = json!({
        "SPDXID": id(package),
        "name": package.name,
        "versionInfo": package.version,
        "supplier": "NOASSERTION",
        "downloadLocation": download(lock, package).unwrap_or_else(|| "NOASSERTION".to_owned()),
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "checksums": [{ "algorithm": "SHA256", "checksumValue": package.sha256.to_string() }],
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": purl(lock, package),
        }],
    });
    let part = match package.role {
        Role::Rootfs => None,
        Role::Kernel => Some("the kernel and its modules"),
        Role::Initrd => Some("in the initrd"),
    };
    if let (Some(part), Some(map)) = (part, value.as_object_mut()) {
        map.insert("comment".to_owned(), part.into());
    }
    value
}

fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

/// Identifiers have letters, digits, `.` and `-` only. Package names have `+` besides, which becomes `.2B.`.
fn id(package: &LockedPackage) -> String {
    let name = package.name.replace('+', ".2B.");
    format!("SPDXRef-deb-{}-{name}-{}", package.role.as_str(), package.architecture)
}
