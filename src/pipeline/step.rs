//! The steps of a build, by the names that people type.

use super::customize::Part;
use crate::install::{Script, Side, Stop};
use crate::values::did_you_mean;
use std::fmt;

/// A step of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A script of a package: `postfix`, `postfix:preinst`.
    Script(String, Script),
    /// A part of the recipe, by its key: `packages`, `overlays`.
    Part(Part),
    /// A command of `run:`, counted from 1: `run:2`.
    Run(usize),
}

/// A place among the steps: before one, after one, or (none) at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// Before the step of this name.
    Before(String),
    /// After it.
    After(String),
    /// The finished tree.
    End,
}

/// A name that is no step's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownStep {
    /// There is no such step.
    #[error(
        "there is no step `{name}`{}\nhelp: steps are {steps}",
        .similar.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
    )]
    Name {
        /// What was typed.
        name: String,
        /// What may have been meant.
        similar: Option<String>,
        /// All that there are, in a few words.
        steps: String,
    },
    /// Before the first step.
    #[error("there is nothing before the packages\nhelp: name one of them, as in --before {0}")]
    First(String),
}

/// How far a build goes, for somebody to look around there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// To a script of a package.
    Script(Stop),
    /// Through this part.
    Part(Part),
    /// Through all parts before `run`, and so many commands of that.
    Run(usize),
    /// To the end.
    Finished,
}

/// What a build has, for its steps to be named.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steps<'a> {
    /// Names of the packages that are installed.
    pub packages: &'a [&'a str],
    /// How many commands `run:` has.
    pub commands: usize,
}

impl Steps<'_> {
    /// How far it is to a place.
    pub fn target(self, moment: &Moment) -> Result<Target, UnknownStep> {
        let (name, side) = match moment {
            Moment::Before(name) => (name, Side::Before),
            Moment::After(name) => (name, Side::After),
            Moment::End => return Ok(Target::Finished),
        };
        Ok(match (self.find(name)?, side) {
            (Step::Script(package, script), side) => Target::Script(Stop { package, script, side }),
            (Step::Part(Part::Run), Side::Before) => Target::Run(0),
            (Step::Part(Part::Run), Side::After) => Target::Run(self.commands),
            (Step::Part(part), Side::After) => Target::Part(part),
            (Step::Part(part), Side::Before) => match part.before() {
                Some(part) => Target::Part(part),
                None => return Err(UnknownStep::First(self.packages.first().copied().unwrap_or_default().to_owned())),
            },
            (Step::Run(number), Side::Before) => Target::Run(number - 1),
            (Step::Run(number), Side::After) => Target::Run(number),
        })
    }

    fn find(self, name: &str) -> Result<Step, UnknownStep> {
        if let Some(part) = Part::ALL.into_iter().find(|part| part.key() == name) {
            return Ok(Step::Part(part));
        }
        let (first, second) = name.split_once(':').unwrap_or((name, "postinst"));
        let script = [Script::Preinst, Script::Postinst].into_iter().find(|script| script.name() == second);
        if let Some(script) = script.filter(|_| self.packages.contains(&first)) {
            return Ok(Step::Script(first.to_owned(), script));
        }
        match second.parse() {
            Ok(number) if first == Part::Run.key() && (1..=self.commands).contains(&number) => Ok(Step::Run(number)),
            _ => Err(self.unknown(name)),
        }
    }

    fn unknown(self, name: &str) -> UnknownStep {
        let (parts, commands) = (Part::ALL.map(Part::key), self.commands());
        let preinst = |package: &&str| format!("{package}:{}", Script::Preinst.name());
        let preinsts: Vec<_> = self.packages.iter().filter(|_| name.contains(':')).map(preinst).collect();
        let known = parts.iter().chain(self.packages).copied();
        let known = known.chain(commands.iter().chain(&preinsts).map(String::as_str));
        let similar = did_you_mean(name, known).map(str::to_owned);
        let runs = match commands.as_slice() {
            [] => String::new(),
            [one] => format!("; {one}"),
            [first, .., last] => format!("; {first} to {last}"),
        };
        let steps = format!(
            "NAME and NAME:preinst for each of the {} packages in the lock; {}{runs}",
            self.packages.len(),
            parts.join(", ")
        );
        UnknownStep::Name { name: name.to_owned(), similar, steps }
    }

    fn commands(self) -> Vec<String> {
        (1..=self.commands).map(|number| Step::Run(number).to_string()).collect()
    }
}

impl fmt::Display for Step {
    /// As it is typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Script(package, Script::Postinst) if Part::ALL.iter().all(|part| part.key() != package) => {
                f.write_str(package)
            }
            Self::Script(package, script) => write!(f, "{package}:{}", script.name()),
            Self::Part(part) => f.write_str(part.key()),
            Self::Run(number) => write!(f, "{}:{number}", Part::Run.key()),
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before(step) => write!(f, "before {step}"),
            Self::After(step) => write!(f, "after {step}"),
            Self::End => f.write_str("at the end of its build"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: Steps = Steps { packages: &["dash", "postfix", "units"], commands: 3 };

    #[test]
    fn names_lead_to_places() {
        let before = |name: &str| STEPS.target(&Moment::Before(name.to_owned())).unwrap();
        let after = |name: &str| STEPS.target(&Moment::After(name.to_owned())).unwrap();
        let stop = |package: &str, script, side| Target::Script(Stop { package: package.to_owned(), script, side });
        for (found, wanted) in [
            (before("postfix"), stop("postfix", Script::Postinst, Side::Before)),
            (after("postfix:postinst"), stop("postfix", Script::Postinst, Side::After)),
            (before("dash:preinst"), stop("dash", Script::Preinst, Side::Before)),
            (before("units"), Target::Part(Part::Network)),
            (before("units:postinst"), stop("units", Script::Postinst, Side::Before)),
            (after("packages"), Target::Part(Part::Packages)),
            (before("users"), Target::Part(Part::Packages)),
            (before("run"), Target::Run(0)),
            (before("run:1"), Target::Run(0)),
            (before("run:3"), Target::Run(2)),
            (after("run:2"), Target::Run(2)),
            (after("run"), Target::Run(3)),
            (STEPS.target(&Moment::End).unwrap(), Target::Finished),
        ] {
            assert_eq!(found, wanted);
        }
        assert_eq!(Step::Script("units".to_owned(), Script::Postinst).to_string(), "units:postinst");
        assert_eq!(Step::Script("dash".to_owned(), Script::Postinst).to_string(), "dash");
    }

    #[test]
    fn wrong_names_are_answered_with_right_ones() {
        for (name, similar) in [
            ("postfx", Some("postfix")),
            ("overlay", Some("overlays")),
            ("run:4", Some("run:1")),
            ("postfx:preinst", Some("postfix:preinst")),
            ("postfix:prerm", Some("postfix:preinst")),
            ("zzzzzzzz", None),
        ] {
            let error = STEPS.target(&Moment::Before(name.to_owned())).unwrap_err();
            let UnknownStep::Name { similar: found, .. } = &error else { panic!("{error}") };
            assert_eq!(found.as_deref(), similar, "{name}");
            let steps = "each of the 3 packages in the lock; packages, users, overlays, artifacts, network, units, run; run:1 to run:3";
            assert!(error.to_string().ends_with(steps), "{error}");
        }
        let nothing = STEPS.target(&Moment::Before("packages".to_owned())).unwrap_err().to_string();
        assert!(nothing.ends_with("--before dash"), "{nothing}");
    }
}
