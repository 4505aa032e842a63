//! Who is next: S6, and nothing else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::slab::{ByIndex, NIL};
use super::time::Time;

/// How urgent a queued task is.
///
/// Foreground goes before Normal, Normal before Background, and each is first
/// in, first out. Nobody starves: a Background task that has waited for longer
/// than the lane's `aging` competes as Normal, and every eighth dispatch of a
/// lane serves its oldest waiter, whatever its priority. One exception: a task
/// that supersedes a holder has the slot that it makes free
/// ([`OnBusy::Supersede`](crate::OnBusy::Supersede)).
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

impl Priority {
    /// Its name, as it is serialized.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Foreground => "foreground",
            Self::Normal => "normal",
            Self::Background => "background",
        }
    }
}

/// Every how many dispatches the oldest waiter is served, whatever its priority.
pub(crate) const FAIR_SHARE: u64 = 8;

/// A place in line: since when, and in which order of arrival.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Place {
    pub(crate) since: Time,
    pub(crate) seq: u64,
}

impl Place {
    const FIRST: Self = Self {
        since: Time::from_nanos(0),
        seq: 0,
    };
    const LAST: Self = Self {
        since: Time::FAR,
        seq: u64::MAX,
    };
}

/// The waiter that a lane would serve next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct First {
    /// Its priority, or that as which it competes by now.
    pub(crate) tier: Priority,
    pub(crate) place: Place,
    /// When time alone may make it another one, or more urgent.
    pub(crate) turns: Option<Time>,
}

impl First {
    /// One beside whom nobody waits.
    pub(super) fn alone(priority: Priority, place: Place, now: Time, aging: Duration) -> Self {
        let turns = match priority {
            Priority::Background => ages(place, now, aging),
            _ => None,
        };
        let tier = match priority {
            Priority::Background if turns.is_none() => Priority::Normal,
            priority => priority,
        };
        Self { tier, place, turns }
    }
}

/// When a Background waiter will compete as Normal, if it does not yet.
fn ages(place: Place, now: Time, aging: Duration) -> Option<Time> {
    Some(place.since + aging).filter(|at| *at > now)
}

/// The waiters of one lane.
///
/// A newcomer goes to the end of its tier's list, and leaving costs O(1) from
/// anywhere. Only who comes back to an older place (`waited`, S20) is kept in
/// an ordered map beside the lists, O(log n) in those that did.
#[derive(Debug)]
pub(crate) struct Queue {
    tiers: [Tier; 3],
    returned: BTreeMap<(usize, Place), u32>,
    len: usize,
    dispatched: u64,
}

/// How a task stands in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Absent,
    /// In its tier's list, between these two.
    Listed {
        prev: u32,
        next: u32,
    },
    Returned,
}

/// A row of whatever is kept of tasks by index.
pub(crate) trait Waiter {
    fn place(&self) -> Place;
    fn priority(&self) -> Priority;
    fn standing(&self) -> Standing;
    /// When it came, and how urgent it is, wherever it stands.
    fn arrival(&self) -> (Priority, Place);
    fn standing_mut(&mut self) -> &mut Standing;
}

#[derive(Debug)]
struct Tier {
    head: u32,
    tail: u32,
    len: usize,
}

