//! A task may be due: whether it is.

use std::time::Duration;

use super::effects::{Effect, Effects, Notice};
use super::fact::{Ahead, What};
use super::lane::{Lane, Mode, claim_by};
use super::slab::Key;
use super::task::{CEILING, CLAIM, Ceiling, End, Facts, Record, Silence, Spec, State, TICK};
use super::time::Time;
use super::vocabulary::{Limit, OnStall, Reason};

/// How soon a stall that is only to be reported is reported again, and how far
/// that backs off.
const REPEAT_STALL: Duration = Duration::from_secs(30);
const LONGEST_REPEAT: Duration = Duration::from_secs(10 * 60);

/// What the shell does at once, under the same lock, since it takes a move of
/// the task's atomic word to know who was first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Verdict {
    Nothing,
    /// Withdraw the grant; then call `unclaim`, or `claimed` if its runner
    /// came first.
    Unclaim,
    /// It has waited too long for its other slots: withdraw the grant, and call
    /// `call_off`, or `claimed` if its runner came first.
    CallOff {
        end: End,
    },
    /// Count an orphan against the bound over all lanes; then call `take`, or
    /// `refuse_take`.
    Take {
        detach: bool,
    },
    /// It runs on without its slot, and is past a limit: move its word; then call
    /// `end_active`.
    Over {
        end: End,
    },
}

impl<P: Clone> Lane<P> {
    /// Looks at a task whose moment has come, with what the shell read off it.
    ///
    /// The facts were read after the moment came and before this lock was
    /// taken. They can only be too old in one direction: the task may have
    /// progressed since, at which point it had been silent for its ceiling
    /// (S9 promises nothing to such a task).
    pub(crate) fn judge(
        &mut self,
        now: Time,
        key: Key,
        spec: &Spec,
        facts: &Facts,
        effects: &mut Effects<P>,
    ) -> Verdict {
        let now = self.advance(now);
        let Some(record) = self.tasks.get(key) else {
            return Verdict::Nothing;
        };
        match record.state {
            // Asleep it keeps no place, but its time to wait runs on (S7).
            State::Queued | State::AtDoor | State::Asleep => {
                self.judge_queued(now, key, spec, effects);
            }
            State::Quiet { until } if until <= now => self.end_quiet(now, key, spec, effects),
            State::Quiet { until } => {
                self.judge_queued(now, key, spec, effects);
                if self.tasks.get(key).is_some() {
                    self.timers.set_earlier(&mut self.tasks, key.index, until);
                }
            }
            State::Placed if !facts.claimed => return self.judge_grant(now, key),
            State::Placed => self.judge_kept(now, key, effects),
            // The hooks of an orphan have their bound, too; it may be looked at
            // for another reason, and that one is gone.
            State::Orphan => match record.said().hooks_until {
                Some(until) if until <= now => {
                    let task = record.payload.clone();
                    effects.push(Effect::EndTeardown { task });
                }
                later => self.look_at(key, later),
            },
            State::Delivering { until, .. } if until > now => self.look_at(key, Some(until)),
            // Its runner does not come, and its caller is told all the same (S7).
            State::Delivering {
                cut_short: true, ..
            } => {
                let end = record.end().unwrap_or(End::Completed);
                self.end_detached(now, key, end, facts, effects);
            }
            State::Delivering { .. } => {
                let task = record.payload.clone();
                effects.push(Effect::EndTeardown { task });
                let (until, cut_short) = (now + TICK, true);
                self.set_state(key, State::Delivering { until, cut_short });
                self.look_at(key, Some(until));
            }
            State::Granted if facts.gathers && !facts.claimed => {
                return match self.judge_wait(now, key, spec, effects) {
                    Some(end) => Verdict::CallOff { end },
                    None => Verdict::Nothing,
                };
            }
            State::Granted if !facts.claimed => return self.judge_grant(now, key),
            State::Granted => {
                self.set_state(key, State::Running);
                return self.judge_running(now, key, spec, facts, effects);
            }
            State::Running | State::ComingBack | State::Detached => {
                return self.judge_running(now, key, spec, facts, effects);
            }
            State::Parked { until } => self.judge_parked(now, key, until, spec, facts, effects),
            State::Asked { until } if until <= now => {
                let reason = record.end().map_or(Reason::User, |end| end.reason());
                self.note(now, key, || What::GraceOver { reason });
                self.tell_to_drop(now, key, reason, spec, facts, effects);
            }
            State::Asked { until } => self.look_at(key, Some(until)),
            State::Teardown { until } if until <= now => {
                let task = record.payload.clone();
                effects.push(Effect::EndTeardown { task });
                let take_at = now + TICK;
                self.set_state(key, State::Dropping { take_at });
                self.look_at(key, Some(take_at));
            }
            State::Teardown { until } => self.look_at(key, Some(until)),
            State::Dropping { take_at } if take_at <= now => {
                return self.judge_take(now, key, take_at, facts, effects);
            }
            State::Dropping { take_at } => self.look_at(key, Some(take_at)),
        }
        Verdict::Nothing
    }

