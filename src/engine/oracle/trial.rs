//! One lane on trial: it is told something, and everything that it did is held
//! against its promises.

use super::book::{Book, Cause};
use super::life::{Life, Stage};
use super::model::{Door, Model};
use super::ops::{Newcomer, Op, Scenario, Which, leftover};
use super::quiet::Quiet;
use super::sim::{Event, Sim, Token, secs};
use crate::engine::queue::Place;
use crate::engine::{
    Effect, End, Key, Leftover, Priority, Reason, Released, Settings, State, TICK, Time,
};

#[derive(Debug)]
pub(in crate::engine) struct Trial {
    scenario: Scenario,
    sim: Sim,
    model: Model,
    book: Book,
    quiet: Quiet,
    before: Vec<Print>,
    /// How many operations came to something.
    pub(in crate::engine) operations: u64,
}

/// What must not change of a task that nobody touches (S4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Print {
    token: Token,
    key: Key,
    priority: Priority,
    place: Place,
    enqueued: Time,
    started: Time,
    state: State,
    end: Option<End>,
    /// When it is looked at next.
    moment: Option<Time>,
}

impl Trial {
    pub(in crate::engine) fn new(scenario: Scenario) -> Self {
        let settings = scenario.settings();
        let Settings {
            max_concurrent,
            max_orphans,
            aging,
            warn_after,
            observe_only,
        } = settings;
        let mut sim = Sim::with(settings);
        sim.traced = true;
        let mut trial = Self {
            scenario,
            model: Model::new(max_concurrent, max_orphans, aging),
            book: Book::new(sim.now, observe_only),
            quiet: Quiet::new(sim.now, warn_after),
            before: Vec::new(),
            operations: 0,
            sim,
        };
        trial.note_room();
        trial
    }

    /// Tells the lane, and judges it. Panics with the promise that was broken.
    pub(in crate::engine) fn apply(&mut self, op: Op) {
        self.operations += 1;
        self.book.cause = Cause::default();
        self.before = self.prints();
        let drove = self.tell(op);
        self.judge();
        if drove {
            self.book.check_in_time(self.sim.now, &self.sim);
            self.quiet.check_in_time(self.sim.now, &self.model);
        }
    }

    /// Carries out one operation; whether the driver has come up to now.
    fn tell(&mut self, op: Op) -> bool {
        match op {
            Op::Submit(newcomer) => self.submit(&newcomer),
            Op::Run(ticks) => return self.run(TICK * u32::from(ticks % 600)),
            Op::RunUnits(units) => return self.run(self.scenario.units(units % 64)),
            Op::Oversleep(ticks) => {
                let due = self.sim.alarm;
                self.book.cause.time = true;
                self.sim.oversleep(TICK * u32::from(ticks % 600));
                self.book.woken = self.sim.now;
                if due.is_some_and(|at| at <= self.sim.now) {
                    self.wake_up();
                    return true;
                }
            }
            Op::Late(ticks) => {
                self.sim.now = self.sim.now + TICK * u32::from(ticks % 600);
                self.book.woken = self.sim.now;
            }
            op => self.tell_lane(op),
        }
        false
    }

