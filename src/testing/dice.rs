//! Numbers that look random and are the same for the same seed.

/// Steele, Lea and Flood's SplitMix64: one word of state, and any seed is as
/// good as another.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `sides`, which is not zero. The bias is one in 2^64 / `sides`.
    pub(super) const fn below(&mut self, sides: u64) -> u64 {
        self.roll() % sides
    }
}
