//! Control data (deb822): stanzas of `Name: value` fields, as in `Packages`, `Release` and `DEBIAN/control`.
//! Source: deb822(5), Debian Policy 5.1.

/// One stanza; fields are found by scanning, nothing is copied.
#[derive(Debug, Clone, Copy)]
pub struct Stanza<'a> {
    text: &'a str,
}

impl<'a> Stanza<'a> {
    /// The stanzas of a file, in order.
    pub fn all(text: &'a str) -> impl Iterator<Item = Stanza<'a>> {
        text.split("\n\n")
            .map(|text| text.trim_matches('\n'))
            .filter(|text| !text.is_empty())
            .map(|text| Stanza { text })
    }

    /// The stanza as it was written.
    pub fn text(self) -> &'a str {
        self.text
    }

    /// Field names and values in order; a value spans its continuation lines.
    pub fn fields(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut rest = self.text;
        std::iter::from_fn(move || {
            while !rest.is_empty() {
                let mut end = rest.find('\n').unwrap_or(rest.len());
                while rest.get(end + 1..).is_some_and(|next| next.starts_with([' ', '\t'])) {
                    let next = rest.get(end + 1..).unwrap_or_default();
                    end += 1 + next.find('\n').unwrap_or(next.len());
                }
                let (field, tail) = rest.split_at(end);
                rest = tail.strip_prefix('\n').unwrap_or_default();
                if let Some((name, value)) = field.split_once(':') {
                    return Some((name, value.trim()));
                }
            }
            None
        })
    }

    /// The value of a field; names are compared without case.
    pub fn field(self, name: &str) -> Option<&'a str> {
        self.fields().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_span_their_continuation_lines() {
        let text = "Package: a\nSHA256:\n one\n two\nEmpty:\n\nPackage: b\n\n\n";
        let stanzas: Vec<_> = Stanza::all(text).collect();
        assert_eq!(stanzas.len(), 2);
        assert_eq!(stanzas[0].field("sha256"), Some("one\n two"));
        assert_eq!(stanzas[0].field("empty"), Some(""));
        assert_eq!(stanzas[1].field("Package"), Some("b"));
        assert_eq!(stanzas[1].field("Version"), None);
    }
}
