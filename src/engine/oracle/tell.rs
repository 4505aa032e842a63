//! Everything that a lane can be told, carried out: in the shell, and in the
//! models that say what it may come to.

use std::time::Duration;

use super::life::{Life, Stage};
use super::model::{Comer, Door};
use super::ops::{Newcomer, Op, Which, leftover};
use super::sim::{Event, Token};
use super::trial::Trial;
use crate::engine::{
    Effect, End, Entry, IfFull, Leftover, Reason, Refused, Released, Spec, State, TICK, Time,
};

impl Trial {
    /// Carries out one operation; whether the driver has come up to now.
    pub(super) fn tell(&mut self, op: Op) -> bool {
        match op {
            Op::Submit(newcomer) => self.submit(&newcomer, None),
            Op::Reserve(newcomer) => self.reserve(&newcomer),
            Op::Quiet(newcomer, window) => self.put_off(&newcomer, window),
            Op::Prolong(which, window) => {
                let window = self.scenario.units(1 + window % 12);
                let now = self.sim.now;
                if let Some(token) = self.pick(which, |stage| stage == Stage::Queued) {
                    let life = self.book.life(token);
                    let until = (now + window).min(life.enqueued + window * 10);
                    if let Some(before) = &mut life.quiet_until {
                        *before = until.max(*before);
                    } else if now < until && self.model.put_off_again(token) {
                        life.quiet_until = Some(until);
                    }
                    let key = self.sim.key(token);
                    self.sim
                        .say(|lane, now, effects| lane.prolong(now, key, window, effects));
                }
            }
            Op::Supersede(which, newcomer) => {
                let ends = |stage| {
                    !matches!(
                        stage,
                        Stage::Placed { .. } | Stage::Delivering { .. } | Stage::Orphan
                    )
                };
                if let Some(older) = self.pick(which, ends)
                    // Who stands in for a task has no key to be named by.
                    && self.book.life(older).is_task()
                {
                    self.supersede(&newcomer, older);
                }
            }
            Op::Spend(which, newcomer) => {
                if let Some(kept) =
                    self.pick(which, |stage| stage == (Stage::Placed { come: true }))
                {
                    self.book.cause.target = None;
                    self.submit(&newcomer, Some(kept));
                }
            }
            Op::Run(ticks) => return self.run(TICK * u32::from(ticks % 600)),
            Op::RunUnits(units) => return self.run(self.scenario.units(units % 64)),
            Op::Oversleep(ticks) => {
                let due = self.sim.alarm;
                self.book.cause.time = true;
                self.sim.oversleep(TICK * u32::from(ticks % 600));
                let now = self.sim.now;
                // A driver that comes a tick late has not been asleep (S19).
                let slept = due.is_none_or(|at| now > at + TICK);
                if slept {
                    self.book.woken = now;
                }
                if due.is_some_and(|at| at <= now) {
                    self.judge();
                    if slept {
                        self.book.grant_grace(now, &self.sim);
                    }
                    return true;
                }
            }
            Op::Late(ticks) => {
                self.sim.now = self.sim.now + TICK * u32::from(ticks % 600);
                self.book.woken = self.sim.now;
            }
            Op::Gathered(_) | Op::Sleeps(_) | Op::Park(..) | Op::ComeBack(..) => {
                self.tell_elsewhere(op);
            }
            op => self.tell_lane(op),
        }
        false
    }

    pub(super) fn run(&mut self, span: Duration) -> bool {
        self.book.cause.time = true;
        if self.book.woken == self.sim.now {
            self.sim.run_for(Duration::ZERO);
            self.wake_up();
        }
        self.sim.run_for(span);
        true
    }

    /// A late driver has come.
    fn wake_up(&mut self) {
        self.judge();
        self.book.grant_grace(self.sim.now, &self.sim);
    }

