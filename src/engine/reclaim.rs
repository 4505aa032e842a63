//! Ask, then take: the one way in which a task is ended, whatever the reason.

use std::time::Duration;

use super::effects::{Effect, Effects, Notice, Reclaim};
use super::fact::What;
use super::judge::stalled;
use super::lane::Lane;
use super::slab::Key;
use super::task::{End, Facts, Spec, State, TICK};
use super::time::Time;
use super::vocabulary::Reason;

/// How long a take that the orphan bound refused waits for its next try.
const RETRY_TAKE: Duration = Duration::from_secs(1);

impl<P: Clone> Lane<P> {
    /// Begins to end a task that holds its slot, whatever the reason. Asking
    /// twice changes nothing: the first reason stands.
    pub(crate) fn ask(
        &mut self,
        now: Time,
        key: Key,
        end: End,
        spec: &Spec,
        facts: &Facts,
        effects: &mut Effects<P>,
    ) {
        let now = self.advance(now);
        let Some(record) = self.tasks.get_mut(key) else {
            return;
        };
        if !record.state.goes_on() {
            return;
        }
        if let State::Parked { .. } = record.state {
            // The time in which it waited is none of its own (S9).
            record.go_on(now);
        }
        record.set_end(end);
        let listens = facts.listens && !spec.grace.is_zero();
        let grace = if listens { spec.grace } else { Duration::ZERO };
        let reason = end.reason();
        self.note(now, key, || What::Asked { reason, grace });
        let Some(record) = self.tasks.get_mut(key) else {
            return;
        };
        if listens {
            let until = now + spec.grace;
            record.state = State::Asked { until };
            effects.push(Effect::Ask {
                task: record.payload.clone(),
                reason,
                drop_now: false,
            });
            self.look_at(key, Some(until));
        } else {
            self.tell_to_drop(now, key, reason, spec, facts, effects);
        }
    }

    /// The runner has dropped the future and runs the hooks now. False when
    /// its slot was taken meanwhile.
    pub(crate) fn begin_teardown(&mut self, now: Time, key: Key, spec: &Spec) -> bool {
        let now = self.advance(now);
        let Some(record) = self.tasks.get_mut(key) else {
            return false;
        };
        let mut until = now + spec.teardown;
        if let State::Parked { .. } = record.state {
            // The time in which it waited is none of its own (S9).
            record.go_on(now);
        }
        match record.state {
            // A runner that came late has used up some of its hooks' time (S8).
            State::Dropping { take_at } if record.said().teardown => {
                until = until.min(take_at.before(TICK)).max(now);
            }
            State::Dropping { .. } => {}
            // What was refused before was to detach it.
            _ => record.take_back(|said| said.refused = false),
        }
        let holds_slot = record.state.holds_slot();
        if holds_slot {
            record.state = State::Teardown { until };
        } else if record.state == State::Detached {
            let cut_short = false;
            record.state = State::Delivering { until, cut_short };
        } else {
            record.say().hooks_until = Some(until);
        }
        self.look_at(key, Some(until));
        self.note(now, key, || What::TeardownBegun);
        holds_slot
    }

    /// Takes the slot without the runner's help: the caller is settled, and
    /// the task is an orphan until its runner lets go.
    pub(crate) fn take(&mut self, now: Time, key: Key, facts: &Facts, effects: &mut Effects<P>) {
        let now = self.advance(now);
        let by_itself = !self.is_beyond_bounds(key);
        let away = self.tasks.get(key).is_some_and(|record| record.away);
        let Some((task, end)) = self.take_slot(now, key, by_itself, facts, effects) else {
            return;
        };
        // Where there was no slot, there is none that somebody could have (S17).
        if !away {
            self.recover(now, task, end, Reclaim::Taken, effects);
        }
        self.note_idle(effects);
    }

    /// The part of a take that precedes the next dispatch.
    pub(super) fn take_slot(
        &mut self,
        now: Time,
        key: Key,
        by_itself: bool,
        facts: &Facts,
        effects: &mut Effects<P>,
    ) -> Option<(P, End)> {
        let record = self.tasks.get_mut(key)?;
        if !record.state.holds_slot() {
            return None;
        }
        // A value that its runner has in hand is what the caller gets (S3).
        let end = if facts.done {
            End::Completed
        } else {
            // Nobody asked for it and it has no value: its runner dropped it,
            // and its hooks did not end in their time.
            record.end().unwrap_or_else(|| End::Cancelled {
                reason: Reason::Dropped,
                elapsed: now.since(record.started),
            })
        };
        record.set_end(end);
        // Hooks that are under way keep their bound.
        let hooks_until = match record.state {
            State::Teardown { until } => Some(until),
            _ => None,
        };
        record.state = State::Orphan;
        record.say().hooks_until = hooks_until;
        record.say().by_itself = by_itself;
        let told = std::mem::replace(&mut record.say().told, true);
        let (task, counts) = (record.payload.clone(), record.is_task());
        if !record.away {
            self.tally.taken += 1;
        } else if counts && end != End::Completed {
            self.tally.ended += 1;
        }
        self.vacate(key);
        self.forget_parking(key);
        self.look_at(key, hooks_until);
        self.orphans += 1;
        self.tally.cut_short += u64::from(counts);
        self.note_taken(now, key, false);
        if counts && !told {
            self.note_settled(now, key, end);
        }
        effects.push(Effect::Lost { task: task.clone() });
        effects.push(Effect::Ask {
            task: task.clone(),
            reason: end.reason(),
            drop_now: true,
        });
        effects.push(Effect::Settle {
            task: task.clone(),
            end,
        });
        Some((task, end))
    }

