//! The moments at which a lane's tasks want a look: one per task at most.

use super::slab::{ByIndex, NIL, trim};
use super::time::Time;

/// Which tasks want a look, and when.
///
/// Whoever sets a moment no earlier than the last in a list, as tasks do that
/// start one after another under one ceiling, goes to the end of it: O(1), and
/// O(1) to leave it from anywhere. Only an earlier moment is kept in a binary
/// heap beside the list: O(log n) in those.
#[derive(Debug)]
pub(crate) struct Timers {
    head: u32,
    tail: u32,
    heap: Vec<(Time, u32)>,
}

/// The moment of one task, and where it stands among the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// [`Time::FAR`] is never, and stands nowhere.
    at: Time,
    /// [`HEAPED`] for one in the heap; else who is before it in the list.
    prev: u32,
    /// Its place in the heap, or who is after it in the list.
    next: u32,
}

const HEAPED: u32 = NIL - 1;

/// Rows that have a moment.
pub(crate) trait Moments: ByIndex<Row: AsRef<Moment> + AsMut<Moment>> {
    #[inline]
    fn moment(&self, index: u32) -> Moment {
        self.row(index).map_or(Moment::NEVER, |row| *row.as_ref())
    }

    #[inline]
    fn moment_mut(&mut self, index: u32) -> Option<&mut Moment> {
        self.row_mut(index).map(AsMut::as_mut)
    }
}

impl<T: ByIndex<Row: AsRef<Moment> + AsMut<Moment>>> Moments for T {}

impl Moment {
    pub(crate) const NEVER: Self = Self {
        at: Time::FAR,
        prev: NIL,
        next: NIL,
    };

    #[cfg(any(test, fuzzing))]
    pub(crate) const fn at(self) -> Time {
        self.at
    }
}

impl Timers {
    pub(crate) const fn new() -> Self {
        Self {
            head: NIL,
            tail: NIL,
            heap: Vec::new(),
        }
    }

    /// The earliest moment of all; [`Time::FAR`] where there is none.
    #[inline]
    pub(crate) fn first(&self, rows: &impl Moments) -> Time {
        let listed = rows.moment(self.head).at;
        let heaped = self.heap.first().map_or(Time::FAR, |(at, _)| *at);
        listed.min(heaped)
    }

    /// Sets or moves the moment of a task.
    #[inline]
    pub(crate) fn set(&mut self, rows: &mut impl Moments, index: u32, at: Time) {
        self.clear(rows, index);
        if at == Time::FAR {
            return;
        }
        if self.tail != NIL && at < rows.moment(self.tail).at {
            self.heap.push((at, index));
            let place = self.heap.len() - 1;
            self.note(rows, place);
            self.rise(rows, place);
            return;
        }
        let prev = std::mem::replace(&mut self.tail, index);
        match rows.moment_mut(prev) {
            Some(before) => before.next = index,
            None => self.head = index,
        }
        if let Some(moment) = rows.moment_mut(index) {
            let next = NIL;
            *moment = Moment { at, prev, next };
        }
    }

    /// Sets the moment of a task unless it has an earlier one.
    pub(crate) fn set_earlier(&mut self, rows: &mut impl Moments, index: u32, at: Time) {
        if at < rows.moment(index).at {
            self.set(rows, index, at);
        }
    }

    #[inline]
    pub(crate) fn clear(&mut self, rows: &mut impl Moments, index: u32) {
        if let Some(moment) = rows.moment_mut(index) {
            let moment = std::mem::replace(moment, Moment::NEVER);
            self.leave(rows, moment);
        }
    }

    /// A moment goes, and its row may be gone already.
    #[inline]
    pub(crate) fn leave(&mut self, rows: &mut impl Moments, moment: Moment) {
        let Moment { at, prev, next } = moment;
        if at == Time::FAR {
            return;
        }
        if prev == HEAPED {
            self.leave_heap(rows, next as usize);
            return;
        }
        match rows.moment_mut(prev) {
            Some(before) => before.next = next,
            None => self.head = next,
        }
        match rows.moment_mut(next) {
            Some(after) => after.prev = prev,
            None => self.tail = prev,
        }
    }

