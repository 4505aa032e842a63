//! The lanes of a group as the lists that the other trial has of one, and their
//! budget. It knows no sets and no running sums: what fits is added up from
//! everything, each time.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::model::{Model as Lane, Waiter};
use super::super::sim::{Event, Token};
use crate::engine::{BlockedBy, Priority, Recovery, Time};

const AGING: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Model {
    pub(super) budget: usize,
    reserved: Vec<usize>,
    pub(super) rooms: Vec<Room>,
    dispatched: u64,
}

#[derive(Debug)]
pub(super) struct Room {
    pub(super) lane: Lane,
    /// `None` outside of the group.
    pub(super) share: Option<usize>,
}

/// Less is sooner: how urgent, since when, and who came first.
type Rank = (u8, Time, u64);

impl Room {
    /// Somebody waits who could start, were it for this lane alone.
    fn is_ready(&self) -> bool {
        self.lane.has_free_slot() && !self.lane.holding && self.lane.queued() > 0
    }
}

impl Model {
    pub(super) const fn new(budget: usize, reserved: Vec<usize>) -> Self {
        Self {
            budget,
            reserved,
            rooms: Vec::new(),
            dispatched: 0,
        }
    }

    pub(super) fn lane(&mut self, max_concurrent: usize, share: usize, queue_capacity: usize) {
        self.rooms.push(Room {
            lane: Lane::new(max_concurrent, None, AGING, queue_capacity, None),
            share: Some(share),
        });
    }

    pub(super) fn used(&self) -> usize {
        let grouped = self.rooms.iter().filter(|room| room.share.is_some());
        grouped.map(|room| room.lane.active()).sum()
    }

    /// What each share uses.
    pub(super) fn shares(&self) -> impl Iterator<Item = usize> {
        (0..self.reserved.len()).map(|share| self.used_by(share))
    }

    fn used_by(&self, share: usize) -> usize {
        let rooms = self.rooms.iter().filter(|room| room.share == Some(share));
        rooms.map(|room| room.lane.active()).sum()
    }

    /// What is reserved for other shares than this one, and not in use.
    fn kept_from(&self, share: Option<usize>) -> usize {
        let others = (0..self.reserved.len()).filter(|other| Some(*other) != share);
        let unused = |other: usize| self.reserved[other].saturating_sub(self.used_by(other));
        others.map(unused).sum()
    }

    fn fits(&self, share: Option<usize>) -> bool {
        share.is_none() || self.used() + self.kept_from(share) < self.budget
    }

    /// A lane that somebody comes to, and whether the budget has room for it.
    pub(super) fn entered(&mut self, index: usize) -> &mut Lane {
        let fits = self.fits(self.rooms[index].share);
        let lane = &mut self.rooms[index].lane;
        lane.fits = fits;
        lane
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

    /// S5: there is nobody left who could start, or come in.
    pub(super) fn check_served(&self, now: Time) {
        assert_eq!(self.candidates(now), [], "S5: somebody could start");
        for room in &self.rooms {
            // A lane outside of the group serves itself.
            assert!(room.share.is_some() || room.lane.is_served(), "S5");
            assert!(!room.lane.is_held_up_at_the_door(), "S5: at the door");
            room.lane.check_told();
        }
    }

    /// The first of every lane that has a slot for it, where the budget does.
    fn candidates(&self, now: Time) -> Vec<(Rank, usize, Token)> {
        let fair = (self.dispatched + 1).is_multiple_of(8);
        let rooms = self.rooms.iter().enumerate();
        let fitting = rooms
            .filter(|(_, room)| room.share.is_some() && room.is_ready() && self.fits(room.share));
        let first = |(index, room): (usize, &Room)| {
            let first = room.lane.candidate(now)?;
            let rank = if fair { 0 } else { first.rank(now, AGING) };
            Some(((rank, first.since, first.seq), index, first.token))
        };
        fitting.filter_map(first).collect()
    }

    /// Somebody was given a slot.
    pub(super) fn grant(&mut self, index: usize, token: Token, now: Time) {
        let share = self.rooms[index].share;
        assert!(self.fits(share), "S1: {token} is over the budget");
        self.rooms[index].lane.saw(now, &Event::Granted(token));
        self.dispatched += u64::from(share.is_some());
    }

    /// What a slot that came free in this lane came to, whoever was served first.
    pub(super) fn recovery(&self, index: usize, first: Option<Token>) -> Recovery<Token> {
        let room = &self.rooms[index];
        let beside = self.rooms.iter().filter(|other| other.share.is_some());
        let mut ready = beside.filter(|other| other.is_ready());
        if let Some(token) = first {
            return Recovery::Dispatched(token);
        }
        let nobody = room.lane.queued() == 0;
        let by = if nobody && (room.share.is_none() || ready.next().is_none()) {
            return Recovery::NobodyWaiting;
        } else if !nobody && !room.is_ready() {
            room.lane.blocked_by()
        } else if self.used() < self.budget {
            BlockedBy::Reservation
        } else {
            BlockedBy::GroupBudget
        };
        Recovery::StillBlocked(by)
    }

    /// S16: somebody speaks for those whom the budget keeps waiting, one of them.
    pub(super) fn may_speak(&self, speaker: Option<usize>) -> bool {
        let kept = |room: &Room| room.share.is_some() && room.is_ready();
        match speaker {
            Some(index) => kept(&self.rooms[index]),
            None => !self.rooms.iter().any(kept),
        }
    }

    /// How much a group has to keep of its lanes: that each is there, that it holds
    /// slots, and of its first waiter, where that needs nothing but room, how
    /// urgent and how old it is. Perhaps also when a Background one ages.
    pub(super) fn entries(&self) -> RangeInclusive<usize> {
        let (mut entries, mut ages) = (0, 0);
        for room in self.rooms.iter().filter(|room| room.share.is_some()) {
            entries += 1 + usize::from(room.lane.active() > 0);
            if room.is_ready() {
                let background = |waiter: &Waiter| waiter.priority == Priority::Background;
                entries += 2;
                ages += usize::from(room.lane.tasks_that_wait().any(background));
            }
        }
        // Of a share with a reservation who is ready, by both orders, and the first of
        // each while any is left.
        for ((share, used), reserved) in self.shares().enumerate().zip(&self.reserved) {
            let rooms = self.rooms.iter().filter(|room| room.share == Some(share));
            let ready = rooms.filter(|room| room.is_ready()).count();
            if *reserved > 0 {
                entries += 2 * ready;
            }
            entries += 2 * usize::from(ready > 0 && *reserved > used);
        }
        entries..=entries + ages
    }

    /// One of those, wherever.
    pub(super) fn pick(&self, which: u8, of: impl Fn(&Lane) -> Vec<Token>) -> Option<Token> {
        let all: Vec<Token> = self.rooms.iter().flat_map(|room| of(&room.lane)).collect();
        let at = usize::from(which).checked_rem(all.len())?;
        Some(all[at])
    }
}
