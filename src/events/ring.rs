//! The latest events, by their numbers.

use crate::TaskId;
use crate::engine::Fact;

/// The latest events.
#[derive(Debug, Default)]
pub(super) struct Ring {
    entries: Vec<Entry>,
    /// Where the next one goes once they are full.
    head: usize,
    next: u64,
}

/// An event as it is kept.
#[derive(Debug)]
pub(super) struct Entry {
    /// By its number.
    pub(super) lane: u64,
    pub(super) fact: Fact,
}

impl Ring {
    /// The number of the next.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// The number of the oldest that is kept, or of the next.
    pub(super) fn first(&self) -> u64 {
        self.next - self.entries.len() as u64
    }

    /// Takes a fact, and leaves the one in whose place it comes.
    #[inline(always)]
    pub(super) fn put(&mut self, capacity: usize, lane: u64, fact: &mut Fact) {
        self.next += 1;
        if self.entries.len() < capacity {
            if self.entries.is_empty() {
                // All at once, and not before there is something to keep.
                self.entries.reserve_exact(capacity);
            }
            let fact = std::mem::replace(fact, Fact::BLANK);
            self.entries.push(Entry { lane, fact });
            return;
        }
        let entry = &mut self.entries[self.head];
        entry.lane = lane;
        std::mem::swap(&mut entry.fact, fact);
        self.head += 1;
        if self.head == capacity {
            self.head = 0;
        }
    }

    #[cfg(feature = "replay")]
    #[inline]
    pub(super) const fn is_full(&self, capacity: usize) -> bool {
        self.entries.len() == capacity
    }

    /// The one in whose place the next comes.
    #[cfg(feature = "replay")]
    pub(super) fn take_oldest(&mut self) -> (u64, Fact) {
        let entry = &mut self.entries[self.head];
        (entry.lane, std::mem::replace(&mut entry.fact, Fact::BLANK))
    }

    /// From one that is kept on, in their order.
    pub(super) fn from(&self, seq: u64) -> impl Iterator<Item = &Entry> {
        let skip = usize::try_from(seq - self.first()).unwrap_or(usize::MAX);
        let (newer, older) = self.entries.split_at(self.head);
        older.iter().chain(newer).skip(skip)
    }
}

#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
impl Ring {
    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn room(&self) -> usize {
        self.entries.capacity()
    }
}

impl Entry {
    pub(super) fn task(&self) -> Option<TaskId> {
        self.fact.tag.task(self.lane)
    }
}

#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_as_small_as_the_docs_say() {
        assert!(size_of::<Entry>() <= 72, "{}", size_of::<Entry>());
    }
}
