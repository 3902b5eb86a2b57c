//! Checks a merged recipe against the table of keys: unknown keys, wrong types, missing keys, bad values.

use super::keys::{Form, Key, Shape};
use super::rules::{BAD_VALUE, MISSING_KEY, UNKNOWN_KEY, WRONG_TYPE};
use super::source::{Item, ItemValue, Report};
use crate::network::Cidr;
use crate::values::{
    self, Banner, BootArgument, ByteSize, FilesystemLabel, Fragment, GuestPath, HttpPath, InterfaceName, Line, Port,
    RuleId, did_you_mean,
};
use std::net::IpAddr;
use std::time::Duration;

/// Checks an item; every problem becomes a finding.
pub(super) fn check(item: &Item, shape: &Shape, what: &str, report: &mut Report) {
    match (shape, &item.value) {
        (Shape::Object(keys), ItemValue::Map(_)) => object(item, keys, what, report),
        (Shape::Map(shape), ItemValue::Map(entries)) => {
            for entry in entries {
                check(&entry.item, shape, &entry.key, report);
            }
        }
        (Shape::List(shape), ItemValue::List(items)) => items.iter().for_each(|item| check(item, shape, what, report)),
        (Shape::Words, ItemValue::List(items)) if !items.is_empty() => {
            items.iter().for_each(|item| check(item, &Shape::Scalar(Form::Text), what, report));
        }
        (Shape::Choice(words), ItemValue::Scalar { text, .. }) => {
            if !words.contains(&text.as_str()) {
                let help = || {
                    did_you_mean(text, words.iter().copied()).map_or_else(
                        || format!("write one of: {}", words.join(", ")),
                        |word| format!("did you mean `{word}`?"),
                    )
                };
                let help = (!report.full()).then(help);
                report.error(BAD_VALUE, item.place, format!("`{text}` is no {what}"), "not one of the choices", help);
            }
        }
        (Shape::Scalar(form), ItemValue::Scalar { text, quoted }) => {
            if let Err(problem) = form.accepts(text, *quoted) {
                report.error(
                    BAD_VALUE,
                    item.place,
                    format!("{what}: {problem}"),
                    &format!("expected {}", form.expected()),
                    form.suggestion(text),
                );
            }
        }
        (Shape::List(_) | Shape::Map(_) | Shape::Object(_), ItemValue::Null) => {}
        _ => {
            let message = format!("{what} is {}, expected {}", item.kind(), shape.expected());
            report.error(WRONG_TYPE, item.place, message, &format!("this is {}", item.kind()), shape.hint(item));
        }
    }
}

fn object(item: &Item, keys: &[Key], what: &str, report: &mut Report) {
    for entry in item.entries() {
        if let Some(key) = keys.iter().find(|key| key.name == entry.key) {
            check(&entry.item, &key.shape, &entry.key, report);
            continue;
        }
        let names = || keys.iter().map(|key| key.name);
        let help = || {
            did_you_mean(&entry.key, names()).map_or_else(
                || format!("the keys of {what} are: {}", names().collect::<Vec<_>>().join(", ")),
                |name| format!("did you mean `{name}`?"),
            )
        };
        let help = (!report.full()).then(help);
        report.error(UNKNOWN_KEY, entry.place, format!("unknown key `{}` in {what}", entry.key), "unknown", help);
    }
    for key in keys.iter().filter(|key| key.required && item.get(key.name).is_none()) {
        report.error(
            MISSING_KEY,
            item.place,
            format!("{what} has no `{}`", key.name),
            "missing here",
            Some(format!("add `{}:`. {}", key.name, key.doc)),
        );
    }
}

impl Shape {
    fn expected(&self) -> String {
        match self {
            Self::Scalar(form) => form.expected().to_owned(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) | Self::Object(_) => "a mapping".to_owned(),
            Self::Words => "a command as a list of words".to_owned(),
        }
    }

    fn hint(&self, item: &Item) -> Option<String> {
        match (self, item.text()) {
            (Self::List(_) | Self::Words, Some(text)) => Some(format!("write `[{text}]`")),
            _ => None,
        }
    }
}

/// A time that something may take.
pub(super) fn duration(text: &str) -> Option<Duration> {
    values::duration(text).filter(|duration| !duration.is_zero())
}

/// `:8080/health` → port and path; `:5900` → port and nothing.
pub(super) fn probe(text: &str) -> Option<(Port, &str)> {
    let text = text.strip_prefix(':')?;
    let end = text.find('/').unwrap_or(text.len());
    let (port, path) = text.split_at(end);
    Some((port.parse().ok()?, path))
}

fn is_word(text: &str, first: impl Fn(u8) -> bool, rest: impl Fn(u8) -> bool, most: usize) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|byte| first(*byte)) && bytes.iter().all(|byte| rest(*byte)) && bytes.len() <= most
}

