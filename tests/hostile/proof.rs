//! How often, with which seeds, and what is said of it.

use crate::random::given;

/// A small generator of numbers that look random and never change.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) const fn below(&mut self, sides: u64) -> u64 {
        self.roll() % sides
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }
}

/// How often each test goes round.
pub(crate) fn rounds() -> u64 {
    let rounds = given("LANEWAY_ROUNDS").unwrap_or(1);
    assert!(rounds > 0, "LANEWAY_ROUNDS=0 tries nothing");
    rounds
}

/// The one round that is to be repeated.
pub(crate) fn chosen_seed() -> Option<u64> {
    given("LANEWAY_SEED")
}

/// Says how to repeat the round that fails.
struct Replay {
    test: &'static str,
    seed: u64,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { test, seed } = self;
            eprintln!(
                "replay: LANEWAY_SEED={seed:#x} cargo test --features testing --test hostile {test}"
            );
        }
    }
}

/// Goes round, `cases` times as often as asked; each round says how many tasks
/// it had.
pub(crate) fn prove(test: &'static str, cases: u64, mut round: impl FnMut(u64) -> usize) {
    let mut first = Dice::new(test.bytes().fold(0, |sum, byte| {
        u64::wrapping_add(u64::wrapping_mul(sum, 31), u64::from(byte))
    }));
    let base = first.roll();
    let seeds: Vec<u64> = match chosen_seed() {
        Some(seed) => vec![seed],
        None => {
            let mut seeds = Dice::new(base);
            (0..rounds() * cases).map(|_| seeds.roll()).collect()
        }
    };
    let mut tasks = 0;
    for seed in &seeds {
        let _replay = Replay { test, seed: *seed };
        tasks += round(*seed);
    }
    let rounds = seeds.len();
    let seed = seeds.first().copied().unwrap_or(base);
    said(test, rounds as u64, tasks, seed);
}

pub(crate) fn said(test: &str, rounds: u64, tasks: usize, seed: u64) {
    println!("proof: layer=hostile test={test} rounds={rounds} tasks={tasks} seed={seed:#x}");
}