    /// Its clocks stand still, but a deadline is a moment and no clock.
    fn judge_parked(
        &mut self,
        now: Time,
        key: Key,
        until: Time,
        spec: &Spec,
        facts: &Facts,
        effects: &mut Effects<P>,
    ) {
        match facts.deadline {
            Some(at) if at <= now => {
                let Some(record) = self.tasks.get_mut(key) else {
                    return;
                };
                record.go_on(now);
                let end = End::TimedOut {
                    limit: Limit::Deadline,
                    allowed: at.since(record.started),
                    elapsed: now.since(record.started),
                    idle: now.since(record.last_sign(facts)),
                };
                self.ask(now, key, end, spec, facts, effects);
            }
            _ if until <= now => self.outwait(now, key, effects),
            Some(at) => self.look_at(key, Some(until.min(at))),
            None => self.look_at(key, Some(until)),
        }
    }

    /// The grant was withdrawn before its runner came for it (S20).
    pub(crate) fn unclaim(&mut self, now: Time, key: Key, effects: &mut Effects<P>) {
        let now = self.advance(now);
        let Some(record) = self.granted(key) else {
            return;
        };
        let (state, waited) = (record.state, now.since(record.place.since));
        let stands_in = record.stands_in;
        if state == State::Granted {
            self.vacate(key);
        } else {
            self.leave(key);
        }
        self.set_state(key, State::Asleep);
        self.note(now, key, || What::Unclaimed);
        match self.too_late(waited) {
            // Its task has begun, and may come back after a drain.
            Some(end) if !stands_in || self.mode == Mode::Shutdown => {
                self.settle_queued(now, key, end, effects)
            }
            // What it is to be told about its waiting is found out anew.
            _ => self.look_at(key, Some(now)),
        }
        self.dispatch(now, effects);
        self.note_idle(effects);
    }

    /// Its runner came for it in the nick of time.
    pub(crate) fn claimed(&mut self, now: Time, key: Key) {
        if let Some(record) = self.granted(key) {
            if record.state == State::Granted {
                record.state = State::Running;
            }
            self.look_at(key, Some(now));
        }
    }

    /// It has its slot, and is in line for others: what there is to be said about
    /// its waiting is due when it was.
    pub(crate) fn gathers(&mut self, key: Key, spec: &Spec) {
        if let Some(record) = self.granted(key) {
            let look = record.enqueued + spec.first_look_queued();
            self.timers.set_earlier(&mut self.tasks, key.index, look);
        }
    }

    /// It has all its slots: its time starts now, and its runner is to come.
    pub(crate) fn gathered(&mut self, now: Time, key: Key) {
        let now = self.advance(now);
        if let Some(record) = self.granted(key) {
            record.started = now;
            let look = claim_by(record.first_look);
            self.timers.set(&mut self.tasks, key.index, now + look);
            self.note(now, key, || What::Gathered);
        }
    }

    fn granted(&mut self, key: Key) -> Option<&mut Record<P>> {
        let record = self.tasks.get_mut(key)?;
        matches!(record.state, State::Granted | State::Placed).then_some(record)
    }

    fn judge_queued(&mut self, now: Time, key: Key, spec: &Spec, effects: &mut Effects<P>) {
        if let Some(end) = self.judge_wait(now, key, spec, effects) {
            self.settle_queued(now, key, end, effects);
            self.let_in(now, effects);
            self.note_idle(effects);
        }
    }

