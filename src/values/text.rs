//! Texts with a form: what one may hold is said once, as a pattern, which checks it here and stands in the JSON Schemas.

use super::is_hidden;
use regex_lite::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::LazyLock;

/// Why a text does not have its form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not {expected}")]
pub struct TextError {
    /// The beginning of the text, with what a terminal would obey escaped.
    found: String,
    /// The form in words.
    expected: &'static str,
}

/// The beginning of a text from outside, for a message: [`visible`], and no longer than a line.
pub fn shown(text: &str) -> String {
    visible(text, 80)
}

/// The first `most` characters of a text, control characters and the like escaped: a terminal shows them and does not obey them.
pub fn visible(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for letter in text.chars().take(most) {
        if is_hidden(letter) {
            shown.extend(letter.escape_unicode());
        } else {
            shown.push(letter);
        }
    }
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

/// A field that may be left out but not null. For serde's `deserialize_with`, beside `default`.
pub fn present<'d, D: serde::Deserializer<'d>, T: Deserialize<'d>>(field: D) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}

/// Defines types of texts: name, most characters, pattern (of both Rust's and ECMA-262's language), form in words.
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident: $most:literal, $pattern:literal, $expected:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The form in words.
            pub const EXPECTED: &'static str = $expected;
            /// The form as a regular expression.
            pub const PATTERN: &'static str = $pattern;
            /// The most characters.
            pub const MOST: usize = $most;

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            fn fits(text: &str) -> bool {
                // The patterns are constants, and the test below compiles each.
                static FORM: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new($pattern).ok());
                text.len() <= 4 * $most
                    && text.chars().count() <= $most
                    && FORM.as_ref().is_some_and(|form| form.is_match(text))
            }
        }

        impl FromStr for $name {
            type Err = TextError;

            fn from_str(text: &str) -> Result<Self, TextError> {
                Self::try_from(text.to_owned())
            }
        }

        impl TryFrom<String> for $name {
            type Error = TextError;

            fn try_from(text: String) -> Result<Self, TextError> {
                if Self::fits(&text) {
                    Ok(Self(text))
                } else {
                    Err(TextError { found: shown(&text), expected: $expected })
                }
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<std::path::Path> for $name {
            fn as_ref(&self) -> &std::path::Path {
                self.0.as_ref()
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string", "pattern": $pattern, "maxLength": $most, "description": $expected,
                })
            }
        }
    )*

        #[cfg(test)]
        const FORMS: &[(&str, &str)] = &[$((stringify!($name), $pattern)),*];
    };
}

