use super::*;
use crate::boot::{KernelFacts, Presence};
use crate::network::{NetworkMode, NetworkSpec};
use crate::values::Sha256;
use proptest::prelude::*;
use std::collections::BTreeMap;

pub(super) fn sample() -> Manifest {
    let file = |name: &str| File { file: name.to_owned(), size: 14_186_432, digest: Sha256::of(name.as_bytes()) };
    Manifest {
        schema: SCHEMA.to_owned(),
        name: "minimal".to_owned(),
        architecture: "amd64".to_owned(),
        image: ImageFile {
            file: "rootfs.ext4".to_owned(),
            size: 8 << 30,
            digest: Sha256::of(b"image"),
            filesystem: "ext4".to_owned(),
            uuid: "0b6ad1f4-6bd4-5e1c-8f2d-8f2a4f0c9a11".to_owned(),
            label: "golden".to_owned(),
        },
        kernel: Kernel {
            vmlinuz: file("vmlinuz"),
            vmlinux: file("vmlinux"),
            release: "6.1.0-56-cloud-amd64".to_owned(),
            facts: KernelFacts { ip_pnp: Presence::Absent, ext4: Presence::BuiltIn, ..KernelFacts::default() },
        },
        initrd: file("initrd.img"),
        boot: Boot {
            args: vec!["console=ttyS0".to_owned(), "root=/dev/vda".to_owned(), "rw".to_owned()],
            parameters: BTreeMap::from([(
                "decodo_port".to_owned(),
                BootParameter {
                    kind: crate::values::ParameterKind::Port,
                    optional: true,
                    default: None,
                    description: None,
                },
            )]),
        },
        network: Network {
            declared: NetworkSpec {
                interface: "eth0".to_owned(),
                mode: NetworkMode::Static {
                    address: "192.168.100.12/24".parse().unwrap(),
                    gateway: Some("192.168.100.1".parse().unwrap()),
                    dns: vec!["192.168.100.1".parse().unwrap()],
                },
            },
            files: BTreeMap::from([("/etc/netplan/01-netcfg.yaml".parse().unwrap(), Sha256::of(b"netplan"))]),
            effective: BTreeMap::from([(
                "eth0".to_owned(),
                EffectiveInterface {
                    manager: "networkd".to_owned(),
                    dhcp4: false,
                    addresses: vec!["192.168.100.12/24".to_owned()],
                    gateways: vec!["192.168.100.1".to_owned()],
                    dns: vec![],
                },
            )]),
        },
        packages: Packages { lock: Sha256::of(b"lock"), count: 131 },
        artifacts: vec![ArtifactFile {
            path: "/usr/lib/oauth-agent".parse().unwrap(),
            sha256: Sha256::of(b"agent"),
            mode: "0755".to_owned(),
            owner: "root:root".to_owned(),
        }],
        probes: vec![
            Probe {
                name: "agent".to_owned(),
                check: ProbeCheck::Http { port: 8080, path: "/health".to_owned() },
                fragment: Some("token={secret}".parse().unwrap()),
                timeout_seconds: 120,
            },
            Probe {
                name: "vnc".to_owned(),
                check: ProbeCheck::Tcp { port: 5900, banner: Some("RFB ".to_owned()) },
                fragment: None,
                timeout_seconds: 120,
            },
        ],
        waivers: BTreeMap::new(),
        provenance: Provenance {
            recipe: Sha256::of(b"recipe"),
            overlays: Sha256::of(b""),
            tool: "0.1.0".to_owned(),
            epoch: 1_763_000_000,
        },
    }
}

fn text() -> String {
    String::from_utf8(sample().to_canonical_bytes()).unwrap()
}