    /// How it ends if it has waited too long; else, when it is looked at next.
    fn judge_wait(
        &mut self,
        now: Time,
        key: Key,
        spec: &Spec,
        effects: &mut Effects<P>,
    ) -> Option<End> {
        let record = self.tasks.get_mut(key)?;
        let waited = now.since(record.enqueued);
        let queued_ahead = record.queued_ahead as usize;
        let active_ahead = record.active_ahead as usize;
        let mut said = *record.said();
        let mut next: Option<Duration> = None;
        let mut pending = |after: Option<Duration>, said: &mut bool| match after {
            Some(after) if !*said && waited < after => {
                next = Some(next.map_or(after, |next| next.min(after)));
                false
            }
            Some(_) if !*said => {
                *said = true;
                true
            }
            _ => false,
        };
        let mut timed_out = false;
        if pending(spec.warn_wait, &mut said.wait_exceeded) {
            effects.report(Notice::WaitExceeded {
                task: record.payload.clone(),
                waited,
                queued_ahead,
                active_ahead,
            });
        }
        if pending(spec.on_wait, &mut said.on_wait) {
            effects.report(Notice::OnWait {
                task: record.payload.clone(),
                waited,
                queued_ahead,
                active_ahead,
            });
        }
        let timed_out = pending(spec.wait, &mut timed_out);
        let warned = said.wait_exceeded && !record.said().wait_exceeded;
        if said != *record.said() {
            *record.say() = said;
        }
        let at = next.map(|after| record.enqueued + after);
        if warned {
            let ahead = Ahead {
                queued: record.queued_ahead,
                active: record.active_ahead,
            };
            self.note(now, key, || What::WaitExceeded { waited, ahead });
        }
        if timed_out {
            return Some(End::TimedOut {
                limit: Limit::Wait,
                allowed: spec.wait.unwrap_or_default(),
                elapsed: waited,
                idle: waited,
            });
        }
        self.look_at(key, at);
        None
    }

    fn judge_grant(&mut self, now: Time, key: Key) -> Verdict {
        let Some(record) = self.tasks.get_mut(key) else {
            return Verdict::Nothing;
        };
        let due = record.started + CLAIM;
        // It may be claimed at any moment, and by then its limits must be
        // looked after as they would be had it been claimed at once (S8).
        let step = record.first_look.duration().unwrap_or(CLAIM);
        let first = record.started + step;
        let soon = if now < first {
            first
        } else {
            now + step.max(TICK)
        };
        match wait_or_grace(now, due, due, record) {
            Some(at) => {
                self.look_at(key, Some(at.min(soon)));
                Verdict::Nothing
            }
            None => Verdict::Unclaim,
        }
    }

