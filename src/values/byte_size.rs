//! A number of bytes, written the way people write it.

use std::fmt;
use std::str::FromStr;

/// A number of bytes. `8G`, `8GiB`, `512M`, `4096`: suffixes are binary (K = 1024), with or without `iB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// Why a text is not a byte size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size: write a whole number and one of K, M, G, T (powers of 1024), as in `8G`")]
pub struct ByteSizeError(String);

const UNITS: [(&str, u32); 4] = [("T", 40), ("G", 30), ("M", 20), ("K", 10)];

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || ByteSizeError(super::shown(text));
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, suffix) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| bad())?;
        let shift = match suffix.trim_start() {
            "" | "B" => 0,
            suffix => {
                let letter = suffix.strip_suffix("iB").unwrap_or(suffix);
                UNITS.iter().find(|(unit, _)| *unit == letter).ok_or_else(bad)?.1
            }
        };
        number.checked_mul(1 << shift).map(ByteSize).ok_or_else(bad)
    }
}

impl fmt::Display for ByteSize {
    /// The shortest exact or one-decimal form: `8G`, `765.2M`, `12B`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in UNITS {
            let one = 1_u64 << shift;
            if self.0 >= one {
                return if self.0.is_multiple_of(one) {
                    write!(f, "{}{unit}", self.0 / one)
                } else {
                    let tenths = u128::from(self.0) * 10 / u128::from(one);
                    write!(f, "{}.{}{unit}", tenths / 10, tenths % 10)
                };
            }
        }
        write!(f, "{}B", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        for (text, bytes) in [("8G", 8 << 30), ("8GiB", 8 << 30), ("512M", 512 << 20), ("4096", 4096), ("1 K", 1024)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "G", "8X", "-1", "8.5G", "99999999999T", "8GB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_print_short() {
        for (bytes, text) in [(8 << 30, "8G"), (1536, "1.5K"), (12, "12B"), (0, "0B")] {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }
}
