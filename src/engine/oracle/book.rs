//! What became of each task, event by event, and whether there was a reason.

use std::time::Duration;

use super::life::{Life, Stage};
use super::limits::{Does, Due, Kind, dues};
use super::model::{Door, Model};
use super::punctual::check_grace;
use super::sim::{Event, Sim, Token};
use crate::engine::{End, Leftover, Reason, Reclaim, TICK, Tally, Time};

/// The time that a runner has to come for its grant (S20).
pub(super) const CLAIM: Duration = Duration::from_secs(5);

/// What the operation under way may do, beside what is due anyway.
/// How long a place is kept for a task that does not come.
pub(super) const KEPT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cause {
    /// It concerns this task and no other (S4).
    pub(super) target: Option<Token>,
    /// Time passes, so that anybody may be due.
    pub(super) time: bool,
    /// Holders may be asked for this, and waiters told so.
    pub(super) reason: Option<Reason>,
    /// Waiters may be told that they were cleared.
    pub(super) clears: bool,
    /// Nobody who waits is left waiting.
    pub(super) empties: bool,
}

#[derive(Debug)]
pub(super) struct Book {
    pub(super) lives: Vec<Life>,
    pub(super) cause: Cause,
    pub(super) observe_only: bool,
    /// When a late driver last came.
    pub(super) woken: Time,
    /// When there was last no room for another orphan.
    pub(super) last_full: Option<Time>,
    pub(super) idle_wanted: bool,
    pub(super) tally: Tally,
    /// Whose reclaim is still to be reported, as what, and beside how many
    /// orphans.
    pub(super) owed: Option<(Token, Reclaim, usize)>,
    /// The grants since anything else happened.
    pub(super) grants: Vec<Token>,
}

impl Book {
    pub(super) fn new(now: Time, observe_only: bool) -> Self {
        Self {
            lives: Vec::new(),
            cause: Cause::default(),
            observe_only,
            woken: now,
            last_full: None,
            idle_wanted: false,
            tally: Tally::default(),
            owed: None,
            grants: Vec::new(),
        }
    }

    pub(super) fn life(&mut self, token: Token) -> &mut Life {
        &mut self.lives[token as usize]
    }

    /// Everything that this task is due for or will be.
    pub(super) fn dues(&self, now: Time, sim: &Sim, token: Token) -> Vec<Due> {
        let life = &self.lives[token as usize];
        dues(now, &sim.tasks[token as usize], life, self.observe_only)
    }

