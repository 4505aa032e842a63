//! Sides take turns: A B C, C B A, A B C, …, each for a round of many tasks, in
//! one process. What disturbs the machine disturbs neighbours alike, so the
//! ratio of two neighbouring rounds says more than two absolute times.

use std::time::Duration;

use crate::spread::Spread;

/// One round of one side.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    pub took: Duration,
    /// The sum of what the tasks returned: sides that are compared must agree,
    /// so they did the same tasks and nobody's were optimized away.
    pub sum: u64,
}

pub struct Side<'a> {
    name: String,
    tasks: u64,
    round: Box<dyn FnMut() -> Round + 'a>,
}

impl<'a> Side<'a> {
    pub fn new(name: impl Into<String>, tasks: u64, round: impl FnMut() -> Round + 'a) -> Self {
        Self {
            name: name.into(),
            tasks,
            round: Box::new(round),
        }
    }
}

/// Nanoseconds per task, by side and round.
pub struct Turns {
    sides: Vec<(String, Vec<f64>)>,
    pub rounds: usize,
    pub tasks: u64,
}

impl Turns {
    /// Sides that do the same tasks, after a round each that does not count.
    ///
    /// # Panics
    ///
    /// If two sides came to different sums.
    pub fn take(rounds: usize, sides: Vec<Side<'_>>) -> Self {
        Self::go(rounds, sides, true)
    }

    /// Sides that do different numbers of tasks, or other ones.
    pub fn take_unlike(rounds: usize, sides: Vec<Side<'_>>) -> Self {
        Self::go(rounds, sides, false)
    }

    fn go(rounds: usize, mut sides: Vec<Side<'_>>, alike: bool) -> Self {
        let mut times: Vec<(String, Vec<f64>)> = sides
            .iter()
            .map(|side| (side.name.clone(), Vec::with_capacity(rounds)))
            .collect();
        let sums: Vec<u64> = sides.iter_mut().map(|side| (side.round)().sum).collect();
        if alike {
            for (sum, side) in sums.iter().zip(&sides) {
                assert_eq!(*sum, sums[0], "{} did other work", side.name);
            }
        }
        for round in 0..rounds {
            for turn in 0..sides.len() {
                let place = if round % 2 == 0 {
                    turn
                } else {
                    sides.len() - 1 - turn
                };
                let side = &mut sides[place];
                let done = (side.round)();
                assert_eq!(done.sum, sums[place], "{} changed its work", side.name);
                times[place]
                    .1
                    .push(done.took.as_nanos() as f64 / side.tasks as f64);
            }
        }
        Self {
            tasks: sides[0].tasks,
            sides: times,
            rounds,
        }
    }

    fn times(&self, side: &str) -> &[f64] {
        let found = self.sides.iter().find(|(name, _)| name == side);
        &found
            .unwrap_or_else(|| panic!("no side is called {side}"))
            .1
    }

    /// Nanoseconds per task.
    pub fn ns(&self, side: &str) -> Spread {
        Spread::of(self.times(side).to_vec())
    }

    /// How many times as long `a` took as `b`, round by round.
    pub fn ratio(&self, a: &str, b: &str) -> Spread {
        let pairs = self.times(a).iter().zip(self.times(b));
        Spread::of(pairs.map(|(a, b)| a / b).collect())
    }
}