    /// A task comes, perhaps for a place that was kept for it.
    fn submit(&mut self, newcomer: &Newcomer, kept: Option<Token>) {
        let spec = newcomer.spec(&self.scenario);
        let mut entry = newcomer.entry(&self.scenario);
        let now = self.sim.now;
        if let Some(kept) = kept {
            entry.if_full = IfFull::Enter;
            self.model.spend(kept);
            self.book.life(kept).stage = Stage::Gone;
        }
        let (ahead, active) = (self.model.ahead(spec.priority), self.model.active());
        let waiters = self.model.queued();
        let token = Token::try_from(self.sim.tasks.len()).expect("few tasks");
        let comer = comer(token, &spec, entry);
        let right = self.model.arrive(now, &comer);
        let ahead = if self.model.is_at_door(token) {
            waiters
        } else {
            ahead
        };
        self.model.let_in();
        let came = match kept {
            Some(kept) => self.sim.spend(kept, spec, entry),
            None => self.sim.enter(spec, entry),
        };
        assert_eq!(self.outcome(came), right.map(|_| ()), "who is admitted");
        let Ok(starts) = right else {
            if kept.is_none() {
                assert_eq!(self.prints(), self.before, "a refusal changed something");
            }
            return;
        };
        self.book.tally.submitted += 1;
        let since = now.before(entry.waited);
        self.book.lives.push(Life::new(now, since, ahead, active));
        let granted = (now.since(self.sim.begun), Event::Granted(token));
        let started = self.sim.log.first() == Some(&granted);
        assert_eq!(started, starts, "S5, S6: whether it starts at once");
        if starts {
            // It found a slot by itself: nobody was dispatched.
            self.sim.log.remove(0);
            let life = self.book.life(token);
            life.stage = Stage::Granted;
            self.book.tally.started += 1;
            self.quiet.started();
        } else {
            self.quiet.queued(now);
        }
        self.introduce(token, newcomer);
    }

    /// What a newcomer is told; a holder that is named must be one.
    fn outcome(&self, came: Result<Token, Refused>) -> Result<(), Refused> {
        match came {
            Err(Refused::NoSlot { holder }) => {
                let named = holder.and_then(|key| self.sim.lane.record(key));
                let holds = named.is_some_and(|record| record.state.holds_slot());
                assert_eq!(holds, self.model.is_full(), "who has a slot");
                Err(Refused::NoSlot { holder: None })
            }
            came => came.map(|_| ()),
        }
    }

    /// A task comes in the place of another.
    fn supersede(&mut self, newcomer: &Newcomer, older: Token) {
        let spec = newcomer.spec(&self.scenario);
        let entry = Entry {
            at_once: false,
            ..newcomer.entry(&self.scenario)
        };
        let now = self.sim.now;
        let token = Token::try_from(self.sim.tasks.len()).expect("few tasks");
        let active = self.model.active();
        let comer = comer(token, &spec, entry);
        let right = self.model.arrive_instead(now, comer, &[older]);
        let came = self.sim.supersede(&[older], spec, entry);
        assert_eq!(self.outcome(came), right.map(|_| ()), "who is admitted");
        let Ok(starts) = right else {
            assert_eq!(self.prints(), self.before, "a refusal changed something");
            return;
        };
        self.book.cause.reason = Some(Reason::Superseded);
        self.book.tally.submitted += 1;
        let since = self.model.since(token).expect("it is there");
        // How many were ahead of it is the engine's word here.
        let key = self.sim.key(token);
        let record = self.sim.lane.record(key);
        let ahead = record.map_or(0, |record| record.queued_ahead as usize);
        self.book.lives.push(Life::new(now, since, ahead, active));
        let granted = |event: &(Duration, Event)| event.1 == Event::Granted(token);
        let at = self.sim.log.iter().position(granted);
        let waited = |event: &(Duration, Event)| matches!(event.1, Event::Waited { task, .. } if task == token);
        let waited = self.sim.log.iter().any(waited);
        assert_eq!(
            at.is_some() && !waited,
            starts,
            "S5, S6: whether it starts at once"
        );
        if let Some(at) = at.filter(|_| starts) {
            self.sim.log.remove(at);
            self.book.life(token).stage = Stage::Granted;
            self.book.tally.started += 1;
            self.quiet.started();
        } else {
            self.quiet.queued(now);
        }
        self.introduce(token, newcomer);
    }

