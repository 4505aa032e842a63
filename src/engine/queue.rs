//! Who is next: S6, and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use super::slab::cut;
use super::time::Time;

/// How urgent a queued task is.
///
/// Foreground goes before Normal, Normal before Background, and each is first
/// in, first out. Nobody starves: a Background task that has waited for longer
/// than the lane's `aging` competes as Normal, and every eighth dispatch of a
/// lane serves its oldest waiter, whatever its priority.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Priority {
    /// Somebody is looking at a screen.
    Foreground,
    /// Everything that is not said to be otherwise.
    #[default]
    Normal,
    /// Work that nobody waits for.
    Background,
}

/// Every how many dispatches the oldest waiter is served, whatever its priority.
pub(crate) const FAIR_SHARE: u64 = 8;

/// A place in line: since when, and in which order of arrival.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Place {
    pub(crate) since: Time,
    pub(crate) seq: u64,
}

const NIL: u32 = u32::MAX;

/// The waiters of one lane, by index.
///
/// A newcomer goes to the end of its tier's list, and leaving costs O(1) from
/// anywhere. Only who comes back to an older place (`waited`, S20) is kept in
/// an ordered map beside the list, O(log n) in those that did.
#[derive(Debug)]
pub(crate) struct Queue {
    nodes: Vec<Node>,
    tiers: [Tier; 3],
    len: usize,
    dispatched: u64,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    prev: u32,
    next: u32,
    place: Place,
    tier: u8,
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Absent,
    Listed,
    Returned,
}

const ABSENT: Node = Node {
    prev: NIL,
    next: NIL,
    place: Place {
        since: Time::START,
        seq: 0,
    },
    tier: 0,
    standing: Standing::Absent,
};

#[derive(Debug)]
struct Tier {
    head: u32,
    tail: u32,
    returned: BTreeMap<Place, u32>,
    len: usize,
}

impl Queue {
    pub(crate) const fn new() -> Self {
        const TIER: Tier = Tier {
            head: NIL,
            tail: NIL,
            returned: BTreeMap::new(),
            len: 0,
        };
        Self {
            nodes: Vec::new(),
            tiers: [TIER; 3],
            len: 0,
            dispatched: 0,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// How many waiters a newcomer of this priority finds ahead of it.
    #[inline]
    pub(crate) fn ahead(&self, priority: Priority) -> usize {
        self.tiers[..=priority as usize]
            .iter()
            .map(|tier| tier.len)
            .sum()
    }

    pub(crate) const fn count(&self, priority: Priority) -> usize {
        self.tiers[priority as usize].len
    }

    pub(crate) fn push(&mut self, index: u32, priority: Priority, place: Place) {
        let slot = index as usize;
        if slot >= self.nodes.len() {
            self.nodes.resize(slot + 1, ABSENT);
        }
        let tier = &mut self.tiers[priority as usize];
        let tail = tier.tail;
        let listed = tail == NIL || self.nodes[tail as usize].place < place;
        self.nodes[slot] = Node {
            prev: if listed { tail } else { NIL },
            next: NIL,
            place,
            tier: priority as u8,
            standing: if listed {
                Standing::Listed
            } else {
                Standing::Returned
            },
        };
        if listed {
            match self.nodes.get_mut(tail as usize) {
                Some(node) => node.next = index,
                None => tier.head = index,
            }
            tier.tail = index;
        } else {
            tier.returned.insert(place, index);
        }
        tier.len += 1;
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, index: u32) {
        let Some(&node) = self.nodes.get(index as usize) else {
            return;
        };
        let tier = &mut self.tiers[usize::from(node.tier)];
        match node.standing {
            Standing::Absent => return,
            Standing::Returned => {
                tier.returned.remove(&node.place);
            }
            Standing::Listed => {
                match self.nodes.get_mut(node.prev as usize) {
                    Some(before) => before.next = node.next,
                    None => tier.head = node.next,
                }
                match self.nodes.get_mut(node.next as usize) {
                    Some(after) => after.prev = node.prev,
                    None => tier.tail = node.prev,
                }
            }
        }
        tier.len -= 1;
        self.len -= 1;
        self.nodes[index as usize] = ABSENT;
    }

    /// No index from `reach` on is in use any more.
    #[inline]
    pub(crate) fn give_back(&mut self, reach: usize) {
        cut(&mut self.nodes, reach);
    }

    /// The memory it holds on to, in entries.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn footprint(&self) -> usize {
        let returned: usize = self.tiers.iter().map(|tier| tier.returned.len()).sum();
        self.nodes.capacity() + returned
    }

    /// Takes out who is served next.
    pub(crate) fn pop(&mut self, now: Time, aging: Duration) -> Option<u32> {
        let next = self.next(now, aging)?;
        self.dispatched += 1;
        self.remove(next);
        Some(next)
    }

    /// The waiters in the order in which they came, for a verb that speaks to
    /// all of them.
    pub(crate) fn in_order(&self) -> Vec<u32> {
        let mut all: Vec<_> = self
            .nodes
            .iter()
            .zip(0u32..)
            .filter(|(node, _)| node.standing != Standing::Absent)
            .map(|(node, index)| (node.tier, node.place, index))
            .collect();
        all.sort_unstable();
        all.into_iter().map(|(_, _, index)| index).collect()
    }

    fn next(&self, now: Time, aging: Duration) -> Option<u32> {
        let [foreground, normal, background] =
            [Priority::Foreground, Priority::Normal, Priority::Background]
                .map(|tier| self.front(tier));
        let older = |a: Option<(Place, u32)>, b: Option<(Place, u32)>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        // Counted over dispatches and not over time: a lane that is always
        // busy with Foreground still serves everybody in the end.
        if (self.dispatched + 1).is_multiple_of(FAIR_SHARE) {
            return older(older(foreground, normal), background).map(|(_, index)| index);
        }
        let aged = background.filter(|(place, _)| place.since + aging <= now);
        foreground
            .or_else(|| older(normal, aged))
            .or(background)
            .map(|(_, index)| index)
    }

    /// The oldest waiter of this priority.
    pub(crate) fn front(&self, priority: Priority) -> Option<(Place, u32)> {
        let tier = &self.tiers[priority as usize];
        let listed = self
            .nodes
            .get(tier.head as usize)
            .map(|node| (node.place, tier.head));
        let returned = tier.returned.first_key_value().map(|(p, i)| (*p, *i));
        match (listed, returned) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Priority::{Background, Foreground, Normal};
    use super::*;

    const AGING: Duration = Duration::from_nanos(30);

    fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    fn place(seq: u64) -> Place {
        Place {
            since: at(seq),
            seq,
        }
    }

    fn queue(waiters: &[(u32, Priority)]) -> Queue {
        let mut queue = Queue::new();
        for (index, priority) in waiters {
            queue.push(*index, *priority, place(u64::from(*index)));
        }
        queue
    }

    fn drain(queue: &mut Queue, now: Time) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop(now, AGING)).collect()
    }