    /// One event, in order. `model` has heard of everything before it.
    pub(super) fn saw(&mut self, now: Time, event: &Event, sim: &Sim, model: &Model) {
        if let (Event::Granted(token), Some((owed, ..))) = (event, self.owed) {
            assert_ne!(*token, owed, "S2");
        }
        match *event {
            Event::Granted(token) => {
                self.grants.push(token);
                let life = self.life(token);
                assert_eq!(life.stage, Stage::Queued, "S2: granted {token}");
                life.stage = if sim.tasks[token as usize].gathers {
                    Stage::Gathers
                } else {
                    Stage::Granted
                };
                life.started = now;
                life.graced = None;
                self.tally.started += 1;
                return;
            }
            Event::Placed(token) => {
                let life = self.life(token);
                assert!(life.keeps && life.stage == Stage::Queued, "placed {token}");
                life.stage = Stage::Placed { come: false };
                life.started = now;
                life.graced = None;
                return;
            }
            Event::Entered(token) => {
                let life = self.life(token);
                let due = life.quiet_until.take();
                assert!(due.is_some_and(|at| at <= now), "it is put off: {life:?}");
                assert_eq!(life.stage, Stage::Queued, "{token}");
                return;
            }
            Event::Gathered(token) => {
                let life = self.life(token);
                assert_eq!(life.stage, Stage::Gathers, "gathered {token}");
                life.stage = Stage::Granted;
                life.started = now;
                life.gathered = now;
                return;
            }
            Event::Outwaited(token) => {
                let life = self.life(token);
                let Stage::Parked { until, .. } = life.stage else {
                    panic!("it is not parked: {life:?}");
                };
                assert!(until.is_some_and(|at| at <= now), "{token}: {until:?}");
                if life.away {
                    life.stops_waiting(now);
                } else {
                    life.goes_on(now);
                }
                return;
            }
            Event::Claimed(token) if self.life(token).keeps => {
                let life = self.life(token);
                assert_eq!(life.stage, Stage::Placed { come: false }, "S20: {token}");
                life.stage = Stage::Placed { come: true };
                return;
            }
            Event::Claimed(token) => {
                let life = self.life(token);
                assert_eq!(life.stage, Stage::Granted, "S11: claimed {token}");
                life.stage = Stage::Running;
                life.claimed = now;
                return;
            }
            Event::Waited {
                task,
                waited,
                queued_ahead,
                active_ahead,
            } => {
                let life = self.life(task);
                // The task of a stand-in had waited before, and run since.
                let since = if life.stands_in {
                    life.enqueued
                } else {
                    life.since
                };
                assert_eq!(waited, now.since(since), "how long {task} waited");
                life.check_ahead(queued_ahead, active_ahead);
                return;
            }
            Event::Unclaimed(token) => self.unclaimed(now, token),
            Event::Withdrawn(token) => {
                let placed = Stage::Placed { come: false };
                let life = self.life(token);
                let granted = matches!(life.stage, Stage::Granted | Stage::Gathers);
                assert!(granted || life.keeps && life.stage == placed, "{life:?}");
                life.stage = Stage::Queued;
            }
            Event::Asked(token, reason) => {
                let task = &sim.tasks[token as usize];
                assert!(task.facts.listens, "grace for {token}, who does not listen");
                self.asked(now, token, reason, sim, model);
                let by = now + task.spec.grace;
                self.life(token).stage = Stage::Asked { by };
            }
            Event::ToldToDrop(token, reason) => self.told(now, token, reason, sim, model),
            Event::TeardownBegun(token) => {
                let task = &sim.tasks[token as usize];
                self.life(token).begin_teardown(now, task);
            }
            Event::EndTeardown(token) => {
                let life = self.life(token);
                let until = life.hooks_until.take();
                assert!(until.is_some_and(|at| at <= now), "{token}: {until:?}");
                let by = now + TICK;
                match life.stage {
                    Stage::Teardown => life.stage = Stage::Told { by },
                    Stage::Delivering { .. } => life.stage = Stage::Delivering { by: Some(by) },
                    _ => {}
                }
            }
            Event::Lost(token) => self.lost(now, token, sim, model),
            Event::Settled(token, end) => self.settled(now, token, end, sim, model),
            Event::Released { task, completed } => self.released(task, completed, sim, model),
            Event::Idle => {
                assert!(self.idle_wanted, "nobody asked whether it is idle");
                assert!(model.is_idle(), "S7: idle");
                self.idle_wanted = false;
            }
            Event::Overlooked(token) => panic!("S5: {token} could have had a slot"),
            Event::Looked(_) => {}
            Event::Notice(ref notice) => self.noticed(now, notice, sim, model),
        }
        self.grants.clear();
    }

    fn unclaimed(&mut self, now: Time, token: Token) {
        let (woken, life) = (self.woken, self.life(token));
        let placed = Stage::Placed { come: false };
        assert!(life.stage == Stage::Granted || life.stage == placed, "S20");
        let due = life.started + CLAIM;
        assert!(due <= now, "S20: {token} had time until {due:?}");
        check_grace(now, due, woken, life);
        life.stage = Stage::Asleep;
    }

    /// The first word to a task that it is to end: with what right?
    fn asked(&mut self, now: Time, token: Token, reason: Reason, sim: &Sim, model: &Model) {
        let ends = self.explain(now, token, reason, sim, model);
        let life = self.life(token);
        assert!(
            matches!(
                life.stage,
                Stage::Granted | Stage::Running | Stage::Parked { .. } | Stage::Detached
            ),
            "asked twice: {life:?}"
        );
        assert!(
            !ends.is_empty(),
            "S4, S9: {token} was asked as {reason:?} at {now:?} without a reason: {life:?} {:?}",
            sim.tasks[token as usize]
        );
        // A detached task keeps the end that it was detached for.
        if life.ends.is_empty() {
            life.ends = ends;
        }
    }

