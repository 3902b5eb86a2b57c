//! In which order packages are unpacked: pure, from their control data.
//!
//! dpkg unpacks one package after the other. To unpack many at once, they are put into waves: before a package is unpacked,
//! the essential packages and what it pre-depends on are set up (Debian Policy 3.8, 7.2). apt does so whether there is a
//! `preinst` or not, and with it goes the order in which scripts later make users, whose ids are counted.

use crate::debian::{Relation, Stanza};
use std::collections::{BTreeMap, BTreeSet};

/// What ordering needs to know of a package.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub essential: bool,
    /// The text of its control file.
    pub control: String,
}

/// In which order.
pub(super) struct Plan {
    /// Indices of packages, wave after wave, each sorted. The first wave is the essential packages with all they depend on.
    pub waves: Vec<Vec<usize>>,
    /// For each package, what is to be set up before it is unpacked.
    pub before: Vec<BTreeSet<usize>>,
}

/// Puts packages into waves.
pub(super) fn plan(packages: &[&Facts]) -> Plan {
    let names = names(packages);
    let needs = needs(packages, &names);
    let first =
        closure((0..packages.len()).filter(|at| packages.get(*at).is_some_and(|facts| facts.essential)), &needs);
    let before: Vec<BTreeSet<usize>> =
        packages.iter().map(|facts| closure(related(facts, &["Pre-Depends"], &names), &needs)).collect();
    let mut waves = vec![first.iter().copied().collect::<Vec<_>>()];
    let mut placed = first;
    while placed.len() < packages.len() {
        let waiting = (0..packages.len()).filter(|at| !placed.contains(at));
        let free =
            |at: &usize| before.get(*at).is_none_or(|before| before.iter().all(|b| b == at || placed.contains(b)));
        let mut wave: Vec<_> = waiting.clone().filter(free).collect();
        if wave.is_empty() {
            // Packages that pre-depend on each other in a circle: nothing better can be done.
            wave = waiting.collect();
        }
        placed.extend(&wave);
        waves.push(wave);
    }
    Plan { waves, before }
}

/// Whether a package depends on itself by way of others.
pub(super) fn is_in_a_circle(packages: &[&Facts], at: usize) -> bool {
    let needs = needs(packages, &names(packages));
    closure(needs.get(at).into_iter().flatten().copied(), &needs).contains(&at)
}

/// For each package, what it depends on.
fn needs(packages: &[&Facts], names: &BTreeMap<&str, Vec<usize>>) -> Vec<Vec<usize>> {
    packages.iter().map(|facts| related(facts, &["Pre-Depends", "Depends"], names)).collect()
}

/// Whose files a package may take: those that it replaces at the version that they have.
pub(super) fn replaces(packages: &[&Facts]) -> BTreeMap<String, BTreeSet<String>> {
    let versions: BTreeMap<_, _> =
        packages.iter().map(|facts| (field(facts, "Package"), field(facts, "Version"))).collect();
    let taken = |facts: &Facts| {
        let relations = fields(facts, &["Replaces"]).into_iter().flatten();
        let there = relations.filter(|relation| versions.get(relation.name).is_some_and(|v| relation.accepts(v)));
        there.map(|relation| relation.name.to_owned()).collect()
    };
    packages.iter().map(|facts| (field(facts, "Package").to_owned(), taken(facts))).collect()
}

/// Which of `others` are needed: they meet a dependency of the packages that none of these meets.
pub(super) fn needed(packages: &[&Facts], others: &[&Facts]) -> BTreeSet<usize> {
    let (own, theirs) = (names(packages), names(others));
    let groups = packages.iter().flat_map(|facts| fields(facts, &["Pre-Depends", "Depends"]));
    let unmet = groups.filter(|group| !group.iter().any(|relation| own.contains_key(relation.name)));
    unmet.filter_map(|group| group.iter().find_map(|relation| theirs.get(relation.name)?.first().copied())).collect()
}

/// Which packages have a name, or provide it; the real one first.
fn names<'a>(packages: &[&'a Facts]) -> BTreeMap<&'a str, Vec<usize>> {
    let mut names: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (at, facts) in packages.iter().enumerate() {
        names.entry(field(facts, "Package")).or_default().insert(0, at);
        for relation in Relation::groups(field(facts, "Provides")).into_iter().flatten() {
            names.entry(relation.name).or_default().push(at);
        }
    }
    names
}

/// For each group of alternatives, the first that is there.
fn related(facts: &Facts, names: &[&str], index: &BTreeMap<&str, Vec<usize>>) -> Vec<usize> {
    let first = |group: Vec<Relation>| group.iter().find_map(|relation| index.get(relation.name)?.first().copied());
    fields(facts, names).into_iter().filter_map(first).collect()
}

fn fields<'a>(facts: &'a Facts, names: &[&str]) -> Vec<Vec<Relation<'a>>> {
    names.iter().flat_map(|name| Relation::groups(field(facts, name))).collect()
}

fn field<'a>(facts: &'a Facts, name: &str) -> &'a str {
    Stanza::all(&facts.control).next().and_then(|stanza| stanza.field(name)).unwrap_or_default()
}

fn closure(start: impl IntoIterator<Item = usize>, needs: &[Vec<usize>]) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<_> = start.into_iter().collect();
    while let Some(at) = waiting.pop() {
        if found.insert(at) {
            waiting.extend(needs.get(at).into_iter().flatten());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(name: &str, rest: &str) -> Facts {
        let control = format!("Package: {name}\n{rest}");
        Facts { essential: rest.contains("Essential"), control }
    }

    #[test]
    fn essential_packages_come_first_with_all_they_need_and_preinsts_wait_for_their_pre_dependencies() {
        let packages = [
            facts("dash", "Essential: yes\nPre-Depends: libc6 (>= 2.36)\nDepends: awk | perl"),
            facts("libc6", "Depends: libgcc-s1"),
            facts("libgcc-s1", "Depends: gcc-base, libc6"),
            facts("gcc-base", ""),
            facts("mawk", "Provides: awk"),
            facts("tool", "Depends: late"),
            facts("late", "Pre-Depends: helper, libc6"),
            facts("helper", "Depends: helper-data"),
            facts("helper-data", ""),
            facts("a", "Pre-Depends: b"),
            facts("b", "Pre-Depends: a"),
        ];
        let packages: Vec<_> = packages.iter().collect();
        let Plan { waves, before } = plan(&packages);
        assert_eq!(waves, [vec![0, 1, 2, 3, 4], vec![5, 7, 8], vec![6], vec![9, 10]]);
        assert_eq!(before[6], BTreeSet::from([1, 2, 3, 7, 8]));
        let circles: Vec<_> = (0..packages.len()).filter(|at| is_in_a_circle(&packages, *at)).collect();
        assert_eq!(circles, [1, 2, 9, 10]);
    }

    #[test]
    fn a_kernel_is_needed_where_nothing_else_is_what_a_package_depends_on() {
        let kernel = facts("linux-image-6.1", "Provides: wireguard-modules (= 1.0.0)");
        let wireguard = facts("wireguard", "Depends: wireguard-modules (>= 0.0.20191219) | wireguard-dkms, libc6");
        let dkms = facts("wireguard-dkms", "");
        let other = facts("other", "Depends: libc6");
        assert_eq!(needed(&[&wireguard, &other], &[&dkms, &kernel]), [1].into());
        assert!(needed(&[&wireguard, &dkms], &[&kernel]).is_empty() && needed(&[&other], &[&kernel]).is_empty());
    }
}