    fn judge_running(
        &mut self,
        now: Time,
        key: Key,
        spec: &Spec,
        facts: &Facts,
        effects: &mut Effects<P>,
    ) -> Verdict {
        let observe_only = self.settings.observe_only;
        self.note_moved(now, key, facts);
        let Some(record) = self.tasks.get_mut(key) else {
            return Verdict::Nothing;
        };
        let (started, last) = (record.begun(), record.last_sign(facts));
        let hard = [
            spec.budget
                .map(|budget| (started + budget, Limit::Budget, budget)),
            facts
                .deadline
                .map(|at| (at, Limit::Deadline, at.since(started))),
        ];
        let hard = hard.into_iter().flatten().min_by_key(|(at, ..)| *at);
        let detached = record.state == State::Detached;
        let away = record.away;
        let silence = silence(spec, facts).filter(|_| !detached);
        let idle_due = silence.map(|(limit, _)| {
            let due = last + limit;
            let floors = [facts.extended_until, facts.hold_until];
            floors.into_iter().flatten().fold(due, Time::max)
        });
        if let Some((at, limit, allowed)) = hard
            && at <= now
        {
            let end = End::TimedOut {
                limit,
                allowed,
                elapsed: now.since(started),
                idle: now.since(last),
            };
            if detached {
                return Verdict::Over { end };
            }
            self.ask(now, key, end, spec, facts, effects);
            return Verdict::Nothing;
        }
        let hard_look = hard.map(|(at, ..)| at);
        // Its first report puts it under the tighter ceiling, and a report is a
        // store that nobody learns of: so it is looked at in time for one that
        // comes right after this look (S8), or came before it.
        let first_report = match spec.ceiling {
            Ceiling::Default => now + CEILING,
            _ => Time::FAR,
        };
        // Where a stall is only reported, and so nobody is detached, an idle
        // timeout behind it is still a limit that somebody set.
        let only_report = observe_only || spec.on_stall == OnStall::WarnOnly;
        let behind = spec
            .idle
            .filter(|_| only_report && !facts.waiting && facts.phase.is_none());
        let behind = behind.map(|idle| {
            let due = last + idle;
            let floors = [facts.extended_until, facts.hold_until];
            (floors.into_iter().flatten().fold(due, Time::max), idle)
        });
        if let Some((due, allowed)) = behind
            && due <= now
        {
            // S19 holds for it, too: one tick, once a stall, whichever of its
            // two limits was the first to come late.
            if now > due + TICK && record.said().grace_tick != idle_due {
                record.say().grace_tick = idle_due;
                let soon = now + TICK;
                let hard = hard_look.map_or(soon, |at| at.min(soon));
                self.look_at(key, Some(hard));
                return Verdict::Nothing;
            }
            let end = End::TimedOut {
                limit: Limit::Idle,
                allowed,
                elapsed: now.since(started),
                idle: now.since(last),
            };
            self.ask(now, key, end, spec, facts, effects);
            return Verdict::Nothing;
        }
        // Whose stall was reported, or whose take was refused, was to be looked at later
        // than it is due, and is late by no more than that look is (S19).
        let awaited = idle_due.map_or(now, |due| due.max(record.said().next_look));
        let mut stalls = false;
        let idle_look = match (idle_due, silence) {
            (Some(_), Some((limit, _))) if facts.waiting => {
                record.take_back(|said| said.grace_tick = None);
                Some((now + limit.max(TICK)).min(first_report))
            }
            (Some(due), Some((limit, Silence::Stall)))
                if only_report && due <= record.said().stalled =>
            {
                if repeat_at(due, record.said().stalled, limit) <= now {
                    self.report_stall(now, key, spec, facts, effects);
                }
                stalls = true;
                let look = self.look_after_report(now, key, due, limit);
                Some(look.min(first_report))
            }
            // It runs on without its slot as it is.
            (_, Some((_, Silence::Stall)))
                if away && !only_report && spec.on_stall == OnStall::Detach =>
            {
                None
            }
            (Some(due), Some((limit, kind))) => match wait_or_grace(now, due, awaited, record) {
                Some(at) => Some(at.min(first_report)),
                None if kind == Silence::Idle => {
                    let end = stalled(now, record, spec, facts);
                    self.ask(now, key, end, spec, facts, effects);
                    return Verdict::Nothing;
                }
                None if only_report => {
                    self.report_stall(now, key, spec, facts, effects);
                    stalls = true;
                    let look = self.look_after_report(now, key, due, limit);
                    Some(look.min(first_report))
                }
                None if spec.on_stall == OnStall::Detach => {
                    self.look_at(key, hard_look);
                    return self.judge_bound(now, key, true, effects);
                }
                None => {
                    let end = stalled(now, record, spec, facts);
                    self.ask(now, key, end, spec, facts, effects);
                    return Verdict::Nothing;
                }
            },
            _ => None,
        };
        let report_look = self.report_silence(now, key, spec, facts, effects);
        let behind = behind.map(|(due, _)| due);
        let next = [idle_look, hard_look, report_look, behind];
        let next = next.into_iter().flatten().min();
        // A hold is a store, too: what ends before the next look is seen by that,
        // which is not late for it (S19).
        if stalls
            && let Some(next) = next
            && let Some(record) = self.tasks.get_mut(key)
        {
            record.say().next_look = next;
        }
        self.look_at(key, next);
        Verdict::Nothing
    }

    /// A task under the default ceiling that has never reported any progress
    /// is worth one word before it is worth a reclaim.
    fn report_silence(
        &mut self,
        now: Time,
        key: Key,
        spec: &Spec,
        facts: &Facts,
        effects: &mut Effects<P>,
    ) -> Option<Time> {
        let record = self.tasks.get_mut(key)?;
        let applies = spec.ceiling == Ceiling::Default
            && !facts.reported
            && !facts.waiting
            && !record.said().never_reports;
        if !applies {
            return None;
        }
        let at = record.begun() + CEILING;
        if now < at {
            return Some(at);
        }
        record.say().never_reports = true;
        let elapsed = now.since(record.begun());
        effects.report(Notice::NeverReports {
            task: record.payload.clone(),
            elapsed,
        });
        self.note(now, key, || What::NeverReports { elapsed });
        None
    }