    fn told(&mut self, now: Time, token: Token, reason: Reason, sim: &Sim, model: &Model) {
        let task = &sim.tasks[token as usize];
        match self.life(token).stage {
            Stage::Asked { by } => {
                assert!(by <= now, "its grace is not over: {token}");
                let known = self
                    .life(token)
                    .ends
                    .iter()
                    .any(|end| end.reason() == reason);
                assert!(known, "the first reason stands: {token} {reason:?}");
                self.life(token).told(now, task);
            }
            // The word that goes with a take.
            Stage::Orphan => {}
            Stage::Delivering { by } => {
                assert!(by.is_some_and(|by| by <= now), "S2: {token} has its hooks");
                self.life(token).stage = Stage::Orphan;
            }
            Stage::Detached => {
                self.asked(now, token, reason, sim, model);
                self.life(token).stage = Stage::Orphan;
            }
            _ => {
                assert!(
                    !task.facts.listens || task.spec.grace.is_zero(),
                    "{token} listens and was given no grace"
                );
                self.asked(now, token, reason, sim, model);
                self.life(token).told(now, task);
            }
        }
    }

    /// What a task may come to that is asked for this reason now.
    fn explain(
        &self,
        now: Time,
        token: Token,
        reason: Reason,
        sim: &Sim,
        model: &Model,
    ) -> Vec<End> {
        let life = &self.lives[token as usize];
        let elapsed = now.since(life.started);
        let told = || vec![End::Cancelled { reason, elapsed }];
        match reason {
            Reason::Stalled | Reason::TimedOut => {
                let asks = self.due_now(now, token, Does::Ask, sim).into_iter();
                asks.filter(|due| (due.kind == Kind::Stall) == (reason == Reason::Stalled))
                    .map(|due| due.end(now))
                    .collect()
            }
            Reason::Draining if self.is_drained(now, model) => told(),
            _ if self.cause.reason == Some(reason)
                && self.cause.target.is_none_or(|target| target == token) =>
            {
                told()
            }
            _ => Vec::new(),
        }
    }

    fn is_drained(&self, now: Time, model: &Model) -> bool {
        self.cause.time
            && matches!(model.door, Door::Draining { deadline, over, .. } if over && deadline <= now)
    }

    fn lost(&mut self, now: Time, token: Token, sim: &Sim, model: &Model) {
        assert_eq!(self.owed, None, "S17: a reclaim was not reported");
        let away = self.lives[token as usize].away;
        let life = &self.lives[token as usize];
        if !away {
            self.tally.taken += 1;
        } else if life.is_task() && !sim.tasks[token as usize].facts.done {
            self.tally.ended += 1;
        }
        let stalls = self.due_now(now, token, Does::Detach, sim).into_iter();
        let stalls: Vec<End> = stalls.map(|due| due.end(now)).collect();
        let (woken, by_force) = (self.woken, model.by_force);
        let orphans = model.orphans() + 1;
        let life = &self.lives[token as usize];
        let running = matches!(life.stage, Stage::Granted | Stage::Running);
        // Who is allowed to run on was not cut short.
        self.tally.cut_short += u64::from(life.is_task() && (by_force || !running));
        let life = self.life(token);
        match life.stage {
            Stage::Told { by } if !by_force => {
                assert!(by <= now, "S8: {token} had time until {by:?}");
                if !life.was_refused {
                    check_grace(now, by, woken, life);
                }
                life.stage = Stage::Orphan;
                self.owed = (!away).then_some((token, Reclaim::Taken, orphans));
            }
            Stage::Granted | Stage::Running if !by_force => {
                assert!(!stalls.is_empty(), "S9: {token} was detached for nothing");
                life.ends = stalls;
                life.stage = Stage::Detached;
                self.owed = Some((token, Reclaim::Detached, orphans));
            }
            _ => {
                assert!(by_force && life.holds_slot(), "S2: taken {life:?}");
                if life.ends.is_empty() {
                    let elapsed = now.since(life.started);
                    life.ends = vec![End::Cancelled {
                        reason: Reason::Reset,
                        elapsed,
                    }];
                }
                life.stage = Stage::Orphan;
            }
        }
    }

