//! The packages an archive offers: its `Packages` files, verified, and what a stanza of them says.

use super::lock_file::{is_path, is_size, is_word};
use super::relation::Relation;
use super::release::Release;
use super::universe::Wanted;
use super::{Error, Stanza};
use crate::progress::Observer;
use crate::recipe::Archive;
use crate::store::{Download, Store};
use crate::values::Sha256;
use liblzma::stream::Stream;
use std::io::Read as _;

/// The longest `Packages` that is unpacked. Debian's main has 50 MB.
const MAX_INDEX: u64 = 256 << 20;
/// The most memory that unpacking may take; `xz -9` makes files that need 65 MiB (xz(1)).
const XZ_MEMORY: u64 = 256 << 20;

/// The decompressed `Packages` files of one archive.
pub(super) struct IndexText {
    pub archive: usize,
    pub text: String,
}

/// A package version that may be installed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub name: &'a str,
    pub version: &'a str,
    pub architecture: &'a str,
    pub essential: bool,
    /// `Important` or `Protected`: not removed by a solver, as the essential ones.
    pub important: bool,
    /// apt's order: none said 0, required 1, important 2, standard 3, optional 4, extra 5.
    pub priority: u8,
    pub archive: usize,
    pub path: &'a str,
    pub size: u64,
    pub sha256: Sha256,
    /// `Multi-Arch: allowed`: it satisfies relations `NAME:any`.
    allowed: bool,
    stanza: Stanza<'a>,
}

/// Downloads and verifies the `Packages` files of every component of an archive.
pub(super) fn fetch(
    archive: &Archive,
    number: usize,
    release: &Release,
    architecture: &str,
    store: &Store,
    observer: &dyn Observer,
) -> Result<Vec<IndexText>, Error> {
    let mut texts = Vec::new();
    for component in &archive.components {
        let base = format!("{}/dists/{}", archive.mirror, archive.suite);
        let path = format!("{component}/binary-{architecture}/Packages.xz");
        let (size, sha256) = *release.files.get(&path).ok_or_else(|| Error::Metadata {
            url: format!("{base}/{path}"),
            cause: format!("the archive has no component `{component}` for {architecture}"),
        })?;
        let plain = format!("{base}/{path}");
        let unpacked = release.files.get(path.trim_end_matches(".xz")).map(|(size, _)| *size);
        if let Some(large) = unpacked.iter().chain([&size]).find(|size| **size > MAX_INDEX) {
            let cause = format!("it has {large} bytes; an index has at most {MAX_INDEX}");
            return Err(Error::Untrusted { url: plain, cause });
        }
        let by_hash = format!("{base}/{component}/binary-{architecture}/by-hash/SHA256/{sha256}");
        let urls = if release.by_hash { vec![by_hash, plain.clone()] } else { vec![plain.clone()] };
        let wanted = Download { name: format!("{} {path}", archive.suite), urls, size, sha256 };
        let files = store.fetch("index", &[wanted], observer)?;
        for file in files {
            let text = decompress(&file, unpacked).map_err(|cause| Error::Untrusted { url: plain.clone(), cause })?;
            texts.push(IndexText { archive: number, text });
        }
    }
    Ok(texts)
}

/// The text of a verified index: as many bytes as the signed list says, where it says so.
fn decompress(path: &std::path::Path, plain: Option<u64>) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let stream = Stream::new_stream_decoder(XZ_MEMORY, 0).map_err(|error| error.to_string())?;
    let most = plain.unwrap_or(MAX_INDEX);
    let mut bytes = Vec::new();
    let unpacked = liblzma::read::XzDecoder::new_stream(file, stream).take(most + 1).read_to_end(&mut bytes);
    match unpacked.map_err(|error| error.to_string())? as u64 {
        count if count > most => Err(format!("it unpacks to more than {most} bytes")),
        count if plain.is_some_and(|plain| plain != count) => {
            Err(format!("it unpacks to {count} bytes; {most} are signed"))
        }
        _ => String::from_utf8(bytes).map_err(|error| error.to_string()),
    }
}

