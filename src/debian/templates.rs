//! What packages ask through debconf: their templates, and whether answers fit them. Sources: debconf-devel(7),
//! `Debconf::Template` and `Debconf::Element::Select` of debconf 1.5.82.

use super::Stanza;
use crate::values::{Answer, nearest, shown};
use std::collections::BTreeMap;

/// The questions of some packages.
#[derive(Debug, Default)]
pub struct Templates {
    /// By name.
    named: BTreeMap<String, Template>,
    /// The scripts of packages that ask the questions of templates by other names, as dbconfig-common has it:
    /// `roundcube/dbconfig-install` is made of `dbconfig-common/dbconfig-install`.
    registering: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Template {
    /// The package, or the first of those that share the question.
    package: String,
    kind: String,
    /// What can be chosen. None where anything can be, or what can be is only known when it is asked.
    choices: Option<Vec<String>>,
    /// The default, and the short description.
    default: String,
}

impl Templates {
    /// Adds a package's `templates` file.
    pub fn add(&mut self, package: &str, text: &str) {
        for stanza in Stanza::all(text) {
            let Some(name) = stanza.field("Template") else { continue };
            let kind = stanza.field("Type").unwrap_or_default().to_owned();
            let choices = stanza.field("Choices-C").or_else(|| stanza.field("Choices"));
            let choices = choices.filter(|text| !text.contains("${")).map(split);
            let default = stanza.field("Default").unwrap_or_default().to_owned();
            let template = Template { package: package.to_owned(), kind, choices, default };
            self.named.entry(name.to_owned()).or_insert(template);
        }
    }

    /// Adds a script of a package, which may ask a template's question by another name. Source: debconf-devel(7), `REGISTER`.
    pub fn add_script(&mut self, package: &str, text: &str) {
        if ["db_register", "/dbconfig-common/"].iter().any(|word| text.contains(word)) {
            *self.registering.entry(package.to_owned()).or_default() += text;
        }
    }

    /// The template of a question that a package asks: its own, or one that ends as the question does.
    fn template(&self, package: &str, question: &str) -> Option<&Template> {
        let registered = || {
            let (first, rest) = question.split_once('/')?;
            self.registering.get(package).filter(|scripts| scripts.contains(first))?;
            let tails = std::iter::successors(Some(rest), |rest| Some(rest.split_once('/')?.1));
            let ends =
                |tail| self.named.iter().find(|(name, _)| name.split_once('/').is_some_and(|(_, end)| end == tail));
            tails.into_iter().find_map(ends).map(|(_, template)| template)
        };
        self.named.get(question).or_else(registered)
    }

    /// What is wrong with an answer, and what may be meant.
    pub fn problem(&self, answer: &Answer) -> Option<String> {
        let Answer { question, kind, value, .. } = answer;
        let Some(template) = self.template(&answer.owner, question) else {
            let similar = nearest(question, question.chars().count() / 6 + 1, self.named.keys().map(String::as_str));
            let similar = similar.or_else(|| self.asked_by(&answer.owner));
            let help = similar.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            return Some(format!("no package of the image asks `{}`{help}", shown(question)));
        };
        if template.kind != *kind {
            return Some(format!("`{question}` is a question of type {}, not {kind}", template.kind));
        }
        let choices = template.choices.as_deref().unwrap_or_default();
        let wrong = match kind.as_str() {
            "boolean" => ["true", "false"].iter().all(|word| word != value).then_some(value.clone()),
            _ if choices.is_empty() => None,
            "select" => (!value.is_empty() && !choices.contains(value)).then_some(value.clone()),
            "multiselect" => split(value).into_iter().find(|one| !choices.contains(one)),
            _ => None,
        }?;
        let can = if kind == "boolean" { vec!["true", "false"] } else { choices.iter().map(String::as_str).collect() };
        let similar = nearest(&wrong, wrong.chars().count() / 3 + 1, can.iter().copied());
        let help = match similar {
            Some(similar) => format!("; did you mean `{similar}`?"),
            None if can.len() <= 12 => format!("; it can be: {}", can.join(", ")),
            None => format!("; there are {} others to choose from", can.len()),
        };
        Some(format!("`{}` cannot be chosen for `{question}`{help}", shown(&wrong)))
    }

    /// The only question of a package.
    fn asked_by(&self, package: &str) -> Option<&str> {
        let mut own = self.named.iter().filter(|(_, template)| template.package == package);
        own.next().filter(|_| own.next().is_none()).map(|(name, _)| name.as_str())
    }

