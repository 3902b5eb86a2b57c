//! The JSON Schemas: the committed ones are today's, they are valid, the shipped recipes and built manifests conform,
//! and what the recipe's decoder refuses the schema refuses too.

mod common;

use common::{image, repository};
use goldsmith::{manifest, recipe};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

#[track_caller]
fn conforms(schema: &Value, document: &Value, what: &str) {
    let validator = jsonschema::validator_for(schema).unwrap();
    let problems: Vec<_> =
        validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(problems.is_empty(), "{what}:\n{}", problems.join("\n"));
}

#[test]
fn the_committed_schemas_are_todays_and_valid() {
    for (name, schema) in [("recipe", recipe::schema()), ("manifest", manifest::schema())] {
        let text = fs::read_to_string(repository().join(format!("docs/{name}.schema.json"))).unwrap();
        assert_eq!(text, format!("{schema:#}\n"), "type: goldsmith schema {name} > docs/{name}.schema.json");
        assert!(jsonschema::meta::is_valid(&schema), "{name}");
    }
}

#[test]
fn shipped_recipes_and_built_manifests_conform() {
    let schema = recipe::schema();
    for entry in fs::read_dir(repository().join("recipes")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("# yaml-language-server: $schema=../docs/recipe.schema.json\n"), "{path:?}");
            conforms(&schema, &yaml(&text), &path.display().to_string());
        }
    }
    conforms(&manifest::schema(), &json(&image("minimal").join("manifest.json")), "manifest.json");
}

const GOOD: &str = "
schema: goldsmith/v1
name: a
parameters: { browser: { type: bool, default: true, description: x } }
distribution: { name: debian, suite: bookworm, components: [main], updates: true, security: 'http://h/s' }
architecture: amd64
image: { size: 8G, label: golden, filesystem: ext4 }
packages: [bash, { when: browser, then: [w3m] }]
kernel: { package: linux-image-cloud-amd64 }
network: { interface: eth0, mode: static, address: 10.0.0.2/24, gateway: 10.0.0.1, dns: [10.0.0.1] }
hostname: box
boot: { args: [quiet], parameters: { port: { type: port, optional: true, default: '80' } } }
users: [{ name: u, system: true, uid: 500, groups: [video], shell: /bin/sh, home: /home/u, comment: x }]
artifacts: [{ source: x, path: /x, mode: '0755', owner: 'root:root', hint: make x }]
units: { enable: [a.service], disable: [b.timer], mask: [c.socket], default: multi-user.target }
run: [[/bin/true, x]]
probes: [{ name: h, http: ':80/x', fragment: 'token={secret}', timeout: 5s }, { name: t, tcp: ':80', banner: x }]
allow: [{ rule: NET-K004, reason: x }]
size_budget: 3G
";

/// What is wrong with a recipe, by the decoder.
fn refused(document: &Value) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, serde_json::to_string(document).unwrap()).unwrap();
    recipe::load(&path, &[]).err().unwrap_or_default().into_iter().map(|finding| finding.message).collect()
}

/// Every mapping and scalar of a document, by JSON pointer.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| pointers(value, &format!("{at}/{key}"), found)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| pointers(value, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

#[test]
fn the_schema_and_the_decoder_agree_about_every_key_and_type() {
    let schema = recipe::schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let good = yaml(GOOD);
    conforms(&schema, &good, "the sample");
    assert_eq!(refused(&good), [""; 0]);
    let mut found = Vec::new();
    pointers(&good, "", &mut found);
    assert!(found.len() > 80);
    // Keys of the recipe writer's own.
    let free = |pointer: &str| matches!(pointer, "/parameters" | "/boot/parameters");
    for pointer in &found {
        let check = |what: &str, change: &dyn Fn(&mut Value)| {
            let mut bad = good.clone();
            change(bad.pointer_mut(pointer).unwrap());
            if bad != good {
                assert!(!validator.is_valid(&bad), "the schema accepts {what} at {pointer}");
                assert_ne!(refused(&bad), [""; 0], "the decoder accepts {what} at {pointer}");
            }
        };
        if good.pointer(pointer).unwrap().is_object() {
            if !free(pointer) {
                check("an unknown key", &|value| {
                    value.as_object_mut().unwrap().insert("unknown".to_owned(), json!("x"));
                });
            }
            if pointer != "/packages/1" {
                check("a text for a mapping", &|value| *value = json!("text"));
            }
        } else if good.pointer(pointer).unwrap().is_array() {
            check("a number for a list", &|value| *value = json!(7));
        } else {
            check("a mapping for a value", &|value| *value = json!({ "a": "b" }));
            check("a list for a value", &|value| *value = json!([["x"]]));
        }
    }
}

#[test]
fn an_unknown_word_or_form_is_refused_by_both() {
    let validator = jsonschema::validator_for(&recipe::schema()).unwrap();
    for (pointer, value) in [
        ("/schema", json!("goldsmith/v2")),
        ("/architecture", json!("sparc")),
        ("/network/mode", json!("dhpc")),
        ("/network/interface", json!("eth 0")),
        ("/distribution/name", json!("gentoo")),
        ("/image/filesystem", json!("xfs")),
        ("/packages/0", json!("Xvfb")),
        ("/name", json!("My Image")),
        ("/units/enable/0", json!("ssh")),
        ("/probes/0/http", json!("http://x")),
        ("/probes/1/tcp", json!("5900")),
        ("/probes/0/fragment", json!("token")),
        ("/users/0/system", json!("maybe")),
        ("/users/0/uid", json!("x")),
        ("/users/0/shell", json!("bin/sh")),
        ("/image/size", json!("8X")),
        ("/network/address", json!("10.0.0.2")),
        ("/distribution/security", json!("ftp://x")),
        ("/probes/0/timeout", json!("soon")),
        ("/artifacts/0/mode", json!("rwxr-xr-x")),
        ("/artifacts/0/owner", json!("root")),
        ("/allow/0/rule", json!("everything")),
    ] {
        let mut bad = yaml(GOOD);
        *bad.pointer_mut(pointer).unwrap() = value.clone();
        assert_ne!(refused(&bad), [""; 0], "the decoder accepts {value} at {pointer}");
        assert!(!validator.is_valid(&bad), "the schema accepts {value} at {pointer}");
    }
}