impl<'a> Candidate<'a> {
    pub fn parse(stanza: Stanza<'a>, archive: usize) -> Option<Self> {
        let mut candidate = Self {
            name: "",
            version: "",
            architecture: "",
            essential: false,
            important: false,
            priority: 0,
            archive,
            path: "",
            size: 0,
            sha256: Sha256([0; 32]),
            allowed: false,
            stanza,
        };
        let mut hashed = false;
        for (name, value) in stanza.fields() {
            match name {
                "Package" => candidate.name = value,
                "Version" => candidate.version = value,
                "Architecture" => candidate.architecture = value,
                "Essential" => candidate.essential = value == "yes",
                "Important" | "Protected" => candidate.important |= value == "yes",
                "Multi-Arch" => candidate.allowed = value == "allowed",
                "Priority" => candidate.priority = priority(value),
                "Filename" => candidate.path = value,
                "Size" => candidate.size = value.parse().ok()?,
                "SHA256" => {
                    candidate.sha256 = value.parse().ok()?;
                    hashed = true;
                }
                _ => {}
            }
        }
        // What no package may have is not offered at all: such a name would be a path, an argument, a line of a lock.
        let words = [candidate.name, candidate.version, candidate.architecture];
        let sound = words.into_iter().all(is_word) && is_path(candidate.path) && is_size(candidate.size);
        (hashed && sound).then_some(candidate)
    }

    /// The groups of a relation field.
    pub fn relations(&self, field: &str) -> Vec<Vec<Relation<'a>>> {
        self.stanza.field(field).map(Relation::groups).unwrap_or_default()
    }

    /// Everything that must be there: `Pre-Depends`, then `Depends`.
    pub fn needs(&self) -> Vec<Vec<Relation<'a>>> {
        let mut groups = self.relations("Pre-Depends");
        groups.extend(self.relations("Depends"));
        groups
    }

    /// What must not be there: `Conflicts`, then `Breaks`.
    pub fn rejects(&self) -> Vec<Relation<'a>> {
        ["Conflicts", "Breaks"].into_iter().flat_map(|field| self.relations(field)).flatten().collect()
    }

    /// What this package may be asked for as: its name, and what it provides, with the versions it has them at.
    pub fn names(&self, native: &str) -> Vec<(Wanted<'a>, Option<&'a str>)> {
        let mut names = vec![(self.name, None, Some(self.version))];
        if self.stanza.text().contains("\nProvides:") {
            for relation in self.relations("Provides").into_iter().flatten() {
                let version = relation.version.map(|(_, version)| version);
                let itself = relation.name == self.name && version.is_none_or(|version| version == self.version);
                let exact = relation.version.is_none_or(|(operator, _)| operator == "=");
                if exact && !itself {
                    names.push((relation.name, relation.architecture, version));
                }
            }
        }
        let mut wanted = Vec::new();
        for (name, architecture, version) in names {
            let plain = Wanted::new(name, architecture, native).map(|wanted| (wanted, version));
            let any = (self.allowed && architecture.is_none()).then_some((Wanted { name, any: true }, version));
            wanted.extend(plain.into_iter().chain(any));
        }
        wanted
    }

    /// The names that its relations mention, itself first, in the order apt reads the fields.
    pub fn mentions(&self, mut mention: impl FnMut(&'a str)) {
        const FIELDS: [&str; 9] = [
            "Pre-Depends",
            "Depends",
            "Conflicts",
            "Breaks",
            "Recommends",
            "Suggests",
            "Replaces",
            "Enhances",
            "Provides",
        ];
        let mut values = [""; FIELDS.len()];
        for (name, value) in self.stanza.fields() {
            if let Some(slot) = FIELDS.iter().position(|field| *field == name) {
                values[slot] = value;
            }
        }
        mention(self.name);
        for value in values {
            value.split([',', '|']).for_each(|relation| {
                let relation = relation.trim_start();
                let end = relation.find([' ', '(', ':', '\n']).unwrap_or(relation.len());
                // `NAME:any` is a name of its own to apt.
                if !relation[end..].starts_with(":any") {
                    mention(&relation[..end]);
                }
            });
        }
    }
}

fn priority(name: &str) -> u8 {
    match name {
        "required" => 1,
        "important" => 2,
        "standard" => 3,
        "optional" => 4,
        _ => 5,
    }
}
