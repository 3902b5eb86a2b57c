//! Which packages come with those asked for: the decisions of apt 2.6's own solver on a system where nothing is installed.
//!
//! Facts, from the behaviour of apt-pkg's `pkgDepCache::MarkInstall` and `pkgCache`:
//! everything asked for is marked first and protected. Then each package is followed depth first, relation by relation as
//! written. A group that nothing marked meets is tried alternative by alternative, the offers of each best first; the first
//! that goes in with all it needs is taken, and one that does not is no candidate any more. Protection is handed on
//! where there is one solution only; what a protected package rejects is no candidate any more. At the end, what came in
//! for an attempt that failed, and is of use to nobody, is left out again. `tests/lock.rs` compares all of it with apt.

use super::relation::Relation;
use super::universe::{Number, Universe, Wanted};
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};

/// apt does not go deeper either.
const MAX_DEPTH: usize = 3000;

/// What is decided about a package.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// It is not to be had any more.
    discarded: bool,
    /// It will be there.
    installed: bool,
    /// It was chosen, and not dropped.
    marked: bool,
    /// Nothing but a request may change what was decided.
    protected: bool,
    /// It was not asked for.
    automatic: bool,
    /// It is there from the start, and stays: the recipe's own kernel.
    present: bool,
    /// Who brought it in, for explanations.
    by: Option<Number>,
}

/// How a package is to be marked.
#[derive(Clone, Copy)]
struct Mark {
    /// Whether its relations are followed.
    follow: bool,
    by: Option<Number>,
    depth: usize,
}

impl Mark {
    fn is_asked(self) -> bool {
        self.by.is_none()
    }
}

/// The solver's state over all packages.
pub(super) struct Solver<'u, 'a> {
    universe: &'u Universe<'a>,
    states: Vec<State>,
    /// Offers that relations no longer count on. A package that is discarded offers its names until something changes
    /// about one of them: apt looks at a relation again only then.
    withdrawn: HashSet<(Wanted<'a>, Number)>,
}

impl<'u, 'a> Solver<'u, 'a> {
    /// A solver for a system that has nothing but `present`.
    pub fn new(universe: &'u Universe<'a>, present: &[Number]) -> Self {
        let mut states = vec![State::default(); universe.len()];
        for &number in present {
            states[number] = State { installed: true, present: true, ..State::default() };
        }
        Self { universe, states, withdrawn: HashSet::new() }
    }

    /// Everything that is installed when these are asked for, in this order.
    pub fn solve(mut self, asked: &[Number]) -> Result<BTreeSet<Number>, Vec<String>> {
        for &number in asked {
            self.states[number].protected = true;
            self.mark(number, Mark { follow: false, by: None, depth: 0 });
        }
        for &number in asked {
            self.mark(number, Mark { follow: true, by: None, depth: 0 });
        }
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(problems);
        }
        self.sweep();
        Ok(self.universe.numbers().filter(|&number| self.is_new(number)).collect())
    }

    fn is_new(&self, number: Number) -> bool {
        let state = &self.states[number];
        state.installed && !state.present
    }

    /// Marks a package for installation, with everything it needs. False: it cannot be.
    fn mark(&mut self, number: Number, mark: Mark) -> bool {
        let state = self.states[number];
        if state.present {
            return true;
        }
        let changeable = mark.is_asked() || state.marked || !state.protected;
        if !changeable || mark.depth > MAX_DEPTH || state.discarded {
            return false;
        }
        if !state.protected && state.marked && !self.is_broken(number) {
            return true;
        }
        if mark.follow && !self.is_possible(number) {
            return false;
        }
        if mark.is_asked() {
            self.install(number, mark);
        }
        let strict = !state.protected && !mark.is_asked();
        let universe = self.universe;
        let relations = universe.relations(number);
        let mut failed = false;
        let mut needs = Vec::new();
        if mark.follow {
            let open = |group: &&Vec<Relation<'a>>| state.protected || !self.is_met(group);
            needs.extend(relations.needs.iter().filter(open));
            failed = !self.make_room(number, state.protected, strict);
            if failed && strict {
                return false;
            }
        }
        if !mark.is_asked() {
            self.install(number, mark);
        }
        if !mark.follow {
            return true;
        }
        self.states[number].protected = true;
        for group in needs {
            if !self.meet(number, group, state.protected, mark.depth) {
                failed = true;
                if strict {
                    break;
                }
            }
        }
        self.states[number].protected = state.protected;
        if failed && strict {
            self.drop_mark(number);
            self.states[number].discarded = true;
        }
        !failed
    }