    /// What is known of a newcomer that was taken.
    fn introduce(&mut self, token: Token, newcomer: &Newcomer) {
        let manners = newcomer.manners;
        let starts = self.book.life(token).stage == Stage::Granted;
        let task = self.sim.task(token);
        task.comes = manners.comes;
        task.just_in_time = manners.just_in_time;
        task.facts.listens = manners.listens;
        task.facts.hooks = manners.hooks;
        if manners.gathers {
            task.gathers = true;
            task.claims = manners.present;
            // Also one that was served by what it superseded.
            if self.sim.state(token) == Some(State::Granted) {
                self.sim.gathers(token);
            }
            if starts {
                self.book.life(token).stage = Stage::Gathers;
            }
        }
    }

    fn put_off(&mut self, newcomer: &Newcomer, window: u8) {
        let spec = newcomer.spec(&self.scenario);
        let entry = newcomer.entry(&self.scenario);
        let window = self.scenario.units(1 + window % 12);
        let now = self.sim.now;
        let token = Token::try_from(self.sim.tasks.len()).expect("few tasks");
        let comer = comer(token, &spec, entry);
        let (ahead, active) = (self.model.ahead(spec.priority), self.model.active());
        let right = self.model.put_off(now, &comer);
        let came = self.sim.put_off(spec, entry, window);
        assert_eq!(came.map(|_| ()), right, "who is admitted");
        if right.is_err() {
            assert_eq!(self.prints(), self.before, "a refusal changed something");
            return;
        }
        self.book.tally.submitted += 1;
        let mut life = Life::new(now, now.before(entry.waited), ahead, active);
        life.quiet_until = Some(now + window);
        self.book.lives.push(life);
        self.introduce(token, newcomer);
    }

    fn reserve(&mut self, newcomer: &Newcomer) {
        let spec = newcomer.spec(&self.scenario);
        let entry = newcomer.entry(&self.scenario);
        let now = self.sim.now;
        let (ahead, active) = (self.model.queued(), self.model.active());
        let token = Token::try_from(self.sim.tasks.len()).expect("few tasks");
        let comer = comer(token, &spec, entry);
        let right = self.model.arrive_for_a_place(now, &comer);
        let came = self.sim.reserve(spec, entry);
        assert_eq!(came.map(|_| ()), right.map(|_| ()), "who is admitted");
        if right.is_err() {
            assert_eq!(self.prints(), self.before, "a refusal changed something");
            return;
        }
        let mut life = Life::new(now, now, ahead, active);
        life.keeps = true;
        self.book.lives.push(life);
        self.sim.task(token).just_in_time = newcomer.manners.just_in_time;
    }

    /// Somebody whose stage allows it.
    pub(super) fn pick(&mut self, which: Which, can: impl Fn(Stage) -> bool) -> Option<Token> {
        let lives = self.book.lives.iter().zip(0..);
        let all: Vec<Token> = lives
            .filter(|(life, _)| life.stage != Stage::Gone && can(life.stage))
            .map(|(_, token)| token)
            .collect();
        let token = *all.get(usize::from(which).checked_rem(all.len())?)?;
        self.book.cause.target = Some(token);
        Some(token)
    }

    pub(super) fn pick_running(&mut self, which: Which) -> Option<Token> {
        self.pick(which, |stage| {
            matches!(stage, Stage::Running | Stage::Detached)
        })
    }

    /// Of a stand-in no limit is looked after.
    fn pick_limited(&mut self, which: Which) -> Option<Token> {
        let token = self.pick_running(which)?;
        self.book.life(token).is_task().then_some(token)
    }

