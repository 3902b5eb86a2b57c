//! debconf's questions: answered before any script can ask them; and those named that nobody has answered.

use super::step::Subject;
use super::{Build, CONTROL, Error, Package};
use crate::debian::Templates;
use crate::progress::Event;
use crate::values::Answer;
use std::collections::{BTreeMap, BTreeSet};

/// The variable that makes debconf repeat its dialogue with scripts, and how such a line begins. Source: `Debconf::Log`.
pub(super) const TALK: (&str, &str) = ("DEBCONF_DEBUG", "developer");
const SAYS: &str = "debconf (developer): ";

const TOOL: &str = "usr/bin/debconf-set-selections";

/// Questions that are named.
const NAMED: usize = 12;

/// A line of debconf's dialogue with a script, without its beginning.
pub(super) fn said(line: &str) -> Option<&str> {
    line.strip_prefix(SAYS)
}

/// The question that a script asks, if its priority is one at which people are asked. Source: debconf-devel(7), `INPUT`.
pub(super) fn asked(said: &str) -> Option<&str> {
    let mut words = said.strip_prefix("<-- ")?.split_whitespace();
    let asks = words.next()?.eq_ignore_ascii_case("input") && matches!(words.next()?, "high" | "critical");
    words.next().filter(|_| asks)
}

/// The questions of packages, and the answers to them; all that is wrong with these at once.
pub(super) fn fitting<'a>(packages: &[Package], answers: &'a [Answer]) -> Result<(Templates, Vec<&'a Answer>), Error> {
    let mut templates = Templates::default();
    let mut names = BTreeSet::new();
    for package in packages {
        names.insert(package.name());
        if let Some(text) = package.text("templates") {
            templates.add(package.name(), &text);
        }
        for script in ["config", "postinst"] {
            if let Some(text) = package.text(script) {
                templates.add_script(package.name(), &text);
            }
        }
    }
    // A file may have answers for other images too.
    let meant: Vec<_> =
        answers.iter().filter(|answer| !answer.shared || names.contains(answer.owner.as_str())).collect();
    let problem = |answer: &&Answer| templates.problem(answer).map(|problem| format!("{}: {problem}", answer.place));
    let problems: Vec<_> = meant.iter().filter_map(problem).collect();
    if problems.is_empty() { Ok((templates, meant)) } else { Err(Error::Debconf(problems)) }
}

impl Build<'_> {
    /// Gives the answers as soon as debconf is there to take them.
    pub(super) fn answer(&mut self) -> Result<(), Error> {
        if self.answers.is_empty() || self.answered || !self.root.has(TOOL) {
            return Ok(());
        }
        let lines: String = self.answers.iter().map(|answer| answer.line()).collect();
        let file = format!("{CONTROL}/selections");
        self.root.write(&file, lines.as_bytes(), 0o600)?;
        let subject = Subject::new("answering the questions of", "debconf", "debconf-set-selections");
        let result = self.watch.run(&self.sandbox(), &[&format!("/{TOOL}"), &format!("/{file}")], subject);
        self.root.remove(&file)?;
        self.answered = true;
        result
    }

    /// Names the questions that a person would have been asked, and how to answer them.
    pub(super) fn name_unanswered(&self) {
        let templates = &self.templates;
        let answered: BTreeSet<_> = self.answers.iter().map(|answer| answer.question.as_str()).collect();
        let asked: BTreeMap<_, _> = self.watch.asked();
        let open: Vec<_> = asked.iter().filter(|(question, _)| !answered.contains(question.as_str())).collect();
        if open.is_empty() {
            return;
        }
        let mut text =
            "debconf took the defaults for questions of high priority; to answer them, under `debconf:`".to_owned();
        for (question, package) in open.iter().take(NAMED) {
            text += &format!("\n    - {}", templates.entry(package, question));
        }
        if open.len() > NAMED {
            text += &format!("\n    … and {} more, in build.log", open.len() - NAMED);
        }
        self.watch.say(Event::Note(text));
        for (question, package) in open.iter().skip(NAMED) {
            self.watch.say(Event::Detail(format!("- {}", templates.entry(package, question))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_questions_of_high_priority_are_named() {
        for (line, question) in [
            ("debconf (developer): <-- INPUT high postfix/mailname ", Some("postfix/mailname")),
            ("debconf (developer): <-- input critical a/b", Some("a/b")),
            ("debconf (developer): <-- INPUT medium a/b", None),
            ("debconf (developer): --> 30 question skipped", None),
            ("<-- INPUT high a/b", None),
        ] {
            assert_eq!(said(line).and_then(asked), question, "{line}");
        }
    }
}
