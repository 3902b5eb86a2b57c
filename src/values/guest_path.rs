//! Paths inside a guest's root filesystem.

use super::shown;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An absolute, normalised path inside a root filesystem: starts with `/`, no empty, `.` or `..` component, no
/// NUL, no trailing slash (the root itself is `/`). UTF-8, as everything in Debian's archive is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GuestPath(String);

/// Why a text is not a path inside a guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuestPathError {
    /// Does not start with a slash.
    #[error("`{}` is not absolute: a path inside the image starts with `/`", shown(.0))]
    Relative(String),
    /// Has a `..` component, or a NUL byte, or a component over 255 bytes.
    #[error("`{}` is not a path inside the image: `..`, NUL and names over 255 bytes are not allowed", shown(.0))]
    Invalid(String),
    /// In a document: has control characters, or more than `PATH_MAX` bytes (Linux `include/uapi/linux/limits.h`).
    #[error("`{}` is not a path inside the image: it has control characters or more than {MAX_PATH} bytes", shown(.0))]
    Unprintable(String),
    /// Longer than any path that Linux takes.
    #[error("a path of {0} bytes is longer than the {MAX_PATH} that a path inside the image may have")]
    Long(usize),
}

/// The longest path, in bytes.
const MAX_PATH: usize = 4096;

impl JsonSchema for GuestPath {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GuestPath".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // No `..`, no control characters.
        let pattern = r"^/(?!(?:.*/)?\.\.(?:/|$))[^\u0000-\u001f\u007f-\u009f]*$";
        let description = "An absolute path inside the image.";
        schemars::json_schema!({ "type": "string", "pattern": pattern, "maxLength": MAX_PATH, "description": description })
    }
}

impl GuestPath {
    /// The root directory, `/`.
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// Normalises a path as archives write it (`./usr/bin/x`, `usr/bin/x`, `/usr//bin/x/`). A `..` component is
    /// refused, never resolved: nothing an archive names may leave the tree.
    pub fn from_archive(name: &str) -> Result<Self, GuestPathError> {
        if name.len() > MAX_PATH {
            return Err(GuestPathError::Long(name.len()));
        }
        let mut path = String::with_capacity(name.len() + 1);
        for component in name.split('/') {
            match component {
                "" | "." => {}
                component if component == ".." || component.len() > 255 || component.contains('\0') => {
                    return Err(GuestPathError::Invalid(name.to_owned()));
                }
                component => {
                    path.push('/');
                    path.push_str(component);
                }
            }
        }
        if path.is_empty() {
            path.push('/');
        }
        Ok(Self(path))
    }

    /// This path with `name` below it. `name` may have several components, never `..`.
    pub fn join(&self, name: &str) -> Result<Self, GuestPathError> {
        Self::from_archive(&format!("{}/{name}", self.0))
    }

    /// The directory that holds this path; none for the root.
    pub fn parent(&self) -> Option<Self> {
        match self.0.rsplit_once('/')? {
            (_, "") => None,
            ("", _) => Some(Self::root()),
            (parent, _) => Some(Self(parent.to_owned())),
        }
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(_, name)| name)
    }

    /// The components, from the top; none for the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|component| !component.is_empty())
    }

    /// The path as text, with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path without its leading slash, to be joined to a host directory.
    pub fn relative(&self) -> &str {
        &self.0[1..]
    }

    /// Whether this path is `ancestor` or below it.
    pub fn starts_with(&self, ancestor: &Self) -> bool {
        ancestor.0 == "/"
            || self.0.strip_prefix(&ancestor.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for GuestPath {
    type Err = GuestPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with('/') { Self::from_archive(text) } else { Err(GuestPathError::Relative(text.to_owned())) }
    }
}

impl TryFrom<String> for GuestPath {
    type Error = GuestPathError;

    /// A path as documents have it: archives and images may hold stranger ones.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() > MAX_PATH || text.chars().any(char::is_control) {
            return Err(GuestPathError::Unprintable(text));
        }
        text.parse()
    }
}

impl From<GuestPath> for String {
    fn from(path: GuestPath) -> Self {
        path.0
    }
}

impl fmt::Display for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuestPath({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_names_are_normalised_and_never_climb() {
        for (name, path) in [("./usr/bin/x", "/usr/bin/x"), ("/a//b/", "/a/b"), ("./", "/"), ("", "/")] {
            assert_eq!(GuestPath::from_archive(name).unwrap().as_str(), path);
        }
        for name in ["../x", "a/../../x", "a\0b", &"a/".repeat(2049)] {
            assert!(GuestPath::from_archive(name).is_err(), "{name:?}");
        }
        assert!("usr".parse::<GuestPath>().is_err());
    }

    #[test]
    fn parents_end_at_the_root() {
        let path: GuestPath = "/etc/netplan/01-netcfg.yaml".parse().unwrap();
        assert_eq!(path.name(), "01-netcfg.yaml");
        let parent = path.parent().unwrap();
        assert_eq!(parent.as_str(), "/etc/netplan");
        assert_eq!(parent.parent().unwrap().parent(), Some(GuestPath::root()));
        assert_eq!(GuestPath::root().parent(), None);
        assert!(path.starts_with(&parent) && !parent.starts_with(&path));
    }
}