    #[test]
    fn s6_urgent_first_and_fifo_within() {
        let mut q = queue(&[
            (0, Background),
            (1, Normal),
            (2, Foreground),
            (3, Normal),
            (4, Foreground),
        ]);
        assert_eq!(q.ahead(Foreground), 2);
        assert_eq!(q.ahead(Normal), 4);
        assert_eq!(drain(&mut q, at(5)), [2, 4, 1, 3, 0]);
    }

    #[test]
    fn s6_aged_background_competes_as_normal_and_never_as_foreground() {
        let mut q = queue(&[(0, Background), (1, Normal), (2, Foreground)]);
        assert_eq!(drain(&mut q, at(30)), [2, 0, 1]);
        let mut q = queue(&[(0, Background), (1, Normal), (2, Foreground)]);
        assert_eq!(drain(&mut q, at(29)), [2, 1, 0]);
    }

    #[test]
    fn s6_every_eighth_dispatch_serves_the_oldest() {
        let mut waiters = vec![(0, Background)];
        waiters.extend((1..20).map(|index| (index, Foreground)));
        let mut q = queue(&waiters);
        let order = drain(&mut q, at(20));
        assert_eq!(order[7], 0);
    }

    #[test]
    fn s6_who_comes_back_takes_its_old_place() {
        let mut q = queue(&[(0, Normal), (2, Normal), (3, Normal)]);
        q.push(1, Normal, place(1));
        assert_eq!(q.ahead(Normal), 4);
        q.remove(2);
        assert_eq!(drain(&mut q, at(4)), [0, 1, 3]);
    }

    #[test]
    fn only_who_comes_back_to_an_older_place_costs_more_than_o1() {
        let returned = |q: &Queue| {
            q.tiers
                .iter()
                .map(|tier| tier.returned.len())
                .sum::<usize>()
        };
        let mut q = queue(&[(0, Normal), (2, Normal), (3, Background)]);
        assert_eq!(returned(&q), 0);
        let before = q.footprint();
        q.push(1, Normal, place(1));
        assert_eq!((returned(&q), q.footprint()), (1, before + 1));
    }

    #[test]
    fn s15_a_storm_gives_its_memory_back() {
        let mut q = Queue::new();
        for index in 0..10_000 {
            q.push(index, Normal, place(u64::from(index)));
        }
        for index in 0..10_000 {
            q.remove(index);
        }
        q.give_back(0);
        assert!(q.footprint() < 256);
    }

    proptest! {
        #[test]
        fn agrees_with_a_sorted_list(ops in prop::collection::vec((0u8..4, 0u32..16, 0u8..3, 0u64..8), 0..150)) {
            let mut queue = Queue::new();
            let mut model: Vec<(u8, Place, u32)> = Vec::new();
            let (mut seq, mut dispatched, mut clock) = (0, 0u64, 100u64);
            for (op, index, tier, back) in ops {
                clock += 3;
                let present = model.iter().position(|(_, _, i)| *i == index);
                match (op, present) {
                    (0 | 1, None) => {
                        seq += 1;
                        let place = Place { since: at(clock - if op == 1 { back * 10 } else { 0 }), seq };
                        queue.push(index, [Foreground, Normal, Background][usize::from(tier)], place);
                        model.push((tier, place, index));
                    }
                    (2, Some(found)) => {
                        queue.remove(index);
                        model.remove(found);
                    }
                    (3, _) => {
                        dispatched += u64::from(!model.is_empty());
                        let best = if dispatched.is_multiple_of(FAIR_SHARE) {
                            model.iter().min_by_key(|(_, place, _)| *place)
                        } else {
                            model.iter().min_by_key(|(tier, place, _)| {
                                let aged = *tier == 2 && place.since + AGING <= at(clock);
                                (if aged { 1 } else { *tier }, *place)
                            })
                        }.copied();
                        prop_assert_eq!(queue.pop(at(clock), AGING), best.map(|(_, _, index)| index));
                        model.retain(|entry| Some(entry) != best.as_ref());
                    }
                    _ => {}
                }
                prop_assert_eq!(queue.len(), model.len());
            }
            model.sort_unstable();
            prop_assert_eq!(queue.in_order(), model.iter().map(|(_, _, i)| *i).collect::<Vec<_>>());
        }
    }
}
