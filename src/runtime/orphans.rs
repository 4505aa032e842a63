//! The bound on orphans over all lanes (S10).

use crate::sync::{AtomicUsize, Ordering};

#[derive(Debug)]
pub(crate) struct Orphans {
    count: AtomicUsize,
    bound: usize,
}

impl Orphans {
    pub(crate) fn new(bound: usize) -> Self {
        Self {
            count: AtomicUsize::new(0),
            bound,
        }
    }

    /// Counts one more, if the bound allows or somebody insists.
    #[must_use]
    pub(crate) fn reserve(&self, forced: bool) -> bool {
        let mut count = self.count();
        while forced || count < self.bound {
            match self.count.compare_exchange(
                count,
                count + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => count = now,
            }
        }
        false
    }

    pub(crate) fn release(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) const fn bound(&self) -> usize {
        self.bound
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}
