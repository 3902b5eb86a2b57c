use super::document::most;
use super::*;
use crate::boot::{KernelFacts, Presence};
use crate::network::{NetworkMode, NetworkSpec};
use crate::values::{Epoch, FileSize, PackageCount, Port, Seconds, Sha256};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn text_of<T: std::str::FromStr<Err = crate::values::TextError>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(super) fn sample() -> Manifest {
    let file = |name: &str| File {
        file: name.parse().unwrap(),
        size: FileSize::nearest(14_186_432),
        digest: Sha256::of(name.as_bytes()),
    };
    Manifest {
        schema: SCHEMA.to_owned(),
        name: text_of("minimal"),
        architecture: text_of("amd64"),
        image: ImageFile {
            file: text_of("rootfs.ext4"),
            size: FileSize::nearest(8 << 30),
            digest: Sha256::of(b"image"),
            filesystem: Filesystem::Ext4,
            uuid: text_of("0b6ad1f4-6bd4-5e1c-8f2d-8f2a4f0c9a11"),
            label: text_of("golden"),
        },
        kernel: Kernel {
            vmlinuz: file("vmlinuz"),
            vmlinux: file("vmlinux"),
            release: text_of("6.1.0-56-cloud-amd64"),
            facts: KernelFacts { ip_pnp: Presence::Absent, ext4: Presence::BuiltIn, ..KernelFacts::default() },
        },
        initrd: file("initrd.img"),
        boot: Boot {
            args: ["console=ttyS0", "root=/dev/vda", "rw"].map(text_of).into(),
            parameters: BTreeMap::from([(
                text_of("decodo_port"),
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
                interface: text_of("eth0"),
                mode: NetworkMode::Static {
                    address: "192.168.100.12/24".parse().unwrap(),
                    gateway: Some("192.168.100.1".parse().unwrap()),
                    dns: vec!["192.168.100.1".parse().unwrap()],
                },
            },
            files: BTreeMap::from([("/etc/netplan/01-netcfg.yaml".parse().unwrap(), Sha256::of(b"netplan"))]),
            effective: BTreeMap::from([(
                text_of("eth0"),
                EffectiveInterface {
                    manager: text_of("networkd"),
                    dhcp4: false,
                    addresses: vec!["192.168.100.12/24".parse().unwrap()],
                    gateways: vec!["192.168.100.1".parse().unwrap()],
                    dns: vec![],
                },
            )]),
        },
        packages: Packages { lock: Sha256::of(b"lock"), count: PackageCount::nearest(131) },
        artifacts: vec![ArtifactFile {
            path: "/usr/lib/oauth-agent".parse().unwrap(),
            sha256: Sha256::of(b"agent"),
            mode: text_of("0755"),
            owner: text_of("root:root"),
        }],
        probes: vec![
            Probe {
                name: text_of("agent"),
                check: ProbeCheck::Http(HttpProbe { port: Port::new(8080).unwrap(), path: text_of("/health") }),
                fragment: Some("token={secret}".parse().unwrap()),
                timeout_seconds: Seconds::nearest(120),
            },
            Probe {
                name: text_of("vnc"),
                check: ProbeCheck::Tcp(TcpProbe { port: Port::new(5900).unwrap(), banner: Some(text_of("RFB ")) }),
                fragment: None,
                timeout_seconds: Seconds::nearest(120),
            },
        ],
        waivers: BTreeMap::new(),
        provenance: Provenance {
            recipe: Sha256::of(b"recipe"),
            overlays: Sha256::of(b""),
            tool: text_of("0.1.0"),
            epoch: Epoch::nearest(1_763_000_000),
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
        ("\"root=/dev/vda\"", "7", "`/boot/args/1`", "string"),
        ("\"root=/dev/vda\"", "[7]", "`/boot/args/1`", "string"),
        ("\"root=/dev/vda\"", "{}", "`/boot/args/1`", "string"),
        ("\"root=/dev/vda\"", "\"a b\"", "`/boot/args/1`", "one kernel argument"),
        ("\"rw\"", "\"rw ro\"", "`/boot/args/2`", "one kernel argument"),
        ("\"label\"", "\"lable\"", "`/image/lable`", "unknown field"),
        ("\"label\": \"golden\",", "", "`/image`", "missing field `label`"),
        ("\"count\": 131", "\"count\": -1", "`/packages/count`", "expected u64"),
        ("\"name\": \"agent\"", "\"name\": \"agent\", \"extra\": 1", "`/probes/0/extra`", "unknown"),
        ("\"interface\": \"eth0\"", "\"interface\": \"eth0\", \"x\": 1", "`/network/declared/x`", "unknown"),
        ("\"waivers\": {}", "\"waivers\": {\"A\": \"x\", \"A\": \"y\"}", "`/waivers/A`", "twice"),
        ("\"rootfs.ext4\"", "\"../rootfs.ext4\"", "`/image/file`", "plain file name"),
        ("\"file\": \"vmlinux\"", "\"file\": \"vmlinuz\"", "`/kernel/vmlinux/file`", "twice"),
        ("\"ext4\",\n    \"label\"", "\"xfs\",\n    \"label\"", "`/image/filesystem`", "expected `ext4`"),
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

/// What is refused, by the codec and by the schema alike: the pointer, a bad value, and a word of the message.
fn bad_values() -> Vec<(&'static str, serde_json::Value, &'static str)> {
    use serde_json::json;
    let mut bad = Vec::new();
    // In every text: what a terminal would obey.
    let document = serde_json::to_value(sample()).unwrap();
    for pointer in TEXTS {
        assert!(document.pointer(pointer).is_some_and(serde_json::Value::is_string), "{pointer}");
        for text in ["x\u{1b}[2J", "a\n", "a\u{0}b", "\u{9b}31m"] {
            bad.push((*pointer, json!(text), ""));
        }
    }
    for text in ["/abs/evil", "../x", "a,process=pwn", "", ".", "..", "-x", "a b", "a/b", "a%b", &"a".repeat(64)] {
        bad.push(("/name", json!(text), "is not a name"));
    }
    for text in ["../rootfs.ext4", "/etc/shadow", ".hidden", "..", "", "a/b", "a,b", "-x", "a\\b"] {
        bad.push(("/image/file", json!(text), "plain file name"));
        bad.push(("/kernel/vmlinux/file", json!(text), "plain file name"));
        bad.push(("/initrd/file", json!(text), "plain file name"));
    }
    for path in ["@127.0.0.1:19999/latest/meta-data", "//evil/x", "health", "", "/a b", "/\\evil", "http://evil/"] {
        bad.push(("/probes/0/http/path", json!(path), "path for HTTP"));
    }
    for port in [json!(0), json!(65_536), json!(-1), json!("80"), json!(1.5)] {
        bad.push(("/probes/0/http/port", port.clone(), ""));
        bad.push(("/probes/1/tcp/port", port, ""));
    }
    for time in [json!(u64::MAX), json!(86_401), json!(0), json!(-1), json!("120")] {
        bad.push(("/probes/0/timeout_seconds", time, ""));
    }
    for size in [json!(1_u64 << 50), json!((16_u64 << 40) + 1), json!(-1), json!(u64::MAX)] {
        bad.push(("/image/size", size.clone(), ""));
        bad.push(("/initrd/size", size, ""));
    }
    for arg in ["a b", "", "a=\"b", "ü", &"x".repeat(2048)] {
        bad.push(("/boot/args/0", json!(arg), "one kernel argument"));
    }
    for name in ["a/b", "..", "eth0:1", "sixteen-letters-", "a b", "a,b"] {
        bad.push(("/network/declared/interface", json!(name), "at most 15 letters"));
    }
    bad.extend([
        ("/packages/count", json!(1_000_001), "to 1000000"),
        ("/provenance/epoch", json!(-1), ""),
        ("/provenance/epoch", json!(1_u64 << 32), ""),
        ("/image/uuid", json!("x"), "UUID"),
        ("/image/label", json!("seventeen letters"), "filesystem label"),
        ("/image/filesystem", json!("xfs"), "ext4"),
        ("/kernel/release", json!("6.1/../x"), "kernel release"),
        ("/artifacts/0/path", json!("/a/../b"), "not a path"),
        ("/artifacts/0/path", json!("relative"), "not absolute"),
        ("/artifacts/0/mode", json!("0799"), "octal"),
        ("/artifacts/0/owner", json!("root"), "user:group"),
        ("/boot/parameters/decodo_port/description", json!("x".repeat(1001)), "one line"),
        ("/network/declared/address", json!("192.168.100.12/33"), "prefix length"),
        ("/network/declared/gateway", json!("nowhere"), "IP address"),
        ("/network/declared/mode", json!("other"), "unknown variant"),
        ("/probes/0/http", json!(null), ""),
        ("/probes", json!(vec![&document["probes"][0]; most::PROBES + 1]), ""),
        ("/boot/args", json!(vec!["x"; most::ARGS + 1]), ""),
        ("/network/effective/eth0/gateways", json!(vec!["10.0.0.1"; most::ADDRESSES + 1]), ""),
    ]);
    bad
}

/// Every text of a manifest.
const TEXTS: &[&str] = &[
    "/name",
    "/architecture",
    "/image/file",
    "/image/digest",
    "/image/filesystem",
    "/image/uuid",
    "/image/label",
    "/kernel/vmlinuz/file",
    "/kernel/vmlinux/file",
    "/kernel/release",
    "/kernel/facts/ip_pnp",
    "/initrd/file",
    "/boot/args/0",
    "/boot/parameters/decodo_port/type",
    "/network/declared/interface",
    "/network/declared/mode",
    "/network/declared/address",
    "/network/declared/gateway",
    "/network/declared/dns/0",
    "/network/effective/eth0/manager",
    "/network/effective/eth0/addresses/0",
    "/network/effective/eth0/gateways/0",
    "/packages/lock",
    "/artifacts/0/path",
    "/artifacts/0/sha256",
    "/artifacts/0/mode",
    "/artifacts/0/owner",
    "/probes/0/name",
    "/probes/0/http/path",
    "/probes/0/fragment",
    "/probes/1/tcp/banner",
    "/provenance/recipe",
    "/provenance/tool",
];

#[test]
fn every_value_is_checked_where_it_stands_and_the_schema_knows_it_too() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for (pointer, value, word) in bad_values() {
        let mut document = serde_json::to_value(sample()).unwrap();
        if let Some(place) = document.pointer_mut(pointer) {
            *place = value.clone();
        } else {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            document.pointer_mut(parent).unwrap()[key] = value.clone();
        }
        let message = refusal(&serde_json::to_string_pretty(&document).unwrap());
        assert!(message.contains(&format!("`{pointer}`")), "{pointer} {value}: {message}");
        assert!(message.contains(word), "{pointer} {value}: {message}");
        assert!(!message.contains(|letter: char| letter.is_control()), "{pointer} {value}: {message:?}");
        assert!(!validator.is_valid(&document), "the schema lets {value} be at {pointer}");
    }
}

#[test]
fn the_names_of_things_are_checked_as_well() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for (parent, key, value) in [
        ("/waivers", "net\u{1b}", serde_json::json!("x")),
        ("/waivers", "NET-K004", serde_json::json!("a\u{7}b")),
        ("/boot/parameters", "a b", serde_json::json!({ "type": "bool", "optional": true })),
        ("/boot/parameters", "init=/bin/sh x", serde_json::json!({ "type": "bool", "optional": true })),
        ("/network/effective", "eth0/../x", serde_json::to_value(&sample().network.effective["eth0"]).unwrap()),
        ("/network/files", "/etc/\u{1b}x", serde_json::json!(Sha256::of(b""))),
        ("/network/files", "etc", serde_json::json!(Sha256::of(b""))),
    ] {
        let mut document = serde_json::to_value(sample()).unwrap();
        document.pointer_mut(parent).unwrap()[key] = value;
        let message = refusal(&document.to_string());
        assert!(message.contains(parent) && !message.contains(char::is_control), "{message:?}");
        assert!(!validator.is_valid(&document), "the schema lets {key:?} be in {parent}");
    }
    let mut twice = sample();
    twice.probes[1].name = twice.probes[0].name.clone();
    assert!(refusal(&String::from_utf8(twice.to_canonical_bytes()).unwrap()).contains("`/probes/1/name`"));
    let with_default = text().replacen("\"optional\": true", "\"optional\": true, \"default\": \"0\"", 1);
    assert!(refusal(&with_default).contains("`/boot/parameters/decodo_port/default`"));
}

proptest! {
    #[test]
    fn reading_what_was_written_gives_the_same(
        name in "[A-Za-z0-9][A-Za-z0-9_-]{0,62}",
        label in "[ -~]{1,16}",
        args in proptest::collection::vec("[a-z_.]{1,8}(=[!#-~]{0,8})?", 0..6),
        waivers in proptest::collection::btree_map("[A-Z][A-Z0-9-]{1,8}", "[^\\p{Cc}\\p{Cf}\\u{2028}\\u{2029}\\u{2065}]{0,8}", 0..4),
        epoch in any::<u32>(),
    ) {
        let mut manifest = sample();
        manifest.name = text_of(&name);
        manifest.image.label = text_of(&label);
        manifest.boot.args = args.iter().map(|arg| text_of(arg)).collect();
        manifest.waivers = waivers.iter().map(|(rule, reason)| (text_of(rule), text_of(reason))).collect();
        manifest.provenance.epoch = Epoch::nearest(epoch.into());
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
