//! Numbers that are random enough, and the same for the same seed: `SplitMix64`.

/// A generator of them.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The same numbers in every run.
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed that `MILLRACE_TEST_SEED` names, or a new one. It is printed, so that a failure can be repeated.
    pub fn seeded() -> Self {
        let seed = match std::env::var("MILLRACE_TEST_SEED") {
            Ok(seed) => seed.parse().expect("MILLRACE_TEST_SEED is a number"),
            Err(_) => crate::servers::random(),
        };
        println!("MILLRACE_TEST_SEED={seed}");
        Self(seed)
    }

    /// A number from 0 to one below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// A place among `count`.
    pub fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).expect("below a usize")
    }

    /// Once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Any order of them.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.index(index + 1));
        }
    }

    /// The items in any order, `percent` of them a second time.
    pub fn scatter<T: Clone>(&mut self, items: &[T], percent: u64) -> Vec<T> {
        let mut scattered = items.to_vec();
        for item in items {
            if self.below(100) < percent {
                scattered.push(item.clone());
            }
        }
        self.shuffle(&mut scattered);
        scattered
    }
}
