//! Lanes and their budget as lists. It knows no sets and no running sums: what
//! fits is added up from everything, each time.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::sim::Token;
use crate::engine::{BlockedBy, Priority, Recovery, Time};

const AGING: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Model {
    pub(super) budget: usize,
    reserved: Vec<usize>,
    pub(super) lanes: Vec<Room>,
    dispatched: u64,
}

#[derive(Debug)]
pub(super) struct Room {
    pub(super) max_concurrent: usize,
    pub(super) paused: bool,
    /// `None` outside of the group.
    pub(super) share: Option<usize>,
    pub(super) waiting: Vec<Waiter>,
    pub(super) active: Vec<Token>,
    dispatched: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    token: Token,
    priority: Priority,
    since: Time,
    /// Of its lane, or of all that share a group when it came.
    seq: u64,
}

/// Less is sooner: how urgent, since when, and who came first.
type Rank = (u8, Time, u64);

impl Waiter {
    fn rank(&self, now: Time) -> u8 {
        match self.priority {
            Priority::Foreground => 0,
            Priority::Background if self.since + AGING > now => 2,
            _ => 1,
        }
    }
}

impl Room {
    fn has_free_slot(&self) -> bool {
        !self.paused && self.active.len() < self.max_concurrent
    }

    /// Somebody waits who could start, were it for this lane alone.
    fn is_ready(&self) -> bool {
        self.has_free_slot() && !self.waiting.is_empty()
    }

    fn first(&self, now: Time) -> Option<Waiter> {
        let fair = (self.dispatched + 1).is_multiple_of(8);
        let rank = |waiter: &&Waiter| {
            let rank = if fair { 0 } else { waiter.rank(now) };
            (rank, waiter.since, waiter.seq)
        };
        self.waiting.iter().min_by_key(rank).copied()
    }
}

impl Model {
    pub(super) const fn new(budget: usize, reserved: Vec<usize>) -> Self {
        Self {
            budget,
            reserved,
            lanes: Vec::new(),
            dispatched: 0,
        }
    }

    pub(super) fn lane(&mut self, max_concurrent: usize, share: usize) {
        self.lanes.push(Room {
            max_concurrent,
            paused: false,
            share: Some(share),
            waiting: Vec::new(),
            active: Vec::new(),
            dispatched: 0,
        });
    }

    pub(super) fn used(&self) -> usize {
        let grouped = self.lanes.iter().filter(|lane| lane.share.is_some());
        grouped.map(|lane| lane.active.len()).sum()
    }

    /// What each share uses.
    pub(super) fn shares(&self) -> impl Iterator<Item = usize> {
        let used = |share| {
            let lanes = self.lanes.iter().filter(move |l| l.share == Some(share));
            lanes.map(|lane| lane.active.len()).sum()
        };
        (0..self.reserved.len()).map(used)
    }

    /// What is reserved for other shares than this one, and not in use.
    fn kept_from(&self, share: Option<usize>) -> usize {
        let others = (0..self.reserved.len()).filter(|other| Some(*other) != share);
        let kept = others.map(|other| {
            let lanes = self.lanes.iter().filter(|lane| lane.share == Some(other));
            let used = lanes.map(|lane| lane.active.len()).sum();
            self.reserved[other].saturating_sub(used)
        });
        kept.sum()
    }

    fn fits(&self, share: Option<usize>) -> bool {
        share.is_none() || self.used() + self.kept_from(share) < self.budget
    }

    /// Whether whoever comes to this lane now has a slot at once.
    pub(super) fn starts(&self, index: usize) -> bool {
        let lane = &self.lanes[index];
        lane.has_free_slot() && lane.waiting.is_empty() && self.fits(lane.share)
    }

    pub(super) fn start(&mut self, index: usize, token: Token) {
        self.lanes[index].active.push(token);
    }

    pub(super) fn wait(
        &mut self,
        index: usize,
        token: Token,
        priority: Priority,
        (since, seq): (Time, u64),
    ) {
        self.lanes[index].waiting.push(Waiter {
            token,
            priority,
            since,
            seq,
        });
    }

    pub(super) fn forget(&mut self, index: usize, token: Token) {
        let lane = &mut self.lanes[index];
        lane.active.retain(|other| *other != token);
        lane.waiting.retain(|waiter| waiter.token != token);
    }

    /// S6: nobody else had to be served before this one.
    pub(super) fn check_next(&self, index: usize, token: Token, now: Time) {
        let candidates = self.candidates(now);
        let of = |(rank, _, _): &(Rank, usize, Token)| *rank;
        let best = candidates.iter().map(of).min();
        let mut served = candidates
            .iter()
            .filter(|(_, i, t)| (*i, *t) == (index, token));
        assert_eq!(served.next().map(of), best, "S6: {token} was served");
    }

