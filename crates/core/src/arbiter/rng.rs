//! The core's own randomness, seeded from outside so that a run can be repeated.

use serde::{Deserialize, Serialize};

/// SplitMix64: small, and good enough to spread timers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Rng(u64);

impl Rng {
    pub(in crate::arbiter) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of `0..=most`.
    pub(in crate::arbiter) fn up_to(&mut self, most: u64) -> u64 {
        match most.checked_add(1) {
            Some(count) => self.next() % count,
            None => self.next(),
        }
    }

    /// A factor of `1 - spread ..= 1 + spread`.
    pub(in crate::arbiter) fn around_one(&mut self, spread: f64) -> f64 {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        1.0 - spread + 2.0 * spread * unit
    }
}