    /// Takes the slot of a stalled task and lets it run on. False if it had
    /// none.
    pub(crate) fn detach(
        &mut self,
        now: Time,
        key: Key,
        spec: &Spec,
        facts: &Facts,
        effects: &mut Effects<P>,
    ) -> bool {
        let now = self.advance(now);
        let Some(record) = self.tasks.get_mut(key) else {
            return false;
        };
        if !record.state.holds_slot() {
            return false;
        }
        let end = stalled(now, record, spec, facts);
        record.set_end(end);
        record.state = State::Detached;
        let (task, started) = (record.payload.clone(), record.started);
        self.vacate(key);
        self.orphans += 1;
        self.tally.taken += 1;
        let next = [spec.budget.map(|budget| started + budget), facts.deadline];
        self.look_at(key, next.into_iter().flatten().min());
        self.note_taken(now, key, true);
        effects.push(Effect::Lost { task: task.clone() });
        self.recover(now, task, end, Reclaim::Detached, effects);
        self.note_idle(effects);
        true
    }

    /// Too many orphans: the slot stays held, and that is said loudly (S10).
    pub(crate) fn refuse_take(
        &mut self,
        now: Time,
        key: Key,
        bound: usize,
        orphans: usize,
        effects: &mut Effects<P>,
    ) {
        let Some(record) = self.tasks.get_mut(key) else {
            return;
        };
        let retry = now + RETRY_TAKE;
        record.say().next_look = retry;
        if !record.said().refused {
            record.say().refused = true;
            effects.report(Notice::TakeRefused {
                task: record.payload.clone(),
                orphans,
                max_orphans: bound,
            });
            self.note(now, key, || What::TakeRefused {
                orphans,
                max_orphans: bound,
            });
        }
        // A task that is to be detached may have a harder limit before that.
        self.timers.set_earlier(&mut self.tasks, key.index, retry);
    }

    /// By when a task that was asked to end has lost its slot at the latest.
    pub(crate) fn take_at(&self, key: Key, spec: &Spec) -> Option<Time> {
        match self.tasks.get(key)?.state {
            State::Asked { until } => Some(until + spec.teardown + TICK),
            State::Teardown { until } => Some(until + TICK),
            State::Dropping { take_at } => Some(take_at),
            _ => None,
        }
    }

    /// Ends a task that holds its slot, or one that was allowed to run on
    /// without.
    pub(crate) fn end_active(
        &mut self,
        now: Time,
        key: Key,
        end: End,
        spec: &Spec,
        facts: &Facts,
        effects: &mut Effects<P>,
    ) {
        let state = self.tasks.get(key).map(|record| record.state);
        if state == Some(State::Detached) {
            self.end_detached(now, key, end, facts, effects);
        } else {
            self.ask(now, key, end, spec, facts, effects);
        }
    }

    /// The caller of a detached task was promised its late result; now it learns what
    /// happened to it in truth.
    pub(super) fn end_detached(
        &mut self,
        now: Time,
        key: Key,
        end: End,
        facts: &Facts,
        effects: &mut Effects<P>,
    ) {
        let Some(record) = self.tasks.get_mut(key) else {
            return;
        };
        // A value that its runner has in hand is still what it was promised.
        let told = if facts.done {
            End::Completed
        } else {
            record.end().unwrap_or(end)
        };
        record.set_end(told);
        let was_told = std::mem::replace(&mut record.say().told, true);
        record.state = State::Orphan;
        let task = record.payload.clone();
        let reason = end.reason();
        let grace = Duration::ZERO;
        self.note(now, key, || What::Asked { reason, grace });
        if !was_told {
            self.note_settled(now, key, told);
        }
        self.timers.clear(&mut self.tasks, key.index);
        effects.push(Effect::Ask {
            task: task.clone(),
            reason: end.reason(),
            drop_now: true,
        });
        effects.push(Effect::Settle { task, end: told });
    }

    pub(super) fn tell_to_drop(
        &mut self,
        now: Time,
        key: Key,
        reason: Reason,
        spec: &Spec,
        facts: &Facts,
        effects: &mut Effects<P>,
    ) {
        let teardown = if facts.hooks {
            spec.teardown
        } else {
            Duration::ZERO
        };
        let take_at = now + teardown + TICK;
        let Some(record) = self.tasks.get_mut(key) else {
            return;
        };
        record.state = State::Dropping { take_at };
        let said = record.say();
        said.teardown = facts.hooks;
        // What was refused before was to detach it.
        said.refused = false;
        effects.push(Effect::Ask {
            task: record.payload.clone(),
            reason,
            drop_now: true,
        });
        self.look_at(key, Some(take_at));
    }
}
