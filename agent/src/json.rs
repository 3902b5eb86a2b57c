//! Writing JSON (RFC 8259): values in, text out.

use std::fmt::Write;

/// A JSON value; objects keep the order they were given.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number.
    Number(u64),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(Vec<(&'static str, Json)>),
    /// An object whose keys are data.
    Map(Vec<(String, Json)>),
}

impl<T: Into<String>> From<T> for Json {
    fn from(text: T) -> Self {
        Self::String(text.into())
    }
}

impl Json {
    /// A string, or null.
    pub fn option<T: Into<String>>(text: Option<T>) -> Self {
        text.map_or(Self::Null, Self::from)
    }

    /// An array of strings.
    pub fn strings<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::Array(texts.into_iter().map(Self::from).collect())
    }

    /// The document: compact, with one newline at its end.
    pub fn document(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text.push('\n');
        text
    }

    fn write(&self, text: &mut String) {
        match self {
            Self::Null => text.push_str("null"),
            Self::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
            Self::Number(value) => text.push_str(&value.to_string()),
            Self::String(value) => string(text, value),
            Self::Array(values) => list(text, ['[', ']'], values, |text, value| value.write(text)),
            Self::Object(pairs) => list(text, ['{', '}'], pairs, |text, (key, value)| pair(text, key, value)),
            Self::Map(pairs) => list(text, ['{', '}'], pairs, |text, (key, value)| pair(text, key, value)),
        }
    }
}

fn pair(text: &mut String, key: &str, value: &Json) {
    string(text, key);
    text.push(':');
    value.write(text);
}

fn list<T>(text: &mut String, [open, close]: [char; 2], items: &[T], write: impl Fn(&mut String, &T)) {
    text.push(open);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write(text, item);
    }
    text.push(close);
}

fn string(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            c if c < ' ' || c == '\u{7f}' => {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::Json;

    #[test]
    fn every_kind_of_value_is_written_as_the_standard_says() {
        let json = Json::Object(vec![
            ("a", Json::Null),
            ("b", Json::Array(vec![Json::Bool(true), Json::Number(7)])),
            ("c", Json::Map(vec![("k\"".into(), "x\\y\n\u{1}é".into())])),
            ("d", Json::strings(Vec::<String>::new())),
        ]);
        assert_eq!(json.document(), "{\"a\":null,\"b\":[true,7],\"c\":{\"k\\\"\":\"x\\\\y\\n\\u0001é\"},\"d\":[]}\n");
    }
}
