//! A budget that several lanes share: who of them may start one more task, and
//! which of them goes next. Arithmetic and order; the lanes are elsewhere.
//!
//! # The driving contract
//!
//! Whatever is told to a lane of a group is told with the group locked, too:
//! [`Group::enter`], the input, [`Group::leave`]. The lane itself gives no
//! waiter a slot meanwhile, since it cannot know who else waits. Then, until
//! [`Group::next`] names nobody, [`Group::visit`] whom it names; and where the
//! effects report a reclaim, [`Group::verify`]. So there is no
//! moment outside the critical section at which a waiter of any of the lanes
//! could have a slot (S5), and none at which the budget is passed (S1).
//!
//! # Order
//!
//! Each lane says who of its waiters is first, by its own order (S6). Among
//! those the same order decides once more: the more urgent, then the one that
//! has waited longest, and every eighth time the oldest whatever its priority.
//! Lanes stand in ordered sets, so one more lane or waiter costs O(log lanes).

use std::collections::BTreeSet;

use super::effects::{BlockedBy, Effects, Recovery};
use super::lane::Lane;
use super::queue::{FAIR_SHARE, First, Place, Priority};
use super::slab::{Key, Slab};
use super::time::Time;

/// A budget, what is reserved of it for whom, and the lanes that share it.
///
/// `M` stands for a lane; the group hands it back when that lane is next.
#[derive(Debug)]
pub(crate) struct Group<M> {
    budget: usize,
    pub(super) shares: Vec<Share>,
    /// Slots that are held in all lanes.
    pub(super) used: usize,
    /// What is reserved and not in use.
    pub(super) unused: usize,
    pub(super) members: Slab<Member<M>>,
    /// Members whose first waiter could start, were it for their lane alone.
    pub(super) ready: BTreeSet<Rank>,
    /// The same by age.
    pub(super) oldest: BTreeSet<(Place, u32)>,
    /// When the passing of time alone may change who is first in a lane.
    pub(super) turns: BTreeSet<(Time, u32)>,
    /// The first of each share that has some of its reservation left.
    pub(super) reserved: BTreeSet<(Rank, u32)>,
    /// The oldest of each such share.
    pub(super) reserved_oldest: BTreeSet<(Place, u32, u32)>,
    /// Members that hold slots.
    pub(super) busy: BTreeSet<u32>,
    dispatched: u64,
    /// Numbers are drawn for all lanes together, so that waiters of two lanes
    /// that came at the same moment have an order.
    next_seq: u64,
}

/// Part of the members, and what is reserved for them together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) reserved: usize,
    pub(super) used: usize,
    /// Only kept where something is reserved.
    pub(super) ready: BTreeSet<Rank>,
    pub(super) oldest: BTreeSet<(Place, u32)>,
}

#[derive(Debug)]
pub(super) struct Member<M> {
    pub(super) lane: M,
    share: u32,
    pub(super) used: usize,
    pub(super) first: Option<First>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    tier: Priority,
    place: Place,
    pub(super) member: u32,
}

/// Whether one more slot fits above the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// There is nothing above it.
    Free,
    /// In a group that has room. Who gets it when somebody waits is the
    /// group's to say.
    Fits,
    /// In a group that has none.
    Full(BlockedBy),
}

impl Gate {
    #[inline]
    pub(super) const fn is_open(self) -> bool {
        !matches!(self, Self::Full(_))
    }
}

impl Share {
    const fn unused(&self) -> usize {
        self.reserved.saturating_sub(self.used)
    }
}

impl<M: Clone> Group<M> {
    /// Without members yet; `reserved` is what each share has for itself.
    pub(crate) fn new(budget: usize, reserved: &[usize]) -> Self {
        let share = |reserved: &usize| Share {
            reserved: *reserved,
            used: 0,
            ready: BTreeSet::new(),
            oldest: BTreeSet::new(),
        };
        Self {
            budget,
            shares: reserved.iter().map(share).collect(),
            used: 0,
            unused: reserved.iter().sum(),
            members: Slab::new(),
            ready: BTreeSet::new(),
            oldest: BTreeSet::new(),
            turns: BTreeSet::new(),
            reserved: BTreeSet::new(),
            reserved_oldest: BTreeSet::new(),
            busy: BTreeSet::new(),
            dispatched: 0,
            next_seq: 0,
        }
    }

    pub(crate) const fn budget(&self) -> usize {
        self.budget
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) const fn used(&self) -> usize {
        self.used
    }