texts! {
    /// The name of a recipe, an image, a VM, a probe. It becomes a folder, a part of command lines, and (with hyphens for its
    /// underscores) the id of a jail, which has at most 64 characters (Firecracker `docs/jailer.md`).
    Name: 63, "^[A-Za-z0-9][A-Za-z0-9_-]*$",
        "a name: at most 63 letters, digits, `-` and `_`, not beginning with `-` or `_`";

    /// The name of a file in the folder it is named in: no path, and nothing that is hidden.
    FileName: 128, "^[A-Za-z0-9_][A-Za-z0-9_.+-]*$",
        "a plain file name: at most 128 letters, digits, `.`, `_`, `+` and `-`, not beginning with `.`, `+` or `-`";

    /// The label of an ext4 filesystem: 16 bytes (kernel `Documentation/filesystems/ext4/super.rst`).
    FilesystemLabel: 16, "^[ -~]+$", "a filesystem label: 1 to 16 printable ASCII characters";

    /// A UUID as text (RFC 9562), lower case.
    Uuid: 36, "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        "a UUID: lower-case hexadecimal digits, 8-4-4-4-12";

    /// Debian's name of a machine: `amd64`.
    ArchitectureName: 32, "^[a-z0-9][a-z0-9-]*$", "the Debian name of an architecture, as in `amd64`";

    /// A kernel's release: what `uname -r` prints, at most 64 characters (uname(2)).
    KernelRelease: 64, "^[0-9][A-Za-z0-9.+~_-]*$", "a kernel release, as in `6.1.0-56-cloud-amd64`";

    /// One argument of a kernel: printable ASCII, with spaces in double quotes only. An x86 kernel takes a line of 2047
    /// characters (`COMMAND_LINE_SIZE`).
    BootArgument: 2047, "^(?:[!#-~]|\"[ !#-~]*\")+$",
        "one kernel argument: at most 2047 printable ASCII characters, spaces in double quotes only";

    /// The name of a kernel argument that a launch may set.
    ParameterName: 64, "^[A-Za-z0-9_][A-Za-z0-9_.-]*$",
        "a parameter's name: at most 64 letters, digits, `_`, `.` and `-`, not beginning with `.` or `-`";

    /// The value of a kernel argument that a launch may set.
    ParameterValue: 512, "^[!#-&(-~]+$", "a text of printable ASCII without white space and quotes";

    /// The kernel's name of a network interface: at most 15 characters (`IFNAMSIZ`), no `/`, `:` or white space (kernel
    /// `net/core/dev.c`, `dev_valid_name`).
    InterfaceName: 15, "^[A-Za-z0-9][A-Za-z0-9_.-]*$", "a name of at most 15 letters, digits, `-`, `_`, `.`";

    /// The same, or the beginning of one and `*`, where the rest of a name cannot be known before the boot.
    InterfacePattern: 16, "^[A-Za-z0-9][A-Za-z0-9_.-]*\\*?$",
        "a name of at most 15 letters, digits, `-`, `_`, `.`, or its beginning with `*`";

    /// The path of an HTTP request, with its query: the characters of RFC 3986, and one slash in front, since two would begin
    /// with an authority.
    HttpPath: 1024, "^/(?:[A-Za-z0-9._~!$&'()*+,;=:@%?-][A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?$",
        "a path for HTTP: `/`, then at most 1023 characters that RFC 3986 allows, not beginning with `//`";

    /// What a server says first.
    Banner: 128, "^[ -~]+$", "the beginning of a greeting: 1 to 128 printable ASCII characters";

    /// A line for people: no control characters, and none that change the direction or the look of what stands beside them.
    Line: 1000, "^[^\\u0000-\\u001f\\u007f-\\u009f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff]*$",
        "one line of at most 1000 characters without control characters";

    /// The id of a rule.
    RuleId: 20, "^[A-Z][A-Z0-9-]*$", "a rule id, as in `NET-K004`";

    /// Permission bits, four octal digits.
    Mode: 4, "^[0-7]{4}$", "permission bits: four octal digits, as in `0755`";

    /// The owner of a file in an image, by name (useradd(8)).
    Owner: 65, "^[a-z_][a-z0-9_-]{0,31}:[a-z_][a-z0-9_-]{0,31}$", "`user:group`";
}

impl Name {
    /// What stands in for the name of something whose own is no name.
    pub fn unnamed() -> Self {
        Self("unnamed".to_owned())
    }

    /// `NAME-NUMBER`: the name is cut where both would be too long.
    #[must_use]
    pub fn numbered(&self, number: u32) -> Self {
        let number = format!("-{number}");
        let own: String = self.0.chars().take(Self::MOST - number.len()).collect();
        Self(own + &number)
    }
}

impl InterfaceName {
    /// The kernel's name of the only NIC.
    pub fn eth0() -> Self {
        Self("eth0".to_owned())
    }
}

impl From<&Name> for FilesystemLabel {
    /// The beginning of a name.
    fn from(name: &Name) -> Self {
        Self(name.chars().take(Self::MOST).collect())
    }
}

