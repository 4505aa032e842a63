//! One task, as its caller and its runner saw it.

use std::time::Duration;

use crate::engine::{End, Reason, TICK, Time};

use super::sim::{Task, Token};

/// How far a task has come, by what was heard of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Queued,
    Asleep,
    /// It has a slot, and its runner has not come yet.
    Granted,
    /// A place is kept for it, and it has come for it or not.
    Placed {
        come: bool,
    },
    Running,
    /// It has a slot, and is in line for others.
    Gathers,
    /// It waits for somebody, for so long.
    Parked {
        since: Time,
        until: Option<Time>,
    },
    /// Asked, and listening: told to drop it by then.
    Asked {
        by: Time,
    },
    /// Told to drop it: its slot is taken by then.
    Told {
        by: Time,
    },
    /// Its hooks run: told to end them by then.
    Teardown,
    Detached,
    /// Detached, and its hooks run; once it was told to end them, its caller is told by
    /// then.
    Delivering {
        by: Option<Time>,
    },
    Orphan,
    Gone,
}

#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) stage: Stage,
    /// No task: it wants a place kept for one.
    pub(super) keeps: bool,
    /// It is put off until then.
    pub(super) quiet_until: Option<Time>,
    /// No task: it comes for the slot of one that is parked.
    pub(super) stands_in: bool,
    /// Who comes for its slot.
    pub(super) stand_in: Option<Token>,
    /// It gave its slot back when it was parked.
    pub(super) away: bool,
    /// How long it was parked in all, and until when.
    pub(super) parked_for: Duration,
    pub(super) back: Time,
    /// When it had all its slots, if it gathered them.
    pub(super) gathered: Time,
    /// Since when nobody comes for what it is in line for.
    pub(super) slept: Time,
    pub(super) since: Time,
    pub(super) enqueued: Time,
    pub(super) started: Time,
    pub(super) claimed: Time,
    /// Waiters and holders that it found.
    pub(super) queued_ahead: usize,
    pub(super) active_ahead: usize,
    /// What it may come to, once it was asked to end; else nothing.
    pub(super) ends: Vec<End>,
    /// Its hooks are over by then.
    pub(super) hooks_until: Option<Time>,
    /// The stall that had its grace tick (S19).
    pub(super) graced: Option<Time>,
    /// Its take was refused at the bound, and that was said.
    pub(super) refused: Option<Time>,
    /// It was so at least once, which is past any grace tick.
    pub(super) was_refused: bool,
    /// When a stall was last reported, and how often this one was.
    pub(super) stall_said: Option<Time>,
    pub(super) stall_reports: u32,
    pub(super) never_reports_said: bool,
    pub(super) wait_said: bool,
    pub(super) on_wait_said: bool,
    /// It has come to a value.
    pub(super) completed: bool,
}

impl Life {
    pub(super) const fn new(now: Time, since: Time, queued_ahead: usize, active: usize) -> Self {
        Self {
            stage: Stage::Queued,
            keeps: false,
            quiet_until: None,
            stands_in: false,
            stand_in: None,
            away: false,
            parked_for: Duration::ZERO,
            back: now,
            gathered: now,
            slept: now,
            since,
            enqueued: now,
            started: now,
            claimed: now,
            queued_ahead,
            active_ahead: active,
            ends: Vec::new(),
            hooks_until: None,
            graced: None,
            refused: None,
            was_refused: false,
            stall_said: None,
            stall_reports: 0,
            never_reports_said: false,
            wait_said: false,
            on_wait_said: false,
            completed: false,
        }
    }

    pub(super) const fn waits(&self) -> bool {
        matches!(self.stage, Stage::Queued | Stage::Asleep)
    }

    /// It is a task, and not somebody who comes for one.
    pub(super) const fn is_task(&self) -> bool {
        !self.keeps && !self.stands_in
    }

    /// It is active again after it was parked.
    pub(super) fn goes_on(&mut self, now: Time) {
        if let Stage::Parked { since, .. } = self.stage {
            self.stage = Stage::Running;
            self.parked_for += now.since(since);
            self.back = now;
        }
    }

    /// It waits for nobody but for its slot.
    pub(super) fn stops_waiting(&mut self, now: Time) {
        if let Stage::Parked { since, until } = &mut self.stage
            && until.take().is_some()
        {
            self.parked_for += now.since(*since);
            *since = Time::FAR;
            self.back = now;
        }
    }

    /// Who was ahead of it when it came, as it is reported.
    pub(super) fn check_ahead(&self, queued: usize, active: usize) {
        let found = (self.queued_ahead, self.active_ahead);
        assert_eq!((queued, active), found, "who was ahead of it: {self:?}");
    }

    /// What somebody who had its slot is told that it came to.
    pub(super) fn check_end(&self, end: End, task: &Task) {
        if end == End::Completed {
            let value = task.facts.done || self.completed;
            assert!(value, "told of a value that is none: {self:?}");
            return;
        }
        assert!(!task.facts.done, "S3: its value was thrown away: {self:?}");
        // Dropped by itself, and its hooks did not end in their time.
        let dropped = matches!(
            end,
            End::Cancelled {
                reason: Reason::Dropped,
                ..
            }
        ) && self.ends.is_empty();
        assert!(dropped || self.ends.contains(&end), "{end:?}: {self:?}");
    }

    pub(super) const fn holds_slot(&self) -> bool {
        matches!(
            self.stage,
            Stage::Granted
                | Stage::Gathers
                | Stage::Running
                | Stage::Parked { .. }
                | Stage::Asked { .. }
                | Stage::Told { .. }
                | Stage::Teardown
        ) && !self.away
    }

    /// It was asked at the end of its grace, or without any: the time that it
    /// has left, in teardown and one tick.
    pub(super) fn told(&mut self, now: Time, task: &Task) {
        let mut by = now + TICK;
        if task.facts.hooks {
            by = by + task.spec.teardown;
        }
        self.stage = Stage::Told { by };
        self.refused = None;
    }

    pub(super) fn begin_teardown(&mut self, now: Time, task: &Task) {
        let mut until = now + task.spec.teardown;
        // A runner that comes late has used up its hooks' time.
        if let Stage::Told { by } = self.stage {
            until = until.min(by.before(TICK)).max(now);
        }
        self.hooks_until = Some(until);
        self.stage = match self.stage {
            Stage::Detached => Stage::Delivering { by: None },
            Stage::Orphan => Stage::Orphan,
            _ => Stage::Teardown,
        };
    }
}
