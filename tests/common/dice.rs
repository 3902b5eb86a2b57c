//! Choices at random that can be made again.

use std::time::Duration;

/// xorshift64*: the same seed, the same choices.
pub struct Dice(u64);

impl Dice {
    /// With the seed of this variable of the environment, or one of this process's own; it is printed.
    pub fn of(variable: &str) -> Self {
        let seed = number(variable, u64::from(std::process::id()));
        println!("{variable}={seed}");
        // Seeds that are neighbours give unlike choices, and none is 0.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Less than `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    /// One of them.
    pub fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    /// A time up to this.
    pub fn within(&mut self, most: Duration) -> Duration {
        let part = u32::try_from(self.below(1 << 20)).unwrap_or_default();
        most.mul_f64(f64::from(part) / f64::from(1 << 20))
    }
}

/// A number in the environment.
pub fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
