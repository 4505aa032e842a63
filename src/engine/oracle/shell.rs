//! How the shell of these tests carries out what the engine asks for, and what
//! it checks after every input.

use super::sim::{Event, Sim, Task, Token};
use crate::engine::task::Record;
use crate::engine::{
    Ceiling, Effect, End, Facts, Holders, Key, Notice, OnStall, Reason, Spec, State, Verdict,
};

/// The orphans of all lanes and their bound, where there is no room for another.
pub(super) const OVER_ALL: (usize, usize) = (64, 64);

impl Sim {
    pub(in crate::engine) fn carry_out(&mut self, effect: Effect<Token>) {
        match effect {
            Effect::Grant(grant) => {
                assert_eq!(grant.at, self.now, "it starts when it is granted");
                self.trace(Event::Waited {
                    task: grant.task,
                    waited: grant.waited,
                    queued_ahead: grant.queued_ahead,
                    active_ahead: grant.active_ahead,
                });
                self.granted(grant.task, grant.fence);
            }
            Effect::Place { task } => {
                self.note(Event::Placed(task));
                if self.task(task).claims {
                    self.claim(task);
                }
            }
            Effect::Ask {
                task,
                reason,
                drop_now: false,
            } => self.note(Event::Asked(task, reason)),
            Effect::Ask { task, reason, .. } => {
                self.note(Event::ToldToDrop(task, reason));
                if self.task(task).comes {
                    self.runner_comes(task);
                }
            }
            Effect::EndTeardown { task } => {
                self.note(Event::EndTeardown(task));
                if self.task(task).comes {
                    self.drop_it(task);
                }
            }
            Effect::Lost { task } => self.note(Event::Lost(task)),
            Effect::Settle { task, end } => self.settle(task, end),
            Effect::Inspect { key, task } => self.inspect(key, task),
            Effect::Overlooked { task } => {
                self.note(Event::Overlooked(task));
                self.act(|lane, now, effects| lane.mend(now, effects));
            }
            Effect::InspectHolders => self.inspect_holders(),
            Effect::AskHolders { .. } if self.hold_asks => {}
            Effect::AskHolders { reason } => {
                // A drain waits for nobody who waits for somebody without a slot.
                let parked = reason != Reason::Draining;
                let detached = |(_, record): &(Key, &Record<Token>)| {
                    record.state == State::Detached || parked && record.away
                };
                let detached = self.lane.records().filter(detached);
                let detached: Vec<Token> = detached.map(|(_, record)| record.payload).collect();
                for token in self.holders().into_iter().chain(detached) {
                    self.cancel(token, reason);
                }
            }
            Effect::Outwaited { task } => self.note(Event::Outwaited(task)),
            Effect::Idle => self.note(Event::Idle),
            Effect::Report(notice) => {
                if let Notice::Lapsed { task } = notice {
                    self.dropped.push(task);
                }
                self.note(Event::Notice(notice));
            }
        }
    }

    pub(super) fn inspect(&mut self, key: Key, token: Token) {
        let (spec, facts) = self.known(token);
        if let Some(State::Quiet { until }) = self.state(token)
            && until <= self.now
        {
            self.trace(Event::Entered(token));
        }
        let verdict = self.act(|lane, now, effects| lane.judge(now, key, &spec, &facts, effects));
        match verdict {
            Verdict::Nothing => {}
            Verdict::Unclaim if facts.gathers => panic!("S20: nobody can come for {token} yet"),
            Verdict::Unclaim if self.task(token).comes_in_time() => {
                self.claim(token);
                self.act(|lane, now, _| lane.claimed(now, key));
            }
            Verdict::Unclaim => {
                self.note(Event::Unclaimed(token));
                self.act(|lane, now, effects| lane.unclaim(now, key, effects));
            }
            Verdict::CallOff { .. } if self.task(token).just_in_time => {
                self.task(token).claims = true;
                self.gathered(token);
                self.act(|lane, now, _| lane.claimed(now, key));
            }
            Verdict::CallOff { end } => {
                self.trace(Event::Withdrawn(token));
                self.act(|lane, now, effects| lane.call_off(now, key, end, effects));
            }
            Verdict::Take { .. } if self.no_more_orphans && !self.lane.is_beyond_bounds(key) => {
                let (orphans, bound) = OVER_ALL;
                self.act(|lane, now, effects| lane.refuse_take(now, key, bound, orphans, effects));
            }
            Verdict::Take { detach: true } => {
                self.act(|lane, now, effects| lane.detach(now, key, &spec, &facts, effects));
            }
            Verdict::Take { detach: false } => {
                self.act(|lane, now, effects| lane.take(now, key, &facts, effects));
            }
            Verdict::Over { end } => {
                self.act(|lane, now, effects| {
                    lane.end_active(now, key, end, &spec, &facts, effects)
                });
            }
        }
    }

    fn inspect_holders(&mut self) {
        let seen = Holders {
            active_at: self
                .holders()
                .into_iter()
                .map(|token| self.tasks[token as usize].facts.active_at)
                .max(),
            root_speaks: self.root_speaks,
        };
        let blocked = self.act(|lane, now, _| lane.judge_blocked(now, seen));
        if let Some(blocked) = blocked {
            self.looks.push((self.now.since(self.begun), blocked));
            self.trace(Event::Looked(blocked));
        }
    }