    fn install(&mut self, number: Number, mark: Mark) {
        let state = &mut self.states[number];
        if state.protected && state.installed {
            return;
        }
        state.marked = true;
        state.installed = true;
        state.automatic = !mark.is_asked();
        state.by = mark.by;
        self.touch(number);
    }

    fn drop_mark(&mut self, number: Number) {
        self.states[number].marked = false;
        self.states[number].installed = false;
        self.touch(number);
    }

    /// Something changed about a package: relations to its names take notice of all that offer them.
    fn touch(&mut self, number: Number) {
        let names = &self.universe.relations(number).names;
        let told = if self.states[number].discarded { 1 } else { names.len() };
        for &(name, _) in names.iter().take(told) {
            let offers = self.universe.named(name).iter();
            let gone = offers.filter(|offer| self.states[offer.package].discarded);
            self.withdrawn.extend(gone.map(|offer| (name, offer.package)));
        }
    }

    /// Whether each need could be met by what is to be had. If not, the package is no candidate any more.
    fn is_possible(&mut self, number: Number) -> bool {
        let needs = &self.universe.relations(number).needs;
        let possible =
            needs.iter().all(|group| self.is_met(group) || group.iter().any(|relation| self.has_hope(relation)));
        let state = &mut self.states[number];
        if !possible && !state.protected {
            state.discarded = true;
            state.marked = false;
        }
        possible
    }

    /// Makes what a package rejects go away, where that may be. False: it may not.
    fn make_room(&mut self, number: Number, thorough: bool, strict: bool) -> bool {
        let mut made = true;
        let universe = self.universe;
        for relation in &universe.relations(number).rejects {
            let mut rejected: Vec<Number> = universe.offers(relation).filter(|&other| other != number).collect();
            if !thorough && !rejected.iter().any(|&other| self.states[other].installed)
                || !rejected.iter().any(|&other| self.is_offered(relation, other))
            {
                continue;
            }
            self.sort(relation, &mut rejected);
            for other in rejected {
                let state = self.states[other];
                if state.discarded {
                    continue;
                }
                if state.present || state.marked && state.protected {
                    made = false;
                    if strict {
                        return false;
                    }
                    continue;
                }
                if state.marked {
                    self.drop_mark(other);
                }
                if thorough {
                    self.states[other].discarded = true;
                    self.states[other].protected = true;
                }
            }
        }
        made
    }