impl Form {
    /// What a value of this form looks like.
    pub fn expected(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Name => "lower-case letters, digits and `-`, beginning with a letter",
            Self::Boolean => "`true` or `false`",
            Self::Integer => "a whole number",
            Self::Size => "a size, as in `8G`",
            Self::Duration => "a time of at most a day, as in `120s`",
            Self::HostPath => "a path",
            Self::GuestPath => "an absolute path in the image",
            Self::Mode => "octal permission bits, as in `0755`",
            Self::Url => "an http or https URL",
            Self::Package => "a Debian package name",
            Self::Unit => "a systemd unit with its suffix, as in `ssh.service`",
            Self::UserName => "a user or group name",
            Self::Owner => "`user:group`",
            Self::Interface => InterfaceName::EXPECTED,
            Self::Banner => Banner::EXPECTED,
            Self::Line => Line::EXPECTED,
            Self::Cidr => "an address with prefix length, as in `192.168.100.12/24`",
            Self::Address => "an IP address",
            Self::Argument => "one kernel argument",
            Self::HttpProbe => "`:PORT/PATH`",
            Self::TcpProbe => "`:PORT`",
            Self::Fragment => "characters of a URL's fragment with one `{secret}`",
            Self::Label => FilesystemLabel::EXPECTED,
            Self::Question => "a question's name, as in `tzdata/Areas`",
            Self::Rule => RuleId::EXPECTED,
        }
    }

    /// What was probably meant by a text that does not have this form: the same in small letters.
    fn suggestion(self, text: &str) -> Option<String> {
        let small = text.to_lowercase();
        (small != text && self.accepts(&small, false).is_ok()).then(|| format!("did you mean `{small}`?"))
    }

    /// Whether a text has this form.
    pub fn accepts(self, text: &str, quoted: bool) -> Result<(), String> {
        let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let good = match self {
            Self::Text => !text.contains(['\n', '\0']),
            Self::Name => is_word(text, |byte| byte.is_ascii_lowercase(), |byte| lower(byte) || byte == b'-', 63),
            Self::Boolean => !quoted && matches!(text, "true" | "false"),
            Self::Integer => text.parse::<i64>().is_ok(),
            Self::Size => text.parse::<ByteSize>().map_err(|error| error.to_string())?.0 > 0,
            Self::Duration => duration(text).is_some(),
            Self::HostPath => !text.is_empty() && !text.contains('\0'),
            Self::GuestPath => text.parse::<GuestPath>().map_err(|error| error.to_string()).map(|_| true)?,
            Self::Mode => text.len() >= 3 && u16::from_str_radix(text, 8).is_ok_and(|mode| mode <= 0o7777),
            Self::Url => {
                let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
                rest.is_some_and(|rest| !rest.is_empty() && !rest.ends_with('/')) && !text.contains(char::is_whitespace)
            }
            Self::Package => text.len() > 1 && is_word(text, lower, |byte| lower(byte) || b"+-.".contains(&byte), 200),
            Self::Unit => {
                let suffixes = [".service", ".socket", ".target", ".timer", ".mount", ".path", ".slice", ".automount"];
                suffixes.iter().any(|suffix| text.len() > suffix.len() && text.ends_with(suffix))
                    && is_word(text, |_| true, |byte| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte), 255)
            }
            Self::UserName => is_word(
                text,
                |byte| byte.is_ascii_lowercase() || byte == b'_',
                |byte| lower(byte) || b"-_".contains(&byte),
                32,
            ),
            Self::Owner => text.split_once(':').is_some_and(|(user, group)| {
                Self::UserName.accepts(user, false).is_ok() && Self::UserName.accepts(group, false).is_ok()
            }),
            Self::Interface => text.parse::<InterfaceName>().is_ok(),
            Self::Banner => text.parse::<Banner>().is_ok(),
            Self::Line => text.parse::<Line>().is_ok(),
            Self::Cidr => text.parse::<Cidr>().map_err(|error| error.to_string()).map(|_| true)?,
            Self::Address => text.parse::<IpAddr>().is_ok(),
            Self::Argument => text.parse::<BootArgument>().is_ok() && !text.contains("${"),
            Self::HttpProbe => probe(text).is_some_and(|(_, path)| path.parse::<HttpPath>().is_ok()),
            Self::TcpProbe => probe(text).is_some_and(|(_, path)| path.is_empty()),
            Self::Fragment => text.parse::<Fragment>().is_ok(),
            Self::Label => text.parse::<FilesystemLabel>().is_ok(),
            Self::Question => is_word(text, |_| true, |byte| byte.is_ascii_graphic(), 255),
            Self::Rule => text.parse::<RuleId>().is_ok(),
        };
        if good { Ok(()) } else { Err(format!("`{}` is not {}", values::shown(text), self.expected())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_accept_what_they_describe() {
        for (form, good, bad) in [
            (Form::Name, "desktop-2", "Desktop"),
            (Form::Mode, "0755", "0799"),
            (Form::Package, "libc++1.0", "Xvfb"),
            (Form::Unit, "getty@tty1.service", "ssh"),
            (Form::Url, "http://deb.debian.org/debian", "http://deb.debian.org/debian/"),
            (Form::Owner, "root:root", "root"),
            (Form::Argument, "console=ttyS0", "a b"),
            (Form::HttpProbe, ":8080/health", ":8080"),
            (Form::TcpProbe, ":5900", ":0"),
            (Form::Fragment, "token={secret}", "token"),
            (Form::Duration, "2m", "2h"),
            (Form::Cidr, "10.0.0.1/8", "10.0.0.1"),
            (Form::Interface, "eth0", "a-name-that-is-too-long"),
        ] {
            assert!(form.accepts(good, false).is_ok(), "{form:?} {good}");
            assert!(form.accepts(bad, false).is_err(), "{form:?} {bad}");
        }
    }
}
