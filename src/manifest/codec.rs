//! Bytes ↔ [`Manifest`]: strict reading with the place of every mistake, one canonical way of writing.

use super::document::most;
use super::{EffectiveInterface, Manifest, Probe, SCHEMA, place};
use crate::values::visible;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The most bytes a manifest may have. Real ones have a few thousand.
pub const MAX_MANIFEST: usize = 4 << 20;

/// Why bytes are not a manifest that can be trusted to mean what it says.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too many bytes.
    #[error("the manifest has {0} bytes; more than {MAX_MANIFEST} are not read")]
    TooLarge(usize),
    /// Not UTF-8, or not JSON.
    #[error("the manifest is not JSON: {0}")]
    Json(String),
    /// Written by another version, or something else altogether.
    #[error(
        "the manifest's `schema` is {found}; this goldsmith reads `{SCHEMA}` (rebuild the image, or use the goldsmith that built it)"
    )]
    Schema {
        /// What stands there, in quotes, or `missing`.
        found: String,
    },
    /// A key that is unknown, missing or said twice; a value of the wrong type.
    #[error("manifest, line {line}, column {column}, at `{pointer}`: {problem}")]
    Shape {
        /// JSON pointer (RFC 6901); `/` alone stands for the document.
        pointer: String,
        /// 1-based.
        line: usize,
        /// 1-based.
        column: usize,
        /// One phrase.
        problem: String,
    },
    /// A value of the right type that cannot be.
    #[error("manifest, at `{pointer}`: {problem}")]
    Value {
        /// JSON pointer.
        pointer: String,
        /// One phrase.
        problem: String,
    },
}

impl Manifest {
    /// Reads a manifest. Spaces and the order of keys do not matter; everything else does: unknown and repeated keys are
    /// refused, and so are file names that could lead out of the image's folder.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_MANIFEST {
            return Err(Error::TooLarge(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| Error::Json(error.to_string()))?;
        check_schema(text)?;
        let manifest: Self = read(text)?;
        manifest.check_values()?;
        Ok(manifest)
    }

    /// The canonical form: keys sorted by their bytes, two spaces of indent, one newline at the end.
    pub fn to_canonical_bytes(&self) -> Vec<u8> {
        canonical(self)
    }

    /// What no single value shows.
    fn check_values(&self) -> Result<(), Error> {
        self.check_counts()?;
        let mut names = BTreeSet::new();
        for (pointer, name) in [
            ("/image/file", &self.image.file),
            ("/kernel/vmlinuz/file", &self.kernel.vmlinuz.file),
            ("/kernel/vmlinux/file", &self.kernel.vmlinux.file),
            ("/initrd/file", &self.initrd.file),
        ] {
            value(names.insert(name), pointer, || format!("`{name}` is named twice"))?;
        }
        for (name, parameter) in &self.boot.parameters {
            let good = parameter.default.as_ref().map_or(Ok(()), |default| parameter.kind.accepts(default));
            value(good.is_ok(), &format!("/boot/parameters/{name}/default"), || good.err().unwrap_or_default())?;
        }
        let mut probes = BTreeSet::new();
        for (index, Probe { name, .. }) in self.probes.iter().enumerate() {
            value(probes.insert(name), &format!("/probes/{index}/name"), || format!("`{name}` is named twice"))?;
        }
        Ok(())
    }

    fn check_counts(&self) -> Result<(), Error> {
        let network = &self.network;
        let lists = network.effective.iter().flat_map(|(name, interface)| {
            let EffectiveInterface { addresses, gateways, dns, .. } = interface;
            [("addresses", addresses.len()), ("gateways", gateways.len()), ("dns", dns.len())]
                .map(|(list, count)| (format!("/network/effective/{name}/{list}"), count, most::ADDRESSES))
        });
        let counts = [
            ("/artifacts", self.artifacts.len(), most::ARTIFACTS),
            ("/boot/args", self.boot.args.len(), most::ARGS),
            ("/boot/parameters", self.boot.parameters.len(), most::PARAMETERS),
            ("/network/effective", network.effective.len(), most::INTERFACES),
            ("/network/files", network.files.len(), most::FILES),
            ("/probes", self.probes.len(), most::PROBES),
            ("/waivers", self.waivers.len(), most::WAIVERS),
        ];
        let counts = counts.map(|(pointer, count, most)| (pointer.to_owned(), count, most));
        for (pointer, count, most) in counts.into_iter().chain(lists) {
            value(count <= most, &pointer, || format!("{count} are there, and {most} may be"))?;
        }
        Ok(())
    }
}