    /// The number that whoever comes next to any of its lanes has at the least.
    #[cfg(any(test, fuzzing))]
    pub(crate) const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// How much of the budget each share uses.
    pub(crate) fn shares(&self) -> impl Iterator<Item = usize> {
        self.shares.iter().map(|share| share.used)
    }

    /// The lanes that hold slots. O(slots held), whatever waits.
    pub(crate) fn busy(&self) -> impl Iterator<Item = &M> {
        self.busy_by_share().map(|(_, lane)| lane)
    }

    /// The same, with their shares.
    pub(crate) fn busy_by_share(&self) -> impl Iterator<Item = (u32, &M)> {
        let keys = self.busy.iter().filter_map(|i| self.members.key_at(*i));
        keys.filter_map(|key| self.members.get(key))
            .map(|member| (member.share, &member.lane))
    }

    /// The lane whose first waiter has waited longest: it speaks for all that
    /// the budget keeps waiting (S16). No newcomer takes that from it.
    pub(crate) fn speaker(&self) -> Option<&M> {
        let (_, index) = self.oldest.first()?;
        let key = self.members.key_at(*index)?;
        self.members.get(key).map(|member| &member.lane)
    }

    /// A lower budget evicts nobody (S1).
    pub(crate) const fn set_budget(&mut self, budget: usize) {
        self.budget = budget;
    }

    /// A lane comes to the group, with what it has.
    pub(crate) fn join<P: Clone>(&mut self, lane: M, share: u32, engine: &mut Lane<P>) -> Key {
        let key = self.members.insert(|| Member {
            lane,
            share,
            used: 0,
            first: None,
        });
        self.enter(key, engine);
        self.leave(key, engine);
        key
    }

    /// A lane goes, and takes with it what it has. Nothing is above it then,
    /// and both it and the group have to dispatch.
    pub(crate) fn part<P: Clone>(&mut self, key: Key, lane: &mut Lane<P>) {
        self.restate(key, 0, None);
        self.members.remove(key);
        lane.gate = Gate::Free;
    }

    /// Before an input to a member: whether it finds room for one more.
    pub(crate) fn enter<P: Clone>(&self, key: Key, lane: &mut Lane<P>) {
        lane.tasks.skip_to(self.next_seq);
        self.look(key, lane);
    }

    /// Before a member is read, which changes nothing that it decides.
    pub(crate) fn look<P: Clone>(&self, key: Key, lane: &mut Lane<P>) {
        let share = self.members.get(key).map(|member| member.share);
        lane.gate = if share.is_some_and(|share| self.fits(share)) {
            Gate::Fits
        } else {
            Gate::Full(self.why())
        };
    }

    /// What keeps a lane waiting for which nothing fits.
    const fn why(&self) -> BlockedBy {
        if self.used < self.budget {
            BlockedBy::Reservation
        } else {
            BlockedBy::GroupBudget
        }
    }

    /// After an input to a member: what it holds and who is first there now.
    pub(crate) fn leave<P: Clone>(&mut self, key: Key, lane: &Lane<P>) {
        self.next_seq = self.next_seq.max(lane.tasks.next_seq());
        self.restate(key, lane.active(), lane.first(None));
    }

    /// Whether anybody waits for whom there is room, as far as was told.
    #[inline]
    pub(crate) fn is_owing(&self) -> bool {
        self.best().is_some()
    }

    /// Whom to visit: a lane that goes next, or one where time alone may have
    /// changed who is first.
    pub(crate) fn next(&self, now: Time) -> Option<(Key, M)> {
        let best = self.best()?;
        let index = match self.turns.first() {
            Some((at, member)) if *at <= now => *member,
            _ => best,
        };
        let key = self.members.key_at(index)?;
        Some((key, self.members.get(key)?.lane.clone()))
    }

    /// Gives the first waiter of a lane a slot, if that lane is next, and says
    /// who it was.
    pub(crate) fn visit<P: Clone>(
        &mut self,
        now: Time,
        key: Key,
        lane: &mut Lane<P>,
        effects: &mut Effects<P>,
    ) -> Option<Key> {
        self.restate(key, lane.active(), lane.first(Some(now)));
        let turns_due = self.turns.first().is_some_and(|(at, _)| *at <= now);
        if turns_due || self.best() != Some(key.index) {
            return None;
        }
        self.dispatched += 1;
        let granted = lane.dispatch_one(now, effects);
        // The grant freed a place in the queue.
        lane.let_in(now, effects);
        self.leave(key, lane);
        granted
    }