    /// The questions that want an answer and have no default. Source: debconf-devel(7), "THE TEMPLATES FILE".
    pub fn without_default(&self) -> impl Iterator<Item = &str> {
        let wants = |template: &Template| {
            let asks = !matches!(template.kind.as_str(), "" | "note" | "error" | "text" | "title");
            asks && template.default.is_empty()
        };
        self.named.iter().filter(move |(_, template)| wants(template)).map(|(name, _)| name.as_str())
    }

    /// How a question's answer would be written in a recipe: its default, for a start.
    pub fn entry(&self, package: &str, question: &str) -> String {
        let template = self.template(package, question);
        let owner = self.named.get(question).map_or(package, |template| &template.package);
        let kind = template.map_or("string", |template| &template.kind);
        let default = template.map_or("", |template| &template.default);
        format!("{{ owner: {owner}, question: {question}, type: {kind}, value: {} }}", serde_json::Value::from(default))
    }
}

/// The parts of a list: a comma with space behind it separates, a backslash takes the meaning of comma and space away.
/// Source: `choices_split` and `value_split` in `Debconf::Question`.
fn split(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let (mut part, mut rest) = (String::new(), text);
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        let escaped = after.chars().next().filter(|next| c == '\\' && matches!(next, ',' | ' '));
        if let Some(next) = escaped {
            part.push(next);
            rest = after.get(1..).unwrap_or_default();
        } else if c == ',' && after.starts_with(char::is_whitespace) {
            parts.push(std::mem::take(&mut part));
            rest = after.trim_start();
        } else {
            part.push(c);
            rest = after;
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(question: &str, kind: &str, value: &str) -> Answer {
        let [owner, question, kind, value] = ["tz", question, kind, value].map(str::to_owned);
        Answer { owner, question, kind, value, place: String::new(), shared: false }
    }

    #[test]
    fn answers_fit_their_questions() {
        let mut templates = Templates::default();
        let text = "Template: tz/Areas\nType: select\nChoices-C: Africa, Europe, A\\, b\nChoices: ${x}\nDefault: Europe\nDescription: Area:\n\n\
                    Template: tz/Zones\nType: select\nChoices: ${x}\n\nTemplate: tz/many\nType: multiselect\nChoices: a, b\n\n\
                    Template: tz/yes\nType: boolean\nDefault: true\n";
        templates.add("tz", text);
        for (question, kind, value, problem) in [
            ("tz/Areas", "select", "Europe", None),
            ("tz/Areas", "select", "A, b", None),
            ("tz/Areas", "select", "Europa", Some("`Europa` cannot be chosen for `tz/Areas`; did you mean `Europe`?")),
            ("tz/Areas", "string", "x", Some("`tz/Areas` is a question of type select, not string")),
            ("tz/Aeras", "select", "x", Some("no package of the image asks `tz/Aeras`; did you mean `tz/Areas`?")),
            ("tz/Zones", "select", "anything", None),
            ("tz/many", "multiselect", "b, a", None),
            ("tz/many", "multiselect", "a, xyz", Some("`xyz` cannot be chosen for `tz/many`; it can be: a, b")),
            ("tz/yes", "boolean", "yes", Some("`yes` cannot be chosen for `tz/yes`; it can be: true, false")),
        ] {
            assert_eq!(templates.problem(&answer(question, kind, value)).as_deref(), problem, "{question} {value}");
        }
        // By another name, as the package that is answered for asks it.
        templates.add("db-common", "Template: db-common/install\nType: boolean\n");
        let other = |question| templates.problem(&answer(question, "boolean", "false"));
        assert_eq!(other("clock/install").as_deref(), Some("no package of the image asks `clock/install`"));
        templates.add_script("tz", ". /usr/share/dbconfig-common/dpkg/config\ndbc_go clock $@\n");
        let other = |question, value| templates.problem(&answer(question, "boolean", value));
        assert_eq!((other("clock/install", "false"), other("clock/one/install", "true")), (None, None));
        assert!(other("clock/install", "no").is_some_and(|problem| problem.ends_with("it can be: true, false")));
        assert!(other("clock/instal", "true").is_some() && other("cluck/install", "true").is_some());
        assert_eq!(
            templates.entry("tz", "clock/install"),
            r#"{ owner: tz, question: clock/install, type: boolean, value: "" }"#
        );
        assert_eq!(templates.entry("tz", "tz/yes"), r#"{ owner: tz, question: tz/yes, type: boolean, value: "true" }"#);
    }
    #[test]
    fn questions_without_a_default_are_named() {
        let mut templates = Templates::default();
        templates.add("a", "Template: a/mailname\nType: string\nDescription: x\n\nTemplate: a/kind\nType: select\nDefault: none\n\nTemplate: a/note\nType: note\n");
        assert_eq!(templates.without_default().collect::<Vec<_>>(), ["a/mailname"]);
    }
}
