//! How much of everything: enough to tell, or just enough to run.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    Full,
    /// Every row, shortened: its figures say little.
    Quick,
    /// Every row, once and tiny: shows that it still runs, and nothing else.
    Smoke,
}

impl Scale {
    /// From the arguments of a binary.
    pub fn of(args: &[String]) -> Self {
        let given = |flag: &str| args.iter().any(|arg| arg == flag);
        if given("--smoke") {
            Self::Smoke
        } else if given("--quick") {
            Self::Quick
        } else {
            Self::Full
        }
    }

    pub fn rounds(self, full: usize) -> usize {
        match self {
            Self::Full => full,
            Self::Quick => (full / 5).max(3),
            Self::Smoke => 1,
        }
    }

    pub fn tasks(self, full: u64) -> u64 {
        match self {
            Self::Full => full,
            Self::Quick => (full / 10).max(100),
            Self::Smoke => (full / 1_000).clamp(10, 1_000),
        }
    }

    /// 1, 10, 100, … up to `most`.
    pub fn decades(self, most: u64) -> Vec<u64> {
        let most = match self {
            Self::Full => most,
            Self::Quick => most / 10,
            Self::Smoke => 1_000,
        };
        std::iter::successors(Some(1), |n| Some(n * 10))
            .take_while(|n| *n <= most)
            .collect()
    }
}
