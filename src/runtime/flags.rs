//! What is either so or not so of a task, in one byte of its cell.

use crate::sync::{AtomicU8, Ordering};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Flag {
    /// It runs where it was submitted, and not where somebody polls it.
    Detached = 1 << 0,
    /// On a thread that cannot be stopped, where it is detached.
    Blocking = 1 << 1,
    /// It has, or is to have, slots beside its own, or is parked.
    Linked = 1 << 2,
    /// It gave slots back, and nobody polls for them but its runner.
    Adrift = 1 << 3,
    /// Somebody polls for the cancel signal without a future.
    Listens = 1 << 4,
    /// Its handle was dropped: nobody asks how it ends.
    Unheard = 1 << 5,
    /// It waits for something else than when that was looked at last.
    WaitsChange = 1 << 6,
    /// It is a link whose task has no use for it any more: if it has a slot, that
    /// comes back by itself.
    Dismissed = 1 << 7,
}

/// Those that are set. They tell nothing of the rest of the cell, but for the
/// answer of [`take`](Self::take).
#[derive(Debug)]
pub(super) struct Flags(AtomicU8);

impl Flags {
    pub(super) fn none() -> Self {
        Self(AtomicU8::new(0))
    }

    #[inline]
    pub(super) fn has(&self, flag: Flag) -> bool {
        self.0.load(Ordering::Relaxed) & flag as u8 != 0
    }

    pub(super) fn set(&self, flag: Flag) {
        self.0.fetch_or(flag as u8, Ordering::Release);
    }

    pub(super) fn unset(&self, flag: Flag) {
        self.0.fetch_and(!(flag as u8), Ordering::Relaxed);
    }

    /// The caller is the only one who knows of the cell.
    #[inline]
    pub(super) fn set_first(&self, flag: Flag) {
        let flags = self.0.load(Ordering::Relaxed) | flag as u8;
        self.0.store(flags, Ordering::Relaxed);
    }

    /// The same, for the next task.
    #[inline]
    pub(super) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Unsets it, and says whether it was set. Whoever is told so sees what was
    /// done before it was set.
    #[inline]
    pub(super) fn take(&self, flag: Flag) -> bool {
        self.has(flag) && self.0.fetch_and(!(flag as u8), Ordering::AcqRel) & flag as u8 != 0
    }
}
