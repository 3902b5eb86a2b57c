//! The JSON Schema of recipes, for editors: made from the table of keys.

use super::keys::{Form, Key, RECIPE, Shape};
use crate::values::{BootArgument, HttpPath, Line, RuleId};
use serde_json::{Map, Value, json};

/// JSON Schema draft 7 (what editors' YAML plug-ins read) of the recipe language.
pub fn schema() -> Value {
    let mut schema = object(RECIPE, true);
    if let Some(root) = schema.as_object_mut() {
        root.insert("$schema".to_owned(), "http://json-schema.org/draft-07/schema#".into());
        root.insert("title".to_owned(), "goldsmith recipe".into());
    }
    schema
}

/// A mapping. One that merges with that of an included file need not be complete by itself (`whole`).
fn object(keys: &[Key], whole: bool) -> Value {
    let property = |key: &Key| {
        let mut value = shape(&key.shape, false);
        if let Some(map) = value.as_object_mut() {
            map.insert("description".to_owned(), key.doc.into());
        }
        (key.name.to_owned(), value)
    };
    let properties: Map<_, _> = keys.iter().map(property).collect();
    let required: Vec<_> = keys.iter().filter(|key| key.required && whole).map(|key| key.name).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties, "required": required })
}

fn shape(shape_: &Shape, whole: bool) -> Value {
    match shape_ {
        Shape::Scalar(form) => scalar(*form),
        Shape::Choice(words) => json!({ "enum": words }),
        Shape::List(item) => {
            let item = shape(item, true);
            let conditional = json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["when", "then"],
                "properties": {
                    "when": { "type": "string", "description": "A parameter of type bool, or `not NAME`." },
                    "then": { "type": "array", "items": item },
                },
            });
            json!({ "type": "array", "items": { "anyOf": [item, conditional] } })
        }
        Shape::Map(value) => json!({ "type": "object", "additionalProperties": shape(value, false) }),
        Shape::Object(keys) => object(keys, whole),
        Shape::Words => json!({ "type": "array", "minItems": 1, "items": { "type": ["string", "number", "boolean"] } }),
    }
}

/// Plain YAML scalars may look like numbers to a validator; the checker takes their text. `${NAME}` may stand in for
/// any value or a part of it.
fn scalar(form: Form) -> Value {
    let plain = |pattern: &str| json!({ "type": "string", "pattern": format!("^(?:{pattern})$|\\$\\{{") });
    let loose = |pattern: &str| json!({ "type": ["string", "number", "boolean"], "pattern": format!("^(?:{pattern})$|\\$\\{{") });
    let typed = |name: &str| json!({ "anyOf": [{ "type": name }, { "type": "string", "pattern": "\\$\\{" }] });
    match form {
        Form::Boolean => typed("boolean"),
        Form::Integer => typed("integer"),
        Form::Text => loose("[^\\n]*"),
        Form::Label => loose(r"[ -~]{1,16}"),
        Form::Banner => loose(r"[ -~]{1,128}"),
        Form::Line => loose(inner(Line::PATTERN)),
        Form::Mode => loose("[0-7]{3,5}"),
        Form::Size => loose("[0-9]+\\s*(?:[KMGT](?:iB)?|B)?"),
        Form::Duration => plain("[0-9]+(?:ms|s|m)"),
        Form::Package => plain("[a-z0-9][a-z0-9+.-]+"),
        Form::Name => plain("[a-z][a-z0-9-]*"),
        Form::UserName => plain("[a-z_][a-z0-9_-]*"),
        Form::Owner => plain("[a-z_][a-z0-9_-]*:[a-z_][a-z0-9_-]*"),
        Form::Interface => plain("[A-Za-z0-9][A-Za-z0-9_.-]{0,14}"),
        Form::Unit => plain("[A-Za-z0-9:_.\\\\@-]+\\.(?:service|socket|target|timer|mount|path|slice|automount)"),
        Form::GuestPath => plain("/.*"),
        Form::HostPath => plain(".+"),
        Form::Url => plain("https?://\\S*[^/\\s]"),
        Form::Cidr => plain("[0-9.]+/[0-9]{1,2}"),
        Form::Address => plain("[0-9A-Fa-f:.]+"),
        Form::Argument => plain(inner(BootArgument::PATTERN)),
        Form::Fragment => plain("[^{}#\\s]*\\{secret\\}[^{}#\\s]*"),
        Form::HttpProbe => plain(&format!(":[0-9]{{1,5}}{}", inner(HttpPath::PATTERN))),
        Form::TcpProbe => plain(":[0-9]{1,5}"),
        Form::Question => plain("[^\\s$]+"),
        Form::Rule => plain(inner(RuleId::PATTERN)),
    }
}

/// A pattern without its anchors.
fn inner(pattern: &'static str) -> &'static str {
    pattern.trim_start_matches('^').trim_end_matches('$')
}