/// Any value from a JSON text, with the place of what is wrong with it. Repeated keys are refused.
pub(crate) fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Error> {
    let value = serde_json::from_str(text)
        .map_err(|error| if error.is_data() { shape(text, &error) } else { Error::Json(error.to_string()) })?;
    match place::repeated(text) {
        Some(twice) => Err(at(text, twice, "the key is there twice".to_owned())),
        None => Ok(value),
    }
}

/// Any value in the canonical form that manifests and SBOMs are written in.
pub(crate) fn canonical(value: &impl serde::Serialize) -> Vec<u8> {
    // These types serialize into a value without fail: no map has keys that are not strings.
    let value = sorted(serde_json::to_value(value).unwrap_or_default());
    let mut bytes = serde_json::to_vec_pretty(&value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// serde_json keeps or sorts keys depending on a feature that any dependency may switch on.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(Map::from_iter(entries))
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// The schema is looked at first: another version has other keys, and a list of those would not help anybody.
fn check_schema(text: &str) -> Result<(), Error> {
    #[derive(serde::Deserialize)]
    struct Head {
        schema: Option<Value>,
    }
    let head: Result<Head, _> = serde_json::from_str(text);
    let found = match head {
        Ok(Head { schema: Some(Value::String(schema)) }) if schema == SCHEMA => return Ok(()),
        Ok(Head { schema: Some(other) }) => shown_text(&other.to_string()),
        Ok(Head { schema: None }) => "missing".to_owned(),
        Err(error) if error.is_data() => return Err(shape(text, &error)),
        Err(error) => return Err(Error::Json(error.to_string())),
    };
    Err(Error::Schema { found })
}

fn value(holds: bool, pointer: &str, problem: impl FnOnce() -> String) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::Value { pointer: pointer.to_owned(), problem: problem() }) }
}

fn shape(text: &str, error: &serde_json::Error) -> Error {
    let message = error.to_string();
    // serde_json ends its messages with the place, which is said in front here.
    let problem = message.rsplit_once(" at line ").map_or(message.as_str(), |(problem, _)| problem).to_owned();
    let mut offset = place::offset(text, error.line(), error.column());
    // A value of the right type and the wrong form is noticed when the comma behind it has been read.
    if !problem.starts_with("invalid type")
        && let Some(before) = text.get(..offset + 2).and_then(|before| before.trim_end().strip_suffix(','))
    {
        offset = before.len().saturating_sub(1);
    }
    let mut pointer = place::pointer(text, offset);
    if problem.starts_with("missing field") {
        // That is noticed at the closing brace, behind the last key.
        pointer.truncate(pointer.rfind('/').unwrap_or(0));
    }
    if let Some(key) = problem.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next()) {
        // Beside a flattened enum that is noticed at the closing brace too.
        let parent = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
        return at(text, place::of(text, &format!("{parent}/{}", place::escape(key))), problem);
    }
    let (line, column, problem) = (error.line(), error.column().max(1), shown_text(&problem));
    Error::Shape { pointer: shown(&pointer), line, column, problem }
}

fn at(text: &str, offset: usize, problem: String) -> Error {
    let (line, column) = place::line_column(text, offset);
    Error::Shape { pointer: shown(&place::pointer(text, offset)), line, column, problem: shown_text(&problem) }
}

fn shown(pointer: &str) -> String {
    if pointer.is_empty() { "/".to_owned() } else { visible(pointer, 200) }
}

/// Words that may quote what a stranger wrote.
fn shown_text(text: &str) -> String {
    visible(text, 300)
}