    fn tell_lane(&mut self, op: Op) {
        let now = self.sim.now;
        match op {
            Op::Complete(which) => {
                if let Some(token) = self.pick(which, is_claimed)
                    && self.book.life(token).is_task()
                {
                    self.sim.complete(token);
                }
            }
            Op::Drop(which) => {
                if let Some(token) = self.pick(which, |_| true) {
                    // A runner with a value in its hands hands it over.
                    let done = self.sim.facts(token).done;
                    if done {
                        self.sim.complete(token);
                    } else {
                        self.sim.drop_it(token);
                    }
                }
            }
            Op::Cancel(which) => {
                if let Some(token) = self.pick(which, |_| true) {
                    self.book.cause.reason = Some(Reason::User);
                    // A place that somebody came for is its own.
                    let own = self.book.life(token).stage == (Stage::Placed { come: true });
                    let orphan = self.sim.state(token) == Some(State::Orphan);
                    assert_eq!(self.sim.cancel(token, Reason::User), !orphan && !own);
                }
            }
            Op::Poll(which) => {
                let polled = |stage| match stage {
                    Stage::Placed { come } => !come,
                    stage => waits_or_granted(stage),
                };
                if let Some(token) = self.pick(which, polled) {
                    let rejoined = self.model.rejoin(token);
                    if let Some(is_task) = rejoined {
                        self.book.life(token).stage = Stage::Queued;
                        if is_task {
                            self.quiet.queued(now);
                        }
                    }
                    let life = self.book.life(token);
                    let task = &self.sim.tasks[token as usize];
                    if life.stage == Stage::Granted && task.gathers && !task.gathered {
                        life.stage = Stage::Gathers;
                    }
                    self.sim.poll(token);
                }
            }
            Op::RunnerComes(which) => {
                if let Some(token) = self.pick(which, is_claimed)
                    && !self.sim.task(token).hooks_begun
                {
                    self.sim.runner_comes(token);
                    self.sim.check();
                }
            }
            Op::Stale(which, completed) => self.come_too_late(which, completed),
            Op::Forget(which) => {
                if let Some(token) = self.pick(which, |stage| stage == Stage::Orphan) {
                    let key = self.sim.key(token);
                    let forgotten = self.sim.act(|lane, _, _| lane.forget_orphan(key));
                    assert_eq!(forgotten, Some(token));
                    self.model.forget(token);
                    self.book.life(token).stage = Stage::Gone;
                    // One that is about to deliver a late result does so yet.
                    if self.sim.task(token).settled.is_none() {
                        self.sim.dropped.push(token);
                    }
                }
            }
            Op::Withdraw(which) => {
                if let Some(token) = self.pick(which, waits_or_granted) {
                    self.book.cause.reason = Some(Reason::RuntimeShutdown);
                    let key = self.sim.key(token);
                    if self.sim.withdrawn(token) {
                        self.sim.trace(Event::Withdrawn(token));
                    }
                    self.sim.say(|lane, now, effects| {
                        lane.withdraw(now, key, End::RuntimeShutdown, effects);
                        lane.dispatch(now, effects);
                        lane.settled_all(effects);
                    });
                    let told = self.sim.task(token).settled;
                    assert_eq!(told, Some(End::RuntimeShutdown), "S7");
                }
            }
            op => self.tell_facts(op),
        }
    }