    /// After a reclaim in this lane: only now is it known whether it helped, and
    /// so it is counted and reported. `first` is whom the group served after it,
    /// wherever.
    pub(crate) fn verify<P: Clone>(
        &self,
        lane: &mut Lane<P>,
        first: Option<P>,
        effects: &mut Effects<P>,
    ) {
        let helped = self.recovery(lane, first);
        for recovery in effects.recoveries() {
            lane.tally.verified(&helped);
            *recovery = helped.clone();
        }
    }

    fn recovery<P: Clone>(&self, lane: &Lane<P>, first: Option<P>) -> Recovery<P> {
        match first {
            Some(task) => Recovery::Dispatched(task),
            None if self.ready.is_empty() && lane.waiters() == 0 => Recovery::NobodyWaiting,
            None => {
                let own = lane.blocked_by().filter(|_| lane.first(None).is_none());
                Recovery::StillBlocked(own.unwrap_or_else(|| self.why()))
            }
        }
    }

    /// Whether one more slot fits: the budget holds it, beside what is reserved
    /// for others and not in use.
    fn fits(&self, share: u32) -> bool {
        let own = self.shares[share as usize].unused();
        self.has_beside(self.unused - own)
    }

    /// Whether the budget holds one more slot beside so many that are kept; all of that
    /// may be more than there are numbers.
    const fn has_beside(&self, kept: usize) -> bool {
        self.used.saturating_add(kept) < self.budget
    }

    fn best(&self) -> Option<u32> {
        let by_age = (self.dispatched + 1).is_multiple_of(FAIR_SHARE);
        if self.has_beside(self.unused) {
            return if by_age {
                self.oldest.first().map(|(_, member)| *member)
            } else {
                self.ready.first().map(|rank| rank.member)
            };
        }
        // The rest of the budget is reserved. Whoever has some of that goes, and
        // the first of them fits, unless the budget was lowered under what
        // was promised: then those that do not fit are passed over.
        if by_age {
            let mut oldest = self.reserved_oldest.iter();
            let fitting = oldest.find(|(.., share)| self.fits(*share));
            return fitting.map(|(_, member, _)| *member);
        }
        let mut reserved = self.reserved.iter();
        let fitting = reserved.find(|(_, share)| self.fits(*share));
        fitting.map(|(rank, _)| rank.member)
    }

    pub(super) fn restate(&mut self, key: Key, used: usize, first: Option<First>) {
        let Some(member) = self.members.get_mut(key) else {
            return;
        };
        let (share, before) = (member.share, (member.used, member.first));
        (member.used, member.first) = (used, first);
        if before == (used, first) {
            return;
        }
        let index = key.index;
        let standing = |first: First| Rank {
            tier: first.tier,
            place: first.place,
            member: index,
        };
        let own = &mut self.shares[share as usize];
        if let Some(rank) = own.ready.first() {
            self.reserved.remove(&(*rank, share));
        }
        if let Some((place, member)) = own.oldest.first() {
            self.reserved_oldest.remove(&(*place, *member, share));
        }
        if let Some(first) = before.1 {
            let rank = standing(first);
            self.ready.remove(&rank);
            self.oldest.remove(&(first.place, index));
            own.ready.remove(&rank);
            own.oldest.remove(&(first.place, index));
            if let Some(at) = first.turns {
                self.turns.remove(&(at, index));
            }
        }
        self.used = self.used - before.0 + used;
        self.unused -= own.unused();
        own.used = own.used - before.0 + used;
        self.unused += own.unused();
        if used > 0 {
            self.busy.insert(index);
        } else {
            self.busy.remove(&index);
        }
        if let Some(first) = first {
            let rank = standing(first);
            self.ready.insert(rank);
            self.oldest.insert((first.place, index));
            if own.reserved > 0 {
                own.ready.insert(rank);
                own.oldest.insert((first.place, index));
            }
            if let Some(at) = first.turns {
                self.turns.insert((at, index));
            }
        }
        if own.unused() > 0
            && let Some(rank) = own.ready.first()
            && let Some((place, member)) = own.oldest.first()
        {
            self.reserved.insert((*rank, share));
            self.reserved_oldest.insert((*place, *member, share));
        }
    }

    /// What it keeps of its lanes, in entries.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn entries(&self) -> usize {
        let sets = [
            self.members.iter().count(),
            self.ready.len(),
            self.oldest.len(),
            self.turns.len(),
            self.reserved.len(),
            self.reserved_oldest.len(),
            self.busy.len(),
        ];
        let kept = |share: &Share| share.ready.len() + share.oldest.len();
        let shares = self.shares.iter().map(kept);
        sets.into_iter().chain(shares).sum()
    }
}
