//! A lane as one would write it on a napkin: lists, and nothing clever. It is
//! told what happened and says whether that may be.

use std::time::Duration;

use super::sim::{Event, Token};
use crate::engine::{BlockedBy, Entry, Leftover, Priority, Recovery, Refused, Time};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiter {
    token: Token,
    priority: Priority,
    since: Time,
}

/// Which newcomers it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Open,
    Draining {
        admit_descendants: bool,
        queued: Leftover,
        deadline: Time,
        /// The driver came for its deadline.
        over: bool,
    },
    Shutdown,
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) max_concurrent: usize,
    pub(super) max_orphans: Option<usize>,
    pub(super) paused: bool,
    pub(super) resumes_at: Option<Time>,
    pub(super) door: Door,
    pub(super) closed: bool,
    /// A drain is about to settle waiters, so that S5 does not hold.
    pub(super) holding: bool,
    /// Slots are being taken by somebody who may do so past the bound.
    pub(super) by_force: bool,
    /// The bound over all lanes is reached.
    pub(super) no_more_orphans: bool,
    aging: Duration,
    queue_capacity: usize,
    /// In order of arrival, which is the order of the tokens.
    waiting: Vec<Waiter>,
    asleep: Vec<Waiter>,
    active: Vec<Waiter>,
    orphans: Vec<Token>,
    dispatched: u64,
}

fn take(from: &mut Vec<Waiter>, token: Token) -> Option<Waiter> {
    let at = from.iter().position(|waiter| waiter.token == token)?;
    Some(from.remove(at))
}

impl Model {
    pub(super) const fn new(
        max_concurrent: usize,
        max_orphans: Option<usize>,
        aging: Duration,
        queue_capacity: usize,
    ) -> Self {
        Self {
            max_concurrent,
            max_orphans,
            paused: false,
            resumes_at: None,
            door: Door::Open,
            closed: false,
            holding: false,
            by_force: false,
            no_more_orphans: false,
            aging,
            queue_capacity,
            waiting: Vec::new(),
            asleep: Vec::new(),
            active: Vec::new(),
            orphans: Vec::new(),
            dispatched: 0,
        }
    }

    pub(super) const fn active(&self) -> usize {
        self.active.len()
    }

    pub(super) fn holders(&self) -> impl Iterator<Item = Token> {
        self.active.iter().map(|waiter| waiter.token)
    }

    pub(super) const fn queued(&self) -> usize {
        self.waiting.len()
    }

    pub(super) const fn orphans(&self) -> usize {
        self.orphans.len()
    }

    /// How many orphans it may have (S10).
    pub(super) fn bound(&self) -> usize {
        self.max_orphans
            .unwrap_or_else(|| self.max_concurrent.max(1))
    }

    /// Whether one more slot may be taken (S10).
    pub(super) fn has_room(&self) -> bool {
        let room = self.orphans.len() < self.bound() && !self.no_more_orphans;
        self.door == Door::Shutdown || room
    }

    /// Nobody waits, not even outside the queue.
    pub(super) const fn nobody_waits(&self) -> bool {
        self.waiting.is_empty() && self.asleep.is_empty()
    }

    /// It has settled everybody who waited, and takes nobody new.
    pub(super) const fn is_over(&self) -> bool {
        matches!(
            self.door,
            Door::Shutdown | Door::Draining { over: true, .. }
        )
    }

    /// S5: there is nobody who could have a slot and has none.
    pub(super) const fn is_served(&self) -> bool {
        self.holding || !self.has_free_slot() || self.waiting.is_empty()
    }

    const fn has_free_slot(&self) -> bool {
        !self.paused && self.active.len() < self.max_concurrent
    }

    /// Waiters of its priority or a more urgent one.
    pub(super) fn ahead(&self, priority: Priority) -> usize {
        let ahead = |waiter: &&Waiter| waiter.priority <= priority;
        self.waiting.iter().filter(ahead).count()
    }