    /// Of a stall that nothing else is done about.
    fn report_stall(
        &mut self,
        now: Time,
        key: Key,
        spec: &Spec,
        facts: &Facts,
        effects: &mut Effects<P>,
    ) {
        if let Some(record) = self.tasks.get_mut(key) {
            let end = stalled(now, record, spec, facts);
            let task = record.payload.clone();
            effects.report(Notice::Stalled { task, end });
            record.say().stalled = now;
            self.note(now, key, || What::OnlyReported(Box::new(end)));
        }
    }

    /// When to look again at a stall that was reported. A report of progress is a
    /// store that nobody learns of, so it is in time for a stall that begins right
    /// after this look.
    fn look_after_report(&self, now: Time, key: Key, due: Time, limit: Duration) -> Time {
        let last = self
            .tasks
            .get(key)
            .map_or(now, |record| record.said().stalled);
        repeat_at(due, last, limit).min(now + limit)
    }

    fn judge_take(
        &mut self,
        now: Time,
        key: Key,
        take_at: Time,
        facts: &Facts,
        effects: &mut Effects<P>,
    ) -> Verdict {
        let Some(record) = self.tasks.get_mut(key) else {
            return Verdict::Nothing;
        };
        if facts.done && !record.said().done {
            // Its runner holds the value and is between the future's
            // destructor and our lock: one tick more saves an orphan.
            record.say().done = true;
            self.look_at(key, Some(now + TICK));
            return Verdict::Nothing;
        }
        // A starved executor ran neither us nor its runner.
        if !record.said().refused
            && record.said().grace_tick.is_none()
            && let Some(at) = wait_or_grace(now, take_at, take_at, record)
        {
            self.look_at(key, Some(at));
            return Verdict::Nothing;
        }
        self.judge_bound(now, key, false, effects)
    }

    fn judge_bound(
        &mut self,
        now: Time,
        key: Key,
        detach: bool,
        effects: &mut Effects<P>,
    ) -> Verdict {
        let bound = self.max_orphans();
        if self.orphans >= bound && !self.is_beyond_bounds(key) {
            let orphans = self.orphans;
            self.refuse_take(now, key, bound, orphans, effects);
            return Verdict::Nothing;
        }
        Verdict::Take { detach }
    }

    /// Whether no bound of orphans is asked for it. One that gave its slot back has
    /// none to be taken, and is told so (S7); a lane that is shut down grants nothing
    /// any more, so not even a strict one can come to run two where one is allowed.
    pub(crate) fn is_beyond_bounds(&self, key: Key) -> bool {
        let away = self.tasks.get(key).is_some_and(|record| record.away);
        away || self.mode == Mode::Shutdown
    }
}

/// The ceiling on a task's silence as it stands: a phase replaces it.
pub(super) fn silence(spec: &Spec, facts: &Facts) -> Option<(Duration, Silence)> {
    match facts.phase {
        Some(ceiling) => Some((ceiling, Silence::Stall)),
        None => spec.silence(facts.reported),
    }
}

pub(super) fn stalled<P>(now: Time, record: &Record<P>, spec: &Spec, facts: &Facts) -> End {
    let elapsed = now.since(record.begun());
    let idle = now.since(record.last_sign(facts));
    match silence(spec, facts) {
        Some((allowed, Silence::Idle)) => End::TimedOut {
            limit: Limit::Idle,
            allowed,
            elapsed,
            idle,
        },
        Some((ceiling, Silence::Stall)) => End::Stalled {
            elapsed,
            idle,
            ceiling,
        },
        None => End::Stalled {
            elapsed,
            idle,
            ceiling: idle,
        },
    }
}

/// When a stall that was reported is reported again: each time after twice as
/// long as the last.
fn repeat_at(due: Time, last: Time, limit: Duration) -> Time {
    let first = limit.max(REPEAT_STALL);
    let backed_off = first + last.since(due);
    last + backed_off.min(LONGEST_REPEAT.max(first))
}

/// When to look again, or `None` if it is due in earnest.
///
/// S19: a timer that comes more than a tick later than it was to come, `awaited`,
/// says that we were asleep or starved, and so perhaps was the task. It gets one
/// tick to show itself, once a stall.
fn wait_or_grace<P>(now: Time, due: Time, awaited: Time, record: &mut Record<P>) -> Option<Time> {
    if now < due {
        record.take_back(|said| {
            said.grace_tick = None;
            said.refused = false;
            said.next_look = Time::from_nanos(0);
        });
        return Some(due);
    }
    if now > awaited + TICK && record.said().grace_tick != Some(due) {
        record.say().grace_tick = Some(due);
        return Some(now + TICK);
    }
    None
}