    /// Sees to it that one alternative of a group is there.
    fn meet(&mut self, package: Number, group: &[Relation<'a>], protected: bool, depth: usize) -> bool {
        let mark = Mark { follow: true, by: Some(package), depth: depth + 1 };
        if self.is_met(group) {
            if protected
                && let Some(only) = self.only_solution(group)
                && !self.states[only].protected
            {
                self.states[only].protected = true;
                return self.mark(only, mark);
            }
            return true;
        }
        let solutions = self.solutions(group);
        for &solution in &solutions {
            if self.states[solution].discarded {
                continue;
            }
            if protected && solutions.len() == 1 {
                if !self.mark(solution, Mark { follow: false, ..mark }) {
                    continue;
                }
                self.states[solution].protected = true;
            }
            if self.mark(solution, mark) {
                return true;
            }
        }
        false
    }

    /// What may meet a group, the best of each alternative first.
    fn solutions(&self, group: &[Relation<'a>]) -> Vec<Number> {
        let mut solutions = Vec::new();
        for relation in group {
            if self.has_hope(relation) {
                let offers = self.universe.offers(relation).filter(|&number| !self.states[number].discarded);
                let mut offers: Vec<Number> = offers.collect();
                self.sort(relation, &mut offers);
                solutions.extend(offers);
            }
        }
        solutions.dedup();
        solutions.retain(|&number| !self.is_barred(number));
        solutions
    }

    fn only_solution(&self, group: &[Relation<'a>]) -> Option<Number> {
        let mut solutions: Vec<Number> = self.solutions(group);
        solutions.sort_unstable();
        solutions.dedup();
        match solutions.as_slice() {
            [only] => Some(*only),
            _ => None,
        }
    }

    /// Decided against, and protected so.
    fn is_barred(&self, number: Number) -> bool {
        let state = &self.states[number];
        state.protected && !state.marked && !state.present
    }

    /// Sorts offers of a name: what is settled, the package of that name, the essential, the important, by priority;
    /// of equals the one that was named last.
    fn sort(&self, relation: &Relation<'a>, offers: &mut [Number]) {
        let any = relation.architecture == Some("any");
        offers.sort_by_key(|&number| {
            let (state, candidate) = (&self.states[number], self.universe.package(number));
            (
                !state.protected,
                !state.present,
                any || candidate.name != relation.name,
                !candidate.essential,
                !candidate.important,
                candidate.priority,
                Reverse(number),
            )
        });
    }

    fn is_met(&self, group: &[Relation<'a>]) -> bool {
        group.iter().any(|relation| self.universe.offers(relation).any(|number| self.states[number].installed))
    }

    /// Whether a relation, when it was last looked at, could be met by something.
    fn has_hope(&self, relation: &Relation<'a>) -> bool {
        self.universe.offers(relation).any(|number| self.is_offered(relation, number))
    }

    fn is_offered(&self, relation: &Relation<'a>, number: Number) -> bool {
        let wanted = self.universe.wanted(relation);
        wanted.is_some_and(|wanted| !self.withdrawn.contains(&(wanted, number)))
    }

    /// The installed packages that a package rejects.
    fn rejected(&self, number: Number) -> impl Iterator<Item = (&'u Relation<'a>, Number)> {
        let rejects = self.universe.relations(number).rejects.iter();
        let installed = move |other: &Number| *other != number && self.states[*other].installed;
        rejects.flat_map(move |relation| {
            self.universe.offers(relation).filter(installed).map(move |other| (relation, other))
        })
    }

    fn is_broken(&self, number: Number) -> bool {
        let unmet = |group: &Vec<Relation<'a>>| !self.is_met(group);
        self.universe.relations(number).needs.iter().any(unmet) || self.rejected(number).next().is_some()
    }

    /// Leaves out what is neither asked for nor essential, and needed, recommended or suggested by nothing that stays.
    fn sweep(&mut self) {
        let is_root = |number: &Number| {
            let (state, candidate) = (&self.states[*number], self.universe.package(*number));
            state.installed && (!state.automatic || candidate.essential || candidate.important)
        };
        let mut used: BTreeSet<Number> = self.universe.numbers().filter(is_root).collect();
        let mut fresh: Vec<Number> = used.iter().copied().collect();
        while let Some(number) = fresh.pop() {
            let soft = ["Recommends", "Suggests"].map(|field| self.universe.package(number).relations(field));
            let hard = self.universe.relations(number).needs.iter().flatten();
            for relation in hard.chain(soft.iter().flatten().flatten()) {
                let installed = self.universe.offers(relation).filter(|&other| self.states[other].installed);
                fresh.extend(installed.filter(|&other| used.insert(other)));
            }
        }
        for number in self.universe.numbers() {
            let state = self.states[number];
            if self.is_new(number) && !state.protected && !used.contains(&number) {
                self.drop_mark(number);
            }
        }
    }

    /// What is wrong with the choice: needs that are not met, and packages that do not go together.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for number in self.universe.numbers().filter(|&number| self.is_new(number)) {
            let package = self.universe.package(number);
            for group in self.universe.relations(number).needs.iter().filter(|group| !self.is_met(group)) {
                problems.push(self.unmet(number, group));
            }
            for (relation, other) in self.rejected(number) {
                problems.push(format!(
                    "{} {} conflicts with {} {} ({relation})\n    {}\n    {}",
                    package.name,
                    package.version,
                    self.universe.package(other).name,
                    self.universe.package(other).version,
                    self.why(number),
                    self.why(other)
                ));
            }
        }
        problems
    }

    fn unmet(&self, number: Number, group: &[Relation<'a>]) -> String {
        let package = self.universe.package(number).name;
        let mut path = vec![number];
        let mut solutions = group.iter().flat_map(|relation| self.universe.offers(relation));
        let obstacle = solutions.find_map(|solution| self.obstacle(solution, &mut path, &mut HashSet::new()));
        let obstacle = obstacle.unwrap_or_else(|| format!("which no archive has\n    {}", self.why(number)));
        format!("{package} depends on {}, {obstacle}", shown(group))
    }

    /// Why a package cannot be there: it, or something that it needs, conflicts with something that is.
    fn obstacle(&self, number: Number, path: &mut Vec<Number>, seen: &mut HashSet<Number>) -> Option<String> {
        if path.len() > MAX_DEPTH || !seen.insert(number) {
            return None;
        }
        path.push(number);
        let name = |number: Number| self.universe.package(number).name;
        let needed = || {
            let first = path.first().map(|&first| self.why(first)).unwrap_or_default();
            path.iter().skip(1).fold(first, |chain, &next| format!("{chain} → {}", name(next)))
        };
        let found = if let Some((one, relation, other)) = self.clash(number) {
            let (chain, why) = (needed(), self.why(if one == number { other } else { one }));
            Some(format!("but {} conflicts with {} ({relation})\n    {chain}\n    {why}", name(one), name(other)))
        } else {
            let open = self.universe.relations(number).needs.iter().filter(|group| !self.is_met(group));
            let open: Vec<_> = open.collect();
            let hopeless = |group: &&&Vec<Relation<'a>>| {
                group.iter().all(|relation| self.universe.offers(relation).next().is_none())
            };
            match open.iter().find(hopeless) {
                Some(group) => Some(format!(
                    "but {} depends on {}, which no archive has\n    {}",
                    name(number),
                    shown(group),
                    needed()
                )),
                None => open.iter().copied().flatten().find_map(|relation| {
                    self.universe.offers(relation).find_map(|solution| self.obstacle(solution, path, seen))
                }),
            }
        };
        path.pop();
        found
    }

    /// A package that is there and one that is not, of which the first named rejects the other.
    fn clash(&self, number: Number) -> Option<(Number, &'u Relation<'a>, Number)> {
        if let Some((relation, other)) = self.rejected(number).next() {
            return Some((number, relation, other));
        }
        let installed = self.universe.numbers().filter(|&other| other != number && self.states[other].installed);
        installed.into_iter().find_map(|other| {
            let mut rejects = self.universe.relations(other).rejects.iter();
            let relation = rejects.find(|relation| self.universe.offers(relation).any(|offer| offer == number))?;
            Some((other, relation, number))
        })
    }

    /// The chain from what was asked for: `because: a → b → c`.
    fn why(&self, number: Number) -> String {
        let mut chain = vec![self.universe.package(number).name];
        let mut current = number;
        while let Some(by) = self.states[current].by.filter(|_| chain.len() < MAX_DEPTH) {
            chain.push(self.universe.package(by).name);
            current = by;
        }
        chain.reverse();
        format!("because: {}", chain.join(" → "))
    }
}

fn shown(group: &[Relation]) -> String {
    group.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}
