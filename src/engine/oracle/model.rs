//! A lane as one would write it on a napkin: lists, and nothing clever. It is
//! told what happened and says whether that may be.

use std::time::Duration;

use super::sim::{Event, Token};
use crate::engine::{Priority, Time};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiter {
    token: Token,
    priority: Priority,
    since: Time,
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) max_concurrent: usize,
    pub(super) paused: bool,
    pub(super) max_orphans: Option<usize>,
    /// Slots are being taken by somebody who may do so past the bound.
    pub(super) by_force: bool,
    aging: Duration,
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
    ) -> Self {
        Self {
            max_concurrent,
            paused: false,
            max_orphans,
            by_force: false,
            aging,
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

    pub(super) const fn queued(&self) -> usize {
        self.waiting.len()
    }

    pub(super) const fn orphans(&self) -> usize {
        self.orphans.len()
    }

    pub(super) fn max_orphans(&self) -> usize {
        self.max_orphans
            .unwrap_or_else(|| self.max_concurrent.max(1))
    }

    fn has_free_slot(&self) -> bool {
        !self.paused && self.active.len() < self.max_concurrent
    }

    /// S5: there is nobody who could have a slot and has none.
    pub(super) fn is_served(&self) -> bool {
        !self.has_free_slot() || self.waiting.is_empty()
    }

    /// A task comes; true if it must have a slot at once.
    pub(super) fn arrive(&mut self, token: Token, priority: Priority, since: Time) -> bool {
        let waiter = Waiter {
            token,
            priority,
            since,
        };
        let free = self.has_free_slot() && self.waiting.is_empty();
        if free {
            self.active.push(waiter);
        } else {
            self.waiting.push(waiter);
        }
        free
    }

    /// Somebody who lost an unclaimed slot is back.
    pub(super) fn rejoin(&mut self, token: Token) {
        self.waiting.extend(take(&mut self.asleep, token));
    }

    pub(super) fn forget(&mut self, token: Token) {
        self.orphans.retain(|orphan| *orphan != token);
    }

    /// One event of the lane, in order.
    pub(super) fn saw(&mut self, now: Time, event: &Event) -> Result<(), String> {
        match *event {
            Event::Granted(token) => {
                let next = self.next(now);
                if next != Some(token) {
                    return Err(format!("S6: {token} was served instead of {next:?}"));
                }
                if !self.has_free_slot() {
                    return Err(format!("S1: {token} was granted a slot that is none"));
                }
                self.dispatched += 1;
                self.active.extend(take(&mut self.waiting, token));
            }
            Event::Unclaimed(token) => {
                let waiter = take(&mut self.active, token);
                self.asleep.push(waiter.ok_or("S2: it held no slot")?);
            }
            Event::Lost(token) => {
                take(&mut self.active, token).ok_or("S2: it held no slot")?;
                self.orphans.push(token);
                if !self.by_force && self.orphans.len() > self.max_orphans() {
                    return Err(format!("S10: {token} was taken past the bound"));
                }
            }
            // Whoever has a slot or had one is let go of by its runner.
            Event::Settled(token, _) => {
                take(&mut self.waiting, token);
                take(&mut self.asleep, token);
            }
            Event::Released(token) => {
                take(&mut self.waiting, token);
                take(&mut self.asleep, token);
                take(&mut self.active, token);
                self.forget(token);
            }
            _ => {}
        }
        Ok(())
    }

    /// A grant that nobody had come for yet was taken back.
    pub(super) fn withdraw(&mut self, token: Token) {
        take(&mut self.active, token);
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
