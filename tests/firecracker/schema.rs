//! Firecracker's API as JSON Schemas, one a version.

use serde_json::{Map, Value, json};

/// The versions that goldsmith speaks to.
pub const VERSIONS: [&str; 4] = ["1.13", "1.14", "1.15", "1.16"];

/// The API of one version.
pub struct Schema {
    requests: Map<String, Value>,
    definitions: Value,
}

impl Schema {
    pub fn of(version: &str) -> Self {
        let mut api: Value = serde_json::from_str(include_str!("../data/firecracker/api.json")).unwrap();
        strict(&mut api, number(version));
        let requests = api["requests"].as_object().unwrap().clone();
        Self { requests, definitions: api["definitions"].take() }
    }

    /// What is wrong with a request, if anything is.
    pub fn request(&self, method: &str, path: &str, body: &Value) -> Result<(), String> {
        let request = self.requests.iter().find(|(known, _)| fits(known, &format!("{method} {path}")));
        let (known, request) = request.ok_or_else(|| format!("there is no {method} {path}"))?;
        self.check(request["body"].as_str().unwrap(), body)?;
        // What stands in the path must stand in the body too.
        let Some((_, key)) = known.trim_end_matches('}').split_once('{') else { return Ok(()) };
        let same = path.rsplit('/').next() == body[key].as_str();
        if same { Ok(()) } else { Err(format!("{path} does not name {}", body[key])) }
    }

    /// What is wrong with a document, if anything is.
    pub fn check(&self, definition: &str, document: &Value) -> Result<(), String> {
        let schema = json!({ "$ref": format!("#/definitions/{definition}"), "definitions": self.definitions });
        let validator = jsonschema::draft4::new(&schema).unwrap();
        let problems: Vec<_> =
            validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect();
        if problems.is_empty() { Ok(()) } else { Err(format!("{definition}: {}", problems.join("; "))) }
    }
}

fn number(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap()).collect()
}

/// Drops what is newer than the version, and lets no object have other keys than those it declares.
fn strict(value: &mut Value, version: Vec<u32>) {
    let Value::Object(map) = value else { return };
    map.retain(|_, value| value["since"].as_str().is_none_or(|since| number(since) <= version));
    map.remove("since");
    map.values_mut().for_each(|value| strict(value, version.clone()));
    if map.contains_key("properties") && map.get("type") == Some(&json!("object")) {
        map.insert("additionalProperties".to_owned(), json!(false));
    }
}

/// `PUT /drives/{drive_id}` fits `PUT /drives/root`.
fn fits(known: &str, asked: &str) -> bool {
    let (known, asked): (Vec<_>, Vec<_>) = (known.split('/').collect(), asked.split('/').collect());
    known.len() == asked.len()
        && known.iter().zip(&asked).all(|(known, asked)| known == asked || known.starts_with('{'))
}
