//! Software bills of materials, made from the lock: what an image holds, for the programs that ask. Pure.
//!
//! In: a lock and the image's name. Out: SPDX 2.3 or CycloneDX 1.6 as canonical JSON. Same lock, same bytes: the time
//! is the lock's epoch and identifiers come from digests. A licence is never guessed: packages say theirs in prose
//! (`/usr/share/doc/*/copyright`), so it stays `NOASSERTION`. Uses `debian`, `manifest`, `values`.

mod cyclonedx;
mod spdx;

pub use cyclonedx::cyclonedx;
pub use spdx::spdx;

use crate::debian::{Lock, LockedPackage};
use crate::values::utc;

/// A package URL. Source: ECMA-427 and its `deb` type definition: lower-case name, version with everything but
/// unreserved characters and `:` percent-encoded.
fn purl(lock: &Lock, package: &LockedPackage) -> String {
    let distribution = lock.archives.first().map(|archive| archive.suite.as_str()).unwrap_or_default();
    format!(
        "pkg:deb/debian/{}@{}?arch={}&distro={}",
        encode(&package.name),
        encode(&package.version),
        encode(&package.architecture),
        encode(distribution)
    )
}

fn encode(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' | b':' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

/// Where the package was taken from.
fn download(lock: &Lock, package: &LockedPackage) -> Option<String> {
    let archive = lock.archives.get(package.archive)?;
    Some(format!("{}/{}", archive.mirror, package.path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debian::{LockedArchive, Role};
    use crate::values::Sha256;
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn lock() -> Lock {
        let package = |name: &str, version: &str, role| LockedPackage {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "amd64".to_owned(),
            role,
            essential: false,
            archive: 0,
            path: format!("pool/main/{name}.deb"),
            size: 1,
            sha256: Sha256::of(name.as_bytes()),
        };
        Lock {
            recipe: Sha256::of(b"recipe"),
            architecture: "amd64".to_owned(),
            epoch: 1_763_000_000,
            archives: vec![LockedArchive {
                mirror: "http://deb.debian.org/debian".to_owned(),
                suite: "bookworm".to_owned(),
                snapshot: None,
                inrelease: Sha256::of(b"inrelease"),
                date: 1_763_000_000,
            }],
            packages: vec![
                package("busybox-static", "1:1.35.0-4+deb12u1+b1", Role::Initrd),
                package("libstdc++6", "12.2.0-14+deb12u1", Role::Rootfs),
                package("libstdc--6", "1~rc1", Role::Rootfs),
            ],
        }
    }

    #[test]
    fn package_urls_and_times_are_written_as_their_standards_say() {
        let lock = lock();
        assert_eq!(
            purl(&lock, &lock.packages[0]),
            "pkg:deb/debian/busybox-static@1:1.35.0-4%2Bdeb12u1%2Bb1?arch=amd64&distro=bookworm"
        );
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(utc(-1), "1969-12-31T23:59:59Z");
        assert_eq!(utc(4_107_542_399), "2100-02-28T23:59:59Z");
    }

    #[test]
    fn spdx_names_every_package_once_with_digest_and_origin() {
        let document: Value = serde_json::from_slice(&spdx("minimal", &lock())).unwrap();
        assert_eq!(document["spdxVersion"], "SPDX-2.3");
        assert_eq!(document["creationInfo"]["created"], "2025-11-13T02:13:20Z");
        let packages = document["packages"].as_array().unwrap();
        assert_eq!(packages.len(), 4);
        let ids: BTreeSet<_> = packages.iter().map(|package| package["SPDXID"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 4);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        assert!(
            ids.iter().all(|id| id.strip_prefix("SPDXRef-").is_some_and(|rest| rest.chars().all(plain))),
            "{ids:?}"
        );
        for relation in document["relationships"].as_array().unwrap() {
            assert!(ids.contains(relation["relatedSpdxElement"].as_str().unwrap()));
        }
        let busybox = packages.iter().find(|package| package["name"] == "busybox-static").unwrap();
        assert_eq!(busybox["checksums"][0]["checksumValue"], Sha256::of(b"busybox-static").to_string());
        assert_eq!(busybox["downloadLocation"], "http://deb.debian.org/debian/pool/main/busybox-static.deb");
        assert_eq!(busybox["licenseDeclared"], "NOASSERTION");
    }

    #[test]
    fn cyclonedx_names_every_package_once_with_digest_and_origin() {
        let document: Value = serde_json::from_slice(&cyclonedx("minimal", &lock())).unwrap();
        assert_eq!((&document["bomFormat"], &document["specVersion"]), (&"CycloneDX".into(), &"1.6".into()));
        let serial = document["serialNumber"].as_str().unwrap().strip_prefix("urn:uuid:").unwrap();
        let groups: Vec<_> = serial.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
        assert_eq!(document["components"].as_array().unwrap().len(), 3);
        assert_eq!(document["components"][1]["hashes"][0]["content"], Sha256::of(b"libstdc++6").to_string());
    }

    #[test]
    fn the_same_lock_gives_the_same_bytes_and_another_one_another_identity() {
        assert_eq!(spdx("minimal", &lock()), spdx("minimal", &lock()));
        let identity = |bytes: &[u8], key: &str| serde_json::from_slice::<Value>(bytes).unwrap()[key].clone();
        let mut other = lock();
        other.packages.pop();
        for (key, make) in [("documentNamespace", spdx as fn(&str, &Lock) -> Vec<u8>), ("serialNumber", cyclonedx)] {
            assert_ne!(identity(&make("minimal", &lock()), key), identity(&make("minimal", &other), key));
            assert_ne!(identity(&make("minimal", &lock()), key), identity(&make("desktop", &lock()), key));
        }
    }
}