impl Queue {
    pub(crate) const fn new() -> Self {
        const TIER: Tier = Tier {
            head: NIL,
            tail: NIL,
            len: 0,
        };
        Self {
            tiers: [TIER; 3],
            returned: BTreeMap::new(),
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

    /// A task joins with the place and the priority that its row has.
    #[inline]
    pub(crate) fn push(&mut self, rows: &mut impl ByIndex<Row: Waiter>, index: u32) {
        let Some(waiter) = rows.row(index) else {
            return;
        };
        let (place, at) = (waiter.place(), waiter.priority() as usize);
        let tier = &mut self.tiers[at];
        tier.len += 1;
        self.len += 1;
        let standing = match rows.row_mut(tier.tail) {
            Some(last) if last.place() > place => {
                self.returned.insert((at, place), index);
                Standing::Returned
            }
            last => {
                let prev = std::mem::replace(&mut tier.tail, index);
                match last.map(Waiter::standing_mut) {
                    Some(Standing::Listed { next, .. }) => *next = index,
                    _ => tier.head = index,
                }
                Standing::Listed { prev, next: NIL }
            }
        };
        if let Some(waiter) = rows.row_mut(index) {
            *waiter.standing_mut() = standing;
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, rows: &mut impl ByIndex<Row: Waiter>, index: u32) {
        let Some(waiter) = rows.row_mut(index) else {
            return;
        };
        let (place, at) = (waiter.place(), waiter.priority() as usize);
        let tier = &mut self.tiers[at];
        match std::mem::replace(waiter.standing_mut(), Standing::Absent) {
            Standing::Absent => return,
            Standing::Returned => {
                self.returned.remove(&(at, place));
            }
            Standing::Listed { prev, next } => {
                match rows.row_mut(prev).map(Waiter::standing_mut) {
                    Some(Standing::Listed { next: link, .. }) => *link = next,
                    _ => tier.head = next,
                }
                match rows.row_mut(next).map(Waiter::standing_mut) {
                    Some(Standing::Listed { prev: link, .. }) => *link = prev,
                    _ => tier.tail = prev,
                }
            }
        }
        tier.len -= 1;
        self.len -= 1;
    }

    /// The memory it holds on to, in entries.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn footprint(&self) -> usize {
        self.returned.len()
    }

    /// Takes out who is served next.
    pub(crate) fn pop(
        &mut self,
        rows: &mut impl ByIndex<Row: Waiter>,
        now: Time,
        aging: Duration,
    ) -> Option<u32> {
        let next = self.next(rows, now, aging)?;
        self.dispatched += 1;
        self.remove(rows, next);
        Some(next)
    }

    /// Who is served next, as whoever has to choose between lanes sees it.
    pub(crate) fn first(
        &self,
        rows: &impl ByIndex<Row: Waiter>,
        now: Time,
        aging: Duration,
    ) -> Option<First> {
        let waiter = rows.row(self.next(rows, now, aging)?)?;
        // What it supersedes in its own lane gives it no right over others.
        let (priority, place) = waiter.arrival();
        let first = First::alone(priority, place, now, aging);
        let behind = match first.tier {
            Priority::Foreground => None,
            _ => self
                .front(rows, Priority::Background as usize)
                .and_then(|(place, _)| ages(place, now, aging)),
        };
        // Whoever superseded a holder stands elsewhere, and ages itself.
        let turns = first.turns.into_iter().chain(behind).min();
        Some(First { turns, ..first })
    }

    /// The waiters in the order in which they came, for a verb that speaks to
    /// all of them.
    pub(crate) fn in_order(&self, rows: &impl ByIndex<Row: Waiter>) -> Vec<u32> {
        let all = self.all(rows).into_iter();
        all.map(|(_, _, index)| index).collect()
    }

    /// The waiters in the order in which they would be served, were they all
    /// served now.
    pub(crate) fn served(
        &self,
        rows: &impl ByIndex<Row: Waiter>,
        now: Time,
        aging: Duration,
    ) -> Vec<u32> {
        let mut tiers: [VecDeque<(Place, u32)>; 3] = Default::default();
        for (at, place, index) in self.all(rows) {
            tiers[at].push_back((place, index));
        }
        let mut served = Vec::with_capacity(self.len);
        let mut nth = self.dispatched;
        loop {
            nth += 1;
            let fronts = [0, 1, 2].map(|at: usize| tiers[at].front().copied());
            let Some((place, index)) = choose(fronts, nth, now, aging) else {
                return served;
            };
            let first = |tier: &&mut VecDeque<_>| tier.front() == Some(&(place, index));
            if let Some(tier) = tiers.iter_mut().find(first) {
                tier.pop_front();
            }
            served.push(index);
        }
    }

    /// Every waiter with its tier, in order.
    fn all(&self, rows: &impl ByIndex<Row: Waiter>) -> Vec<(usize, Place, u32)> {
        let mut all = Vec::with_capacity(self.len);
        for (at, tier) in self.tiers.iter().enumerate() {
            let mut index = tier.head;
            while let Some(waiter) = rows.row(index)
                && let Standing::Listed { next, .. } = waiter.standing()
            {
                all.push((at, waiter.place(), index));
                index = next;
            }
        }
        let returned = self.returned.iter();
        all.extend(returned.map(|(&(at, place), &index)| (at, place, index)));
        all.sort_unstable();
        all
    }

    pub(super) fn next(
        &self,
        rows: &impl ByIndex<Row: Waiter>,
        now: Time,
        aging: Duration,
    ) -> Option<u32> {
        // Mostly all who wait are of one priority, and nobody came back.
        if self.returned.is_empty()
            && let Some(tier) = self.tiers.iter().find(|tier| tier.len == self.len)
        {
            return Some(tier.head).filter(|head| *head != NIL);
        }
        let fronts = [0, 1, 2].map(|tier| self.front(rows, tier));
        choose(fronts, self.dispatched + 1, now, aging).map(|(_, index)| index)
    }

    /// Whether these and nobody else stand in it, each once and where it should.
    /// O(n), whatever its links say.
    pub(super) fn is_of(&self, rows: &impl ByIndex<Row: Waiter>, waiters: &BTreeSet<u32>) -> bool {
        let mut in_all = 0;
        for (at, tier) in self.tiers.iter().enumerate() {
            let belongs = |index: &u32, waiter: &dyn Waiter| {
                waiter.priority() as usize == at && waiters.contains(index)
            };
            let (mut len, mut last, mut index) = (0, NIL, tier.head);
            while let Some(waiter) = rows.row(index)
                && len <= waiters.len()
            {
                let Standing::Listed { prev, next } = waiter.standing() else {
                    return false;
                };
                if prev != last || !belongs(&index, waiter) {
                    return false;
                }
                len += 1;
                (last, index) = (index, next);
            }
            let returned = self.returned.range((at, Place::FIRST)..=(at, Place::LAST));
            for ((_, place), index) in returned {
                let stands = rows.row(*index).is_some_and(|waiter| {
                    let stands = (waiter.standing(), waiter.place());
                    stands == (Standing::Returned, *place) && belongs(index, waiter)
                });
                if !stands {
                    return false;
                }
                len += 1;
            }
            if (index, tier.tail, tier.len) != (NIL, last, len) {
                return false;
            }
            in_all += len;
        }
        (in_all, waiters.len()) == (self.len, self.len)
    }

    /// These and nobody else stand in it from now on, in the order of their
    /// places. None of them stands anywhere else.
    pub(super) fn make_of(
        &mut self,
        rows: &mut impl ByIndex<Row: Waiter>,
        waiters: &BTreeSet<u32>,
    ) {
        *self = Self {
            dispatched: self.dispatched,
            ..Self::new()
        };
        let place = |index: &u32| rows.row(*index).map(Waiter::place);
        let mut waiters: Vec<u32> = waiters.iter().copied().collect();
        waiters.sort_by_key(place);
        for index in waiters {
            self.push(rows, index);
        }
    }

    /// The oldest waiter of a tier.
    #[inline]
    pub(super) fn front(
        &self,
        rows: &impl ByIndex<Row: Waiter>,
        tier: usize,
    ) -> Option<(Place, u32)> {
        let head = self.tiers[tier].head;
        let listed = rows.row(head).map(|waiter| (waiter.place(), head));
        if self.returned.is_empty() {
            return listed;
        }
        let mut returned = self
            .returned
            .range((tier, Place::FIRST)..=(tier, Place::LAST));
        let returned = returned.next().map(|((_, place), index)| (*place, *index));
        match (listed, returned) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

/// Which of the first of each tier is served, as the lane's `nth` dispatch.
#[inline(always)]
fn choose(
    [foreground, normal, background]: [Option<(Place, u32)>; 3],
    nth: u64,
    now: Time,
    aging: Duration,
) -> Option<(Place, u32)> {
    let older = |a: Option<(Place, u32)>, b: Option<(Place, u32)>| match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    // Counted over dispatches and not over time: a lane that is always
    // busy with Foreground still serves everybody in the end.
    if nth.is_multiple_of(FAIR_SHARE) {
        return older(older(foreground, normal), background);
    }
    let aged = background.filter(|(place, _)| place.since + aging <= now);
    foreground.or_else(|| older(normal, aged)).or(background)
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

    #[test]
    fn every_priority_has_its_word() {
        let words = [Foreground, Normal, Background].map(Priority::word);
        assert_eq!(words, ["foreground", "normal", "background"]);
    }

    fn place(seq: u64) -> Place {
        Place {
            since: at(seq),
            seq,
        }
    }

    #[derive(Clone, Copy)]
    struct Row(Place, Priority, Standing);

    impl Waiter for Row {
        fn place(&self) -> Place {
            self.0
        }

        fn priority(&self) -> Priority {
            self.1
        }

        fn standing(&self) -> Standing {
            self.2
        }

        fn arrival(&self) -> (Priority, Place) {
            (self.priority(), self.place())
        }

        fn standing_mut(&mut self) -> &mut Standing {
            &mut self.2
        }
    }

    /// A queue and its rows.
    struct Line(Queue, Vec<Row>);

    impl Line {
        fn new() -> Self {
            Self(
                Queue::new(),
                vec![Row(place(0), Normal, Standing::Absent); 24],
            )
        }

        fn push(&mut self, index: u32, priority: Priority, place: Place) {
            self.1[index as usize] = Row(place, priority, Standing::Absent);
            self.0.push(&mut self.1, index);
        }

        fn remove(&mut self, index: u32) {
            self.0.remove(&mut self.1, index);
        }

        fn pop(&mut self, now: Time) -> Option<u32> {
            self.0.pop(&mut self.1, now, AGING)
        }
    }

    fn queue(waiters: &[(u32, Priority)]) -> Line {
        let mut queue = Line::new();
        for (index, priority) in waiters {
            queue.push(*index, *priority, place(u64::from(*index)));
        }
        queue
    }

    #[test]
    fn a_queue_is_of_those_who_stand_in_it_and_nobody_else() {
        let is_of = |line: &Line, waiters: &[u32]| {
            let waiters = waiters.iter().copied().collect();
            line.0.is_of(&line.1, &waiters)
        };
        let mut line = queue(&[(1, Normal), (2, Normal)]);
        assert!(is_of(&line, &[1, 2]));
        assert!(!is_of(&line, &[1, 3]));
        assert!(!is_of(&line, &[1]));
        // One that came back to its place before the others.
        line.push(5, Normal, place(0));
        assert_eq!(line.1[5].2, Standing::Returned);
        assert!(is_of(&line, &[1, 2, 5]));
        assert!(!is_of(&line, &[1, 2, 6]));
        line.1[5].0 = place(7);
        assert!(!is_of(&line, &[1, 2, 5]), "it stands at another place");
    }

    fn drain(queue: &mut Line, now: Time) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop(now)).collect()
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
        assert_eq!(q.0.ahead(Foreground), 2);
        assert_eq!(q.0.ahead(Normal), 4);
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
        assert_eq!(q.0.ahead(Normal), 4);
        q.remove(2);
        assert_eq!(drain(&mut q, at(4)), [0, 1, 3]);
    }

    #[test]
    fn only_who_comes_back_to_an_older_place_costs_more_than_o1() {
        let mut q = queue(&[(0, Normal), (2, Normal), (3, Background)]);
        assert_eq!(q.0.footprint(), 0);
        q.push(1, Normal, place(1));
        assert_eq!(q.0.footprint(), 1);
        q.remove(1);
        assert_eq!(q.0.footprint(), 0);
    }

    proptest! {
        #[test]
        fn agrees_with_a_sorted_list(ops in prop::collection::vec((0u8..4, 0u32..16, 0u8..3, 0u64..8), 0..150)) {
            let mut queue = Line::new();
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
                        prop_assert_eq!(queue.pop(at(clock)), best.map(|(_, _, index)| index));
                        model.retain(|entry| Some(entry) != best.as_ref());
                    }
                    _ => {}
                }
                prop_assert_eq!(queue.0.len(), model.len());
            }
            let served = queue.0.served(&queue.1, at(clock), AGING);
            model.sort_unstable();
            prop_assert_eq!(queue.0.in_order(&queue.1), model.iter().map(|(_, _, i)| *i).collect::<Vec<_>>());
            prop_assert_eq!(served, drain(&mut queue, at(clock)));
        }
    }
}
