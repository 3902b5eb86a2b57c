//! The JSON Schema of recipes, for editors: made from the table of keys.

use super::keys::{Form, Key, RECIPE, Shape};
use serde_json::{Map, Value, json};

/// JSON Schema draft 7 (what editors' YAML plug-ins read) of the recipe language.
pub fn schema() -> Value {
    let mut schema = object(RECIPE);
    if let Some(root) = schema.as_object_mut() {
        root.insert("$schema".to_owned(), "http://json-schema.org/draft-07/schema#".into());
        root.insert("title".to_owned(), "goldsmith recipe".into());
    }
    schema
}

fn object(keys: &[Key]) -> Value {
    let property = |key: &Key| {
        let mut value = shape(&key.shape);
        if let Some(map) = value.as_object_mut() {
            map.insert("description".to_owned(), key.doc.into());
        }
        (key.name.to_owned(), value)
    };
    let properties: Map<_, _> = keys.iter().map(property).collect();
    let required: Vec<_> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties, "required": required })
}

fn shape(shape_: &Shape) -> Value {
    match shape_ {
        Shape::Scalar(form) => scalar(*form),
        Shape::Choice(words) => json!({ "enum": words }),
        Shape::List(item) => {
            let item = shape(item);
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
        Shape::Map(value) => json!({ "type": "object", "additionalProperties": shape(value) }),
        Shape::Object(keys) => object(keys),
        Shape::Words => json!({ "type": "array", "minItems": 1, "items": { "type": ["string", "number", "boolean"] } }),
    }
}

/// Plain YAML scalars may look like numbers to a validator; the checker takes their text.
fn scalar(form: Form) -> Value {
    match form {
        Form::Boolean => json!({ "type": "boolean" }),
        Form::Integer => json!({ "type": "integer" }),
        Form::Text | Form::Mode | Form::Size | Form::Label => json!({ "type": ["string", "number", "boolean"] }),
        Form::Package => json!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9+.-]+$" }),
        Form::Name => json!({ "type": "string", "pattern": "^[a-z][a-z0-9-]*$" }),
        Form::Unit => {
            json!({ "type": "string", "pattern": "\\.(service|socket|target|timer|mount|path|slice|automount)$" })
        }
        Form::HttpProbe => json!({ "type": "string", "pattern": "^:[0-9]+/" }),
        Form::TcpProbe => json!({ "type": "string", "pattern": "^:[0-9]+$" }),
        _ => json!({ "type": "string" }),
    }
}