    fn settled(&mut self, now: Time, token: Token, end: End, sim: &Sim, model: &Model) {
        let task = &sim.tasks[token as usize];
        let cause = self.cause;
        let drained = self.is_drained(now, model);
        let life = self.life(token);
        if !life.waits() {
            life.check_end(end, task);
            return;
        }
        let waited = now.since(life.since);
        let leftover = match model.door {
            Door::Draining { queued, .. } => Some(queued),
            _ => None,
        };
        let returned = leftover != Some(Leftover::Cancel);
        let drains = drained || cause.reason == Some(Reason::Draining);
        let right = match end {
            End::TimedOut { .. } => task.spec.wait.is_some_and(|allowed| {
                let elapsed = now.since(life.enqueued);
                let limit = crate::engine::Limit::Wait;
                let exact = End::TimedOut {
                    limit,
                    allowed,
                    elapsed,
                    idle: elapsed,
                };
                cause.time && elapsed >= allowed && end == exact
            }),
            End::Cleared { waited: told } => cause.clears && told == waited && !life.stands_in,
            End::Shutdown { waited: told } => {
                // A place that nobody comes for is passed on to nobody then.
                let late = life.keeps && cause.time && model.door == Door::Shutdown;
                (late || cause.reason == Some(Reason::Shutdown)) && told == waited
            }
            End::Returned { waited: told } => {
                drains && returned && told == waited && life.is_task()
            }
            End::CancelledQueued {
                reason: Reason::Draining,
                waited: told,
            } => drains && told == waited,
            End::CancelledQueued {
                reason,
                waited: told,
            } => {
                cause.reason == Some(reason)
                    && cause.target.is_none_or(|target| target == token)
                    && told == waited
            }
            End::RuntimeShutdown => cause.reason == Some(Reason::RuntimeShutdown),
            _ => false,
        };
        assert!(
            right,
            "S4, S7: {token} was told {end:?} after {waited:?}: {life:?}"
        );
        life.stage = Stage::Gone;
        self.tally.ended += u64::from(life.is_task());
    }

    fn released(&mut self, token: Token, completed: bool, sim: &Sim, model: &Model) {
        let told = sim.tasks[token as usize].settled;
        let life = self.life(token);
        let before = std::mem::replace(&mut life.stage, Stage::Gone);
        life.completed |= completed;
        life.hooks_until = None;
        if !life.is_task() {
            return;
        }
        let reclaimed = matches!(
            life.ends.first(),
            Some(End::Stalled { .. } | End::TimedOut { .. })
        );
        let holds = !matches!(
            before,
            Stage::Queued
                | Stage::Asleep
                | Stage::Detached
                | Stage::Delivering { .. }
                | Stage::Orphan
        );
        // `settled` is of the end of the operation: it tells an orphan that
        // was told of its value before from one that is late.
        match (before, completed) {
            (Stage::Orphan, true) if told != Some(End::Completed) => self.tally.late += 1,
            (_, true) => self.tally.completed += 1,
            (Stage::Orphan, false) => {}
            (_, false) => {
                self.tally.ended += 1;
                self.tally.cut_short += u64::from(holds);
            }
        }
        if holds && reclaimed && !self.lives[token as usize].away {
            assert_eq!(self.owed, None, "S17: a reclaim was not reported");
            self.tally.reclaimed += 1;
            let how = if completed {
                Reclaim::Finished
            } else {
                Reclaim::Dropped
            };
            self.owed = Some((token, how, model.orphans()));
        }
    }

    /// After every operation.
    pub(super) fn check_told(&self, model: &Model) {
        model.check_told();
        assert_eq!(self.owed, None, "S17: a reclaim was not reported");
        assert!(
            model.nobody_waits()
                || model.door != Door::Shutdown && model.nobody_new_waits()
                || !self.cause.empties && !model.is_over(),
            "S7: somebody waits for what will not come"
        );
        assert!(
            !(self.idle_wanted && model.is_idle()),
            "S7: nobody was told that it is idle"
        );
    }
}
