//! The OpenAPI 3.1 document, made from the table of routes and from the types of requests and answers.
//!
//! Source: <https://spec.openapis.org/oas/v3.1.1>; its schemas are JSON Schema 2020-12.

use super::routes::{ALWAYS, Answer, ROUTES, Route};
use super::streams::Follow;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The document.
pub fn document() -> Value {
    let settings =
        || SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut read = settings().for_deserialize().into_generator();
    let mut written = settings().for_serialize().into_generator();
    let mut paths = Map::new();
    for route in ROUTES {
        let operation = operation(route, &mut read, &mut written);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.method.to_owned(), operation);
        }
    }
    let mut schemas = read.take_definitions(true);
    schemas.extend(written.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "goldsmith serve",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Launches VMs from golden images. What the gate refuses is not started.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        "security": [{ "token": [] }],
    })
}

fn operation(route: &Route, read: &mut SchemaGenerator, written: &mut SchemaGenerator) -> Value {
    let mut answers = Map::new();
    let always = if route.open { &[] } else { ALWAYS };
    let mut statuses = BTreeSet::new();
    for answer in route.answers.iter().chain(always).filter(|answer| statuses.insert(answer.status)) {
        answers.insert(answer.status.to_string(), response(answer, written));
    }
    let mut operation =
        json!({ "summary": route.summary, "responses": answers, "parameters": parameters(route, read) });
    let Some(object) = operation.as_object_mut() else { return operation };
    if route.open {
        object.insert("security".to_owned(), json!([]));
    }
    if let Some(body) = route.body {
        let content = json!({ "application/json": { "schema": body(read) } });
        object.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
    }
    operation
}

fn response(answer: &Answer, written: &mut SchemaGenerator) -> Value {
    let mut response = json!({ "description": answer.text });
    let content = match answer.shape {
        Some(shape) => json!({ answer.media: { "schema": shape(written) } }),
        None if answer.media.is_empty() => return response,
        None if answer.media == "application/json" => json!({ answer.media: { "schema": { "type": "object" } } }),
        None => json!({ answer.media: { "schema": { "type": "string" } } }),
    };
    if let Some(response) = response.as_object_mut() {
        response.insert("content".to_owned(), content);
    }
    response
}

fn parameters(route: &Route, read: &mut SchemaGenerator) -> Vec<Value> {
    let mut parameters = Vec::new();
    if route.path.contains("{id}") {
        parameters.push(json!({ "name": "id", "in": "path", "required": true, "schema": { "type": "string" } }));
    }
    if route.body.is_some() {
        let text = "The same key with the same body gets the same answer, and nothing is done twice.";
        let schema = json!({ "type": "string", "minLength": 1, "maxLength": 255 });
        parameters.push(json!({ "name": "Idempotency-Key", "in": "header", "description": text, "schema": schema }));
    }
    if route.path.ends_with("/console") {
        let schema = read.root_schema_for::<Follow>().to_value();
        let follow = schema.pointer("/properties/follow").cloned().unwrap_or_default();
        parameters.push(json!({ "name": "follow", "in": "query", "schema": follow }));
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_what_clients_were_promised() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&document()).unwrap());
    }

    #[test]
    fn every_reference_leads_to_a_schema() {
        let document = document();
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }
}