    fn leave_heap(&mut self, rows: &mut impl Moments, place: usize) {
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            self.note(rows, place);
            self.settle(rows, place);
        }
        trim(&mut self.heap);
    }

    /// The memory it holds on to, in entries.
    #[cfg(any(test, fuzzing))]
    pub(crate) const fn footprint(&self) -> usize {
        self.heap.capacity()
    }

    /// Takes out the earliest task whose moment has come.
    pub(crate) fn pop_due(&mut self, rows: &mut impl Moments, now: Time) -> Option<u32> {
        let listed = (rows.moment(self.head).at, self.head);
        let heaped = self.heap.first().copied();
        let (at, index) = heaped.map_or(listed, |heaped| listed.min(heaped));
        if at > now || at == Time::FAR {
            return None;
        }
        self.clear(rows, index);
        Some(index)
    }

    fn note(&self, rows: &mut impl Moments, place: usize) {
        let (at, index) = self.heap[place];
        if let Some(moment) = rows.moment_mut(index) {
            *moment = Moment {
                at,
                prev: HEAPED,
                next: u32::try_from(place).expect("under 2^32 tasks in a lane"),
            };
        }
    }

    fn settle(&mut self, rows: &mut impl Moments, place: usize) {
        let place = self.rise(rows, place);
        self.sink(rows, place);
    }

    fn rise(&mut self, rows: &mut impl Moments, mut place: usize) -> usize {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent] <= self.heap[place] {
                break;
            }
            self.swap(rows, parent, place);
            place = parent;
        }
        place
    }

    fn sink(&mut self, rows: &mut impl Moments, mut place: usize) {
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
            self.swap(rows, place, at);
            place = at;
        }
    }

    fn swap(&mut self, rows: &mut impl Moments, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.note(rows, a);
        self.note(rows, b);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    use super::*;

    impl AsRef<Self> for Moment {
        fn as_ref(&self) -> &Self {
            self
        }
    }

    impl AsMut<Self> for Moment {
        fn as_mut(&mut self) -> &mut Self {
            self
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_sorted_map(ops in prop::collection::vec((0u8..3, 0u32..24, 0u64..50), 0..200)) {
            let (mut timers, mut rows) = (Timers::new(), vec![Moment::NEVER; 24]);
            let mut model = BTreeMap::new();
            for (op, index, at) in ops {
                let at = Time::from_nanos(at);
                match op {
                    0 => {
                        timers.set(&mut rows, index, at);
                        model.insert(index, at);
                    }
                    1 => {
                        timers.clear(&mut rows, index);
                        model.remove(&index);
                    }
                    _ => {
                        let expected = model.iter().map(|(i, t)| (*t, *i)).min().filter(|(t, _)| *t <= at);
                        let popped = timers.pop_due(&mut rows, at);
                        prop_assert_eq!(popped.map(|i| model[&i]), expected.map(|(t, _)| t));
                        if let Some(i) = popped {
                            model.remove(&i);
                        }
                    }
                }
                let or_never = |at: Option<&Time>| at.copied().unwrap_or(Time::FAR);
                prop_assert_eq!(timers.first(&rows), or_never(model.values().min()));
                for index in 0..24 {
                    prop_assert_eq!(rows.moment(index).at, or_never(model.get(&index)));
                }
            }
        }
    }

    #[test]
    fn only_a_moment_before_somebody_elses_costs_more_than_o1() {
        let (mut timers, mut rows) = (Timers::new(), vec![Moment::NEVER; 4]);
        for (index, at) in [(0, 10), (1, 10), (2, 12)] {
            timers.set(&mut rows, index, Time::from_nanos(at));
        }
        // Nor is a moment set anew that stands already.
        timers.set_earlier(&mut rows, 0, Time::from_nanos(10));
        assert_eq!(timers.heap.len(), 0);
        timers.clear(&mut rows, 1);
        timers.set(&mut rows, 0, Time::from_nanos(12));
        assert_eq!(timers.heap.len(), 0);
        timers.set(&mut rows, 3, Time::from_nanos(11));
        assert_eq!(timers.heap.len(), 1);
        let order: Vec<_> = std::iter::from_fn(|| timers.pop_due(&mut rows, Time::FAR)).collect();
        assert_eq!(order, [3, 2, 0]);
    }

    #[test]
    fn never_is_no_moment() {
        let (mut timers, mut rows) = (Timers::new(), vec![Moment::NEVER; 2]);
        timers.set(&mut rows, 0, Time::from_nanos(7));
        timers.set(&mut rows, 0, Time::FAR);
        timers.set(&mut rows, 1, Time::FAR);
        assert_eq!(timers.first(&rows), Time::FAR);
        assert_eq!(timers.pop_due(&mut rows, Time::FAR), None);
    }

    #[test]
    fn s15_a_storm_gives_its_memory_back() {
        let size = if cfg!(miri) { 1_000 } else { 100_000 };
        let (mut timers, mut rows) = (Timers::new(), vec![Moment::NEVER; size as usize]);
        for index in 0..size {
            // Each earlier than the one before, so that all but one are in the heap.
            let at = Time::from_nanos(u64::from(size - index));
            timers.set(&mut rows, index, at);
        }
        assert!(timers.footprint() >= size as usize - 1);
        for index in 0..size {
            timers.clear(&mut rows, index);
        }
        assert!(timers.footprint() < 256);
    }
}
