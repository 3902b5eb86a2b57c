//! The manifest: one versioned JSON document that says exactly how an image must be booted. Pure.
//!
//! In: what the pipeline made, or the bytes of a `manifest.json`. Out: canonical bytes, or a checked [`Manifest`];
//! the document's JSON Schema. Uses `values`, `network`, `boot`.

mod codec;
mod document;
mod place;

pub use codec::{Error, MAX_MANIFEST};
pub(crate) use codec::{canonical, read};
pub use document::*;

/// The document's JSON Schema (draft 2020-12), as committed in `docs/manifest.schema.json`.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Manifest).to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), "goldsmith manifest".into());
    }
    addresses(&mut schema);
    schema
}

/// Adds to every IP address what it is made of: validators take `format` for a remark.
fn addresses(schema: &mut serde_json::Value) {
    if let Some(object) = schema.as_object_mut()
        && object.get("format").is_some_and(|format| format == "ip")
    {
        object.insert("pattern".to_owned(), "^[0-9A-Fa-f:.]+$".into());
    }
    match schema {
        serde_json::Value::Object(object) => object.values_mut().for_each(addresses),
        serde_json::Value::Array(items) => items.iter_mut().for_each(addresses),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
