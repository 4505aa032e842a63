//! The moments at which a lane's tasks want a look: one per task at most.

use super::slab::{cut, trim};
use super::time::Time;

const NONE: u32 = u32::MAX;

/// Moments of tasks, by index.
///
/// Whoever sets a moment no earlier than the last in a list, as tasks do that
/// start one after another under one ceiling, goes to the end of it: O(1), and
/// O(1) to leave it from anywhere. Only an earlier moment is kept in a binary
/// heap beside the list: O(log n) in those.
#[derive(Debug)]
pub(crate) struct Timers {
    nodes: Vec<Node>,
    head: u32,
    tail: u32,
    heap: Vec<(Time, u32)>,
}

#[derive(Clone, Copy, Debug)]
enum Node {
    Absent,
    Listed {
        at: Time,
        prev: u32,
        next: u32,
    },
    /// In the heap, at this place.
    Heaped(u32),
}

impl Timers {
    pub(crate) const fn new() -> Self {
        Self {
            nodes: Vec::new(),
            head: NONE,
            tail: NONE,
            heap: Vec::new(),
        }
    }

    #[inline]
    pub(crate) fn first(&self) -> Option<Time> {
        let listed = self.listed(self.head);
        let heaped = self.heap.first().map(|(at, _)| *at);
        match (listed, heaped) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Sets or moves the moment of a task.
    #[inline]
    pub(crate) fn set(&mut self, index: u32, at: Time) {
        self.clear(index);
        let slot = index as usize;
        if slot >= self.nodes.len() {
            self.nodes.resize(slot + 1, Node::Absent);
        }
        if self.listed(self.tail).is_some_and(|last| at < last) {
            self.heap.push((at, index));
            let place = self.heap.len() - 1;
            self.note(place);
            self.rise(place);
            return;
        }
        let prev = std::mem::replace(&mut self.tail, index);
        self.nodes[slot] = Node::Listed {
            at,
            prev,
            next: NONE,
        };
        match self.nodes.get_mut(prev as usize) {
            Some(Node::Listed { next, .. }) => *next = index,
            _ => self.head = index,
        }
    }

    /// Sets the moment of a task unless it has an earlier one.
    pub(crate) fn set_earlier(&mut self, index: u32, at: Time) {
        if self.moment(index).is_none_or(|set| at < set) {
            self.set(index, at);
        }
    }

    #[inline]
    pub(crate) fn clear(&mut self, index: u32) {
        let Some(node) = self.nodes.get_mut(index as usize) else {
            return;
        };
        match std::mem::replace(node, Node::Absent) {
            Node::Absent => {}
            Node::Listed { prev, next, .. } => {
                match self.nodes.get_mut(prev as usize) {
                    Some(Node::Listed { next: link, .. }) => *link = next,
                    _ => self.head = next,
                }
                match self.nodes.get_mut(next as usize) {
                    Some(Node::Listed { prev: link, .. }) => *link = prev,
                    _ => self.tail = prev,
                }
            }
            Node::Heaped(place) => {
                let place = place as usize;
                self.heap.swap_remove(place);
                if place < self.heap.len() {
                    self.note(place);
                    self.settle(place);
                }
                trim(&mut self.heap);
            }
        }
    }

    /// No index from `reach` on is in use any more.
    #[inline]
    pub(crate) fn give_back(&mut self, reach: usize) {
        cut(&mut self.nodes, reach);
    }

    pub(crate) fn moment(&self, index: u32) -> Option<Time> {
        match self.nodes.get(index as usize)? {
            Node::Absent => None,
            Node::Listed { at, .. } => Some(*at),
            Node::Heaped(place) => Some(self.heap[*place as usize].0),
        }
    }

    /// The memory it holds on to, in entries.
    #[cfg(any(test, fuzzing))]
    pub(crate) const fn footprint(&self) -> usize {
        self.heap.capacity() + self.nodes.capacity()
    }

    /// Takes out the earliest task whose moment has come.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<u32> {
        let listed = self.listed(self.head).map(|at| (at, self.head));
        let heaped = self.heap.first().copied();
        let (at, index) = match (listed, heaped) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b)?,
        };
        if at > now {
            return None;
        }
        self.clear(index);
        Some(index)
    }

    /// The moment of a task that is in the list.
    fn listed(&self, index: u32) -> Option<Time> {
        match self.nodes.get(index as usize) {
            Some(Node::Listed { at, .. }) => Some(*at),
            _ => None,
        }
    }

    fn note(&mut self, place: usize) {
        let index = self.heap[place].1;
        self.nodes[index as usize] = Node::Heaped(u32::try_from(place).unwrap_or(NONE));
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
                        let popped = timers.pop_due(at);
                        prop_assert_eq!(popped.map(|i| model[&i]), expected.map(|(t, _)| t));
                        if let Some(i) = popped {
                            model.remove(&i);
                        }
                    }
                }
                prop_assert_eq!(timers.first(), model.values().min().copied());
                for index in 0..24 {
                    prop_assert_eq!(timers.moment(index), model.get(&index).copied());
                }
            }
        }
    }

    #[test]
    fn only_a_moment_before_somebody_elses_costs_more_than_o1() {
        let mut timers = Timers::new();
        for (index, at) in [(0, 10), (1, 10), (2, 12)] {
            timers.set(index, Time::from_nanos(at));
        }
        // Nor is a moment set anew that stands already.
        timers.set_earlier(0, Time::from_nanos(10));
        assert_eq!(timers.heap.len(), 0);
        timers.clear(1);
        timers.set(0, Time::from_nanos(12));
        assert_eq!(timers.heap.len(), 0);
        timers.set(3, Time::from_nanos(11));
        assert_eq!(timers.heap.len(), 1);
        let order: Vec<_> = std::iter::from_fn(|| timers.pop_due(Time::FAR)).collect();
        assert_eq!(order, [3, 2, 0]);
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
