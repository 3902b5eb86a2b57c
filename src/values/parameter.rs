//! The types that parameters have, in recipes and at launch.

use super::{ParameterValue, shown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The type of a parameter (of a recipe, or of a launch).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ParameterKind {
    /// `true` or `false`.
    Bool,
    /// Any text without white space, quotes or control characters.
    String,
    /// A whole number.
    Integer,
    /// A TCP or UDP port, 1–65535.
    Port,
}

impl ParameterKind {
    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Bool, Self::String, Self::Integer, Self::Port].into_iter().find(|kind| kind.as_str() == name)
    }

    /// The name of the type in recipes and manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Port => "port",
        }
    }

    /// Whether a text is a value of this type, and why not.
    pub fn accepts(self, text: &str) -> Result<(), String> {
        let (good, expected) = match self {
            Self::Bool => (matches!(text, "true" | "false"), "`true` or `false`"),
            Self::Integer => (text.parse::<i64>().is_ok(), "a whole number"),
            Self::Port => (text.parse::<u16>().is_ok_and(|port| port > 0), "a port, 1 to 65535"),
            Self::String => (text.parse::<ParameterValue>().is_ok(), ParameterValue::EXPECTED),
        };
        if good { Ok(()) } else { Err(format!("`{}` is not {expected}", shown(text))) }
    }
}
