//! Any sequence of inputs, against the model.

use std::time::Duration;

use proptest::prelude::*;

use super::model::Model;
use super::sim::{Event, PRESENT, Sim, millis, plain, secs, settings};
use crate::engine::{Ceiling, Entry, OnStall, Priority, Reason, Settings, Spec, State, TICK, Time};

const AGING: Duration = secs(4);

/// What somebody does. A `usize` picks one of those it can be done to.
#[derive(Clone, Copy, Debug)]
enum Op {
    Submit(Newcomer),
    Complete(usize),
    Drop(usize),
    Cancel(usize),
    Progress(usize),
    Poll(usize),
    Run(Duration),
    Oversleep(Duration),
    SetMaxConcurrent(usize),
    Pause(Option<Duration>),
    Resume,
    Clear,
    Reset,
    Forget(usize),
}

#[derive(Clone, Copy, Debug)]
struct Newcomer {
    priority: Priority,
    waited: Duration,
    ceiling: Option<Duration>,
    wait: Option<Duration>,
    present: bool,
    comes: bool,
    listens: bool,
    hooks: bool,
    detaches: bool,
}

fn newcomer() -> impl Strategy<Value = Newcomer> {
    let priority = prop_oneof![
        Just(Priority::Foreground),
        Just(Priority::Normal),
        Just(Priority::Background),
    ];
    let span = |longest: u64| (1..longest).prop_map(|n| millis(n * 500));
    let rarely = prop::bool::weighted(0.2);
    let waited = prop_oneof![4 => Just(Duration::ZERO), 1 => span(12)];
    let limits = (prop::option::of(span(8)), prop::option::of(span(20)));
    let manners = (
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.6),
        rarely,
        rarely,
        rarely,
    );
    (priority, waited, limits, manners).prop_map(
        |(priority, waited, (ceiling, wait), (present, comes, listens, hooks, detaches))| {
            Newcomer {
                priority,
                waited,
                ceiling,
                wait,
                present,
                comes,
                listens,
                hooks,
                detaches,
            }
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let span = || (1u64..400).prop_map(|n| TICK * u32::try_from(n).expect("small"));
    let which = any::<usize>;
    prop_oneof![
        12 => newcomer().prop_map(Op::Submit),
        6 => which().prop_map(Op::Complete),
        2 => which().prop_map(Op::Drop),
        2 => which().prop_map(Op::Cancel),
        2 => which().prop_map(Op::Progress),
        2 => which().prop_map(Op::Poll),
        5 => span().prop_map(Op::Run),
        1 => span().prop_map(Op::Oversleep),
        2 => (0usize..4).prop_map(Op::SetMaxConcurrent),
        1 => prop::option::of(span()).prop_map(Op::Pause),
        2 => Just(Op::Resume),
        1 => Just(Op::Clear),
        1 => Just(Op::Reset),
        1 => which().prop_map(Op::Forget),
    ]
}

/// The lane, the model beside it, and when the machine last slept.
struct Pair {
    sim: Sim,
    model: Model,
    slept_until: Time,
    resumes_at: Option<Time>,
}

type Held = Result<(), TestCaseError>;

impl Pair {
    fn new(max_concurrent: usize, max_orphans: Option<usize>) -> Self {
        let mut sim = Sim::with(Settings {
            max_orphans,
            aging: AGING,
            ..settings(max_concurrent)
        });
        sim.traced = true;
        Self {
            model: Model::new(max_concurrent, max_orphans, AGING),
            slept_until: sim.now,
            resumes_at: None,
            sim,
        }
    }

    fn pick(&self, which: usize, can: impl Fn(State) -> bool) -> Option<u32> {
        let mut all: Vec<u32> = self
            .sim
            .lane
            .records()
            .filter(|(_, record)| can(record.state))
            .map(|(_, record)| record.payload)
            .collect();
        all.sort_unstable();
        (!all.is_empty()).then(|| all[which % all.len()])
    }

    fn apply(&mut self, op: Op) -> Held {
        match op {
            Op::Submit(newcomer) => self.submit(newcomer)?,
            Op::Complete(which) => {
                let claimed = |state| !matches!(state, State::Queued | State::Asleep);
                if let Some(task) = self.pick(which, claimed)
                    && self.sim.facts(task).claimed
                {
                    self.sim.complete(task);
                }
            }
            Op::Drop(which) => {
                if let Some(task) = self.pick(which, |_| true) {
                    self.sim.drop_it(task);
                }
            }
            Op::Cancel(which) => {
                if let Some(task) = self.pick(which, |_| true) {
                    if self.sim.withdrawn(task) {
                        self.model.withdraw(task);
                    }
                    self.sim.cancel(task, Reason::User);
                }
            }
            Op::Progress(which) => {
                if let Some(task) = self.pick(which, State::holds_slot) {
                    self.sim.progress(task);
                }
            }
            Op::Poll(which) => {
                let waits = |state| matches!(state, State::Asleep | State::Granted);
                if let Some(task) = self.pick(which, waits) {
                    self.model.rejoin(task);
                    self.sim.poll(task);
                }
            }
            Op::Run(span) => self.sim.run_for(span),
            Op::Oversleep(span) => {
                self.sim.oversleep(span);
                self.slept_until = self.sim.now;
            }
            Op::SetMaxConcurrent(max) => {
                self.model.max_concurrent = max;
                self.sim
                    .say(|lane, now, effects| lane.set_max_concurrent(now, max, effects));
            }
            Op::Pause(span) => {
                self.model.paused = true;
                self.resumes_at = span.map(|span| self.sim.now + span);
                self.sim
                    .say(|lane, now, _| lane.pause(span.map(|span| now + span)));
            }
            Op::Resume => {
                self.model.paused = false;
                self.sim.say(|lane, now, effects| lane.resume(now, effects));
            }
            Op::Clear => {
                self.sim.clear();
            }
            Op::Reset => {
                self.model.by_force = true;
                for holder in self.sim.holders() {
                    if self.sim.withdrawn(holder) {
                        self.model.withdraw(holder);
                    }
                }
                self.sim.reset();
            }
            Op::Forget(which) => {
                if let Some(task) = self.pick(which, |state| state == State::Orphan) {
                    let key = self.sim.key(task);
                    prop_assert_eq!(self.sim.lane.forget_orphan(key), Some(task));
                    self.model.forget(task);
                }
            }
        }
        self.compare()
    }

    fn submit(&mut self, newcomer: Newcomer) -> Held {
        let spec = Spec {
            priority: newcomer.priority,
            ceiling: newcomer.ceiling.map_or(Ceiling::None, Ceiling::Set),
            wait: newcomer.wait,
            on_stall: if newcomer.detaches {
                OnStall::Detach
            } else {
                OnStall::Reclaim
            },
            grace: secs(1),
            teardown: secs(1),
            ..plain()
        };
        let entry = Entry {
            present: newcomer.present,
            waited: newcomer.waited,
            ..PRESENT
        };
        let token = self.sim.enter(spec, entry).expect("an open lane");
        self.sim.task(token).comes = newcomer.comes;
        self.sim.facts(token).listens = newcomer.listens;
        self.sim.facts(token).hooks = newcomer.hooks;
        let since = self.sim.now.before(newcomer.waited);
        let starts = self.model.arrive(token, newcomer.priority, since);
        let started = self.sim.log.pop_if(|(_, e)| *e == Event::Granted(token));
        prop_assert_eq!(started.is_some(), starts, "S5, S6");
        Ok(())
    }

    fn compare(&mut self) -> Held {
        for (after, event) in self.sim.timed() {
            let at = self.sim.begun + after;
            self.model.paused &= self.resumes_at.is_none_or(|resumes| at < resumes);
            let seen = self.model.saw(at, &event);
            prop_assert_eq!(seen, Ok(()));
        }
        if self.resumes_at.is_some_and(|at| at <= self.sim.now) {
            self.model.paused = false;
            self.resumes_at = None;
        }
        self.model.by_force = false;
        let (lane, model) = (&self.sim.lane, &self.model);
        prop_assert_eq!(lane.is_paused(), model.paused, "it resumes by itself");
        prop_assert_eq!(lane.active(), model.active(), "S2");
        prop_assert_eq!(lane.queued(), model.queued(), "S2");
        prop_assert_eq!(lane.orphans(), model.orphans(), "S2");
        prop_assert!(model.is_served(), "S5: an eligible waiter waits");
        self.is_in_time()
    }

    /// S8: nobody is past its moment, but at the bound, or right after a sleep.
    fn is_in_time(&self) -> Held {
        let now = self.sim.now;
        let woken = self.slept_until + TICK;
        for (key, record) in self.sim.lane.records() {
            let task = &self.sim.tasks[record.payload as usize];
            let due = match record.state {
                State::Running | State::Granted if task.facts.claimed && !record.said.refused => {
                    let ceiling = task.spec.ceiling.after(false);
                    ceiling.map(|ceiling| task.facts.active_at.max(record.started) + ceiling)
                }
                State::Granted => Some(record.started + secs(5)),
                State::Queued | State::Asleep => {
                    task.spec.wait.map(|wait| record.enqueued + wait + TICK)
                }
                State::Asked { until } | State::Teardown { until } => Some(until),
                // At the bound it is tried again once a second (S10).
                State::Running | State::Dropping { .. } if record.said.refused => {
                    let retry = self.sim.lane.timers.moment(key.index);
                    prop_assert!(retry.is_some_and(|at| now < at && at <= now + secs(1)));
                    None
                }
                State::Dropping { take_at } => Some(take_at),
                State::Running | State::Detached | State::Orphan => None,
            };
            prop_assert!(
                due.is_none_or(|due| now < due.max(woken)),
                "S8: overdue since {due:?} at {now:?}: {record:?}"
            );
        }
        Ok(())
    }

    /// S7: everybody is told in the end, and nothing is left.
    fn wind_up(mut self) -> Held {
        self.model.by_force = true;
        self.sim
            .say(|lane, now, effects| lane.shutdown(now, effects));
        self.sim.run_for(secs(60));
        prop_assert_eq!(self.sim.lane.active(), 0);
        prop_assert_eq!(self.sim.lane.queued(), 0);
        while let Some(orphan) = self.pick(0, State::is_orphan) {
            self.sim.drop_it(orphan);
        }
        prop_assert_eq!(self.sim.lane.records().count(), 0);
        let dropped = |token: u32| self.sim.dropped.contains(&token);
        for (token, task) in (0u32..).zip(&self.sim.tasks) {
            prop_assert!(
                task.settled.is_some() || dropped(token),
                "S7: {token} was never told"
            );
        }
        prop_assert!(self.sim.lane.footprint() <= 4 * 64, "S15");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_sequence_of_inputs_keeps_the_promises(
        max_concurrent in 0usize..4,
        max_orphans in prop::option::of(0usize..3),
        ops in prop::collection::vec(op(), 0..120),
    ) {
        let mut pair = Pair::new(max_concurrent, max_orphans);
        for op in ops {
            pair.apply(op)?;
        }
        pair.wind_up()?;
    }
}
