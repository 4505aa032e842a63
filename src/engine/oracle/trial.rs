//! One lane on trial: it is told something, and everything that it did is held
//! against its promises.

use super::book::{Book, Cause};
use super::life::Stage;
use super::model::{Door, Model};
use super::ops::{Op, Scenario};
use super::quiet::Quiet;
use super::sim::{Event, Sim, Token, secs};
use crate::engine::queue::Place;
use crate::engine::{Effects, End, Key, Priority, Settings, State, Time, Verdict};

#[derive(Debug)]
pub(in crate::engine) struct Trial {
    pub(super) scenario: Scenario,
    pub(super) sim: Sim,
    pub(super) model: Model,
    pub(super) book: Book,
    pub(super) quiet: Quiet,
    pub(super) before: Vec<Print>,
    /// How many operations came to something.
    pub(in crate::engine) operations: u64,
}

/// What must not change of a task that nobody touches (S4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Print {
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
            queue_capacity,
            max_parked,
        } = settings;
        let mut sim = Sim::with(settings);
        sim.traced = true;
        let mut trial = Self {
            scenario,
            model: Model::new(
                max_concurrent,
                max_orphans,
                aging,
                queue_capacity,
                max_parked,
            ),
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

    pub(super) fn judge(&mut self) {
        self.note_room();
        let log = self.sim.timed();
        let target = self.book.cause.target;
        for (after, event) in &log {
            let at = self.sim.begun + *after;
            self.pass(at);
            if let (Some(target), Some(token)) = (target, whose(event)) {
                let dispatched = matches!(
                    event,
                    Event::Waited { .. } | Event::Granted(_) | Event::Placed(_) | Event::Claimed(_)
                );
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
        self.look_early();
        self.audit();
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
        assert_eq!(lane.queued(), model.in_queue(), "S2");
        assert_eq!(lane.waiters(), model.queued(), "S2");
        assert_eq!(lane.kept(), model.kept(), "S2");
        assert_eq!(lane.parked(), model.away(), "S2: who is to come back");
        for (_, record) in lane.records() {
            let at_door = model.is_at_door(record.payload);
            assert_eq!(
                record.state == State::AtDoor,
                at_door,
                "S6: who is at the door"
            );
        }
        assert_eq!(lane.orphans(), model.orphans(), "S2");
        assert_eq!(lane.is_idle(), model.is_idle(), "S7: whether it is idle");
        let resumes = model.resumes_at.is_some();
        assert_eq!(lane.resumes_by_itself(), resumes, "a pause with an end");
        let closed = model.closed || model.door == Door::Shutdown;
        assert_eq!(lane.is_closed(), closed, "it takes nobody for good");
        assert!(model.is_served(), "S5: an eligible waiter waits");
        let told = self.book.tally;
        assert_eq!(lane.tally(), told, "S2: what is counted");
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
            if !concerned && !cause.time && before.state == State::AtDoor {
                // It may have come in, and that is nothing to tell it.
                let state = after.state;
                assert!(state.waits(), "S4: {state:?}");
                assert_eq!(*after, Print { state, ..*before }, "S4: nobody touched it");
            } else if !concerned && !cause.time {
                assert_eq!(after, before, "S4: nobody touched it");
            } else if !concerned {
                assert_eq!(after.started, before.started, "S4: its start");
            }
        }
    }

    /// An inspection may come with a moment that was set before: nobody who is
    /// not due now is told anything, and nobody's next look is moved.
    fn look_early(&mut self) {
        let now = self.sim.now;
        let prints = self.prints();
        for before in &prints {
            let due = match before.state {
                // Of a task that runs, this look sees more than the last did.
                State::Granted | State::Placed => true,
                State::Running | State::ComingBack | State::Detached => true,
                // It may have been put off further than it was to be looked at.
                State::Quiet { .. } => true,
                // It may be looked at for a limit that it had when it was active.
                State::Parked { until } => before.moment.is_some_and(|at| at <= now || at < until),
                // One that was refused is tried again, at any time.
                State::Dropping { take_at } => take_at <= now,
                // Its hooks were told to end, and may be told so again.
                State::Orphan => before.moment.is_none_or(|at| at <= now),
                _ => before.moment.is_some_and(|at| at <= now),
            };
            if due {
                continue;
            }
            let (spec, facts) = self.sim.known(before.token);
            let mut effects = Effects::new();
            let lane = &mut self.sim.lane;
            let verdict = lane.judge(now, before.key, &spec, &facts, &mut effects);
            let came_to = (verdict, effects.iter().count());
            assert_eq!(came_to, (Verdict::Nothing, 0), "too early: {before:?}");
        }
        assert_eq!(self.prints(), prints, "a look that was not due");
    }

    /// The books are right, and to look at them changes nothing.
    fn audit(&mut self) {
        let (before, armed) = (self.prints(), self.sim.lane.armed);
        let (mut effects, now) = (Effects::new(), self.sim.now);
        let found = self.sim.lane.audit(now, &mut effects);
        assert_eq!((found, effects), (Vec::new(), Effects::new()), "S5");
        assert_eq!(self.prints(), before, "S4: an audit touched somebody");
        self.sim.lane.armed = armed;
    }

    pub(super) fn prints(&self) -> Vec<Print> {
        let lane = &self.sim.lane;
        let print = |(key, record): (Key, &crate::engine::task::Record<Token>)| Print {
            token: record.payload,
            key,
            priority: record.priority,
            place: record.place,
            enqueued: record.enqueued,
            started: record.started,
            state: record.state,
            end: record.end(),
            moment: lane.moment(key),
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
        let lives = &self.book.lives;
        let ledger = &self.sim.ledger;
        ledger.check_all_told(|token| lives[token as usize].stands_in);
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

const fn whose(event: &Event) -> Option<Token> {
    use crate::engine::Notice;
    match event {
        Event::Granted(task)
        | Event::Placed(task)
        | Event::Entered(task)
        | Event::Unclaimed(task)
        | Event::Asked(task, _)
        | Event::ToldToDrop(task, _)
        | Event::EndTeardown(task)
        | Event::Lost(task)
        | Event::Settled(task, _)
        | Event::Released { task, .. }
        | Event::Waited { task, .. }
        | Event::Claimed(task)
        | Event::Withdrawn(task)
        | Event::Gathered(task)
        | Event::Outwaited(task)
        | Event::Overlooked(task)
        | Event::TeardownBegun(task)
        | Event::Notice(
            Notice::Stalled { task, .. }
            | Notice::Reclaimed { task, .. }
            | Notice::TakeRefused { task, .. }
            | Notice::Lapsed { task }
            | Notice::NeverReports { task, .. }
            | Notice::WaitExceeded { task, .. }
            | Notice::OnWait { task, .. },
        ) => Some(*task),
        Event::Idle | Event::Looked(_) => None,
    }
}