    fn run(&mut self, span: std::time::Duration) -> bool {
        self.book.cause.time = true;
        if self.book.woken == self.sim.now {
            self.sim.run_for(std::time::Duration::ZERO);
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

    fn submit(&mut self, newcomer: &Newcomer) {
        let (spec, entry) = (
            newcomer.spec(&self.scenario),
            newcomer.entry(&self.scenario),
        );
        let now = self.sim.now;
        let (ahead, active) = (self.model.ahead(spec.priority), self.model.active());
        let token = Token::try_from(self.sim.tasks.len()).expect("few tasks");
        let priority = spec.priority;
        let right = self.model.arrive(now, token, priority, entry);
        let came = self.sim.enter(spec, entry);
        assert_eq!(came.map(|_| ()), right.map(|_| ()), "who is admitted");
        let Ok(starts) = right else {
            assert_eq!(self.prints(), self.before, "a refusal changed something");
            return;
        };
        self.book.tally.submitted += 1;
        let since = now.before(entry.waited);
        self.book.lives.push(Life::new(now, since, ahead, active));
        let started =
            self.sim.log.first() == Some(&(now.since(self.sim.begun), Event::Granted(token)));
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
        let task = self.sim.task(token);
        task.comes = newcomer.manners.comes;
        task.just_in_time = newcomer.manners.just_in_time;
        task.facts.listens = newcomer.manners.listens;
        task.facts.hooks = newcomer.manners.hooks;
    }

    /// Somebody whose stage allows it.
    fn pick(&mut self, which: Which, can: impl Fn(Stage) -> bool) -> Option<Token> {
        let lives = self.book.lives.iter().zip(0..);
        let all: Vec<Token> = lives
            .filter(|(life, _)| life.stage != Stage::Gone && can(life.stage))
            .map(|(_, token)| token)
            .collect();
        let token = *all.get(usize::from(which).checked_rem(all.len())?)?;
        self.book.cause.target = Some(token);
        Some(token)
    }

    fn pick_running(&mut self, which: Which) -> Option<Token> {
        self.pick(which, |stage| {
            matches!(stage, Stage::Running | Stage::Detached)
        })
    }

    fn tell_lane(&mut self, op: Op) {
        let now = self.sim.now;
        match op {
            Op::Complete(which) => {
                if let Some(token) = self.pick(which, is_claimed) {
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
                    let orphan = self.sim.state(token) == Some(State::Orphan);
                    assert_eq!(self.sim.cancel(token, Reason::User), !orphan);
                }
            }
            Op::Poll(which) => {
                let polled =
                    |stage| matches!(stage, Stage::Queued | Stage::Asleep | Stage::Granted);
                if let Some(token) = self.pick(which, polled) {
                    if self.model.rejoin(token) {
                        self.book.life(token).stage = Stage::Queued;
                        self.quiet.queued(now);
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
                    assert_eq!(self.sim.lane.forget_orphan(key), Some(token));
                    self.model.forget(token);
                    self.book.life(token).stage = Stage::Gone;
                    // One that is about to deliver a late result does so yet.
                    if self.sim.task(token).settled.is_none() {
                        self.sim.dropped.push(token);
                    }
                }
            }
            Op::Withdraw(which) => {
                let waits = |stage| matches!(stage, Stage::Queued | Stage::Asleep | Stage::Granted);
                if let Some(token) = self.pick(which, waits) {
                    self.book.cause.reason = Some(Reason::RuntimeShutdown);
                    let key = self.sim.key(token);
                    if self.sim.withdrawn(token) {
                        self.sim.trace(Event::Withdrawn(token));
                    }
                    self.sim.say(|lane, now, effects| {
                        lane.withdraw(key, End::RuntimeShutdown, effects);
                        lane.dispatch(now, effects);
                        lane.settled_all(effects);
                    });
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
                if let Some(token) = self.pick_running(which) {
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
                if let Some(token) = self.pick_running(which) {
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
                if let Some(token) = self.pick_running(which) {
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
                self.sim
                    .say(|lane, now, effects| lane.set_max_concurrent(now, most, effects));
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
                self.sim.clear();
            }
            Op::CancelAll => {
                self.book.cause.reason = Some(Reason::User);
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

    // What is judged after every operation.

    fn judge(&mut self) {
        self.note_room();
        let log = self.sim.timed();
        let target = self.book.cause.target;
        for (after, event) in &log {
            let at = self.sim.begun + *after;
            self.pass(at);
            if let (Some(target), Some(token)) = (target, whose(event)) {
                let dispatched = matches!(event, Event::Granted(_) | Event::Claimed(_));
                assert!(
                    token == target || dispatched,
                    "S4: {event:?} by what was done to {target}"
                );
            }
            let held = matches!(event, Event::Released { task, .. }
                if self.book.life(*task).holds_slot());
            self.book.saw(at, event, &self.sim, &self.model);
            self.model.saw(at, event);
            self.quiet
                .saw(at, event, &self.sim, &self.model, &self.book.lives);
            if held {
                self.quiet.vacated(&self.model);
            }
            self.note_room_at(at);
        }
        self.pass(self.sim.now);
        self.sim.holding = self.model.holding;
        self.model.by_force = false;
        self.note_room();
        self.quiet
            .look(self.sim.now, &self.sim, &self.model, &self.book.lives);
        self.book.check_told(&self.model);
        self.compare();
        self.check_siblings(&log);
        self.before = self.prints();
    }

    fn pass(&mut self, at: Time) {
        if self.book.cause.time {
            self.model.pass(at);
        }
    }

    fn note_room(&mut self) {
        self.note_room_at(self.sim.now);
    }

    fn note_room_at(&mut self, at: Time) {
        if !self.model.has_room() {
            self.book.last_full = Some(at);
        }
    }

    fn compare(&self) {
        let (lane, model) = (&self.sim.lane, &self.model);
        assert_eq!(lane.is_paused(), model.paused, "it resumes by itself");
        assert_eq!(lane.active(), model.active(), "S2");
        assert_eq!(lane.queued(), model.queued(), "S2");
        assert_eq!(lane.orphans(), model.orphans(), "S2");
        assert!(model.is_served(), "S5: an eligible waiter waits");
        let told = self.book.tally;
        let tally = lane.tally();
        assert_eq!(
            (tally.submitted, tally.started, tally.completed),
            (told.submitted, told.started, told.completed),
            "S2: submitted, started, completed"
        );
        assert_eq!(
            (tally.taken, tally.late, tally.reclaimed),
            (told.taken, told.late, told.reclaimed),
            "S2: taken, late, reclaimed"
        );
        let alive = self.book.lives.iter();
        let alive = alive.filter(|life| life.stage != Stage::Gone).count();
        assert_eq!(
            lane.records().count(),
            alive,
            "S15: a record too many or few"
        );
        assert!(alive > 0 || lane.footprint() <= 4 * 64, "S15");
    }

    /// S4: who was not concerned is as before.
    fn check_siblings(&self, log: &[(std::time::Duration, Event)]) {
        let cause = self.book.cause;
        let after = self.prints();
        for before in &self.before {
            let Some(after) = after.iter().find(|after| after.token == before.token) else {
                continue;
            };
            assert_eq!(
                (after.key, after.priority, after.place, after.enqueued),
                (before.key, before.priority, before.place, before.enqueued),
                "S4: its place"
            );
            let concerned = log
                .iter()
                .any(|(_, event)| whose(event) == Some(before.token))
                || cause.target == Some(before.token);
            if !concerned && !cause.time {
                assert_eq!(after, before, "S4: nobody touched it");
            } else if !concerned {
                assert_eq!(after.started, before.started, "S4: its start");
            }
        }
    }

    fn prints(&self) -> Vec<Print> {
        let lane = &self.sim.lane;
        let print = |(key, record): (Key, &crate::engine::task::Record<Token>)| Print {
            token: record.payload,
            key,
            priority: record.priority,
            place: record.place,
            enqueued: record.enqueued,
            started: record.started,
            state: record.state,
            end: record.end,
            moment: lane.timers.moment(key.index),
        };
        lane.records().map(print).collect()
    }

    /// S7: everybody is told in the end, and nothing is left (S15).
    pub(in crate::engine) fn wind_up(mut self) {
        self.apply(Op::NoMoreOrphans(false));
        self.apply(Op::Shutdown);
        self.run(self.scenario.units(16) + secs(60));
        self.judge();
        self.book.check_in_time(self.sim.now, &self.sim);
        assert_eq!(self.sim.lane.active(), 0, "S7");
        assert_eq!(self.sim.lane.queued(), 0, "S7");
        for token in 0..self.book.lives.len() {
            if self.book.lives[token].stage != Stage::Gone {
                self.apply(Op::Drop(0));
            }
        }
        assert_eq!(self.sim.lane.records().count(), 0, "S15");
        for (token, task) in (0..).zip(&self.sim.tasks) {
            let told = task.settled.is_some() || self.sim.dropped.contains(&token);
            assert!(told, "S7: {token} was never told");
        }
        assert!(self.sim.lane.footprint() <= 4 * 64, "S15");
        self.run(self.scenario.units(64));
        let left = self.sim.lane.rearm();
        assert_eq!(left, None, "S15: a timer for nobody");
    }
}

const fn is_claimed(stage: Stage) -> bool {
    !matches!(stage, Stage::Queued | Stage::Asleep | Stage::Granted)
}

const fn whose(event: &Event) -> Option<Token> {
    use crate::engine::Notice;
    match event {
        Event::Granted(task)
        | Event::Unclaimed(task)
        | Event::Asked(task, _)
        | Event::ToldToDrop(task, _)
        | Event::EndTeardown(task)
        | Event::Lost(task)
        | Event::Settled(task, _)
        | Event::Released { task, .. }
        | Event::Claimed(task)
        | Event::Withdrawn(task)
        | Event::TeardownBegun(task)
        | Event::Notice(
            Notice::Stalled { task, .. }
            | Notice::Reclaimed { task, .. }
            | Notice::TakeRefused { task, .. }
            | Notice::NeverReports { task, .. }
            | Notice::WaitExceeded { task, .. }
            | Notice::OnWait { task, .. },
        ) => Some(*task),
        Event::Idle | Event::Looked(_) => None,
    }
}
