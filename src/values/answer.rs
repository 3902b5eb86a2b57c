//! Answers to the questions that packages ask through debconf, in the form of debconf-set-selections(1).

use super::shown;

/// The types of questions. Source: `@knowntypes` in debconf's `debconf-set-selections`.
pub const ANSWER_KINDS: [&str; 8] = ["string", "boolean", "select", "multiselect", "password", "text", "note", "title"];

/// An answer that is there before its question is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The package that asks.
    pub owner: String,
    /// `postfix/main_mailer_type`.
    pub question: String,
    /// One of [`ANSWER_KINDS`].
    pub kind: String,
    /// One line.
    pub value: String,
    /// Where it is said, as in `recipes/mail.yaml:12:5`.
    pub place: String,
    /// It stands in a file that may be meant for more than this image.
    pub shared: bool,
}

impl Answer {
    /// The answers of a preseed file, with what is wrong with its lines; `file` is how it is named. Lines of the owner `d-i`
    /// are for Debian's installer and passed over, and so is who has `seen` a question: whatever is answered is.
    pub fn preseed(text: &str, file: &str) -> (Vec<Self>, Vec<String>) {
        let (mut answers, mut problems) = (Vec::new(), Vec::new());
        let mut lines = text.lines().enumerate();
        while let Some((number, first)) = lines.next() {
            let place = format!("{file}:{}", number + 1);
            let mut line = first.trim_end_matches('\r').to_owned();
            while line.ends_with('\\') {
                let Some((_, next)) = lines.next() else { break };
                line.pop();
                line.push_str(next.trim_end_matches('\r'));
            }
            let start = line.trim_start();
            if start.is_empty() || start.starts_with('#') {
                continue;
            }
            let (owner, rest) = word(start);
            let (question, rest) = word(rest.trim_start());
            let (kind, rest) = word(rest.trim_start());
            let value = rest.strip_prefix(|c: char| c.is_whitespace()).unwrap_or_default();
            let problem = match kind {
                _ if owner == "d-i" => continue,
                "seen" => continue,
                "" => "has no type; a line is OWNER QUESTION TYPE VALUE".to_owned(),
                _ if !ANSWER_KINDS.contains(&kind) => format!("has the unknown type `{}`", shown(kind)),
                _ if value.ends_with('\\') || value.contains('\0') => "has a value that ends in `\\`".to_owned(),
                _ => {
                    let [owner, question, kind, value] = [owner, question, kind, value].map(str::to_owned);
                    answers.push(Self { owner, question, kind, value, place, shared: true });
                    continue;
                }
            };
            problems.push(format!("{place} {problem}"));
        }
        (answers, problems)
    }

    /// The line that `debconf-set-selections` reads.
    pub fn line(&self) -> String {
        format!("{} {} {} {}\n", self.owner, self.question, self.kind, self.value)
    }
}

fn word(text: &str) -> (&str, &str) {
    text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preseed_files_are_read_as_debconf_reads_them() {
        let text = "# comment\n\n  tzdata\ttzdata/Areas select  Europe \r\nd-i netcfg/choose string auto\n\
                    a a/b string one \\\n two\na a/b seen true\na a/c boolean\na a/d\na a/e colour red\n";
        let (answers, problems) = Answer::preseed(text, "p.cfg");
        let lines: Vec<_> = answers.iter().map(|answer| (answer.place.as_str(), answer.line())).collect();
        assert_eq!(
            lines,
            [
                ("p.cfg:3", "tzdata tzdata/Areas select  Europe \n".to_owned()),
                ("p.cfg:5", "a a/b string one  two\n".to_owned()),
                ("p.cfg:8", "a a/c boolean \n".to_owned()),
            ]
        );
        assert_eq!(
            problems,
            ["p.cfg:9 has no type; a line is OWNER QUESTION TYPE VALUE", "p.cfg:10 has the unknown type `colour`"]
        );
    }
}