impl Line {
    /// A line with all of a text that may stand in one.
    pub fn lossy(text: &str) -> Self {
        let plain = |letter: &char| Self::fits(letter.encode_utf8(&mut [0; 4]));
        Self(text.chars().filter(plain).take(Self::MOST).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn form<T: FromStr<Err = TextError> + JsonSchema>(good: &[&str], bad: &[&str]) {
        let schema = schemars::schema_for!(T).to_value();
        let schema = jsonschema::validator_for(&schema).unwrap();
        for (texts, wanted) in [(good, true), (bad, false)] {
            for text in texts {
                assert_eq!(text.parse::<T>().is_ok(), wanted, "{} {text:?}", T::schema_name());
                assert_eq!(
                    schema.is_valid(&serde_json::json!(text)),
                    wanted,
                    "{} {text:?} by schema",
                    T::schema_name()
                );
            }
        }
    }

    #[test]
    fn every_pattern_is_anchored_and_compiles() {
        for (name, pattern) in FORMS {
            assert!(pattern.starts_with('^') && pattern.ends_with('$') && Regex::new(pattern).is_ok(), "{name}");
        }
    }

    /// What must stand in none of them.
    const EVIL: &[&str] = &["a\nb", "a\0", "\u{1b}[31m", "a\u{7f}", "\u{9b}31m", "a\u{202e}b", "a\r", "a\n"];

    #[test]
    fn forms_accept_what_they_are_for_and_nothing_else_and_so_do_their_schemas() {
        let long = "a".repeat(64);
        let names = ["", "-x", "_x", ".x", "..", "a/b", "/a", "../x", "a,b", "a=b", "a b", "ü", "a%", "a\\b", &long];
        form::<Name>(&["desktop", "vm_1", "A-2", &long[1..]], &[&names[..], EVIL].concat());
        form::<FileName>(
            &["rootfs.ext4", "initrd.img", "v_1+2-3"],
            &[&["", "-x", ".x", "..", "a/b", "/a", "../x", "a,b", "a b"], EVIL].concat(),
        );
        form::<FilesystemLabel>(&["golden", "my disk"], &[&["", "ü", "seventeen letters"][..], EVIL].concat());
        form::<Uuid>(
            &["0b6ad1f4-6bd4-5e1c-8f2d-8f2a4f0c9a11"],
            &["", "0B6AD1F4-6bd4-5e1c-8f2d-8f2a4f0c9a11", "0b6ad1f46bd45e1c8f2d8f2a4f0c9a11"],
        );
        form::<KernelRelease>(&["6.1.0-56-cloud-amd64"], &[&["", "x", "6.1/../x", "6.1 x"][..], EVIL].concat());
        form::<BootArgument>(
            &["rw", "dyndbg=\"file a +p\"", "a=b,c"],
            &[&["", "a b", "a=\"b", "ü=1", &"a".repeat(2048)][..], EVIL].concat(),
        );
        form::<ParameterName>(
            &["decodo_port", "a.b-c"],
            &[&["", "-a", ".a", "a=b", "a b", "a\"", "ü"][..], EVIL].concat(),
        );
        form::<ParameterValue>(&["10001", "a=b,c"], &[&["", "a b", "a\"b", "a'b", "ü"][..], EVIL].concat());
        form::<InterfaceName>(
            &["eth0", "eth0.5"],
            &[&["", ".", "..", "a/b", "a b", "eth0:1", "a,b", "sixteen-letters-"][..], EVIL].concat(),
        );
        form::<HttpPath>(
            &["/", "/health", "/a/b?c=d&e", "/@x", "/%20", "/a//b"],
            &[
                &["", "health", "@127.0.0.1:19999/", "//evil/x", "/\\evil", "/a b", "/#x", "http://x/", ":80/"][..],
                EVIL,
            ]
            .concat(),
        );
        form::<Banner>(&["RFB ", "SSH-2.0"], &[&["", "ü"][..], EVIL].concat());
        form::<Line>(&["", "Port für alles — auch das"], &[EVIL, &["a\u{2066}", "a\u{200b}"]].concat());
        form::<RuleId>(&["NET-K004"], &[&["", "net", "4", "A_B"][..], EVIL].concat());
        form::<Mode>(&["0755"], &["755", "0799", "00755", "0755\n"]);
        form::<Owner>(&["root:root", "_apt:www-data"], &["root", "root:", "a:b:c", "Root:root", "root:root\n"]);
    }

    #[test]
    fn a_message_shows_what_a_terminal_would_obey() {
        let error = "\u{1b}[2J/x".parse::<Name>().unwrap_err().to_string();
        assert!(error.starts_with("`\\u{1b}[2J/x` is not a name: "), "{error}");
        assert!("x/".repeat(1000).parse::<Name>().unwrap_err().to_string().len() < 300);
        assert_eq!(Line::lossy("a\n\u{1b}b ü").as_str(), "ab ü");
    }
}