fn refusal(text: &str) -> String {
    Manifest::parse(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn the_canonical_form_reads_back_and_is_written_the_same() {
    let manifest = Manifest::parse(text().as_bytes()).unwrap();
    assert_eq!(manifest, sample());
    assert_eq!(manifest.to_canonical_bytes(), text().as_bytes());
    assert!(text().starts_with("{\n  \"architecture\": \"amd64\",\n  \"artifacts\": ["));
    assert!(text().ends_with("}\n") && !text().ends_with("\n\n"));
}

#[test]
fn spaces_and_the_order_of_keys_do_not_matter() {
    let value: serde_json::Value = serde_json::from_str(&text()).unwrap();
    assert_eq!(Manifest::parse(value.to_string().as_bytes()).unwrap(), sample());
}

#[test]
fn another_schema_is_named_before_anything_else() {
    assert!(refusal("{\"schema\": \"goldsmith.manifest/v9\", \"new\": 1}").contains("\"goldsmith.manifest/v9\""));
    assert!(refusal("{}").contains("missing"));
    assert!(refusal("{\"schema\": 7}").contains("is 7"));
    assert!(refusal("[]").contains("line 1"));
    for broken in ["", "not json", "{\"schema\":", "\u{0}"] {
        assert!(refusal(broken).contains("not JSON"), "{broken}");
    }
    assert!(Manifest::parse(&[0xff]).is_err());
    assert!(refusal(&" ".repeat(MAX_MANIFEST + 1)).contains("more than"));
}

#[test]
fn a_mistake_is_shown_where_it_stands() {
    for (from, to, place, word) in [
        ("\"rw\"", "7", "`/boot/args/2`", "string"),
        ("\"rw\"", "\"rw ro\"", "`/boot/args/2`", "one kernel argument"),
        ("\"label\"", "\"lable\"", "`/image/lable`", "unknown field"),
        ("\"label\": \"golden\",", "", "`/image`", "missing field `label`"),
        ("\"count\": 131", "\"count\": -1", "`/packages/count`", "expected usize"),
        ("\"name\": \"agent\"", "\"name\": \"agent\", \"extra\": 1", "`/probes/0/extra`", "unknown"),
        ("\"interface\": \"eth0\"", "\"interface\": \"eth0\", \"x\": 1", "`/network/declared/x`", "unknown"),
        ("\"waivers\": {}", "\"waivers\": {\"A\": \"x\", \"A\": \"y\"}", "`/waivers/A`", "twice"),
        ("\"rootfs.ext4\"", "\"../rootfs.ext4\"", "`/image/file`", "plain file name"),
        ("\"file\": \"vmlinux\"", "\"file\": \"vmlinuz\"", "`/kernel/vmlinux/file`", "twice"),
        ("\"ext4\",\n    \"label\"", "\"xfs\",\n    \"label\"", "`/image/filesystem`", "only `ext4`"),
    ] {
        assert!(text().contains(from), "{from}");
        let message = refusal(&text().replacen(from, to, 1));
        assert!(message.contains(place) && message.contains(word), "{from} → {to}: {message}");
    }
}

#[test]
fn the_committed_schema_is_fresh_and_accepts_what_is_written() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/manifest.schema.json");
    let fresh = String::from_utf8(canonical(&schema())).unwrap();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &fresh).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == fresh, "stale: type `UPDATE_SCHEMA=1 cargo test --lib manifest::`");
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut value = serde_json::to_value(sample()).unwrap();
    assert!(
        validator.is_valid(&value),
        "{:?}",
        validator.iter_errors(&value).map(|e| e.to_string()).collect::<Vec<_>>()
    );
    value["image"]["lable"] = "x".into();
    assert!(!validator.is_valid(&value));
}

proptest! {
    #[test]
    fn reading_what_was_written_gives_the_same(
        name in "\\PC{0,20}",
        label in "\\PC{0,16}",
        args in proptest::collection::vec("[a-z_.]{1,8}(=[!#-~]{0,8})?", 0..6),
        waivers in proptest::collection::btree_map("\\PC{1,8}", "\\PC{0,8}", 0..4),
        epoch in any::<i64>(),
    ) {
        let mut manifest = sample();
        manifest.name = name;
        manifest.image.label = label;
        manifest.boot.args = args;
        manifest.waivers = waivers;
        manifest.provenance.epoch = epoch;
        let bytes = manifest.to_canonical_bytes();
        let read = Manifest::parse(&bytes).unwrap();
        prop_assert_eq!(read.to_canonical_bytes(), bytes);
        prop_assert_eq!(read, manifest);
    }

    #[test]
    fn no_damage_makes_it_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = text().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        let _ = Manifest::parse(&bytes);
    }
}