    /// What a task does that no lane is told of, or only to look in time.
    fn tell_facts(&mut self, op: Op) {
        let now = self.sim.now;
        let span = |count: u8| self.scenario.units(1 + count % 24);
        match op {
            Op::Progress(which) => {
                if let Some(token) = self.pick(which, is_claimed) {
                    self.sim.progress(token);
                }
            }
            Op::Done(which) => {
                let runs = |stage| {
                    let parked = matches!(stage, Stage::Parked { .. });
                    parked || matches!(stage, Stage::Running | Stage::Detached)
                };
                // Who stands in for a task comes to no value.
                if let Some(token) = self.pick(which, runs)
                    && self.book.life(token).is_task()
                {
                    self.sim.facts(token).done = true;
                }
            }
            Op::Wait(which, waiting) => {
                if let Some(token) = self.pick_running(which) {
                    let facts = self.sim.facts(token);
                    if facts.waiting && !waiting {
                        facts.active_at = now;
                    }
                    facts.waiting = waiting;
                }
            }
            Op::Phase(which, ceiling) => {
                let ceiling = ceiling.map(span);
                if let Some(token) = self.pick_limited(which) {
                    self.sim.progress(token);
                    self.sim.facts(token).phase = ceiling;
                    let task = self.sim.task(token);
                    // What applies from now on may be tighter than before.
                    let limit = ceiling.or_else(|| task.spec.silence(true).map(|(limit, _)| limit));
                    if let Some(limit) = limit {
                        self.look_by(token, now + limit);
                    }
                }
            }
            Op::Deadline(which, after) => {
                let at = now + span(after);
                let active = |stage| {
                    let parked = matches!(stage, Stage::Parked { .. });
                    parked || matches!(stage, Stage::Running | Stage::Detached)
                };
                let token = self.pick(which, active);
                if let Some(token) = token.filter(|token| self.book.life(*token).is_task()) {
                    self.sim.facts(token).deadline = Some(at);
                    self.look_by(token, at);
                }
            }
            Op::Extend(which, by) => {
                let until = Some(now + span(by));
                if let Some(token) = self.pick_running(which) {
                    let facts = self.sim.facts(token);
                    facts.extended_until = facts.extended_until.max(until);
                }
            }
            Op::Hold(which, by) => {
                let until = Some(now + span(by));
                if let Some(token) = self.pick_running(which) {
                    let facts = self.sim.facts(token);
                    facts.hold_until = facts.hold_until.max(until);
                }
            }
            Op::Listen(which, listens) => {
                if let Some(token) = self.pick_running(which) {
                    self.sim.facts(token).listens = listens;
                }
            }
            Op::Hooks(which, hooks) => {
                if let Some(token) = self.pick_running(which) {
                    self.sim.facts(token).hooks = hooks;
                }
            }
            Op::Comes(which, comes) => {
                if let Some(token) = self.pick(which, |_| true) {
                    self.sim.task(token).comes = comes;
                }
            }
            op => self.tell_verb(op),
        }
    }

    fn look_by(&mut self, token: Token, at: Time) {
        let key = self.sim.key(token);
        self.sim.say(|lane, _, _| lane.look_by(key, at));
    }

