//! All packages of all archives: one candidate a name, the highest version over all archives, as apt's pins of equal
//! priority choose (apt_preferences(5)); and who can be had under which name.

use super::index::{Candidate, IndexText};
use super::relation::Relation;
use super::{Stanza, version};
use crate::values::nearest;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::OnceLock;

/// The number of a package. A smaller one was named earlier in the metadata, by its own stanza or by a relation: apt
/// counts its packages so, and decides by it when nothing else does.
pub(super) type Number = usize;

/// What a relation looks for: a name, among the packages of this architecture or (`any`) those that say that any
/// architecture's will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Wanted<'a> {
    pub name: &'a str,
    pub any: bool,
}

impl<'a> Wanted<'a> {
    /// None for the package of another architecture: there are none.
    pub fn new(name: &'a str, architecture: Option<&str>, native: &str) -> Option<Self> {
        match architecture {
            None | Some("native") => Some(Self { name, any: false }),
            Some("any") => Some(Self { name, any: true }),
            Some(named) => (named == native).then_some(Self { name, any: false }),
        }
    }
}

/// A package, and the version that it offers a name at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer<'a> {
    pub package: Number,
    pub version: Option<&'a str>,
}

/// The hard relations of a package.
pub(super) struct Relations<'a> {
    /// Groups of alternatives, each of which must be met.
    pub needs: Vec<Vec<Relation<'a>>>,
    pub rejects: Vec<Relation<'a>>,
    /// What the package may be asked for as.
    pub names: Vec<(Wanted<'a>, Option<&'a str>)>,
}

/// Everything that may be installed.
pub(super) struct Universe<'a> {
    packages: Vec<Candidate<'a>>,
    relations: Vec<OnceLock<Relations<'a>>>,
    numbers: HashMap<&'a str, Number>,
    offers: HashMap<Wanted<'a>, Vec<Offer<'a>>>,
    architecture: &'a str,
}

impl<'a> Universe<'a> {
    /// Reads all stanzas of all archives.
    pub fn new(texts: &'a [IndexText], architecture: &'a str) -> Self {
        let mut candidates: HashMap<&str, Candidate> = HashMap::new();
        let mut mentioned: HashMap<&str, usize> = HashMap::new();
        for text in texts {
            for candidate in Stanza::all(&text.text).filter_map(|stanza| Candidate::parse(stanza, text.archive)) {
                candidate.mentions(|name| {
                    let next = mentioned.len();
                    mentioned.entry(name).or_insert(next);
                });
                match candidates.entry(candidate.name) {
                    Entry::Vacant(entry) => {
                        entry.insert(candidate);
                    }
                    Entry::Occupied(mut known) => {
                        if version::compare(known.get().version, candidate.version).is_lt() {
                            known.insert(candidate);
                        }
                    }
                }
            }
        }
        let mut packages: Vec<Candidate> = candidates.into_values().collect();
        packages.sort_by_key(|candidate| mentioned.get(candidate.name));
        let mut offers: HashMap<Wanted, Vec<Offer>> = HashMap::new();
        for (package, candidate) in packages.iter().enumerate() {
            for (wanted, version) in candidate.names(architecture) {
                offers.entry(wanted).or_default().push(Offer { package, version });
            }
        }
        Self {
            numbers: packages.iter().enumerate().map(|(number, candidate)| (candidate.name, number)).collect(),
            relations: packages.iter().map(|_| OnceLock::new()).collect(),
            packages,
            offers,
            architecture,
        }
    }

    /// How many packages there are.
    pub fn len(&self) -> usize {
        self.packages.len()
    }

    pub fn numbers(&self) -> std::ops::Range<Number> {
        0..self.packages.len()
    }

    /// The package of a name.
    pub fn number(&self, name: &str) -> Option<Number> {
        self.numbers.get(name).copied()
    }

    pub fn package(&self, number: Number) -> &Candidate<'a> {
        &self.packages[number]
    }

    pub fn relations(&self, number: Number) -> &Relations<'a> {
        self.relations[number].get_or_init(|| {
            let candidate = &self.packages[number];
            Relations {
                needs: candidate.needs(),
                rejects: candidate.rejects(),
                names: candidate.names(self.architecture),
            }
        })
    }

    /// What a relation looks for, if it is for this architecture.
    pub fn wanted(&self, relation: &Relation<'a>) -> Option<Wanted<'a>> {
        Wanted::new(relation.name, relation.architecture, self.architecture)
    }

    /// Who offers the name that a relation asks for, at a version that it accepts.
    pub fn offers(&self, relation: &Relation<'a>) -> impl Iterator<Item = Number> {
        let offers = self.wanted(relation).and_then(|wanted| self.offers.get(&wanted)).into_iter().flatten();
        offers.filter(|offer| relation.met_at(offer.version)).map(|offer| offer.package)
    }

    /// Who offers a name at all.
    pub fn named(&self, wanted: Wanted<'a>) -> &[Offer<'a>] {
        self.offers.get(&wanted).map(Vec::as_slice).unwrap_or_default()
    }

    /// The known name that a misspelt one means. Among so many names some are always near: one edit is a slip, and a
    /// second one only in a long name.
    pub fn similar(&self, name: &str) -> Option<&'a str> {
        let edits = (name.chars().count() / 6).max(1);
        nearest(name, edits, self.packages.iter().map(|candidate| candidate.name))
    }
}
