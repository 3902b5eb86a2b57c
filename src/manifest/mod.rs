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
    schema
}

#[cfg(test)]
mod tests;