    fn tell_verb(&mut self, op: Op) {
        let now = self.sim.now;
        match op {
            Op::Resize(most) => {
                let most = usize::from(most % 6);
                self.model.max_concurrent = most;
                self.book.tally.resized += 1;
                self.sim
                    .say(|lane, now, effects| lane.set_max_concurrent(now, most, effects));
            }
            Op::SetAnew(anew) => {
                let settings = self.scenario.set(anew);
                self.model.max_concurrent = settings.max_concurrent;
                self.model.max_orphans = settings.max_orphans;
                self.model.aging = settings.aging;
                self.quiet.set_anew(settings.warn_after);
                self.book.tally.resized += 1;
                self.sim
                    .say(|lane, now, effects| lane.set_anew(now, settings, effects));
            }
            Op::Pause(span) => {
                let until = span.map(|span| now + self.scenario.units(1 + span % 24));
                self.model.paused = true;
                self.model.resumes_at = until;
                self.sim.say(|lane, _, _| lane.pause(until));
            }
            Op::Resume => {
                self.model.paused = false;
                self.model.resumes_at = None;
                self.model.holding = false;
                if self.model.door != Door::Shutdown {
                    self.model.door = Door::Open;
                }
                self.sim.say(|lane, now, effects| lane.resume(now, effects));
            }
            Op::Clear => {
                self.book.cause.clears = true;
                self.book.cause.empties = true;
                self.sim.clear();
            }
            Op::CancelAll => {
                self.book.cause.reason = Some(Reason::User);
                self.book.cause.empties = true;
                let reason = Reason::User;
                self.sim.say(|lane, now, effects| {
                    lane.clear(now, effects, |waited| End::CancelledQueued {
                        reason,
                        waited,
                    });
                    effects.push(Effect::AskHolders { reason });
                });
            }
            Op::Reset => {
                self.book.cause.reason = Some(Reason::Reset);
                self.model.by_force = true;
                self.sim.reset();
            }
            Op::Drain {
                deadline,
                admit_descendants,
                queued,
                holds,
            } => {
                let queued = leftover(queued);
                let deadline = now + self.scenario.units(deadline % 24);
                if self.model.door != Door::Shutdown {
                    self.model.door = Door::Draining {
                        admit_descendants,
                        queued,
                        deadline,
                        over: false,
                    };
                    self.model.holding = queued != Leftover::Run;
                }
                self.sim.holding = true;
                self.sim.say(|lane, _, _| {
                    lane.start_draining(deadline, admit_descendants, queued);
                    lane.hold_for_drain();
                });
                // A drain that hands nobody back has nothing to wait for.
                if !holds || queued == Leftover::Run {
                    self.settle_drain();
                }
            }
            Op::SettleDrain => self.settle_drain(),
            Op::Close => {
                self.model.closed = true;
                self.sim.say(|lane, _, _| lane.close());
            }
            Op::Shutdown => {
                self.book.cause.reason = Some(Reason::Shutdown);
                self.model.door = Door::Shutdown;
                self.sim
                    .say(|lane, now, effects| lane.shutdown(now, effects));
            }
            Op::NoMoreOrphans(none) => {
                self.sim.no_more_orphans = none;
                self.model.no_more_orphans = none;
            }
            Op::RootSpeaks(speaks) => self.sim.root_speaks = speaks,
            Op::WantIdle if !self.sim.lane.is_idle() => {
                self.book.idle_wanted = true;
                self.sim.lane.want_idle();
            }
            _ => {}
        }
        self.sim.holding = self.model.holding;
    }

    /// Everybody who waits now leaves, but for those whom the drain admitted.
    fn settle_drain(&mut self) {
        let leaving = self.sim.lane.waiting();
        self.book.cause.reason = Some(Reason::Draining);
        let held = std::mem::take(&mut self.model.holding);
        self.book.cause.empties = held;
        if !held {
            self.book.cause.reason = None;
        }
        self.sim.holding = false;
        self.sim
            .say(|lane, now, effects| lane.settle_drain(now, &leaving, effects));
    }

    /// S2: whoever comes a second time changes nothing.
    fn come_too_late(&mut self, which: Which, completed: bool) {
        let lives = self.book.lives.iter().zip(0..);
        let gone: Vec<Token> = lives
            .filter(|(life, _)| life.stage == Stage::Gone)
            .map(|(_, token)| token)
            .collect();
        let Some(at) = usize::from(which).checked_rem(gone.len()) else {
            return;
        };
        let key = self.sim.key(gone[at]);
        let released = self.sim.lane.release(key, completed);
        assert!(matches!(released, Released::Unknown), "S2");
        assert_eq!(self.sim.lane.forget_orphan(key), None, "S2");
        assert!(!self.sim.cancel(gone[at], Reason::User), "S2");
        assert_eq!(
            self.prints(),
            self.before,
            "S2: a latecomer changed something"
        );
    }
}

const fn comer(token: Token, spec: &Spec, entry: Entry) -> Comer {
    Comer {
        token,
        seq: token as u64,
        priority: spec.priority,
        entry,
    }
}

const fn is_claimed(stage: Stage) -> bool {
    !matches!(
        stage,
        Stage::Queued | Stage::Asleep | Stage::Granted | Stage::Gathers | Stage::Placed { .. }
    )
}

const fn waits_or_granted(stage: Stage) -> bool {
    matches!(
        stage,
        Stage::Queued | Stage::Asleep | Stage::Granted | Stage::Gathers
    )
}
