//! The one atomic word of a task, and what follows from who moved it first.

use crate::sync::{AtomicU8, Ordering};

/// Where a task is, as far as who may decide its fate is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Word {
    Queued,
    /// It was given a slot that its runner has not come for.
    Granted,
    /// It lost a grant that its runner never came for (S20).
    Asleep,
    Running,
    /// Its future was ready: nothing can take its value any more (S3).
    Done,
    /// A limit ended it.
    Expired,
    /// Somebody ended it.
    Cancelled,
}

impl Word {
    const ALL: [Self; 7] = [
        Self::Queued,
        Self::Granted,
        Self::Asleep,
        Self::Running,
        Self::Done,
        Self::Expired,
        Self::Cancelled,
    ];
}

#[derive(Debug)]
pub(crate) struct AtomicWord(AtomicU8);

impl AtomicWord {
    pub(crate) fn new(word: Word) -> Self {
        Self(AtomicU8::new(word as u8))
    }

    #[inline]
    pub(crate) fn get(&self) -> Word {
        // Acquire: whoever sees a grant sees its fence and its start.
        Word::ALL[usize::from(self.0.load(Ordering::Acquire))]
    }

    /// Moves it, unless somebody else was first; says whether it moved.
    #[inline]
    pub(crate) fn shift(&self, from: Word, to: Word) -> bool {
        self.0
            .compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// For a grant, in the engine's critical section. Whoever gives up at the
    /// same moment finds the grant in the engine and passes it on.
    #[inline]
    pub(crate) fn set(&self, to: Word) {
        self.0.store(to as u8, Ordering::Release);
    }
}