    /// S5: there is nobody left who could start.
    pub(super) fn check_served(&self, now: Time) {
        assert_eq!(self.candidates(now), [], "S5: somebody could start");
        // A lane outside of the group serves itself.
        let mut alone = self.lanes.iter().filter(|lane| lane.share.is_none());
        assert!(alone.all(|lane| !lane.has_free_slot() || lane.waiting.is_empty()));
    }

    /// The first of every lane that has a slot for it, where the budget does.
    fn candidates(&self, now: Time) -> Vec<(Rank, usize, Token)> {
        // Only where nothing is kept back is there an order of age.
        let fair = (self.dispatched + 1).is_multiple_of(8);
        let fair = fair && self.used() + self.kept_from(None) < self.budget;
        let lanes = self.lanes.iter().enumerate();
        let fitting = lanes.filter(|(_, lane)| {
            lane.share.is_some() && lane.has_free_slot() && self.fits(lane.share)
        });
        let first = |(index, lane): (usize, &Room)| {
            let first = lane.first(now)?;
            let rank = if fair { 0 } else { first.rank(now) };
            Some(((rank, first.since, first.seq), index, first.token))
        };
        fitting.filter_map(first).collect()
    }

    /// Somebody was given a slot.
    pub(super) fn grant(&mut self, index: usize, token: Token, now: Time) {
        let share = self.lanes[index].share;
        assert!(self.fits(share), "S1: {token} is over the budget");
        let lane = &mut self.lanes[index];
        assert!(lane.has_free_slot(), "S1: {token} has a slot that is none");
        let first = lane.first(now).map(|waiter| waiter.token);
        assert_eq!(first, Some(token), "S6: who is first in its lane");
        lane.waiting.retain(|waiter| waiter.token != token);
        lane.active.push(token);
        lane.dispatched += 1;
        self.dispatched += u64::from(share.is_some());
    }

    /// What a slot that came free in this lane came to, whoever was served first.
    pub(super) fn recovery(&self, index: usize, first: Option<Token>) -> Recovery<Token> {
        let lane = &self.lanes[index];
        let beside = self.lanes.iter().filter(|other| other.share.is_some());
        let mut ready = beside.filter(|other| other.is_ready());
        if let Some(token) = first {
            return Recovery::Dispatched(token);
        }
        let by = if lane.waiting.is_empty() && (lane.share.is_none() || ready.next().is_none()) {
            return Recovery::NobodyWaiting;
        } else if lane.waiting.is_empty() || lane.is_ready() {
            if self.used() < self.budget {
                BlockedBy::Reservation
            } else {
                BlockedBy::GroupBudget
            }
        } else if lane.paused || lane.max_concurrent == 0 {
            BlockedBy::Paused
        } else {
            BlockedBy::MaxConcurrent
        };
        Recovery::StillBlocked(by)
    }

    /// S16: somebody speaks for those whom the budget keeps waiting, one of them.
    pub(super) fn may_speak(&self, speaker: Option<usize>) -> bool {
        let kept = |lane: &Room| lane.share.is_some() && lane.is_ready();
        match speaker {
            Some(index) => kept(&self.lanes[index]),
            None => !self.lanes.iter().any(kept),
        }
    }

    /// How much a group has to keep of its lanes: that each is there, that it holds
    /// slots, and of its first waiter, where that needs nothing but room, how
    /// urgent and how old it is. Perhaps also when a Background one ages.
    pub(super) fn entries(&self) -> RangeInclusive<usize> {
        let (mut entries, mut ages) = (0, 0);
        for lane in self.lanes.iter().filter(|lane| lane.share.is_some()) {
            entries += 1 + usize::from(!lane.active.is_empty());
            if lane.is_ready() {
                let background = |waiter: &Waiter| waiter.priority == Priority::Background;
                entries += 2;
                ages += usize::from(lane.waiting.iter().any(background));
            }
        }
        // Of a share with a reservation who is ready, and its first while any is left.
        for ((share, used), reserved) in self.shares().enumerate().zip(&self.reserved) {
            let lanes = self.lanes.iter().filter(|lane| lane.share == Some(share));
            let ready = lanes.filter(|lane| lane.is_ready()).count();
            if *reserved > 0 {
                entries += ready;
            }
            entries += usize::from(ready > 0 && *reserved > used);
        }
        entries..=entries + ages
    }

    /// Some holder, or none if there is none.
    pub(super) fn holder(&self, which: u8) -> Option<Token> {
        let all: Vec<Token> = self
            .lanes
            .iter()
            .flat_map(|lane| lane.active.clone())
            .collect();
        pick(&all, which)
    }

    pub(super) fn waiter(&self, which: u8) -> Option<Token> {
        let waiting = self.lanes.iter().flat_map(|lane| &lane.waiting);
        let all: Vec<Token> = waiting.map(|waiter| waiter.token).collect();
        pick(&all, which)
    }
}

fn pick(all: &[Token], which: u8) -> Option<Token> {
    let at = usize::from(which).checked_rem(all.len())?;
    Some(all[at])
}
