//! The moments at which a lane's tasks want a look: one per task at most.

use super::slab::trim;
use super::time::Time;

const NONE: u32 = u32::MAX;

/// An indexed binary heap of task indices by time.
///
/// Starts come in time order, so the usual insert is O(1); the worst case of
/// insert, move and removal is O(log n) in the tasks that have a moment set.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: Vec<(Time, u32)>,
    position: Vec<u32>,
}

impl Timers {
    pub(crate) const fn new() -> Self {
        Self {
            heap: Vec::new(),
            position: Vec::new(),
        }
    }

    pub(crate) fn first(&self) -> Option<Time> {
        self.heap.first().map(|(at, _)| *at)
    }

    /// Sets or moves the moment of a task.
    pub(crate) fn set(&mut self, index: u32, at: Time) {
        match self.at(index) {
            Some(place) => {
                self.heap[place].0 = at;
                self.settle(place);
            }
            None => {
                let slot = index as usize;
                if slot >= self.position.len() {
                    self.position.resize(slot + 1, NONE);
                }
                self.heap.push((at, index));
                self.note(self.heap.len() - 1);
                self.rise(self.heap.len() - 1);
            }
        }
    }

    /// Sets the moment of a task unless it has an earlier one.
    pub(crate) fn set_earlier(&mut self, index: u32, at: Time) {
        let set = self.at(index).map(|place| self.heap[place].0);
        self.set(index, set.map_or(at, |set| set.min(at)));
    }

    pub(crate) fn clear(&mut self, index: u32) {
        let Some(place) = self.at(index) else { return };
        self.position[index as usize] = NONE;
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            self.note(place);
            self.settle(place);
        }
        trim(&mut self.heap);
    }

    /// No index from `reach` on is in use any more. Told from outside, and not
    /// found out here: a table that shrank with every task would be filled
    /// again for the next one, up to the highest index of a wide lane.
    pub(crate) fn give_back(&mut self, reach: usize) {
        self.position.truncate(reach);
        trim(&mut self.position);
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn moment(&self, index: u32) -> Option<Time> {
        self.at(index).map(|place| self.heap[place].0)
    }

    /// The memory it holds on to, in entries.
    #[cfg(any(test, fuzzing))]
    pub(crate) const fn footprint(&self) -> usize {
        self.heap.capacity() + self.position.capacity()
    }

    /// Takes out the earliest task whose moment has come.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<u32> {
        let (at, index) = *self.heap.first()?;
        if at > now {
            return None;
        }
        self.clear(index);
        Some(index)
    }

    fn at(&self, index: u32) -> Option<usize> {
        match self.position.get(index as usize) {
            Some(&place) if place != NONE => Some(place as usize),
            _ => None,
        }
    }

    fn note(&mut self, place: usize) {
        let index = self.heap[place].1;
        self.position[index as usize] = u32::try_from(place).unwrap_or(NONE);
    }

    fn settle(&mut self, place: usize) {
        let place = self.rise(place);
        self.sink(place);
    }

    fn rise(&mut self, mut place: usize) -> usize {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent] <= self.heap[place] {
                break;
            }
            self.swap(parent, place);
            place = parent;
        }
        place
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let left = 2 * place + 1;
            let Some(mut child) = self.heap.get(left) else {
                return;
            };
            let mut at = left;
            if let Some(right) = self.heap.get(left + 1)
                && right < child
            {
                (child, at) = (right, left + 1);
            }
            if self.heap[place] <= *child {
                return;
            }
            self.swap(place, at);
            place = at;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.note(a);
        self.note(b);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_sorted_map(ops in prop::collection::vec((0u8..3, 0u32..24, 0u64..50), 0..200)) {
            let mut timers = Timers::new();
            let mut model = BTreeMap::new();
            for (op, index, at) in ops {
                let at = Time::from_nanos(at);
                match op {
                    0 => {
                        timers.set(index, at);
                        model.insert(index, at);
                    }
                    1 => {
                        timers.clear(index);
                        model.remove(&index);
                    }
                    _ => {
                        let expected = model.iter().map(|(i, t)| (*t, *i)).min().filter(|(t, _)| *t <= at);
                        prop_assert_eq!(timers.pop_due(at), expected.map(|(_, i)| i));
                        if let Some((_, i)) = expected {
                            model.remove(&i);
                        }
                    }
                }
                prop_assert_eq!(timers.first(), model.values().min().copied());
                prop_assert_eq!(timers.heap.len(), model.len());
            }
        }
    }

    #[test]
    fn s15_a_storm_gives_its_memory_back() {
        let mut timers = Timers::new();
        for index in 0..if cfg!(miri) { 1_000 } else { 100_000 } {
            timers.set(index, Time::from_nanos(u64::from(index)));
        }
        for index in 0..if cfg!(miri) { 1_000 } else { 100_000 } {
            timers.clear(index);
        }
        timers.give_back(0);
        assert!(timers.footprint() < 256);
    }
}