    /// A task comes: whether it must have a slot at once, or be refused.
    pub(super) fn arrive(
        &mut self,
        now: Time,
        token: Token,
        priority: Priority,
        entry: Entry,
    ) -> Result<bool, Refused> {
        match self.door {
            Door::Shutdown => return Err(Refused::Shutdown),
            _ if self.closed => return Err(Refused::Closed),
            Door::Draining {
                admit_descendants,
                over,
                ..
            } => {
                let admit_descendants = admit_descendants && !over;
                if !(admit_descendants && entry.descendant) {
                    return Err(Refused::Draining { admit_descendants });
                }
            }
            Door::Open => {}
        }
        let free = self.has_free_slot() && self.waiting.is_empty() && !self.holding;
        if entry.at_once && !free {
            return Err(Refused::NoSlot);
        }
        let (queued, capacity) = (self.waiting.len(), self.queue_capacity);
        if !free && queued >= capacity {
            return Err(Refused::QueueFull { capacity, queued });
        }
        let list = if free {
            &mut self.active
        } else {
            &mut self.waiting
        };
        list.push(Waiter {
            token,
            priority,
            since: now.before(entry.waited),
        });
        Ok(free)
    }

    /// Somebody who lost an unclaimed slot is back, at its old place (S20).
    pub(super) fn rejoin(&mut self, token: Token) -> bool {
        let back = take(&mut self.asleep, token);
        self.waiting.extend(back);
        back.is_some()
    }

    pub(super) fn forget(&mut self, token: Token) {
        self.orphans.retain(|orphan| *orphan != token);
    }

    /// The driver has come to this moment.
    pub(super) fn pass(&mut self, now: Time) {
        if self.resumes_at.is_some_and(|at| at <= now) {
            self.paused = false;
            self.resumes_at = None;
        }
        if let Door::Draining { deadline, over, .. } = &mut self.door
            && *deadline <= now
        {
            *over = true;
            self.holding = false;
        }
    }

    /// One event of the lane, in order.
    pub(super) fn saw(&mut self, now: Time, event: &Event) {
        match *event {
            Event::Granted(token) => {
                let next = self.next(now);
                assert_eq!(Some(token), next, "S6: who was served, who is next");
                assert!(self.has_free_slot(), "S1: {token} has a slot that is none");
                assert!(!self.holding, "{token} was served while a drain holds");
                self.dispatched += 1;
                self.active.extend(take(&mut self.waiting, token));
            }
            Event::Unclaimed(token) => {
                let waiter = take(&mut self.active, token);
                self.asleep.push(waiter.expect("S2: it held a slot"));
            }
            Event::Withdrawn(token) => {
                take(&mut self.active, token).expect("S2: it held a slot");
            }
            Event::Lost(token) => {
                assert!(
                    self.by_force || self.has_room(),
                    "S10: {token} was taken past the bound"
                );
                take(&mut self.active, token).expect("S2: it held a slot");
                self.orphans.push(token);
            }
            // Whoever has a slot or had one is let go of by its runner.
            Event::Settled(token, _) => {
                take(&mut self.waiting, token);
                take(&mut self.asleep, token);
            }
            Event::Released { task, .. } => {
                take(&mut self.waiting, task);
                take(&mut self.asleep, task);
                take(&mut self.active, task);
                self.forget(task);
            }
            _ => {}
        }
    }

    /// S17: whether a reclaim helped, `first` being whom it was followed by.
    pub(super) fn check_recovery(&self, recovery: Recovery, first: Option<u64>) {
        match recovery {
            Recovery::Dispatched(seq) => assert_eq!(Some(seq), first, "S17: who was dispatched"),
            Recovery::NobodyWaiting => {
                assert_eq!(first, None, "S17: somebody was dispatched");
                assert!(self.waiting.is_empty(), "S17: somebody waits");
            }
            Recovery::StillBlocked(by) => {
                assert_eq!(first, None, "S17: somebody was dispatched");
                assert!(!self.waiting.is_empty(), "S17: nobody waits");
                assert!(self.holding || !self.has_free_slot(), "S17: a slot is free");
                assert_eq!(by, self.blocked_by(), "S17: what blocks");
            }
        }
    }

    pub(super) const fn blocked_by(&self) -> BlockedBy {
        if self.paused || self.max_concurrent == 0 {
            BlockedBy::Paused
        } else {
            BlockedBy::MaxConcurrent
        }
    }

    fn next(&self, now: Time) -> Option<Token> {
        let fair = (self.dispatched + 1).is_multiple_of(8);
        let rank = |waiter: &Waiter| {
            let aged = waiter.since + self.aging <= now;
            match waiter.priority {
                _ if fair => 0,
                Priority::Foreground => 0,
                Priority::Normal => 1,
                Priority::Background if aged => 1,
                Priority::Background => 2,
            }
        };
        self.waiting
            .iter()
            .min_by_key(|waiter| (rank(waiter), waiter.since, waiter.token))
            .map(|waiter| waiter.token)
    }
}
