//! Repeatable randomness: the same seed and path give the same numbers.

/// A splitmix64 generator. Good enough to scatter events; not for secrets.
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// The generator for one place in the story. Places with different paths have independent
    /// generators, so that each can be played alone.
    pub fn new(seed: u64, path: &[u64]) -> Dice {
        let mut dice = Dice { state: seed };
        for step in path {
            dice.state = dice.next() ^ step.wrapping_mul(0x2545_f491_4f6c_dd1d);
        }
        dice
    }

    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn word(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }

    /// From 0 to below `end`; 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// Below `end`, as an index.
    pub fn index(&mut self, end: usize) -> usize {
        self.below(end as u64) as usize
    }

    pub fn permille(&mut self, chance: u64) -> bool {
        self.below(1000) < chance
    }

    /// One of a list, which must not be empty.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.index(among.len())]
    }

    /// The number of occurrences in one minute of something that occurs `hourly` times an hour on
    /// average.
    pub fn in_minute(&mut self, hourly: u64) -> u64 {
        hourly / 60 + u64::from(self.below(60) < hourly % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_path_throws_the_same_and_another_something_else() {
        let throws = |path: &[u64]| {
            let mut dice = Dice::new(7, path);
            [dice.next(), dice.next(), dice.below(10)]
        };
        assert_eq!(throws(&[1, 2]), throws(&[1, 2]));
        assert_ne!(throws(&[1, 2]), throws(&[2, 1]));
        assert_ne!(throws(&[1]), throws(&[1, 0]));
    }

    #[test]
    fn an_hourly_rate_is_kept_on_average() {
        let mut dice = Dice::new(1, &[]);
        let count: u64 = (0..60_000).map(|_| dice.in_minute(90)).sum();
        assert!((88_000..92_000).contains(&count), "{count}");
    }
}