    pub(in crate::engine) fn granted(&mut self, token: Token, fence: u64) {
        assert!(fence > self.last_fence, "S11: fences only grow");
        self.last_fence = fence;
        self.ledger.grant(token, fence);
        assert!(
            self.lane.active() <= self.lane.settings().max_concurrent,
            "S1: granted past the bound"
        );
        self.task(token).fence = fence;
        self.note(Event::Granted(token));
        if self.task(token).gathers {
            self.task(token).gathered = false;
            self.gathers(token);
        } else if self.task(token).claims {
            self.claim(token);
        }
    }

    pub(in crate::engine) fn claim(&mut self, token: Token) {
        let now = self.now;
        let facts = self.facts(token);
        facts.claimed = true;
        facts.active_at = facts.active_at.max(now);
        self.trace(Event::Claimed(token));
    }

    pub(in crate::engine) fn runner_comes(&mut self, token: Token) {
        let (spec, facts) = self.known(token);
        if facts.done {
            self.complete(token);
        } else if facts.hooks {
            if std::mem::replace(&mut self.task(token).hooks_begun, true) {
                return;
            }
            let key = self.key(token);
            self.trace(Event::TeardownBegun(token));
            self.act(|lane, now, _| lane.begin_teardown(now, key, &spec));
        } else {
            self.drop_it(token);
        }
    }

    pub(in crate::engine) fn settle(&mut self, token: Token, end: End) {
        // A value that was taken with its slot is handed over once it is there.
        let before = self.task(token).settled.replace(end);
        assert_eq!(before, None, "S2: task {token} settled twice");
        self.note(Event::Settled(token, end));
    }

    /// Whether a cancel comes before its runner does.
    pub(in crate::engine) fn withdrawn(&self, token: Token) -> bool {
        let claimed = self.tasks[token as usize].facts.claimed;
        let granted = matches!(self.state(token), Some(State::Granted | State::Placed));
        granted && !claimed
    }

    pub(in crate::engine) fn known(&self, token: Token) -> (Spec, Facts) {
        let task = &self.tasks[token as usize];
        (task.spec.clone(), task.facts.clone())
    }

    pub(in crate::engine) fn note(&mut self, event: Event) {
        self.log.push((self.now.since(self.begun), event));
    }

    pub(in crate::engine) fn trace(&mut self, event: Event) {
        if self.traced {
            self.note(event);
        }
    }

    /// What holds whenever nothing is under way.
    pub(in crate::engine) fn check(&self) {
        if self.depth > 0 {
            return;
        }
        let lane = &self.lane;
        self.ledger.check(lane);
        for (token, task) in (0..).zip(&self.tasks) {
            if let (Some(end), Some(told)) = (task.settled, self.ledger.told(token)) {
                assert_eq!(end, told, "S2: what {token} and the journal were told");
            }
        }
        let count = |of: fn(State) -> bool| lane.records().filter(|(_, r)| of(r.state)).count();
        let away = lane.records().filter(|(_, record)| record.away).count();
        assert_eq!(lane.active(), count(State::holds_slot) - away);
        assert_eq!(lane.orphans(), count(State::is_orphan));
        assert_eq!(lane.queued(), count(|state| state == State::Queued));
        assert_eq!(lane.kept(), count(|state| state == State::Placed));
        let capacity = lane.settings().queue_capacity;
        let place = lane.queued() + lane.kept() < capacity;
        let at_door = count(|state| state == State::AtDoor);
        assert!(
            !place || at_door == 0,
            "S5: a place is free, and somebody is at the door"
        );
        let free = !lane.is_paused() && lane.active() < lane.settings().max_concurrent;
        assert!(
            self.holding || !free || lane.waiters() == 0,
            "S5: an eligible waiter waits"
        );
        for (key, record) in lane.records() {
            let must = match record.state {
                State::Granted => !self.tasks[record.payload as usize].facts.gathers,
                State::Quiet { .. }
                | State::Placed
                | State::Parked { .. }
                | State::Asked { .. }
                | State::Dropping { .. }
                | State::Teardown { .. }
                | State::Delivering { .. } => true,
                State::Running => self.tasks[record.payload as usize].is_limited(),
                State::ComingBack => self.tasks[record.payload as usize].is_limited_in_line(),
                State::Queued | State::AtDoor | State::Asleep => {
                    self.tasks[record.payload as usize].spec.wait.is_some()
                }
                State::Detached | State::Orphan => false,
            };
            let set = lane.moment(key);
            assert!(set.is_some() || !must, "never looked at again: {record:?}");
            assert!(
                set.is_none_or(|at| self.alarm.is_some_and(|alarm| alarm <= at)),
                "the driver was not told of {set:?}"
            );
        }
    }
}

impl Task {
    const fn comes_in_time(&self) -> bool {
        self.just_in_time && (!self.gathers || self.gathered)
    }

    fn is_limited(&self) -> bool {
        self.spec.ceiling != Ceiling::None
            || self.spec.idle.is_some()
            || self.spec.budget.is_some()
            || self.facts.phase.is_some()
    }

    /// Whose silence would cost it its slot alone has none to lose.
    fn is_limited_in_line(&self) -> bool {
        self.is_limited() && self.spec.on_stall != OnStall::Detach
    }
}
