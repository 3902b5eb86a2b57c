//! What a browser needs behind the `#` of an address.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// Where a VM's secret belongs in a fragment.
const SECRET: &str = "{secret}";
/// Longer ones are something else.
const MOST: usize = 200;

/// What stands behind the `#` of a service's address, with `{secret}` where the secret of a VM belongs. A browser keeps it to
/// itself: it is in no request, and in no `Referer` (RFC 9110, section 10.1.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fragment(String);

/// Why a text is not a fragment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not at most {MOST} characters of a URL's fragment with one `{SECRET}`, as in `token={SECRET}`", .0.escape_debug())]
pub struct FragmentError(String);

impl Fragment {
    /// The fragment of one VM.
    pub fn with(&self, secret: &str) -> String {
        self.0.replace(SECRET, secret)
    }
}

impl FromStr for Fragment {
    type Err = FragmentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // RFC 3986, section 3.5.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
        let good = match text.split_once(SECRET) {
            Some((before, after)) => before.bytes().chain(after.bytes()).all(plain) && text.len() <= MOST,
            None => false,
        };
        if good { Ok(Self(text.to_owned())) } else { Err(FragmentError(text.chars().take(MOST).collect())) }
    }
}

impl TryFrom<String> for Fragment {
    type Error = FragmentError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Fragment> for String {
    fn from(fragment: Fragment) -> Self {
        fragment.0
    }
}

impl fmt::Display for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Fragment {
    fn schema_name() -> Cow<'static, str> {
        "Fragment".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[^{}#\\s]*\\{secret\\}[^{}#\\s]*$",
            "maxLength": MOST,
            "description": "What stands behind the `#` of the service's address, with `{secret}` where the VM's secret belongs."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_has_one_place_for_the_secret() {
        let good: Fragment = "autoconnect=true&path=x%3Ftoken%3D{secret}".parse().unwrap();
        assert_eq!(good.with("0f"), "autoconnect=true&path=x%3Ftoken%3D0f");
        let long = format!("{}{{secret}}", "a".repeat(MOST));
        for bad in
            ["", "a=b", "{secret}{secret}", "#{secret}", "a b{secret}", "{other}{secret}", "\u{202e}{secret}", &long]
        {
            assert!(bad.parse::<Fragment>().is_err(), "{bad}");
        }
    }
}
