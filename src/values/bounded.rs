//! Whole numbers between two bounds, both allowed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A whole number from `LEAST` to `MOST`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Bounded<const LEAST: u64, const MOST: u64>(u64);

/// Why a number is not between its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{found} is not a number from {least} to {most}")]
pub struct BoundsError {
    found: u64,
    least: u64,
    most: u64,
}

/// The size of a file of an image: at most what ext4 images can have.
pub type FileSize = Bounded<0, { 16 << 40 }>;
/// Seconds that something may take: at most a day.
pub type Seconds = Bounded<1, 86_400>;
/// How many packages there are.
pub type PackageCount = Bounded<0, 1_000_000>;
/// A point in time that an ext4 superblock can hold, in seconds since 1970.
pub type Epoch = Bounded<0, { u32::MAX as u64 }>;
/// A TCP or UDP port.
pub type Port = std::num::NonZeroU16;

impl<const LEAST: u64, const MOST: u64> Bounded<LEAST, MOST> {
    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number that is nearest to this one.
    pub const fn nearest(number: u64) -> Self {
        if number < LEAST {
            Self(LEAST)
        } else if number > MOST {
            Self(MOST)
        } else {
            Self(number)
        }
    }
}

impl<const LEAST: u64, const MOST: u64> TryFrom<u64> for Bounded<LEAST, MOST> {
    type Error = BoundsError;

    fn try_from(number: u64) -> Result<Self, BoundsError> {
        if (LEAST..=MOST).contains(&number) {
            Ok(Self(number))
        } else {
            Err(BoundsError { found: number, least: LEAST, most: MOST })
        }
    }
}

impl<const LEAST: u64, const MOST: u64> From<Bounded<LEAST, MOST>> for u64 {
    fn from(number: Bounded<LEAST, MOST>) -> Self {
        number.0
    }
}

impl<const LEAST: u64, const MOST: u64> fmt::Display for Bounded<LEAST, MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const LEAST: u64, const MOST: u64> fmt::Debug for Bounded<LEAST, MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<const LEAST: u64, const MOST: u64> JsonSchema for Bounded<LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("From{LEAST}To{MOST}").into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "minimum": LEAST, "maximum": MOST })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_kept_and_said() {
        for (number, good) in [(0, false), (1, true), (86_400, true), (86_401, false), (u64::MAX, false)] {
            assert_eq!(Seconds::try_from(number).is_ok(), good, "{number}");
        }
        let error = serde_json::from_str::<Seconds>("18446744073709551615").unwrap_err().to_string();
        assert!(error.contains("18446744073709551615 is not a number from 1 to 86400"), "{error}");
        assert_eq!((Seconds::nearest(0).get(), Seconds::nearest(u64::MAX).get()), (1, 86_400));
    }
}
