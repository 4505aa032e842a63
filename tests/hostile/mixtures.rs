//! Random mixtures over several lanes, nested too, in virtual time.

use std::time::Duration;

use laneway::testing::{Expected, Hostile, Trial};
use laneway::{Lane, Lanes, Priority, TaskBuilder, TaskError, TaskHandle, Timeout};

use crate::common::{MINUTE, SECOND, TICK, let_run, now, poll_once};
use crate::kinds::{BUDGET, CEILING, GRACE, assert_as_before, config, pass, paused};
use crate::proof::{Dice, prove};

/// Lanes that nest in their order, so that nobody waits in a circle.
pub(crate) struct Fleet {
    pub(crate) lanes: Lanes,
    pub(crate) all: Vec<Lane>,
}

/// A task that runs another one in an inner lane.
pub(crate) type Nested = (Hostile, TaskHandle<Result<Hostile, TaskError>>);

impl Fleet {
    pub(crate) fn new(dice: &mut Dice, config: impl Fn(usize) -> laneway::LaneConfig) -> Self {
        let names = ["session", "main", "provider"];
        let mut builder = Lanes::builder().max_orphans(10_000);
        for name in names {
            builder = builder.lane(name, config(1 + dice.index(3)));
        }
        let lanes = builder.build().unwrap();
        let all = names.iter().map(|name| lanes.lane(name).unwrap()).collect();
        Self { lanes, all }
    }

    pub(crate) fn any(&self, dice: &mut Dice) -> &Lane {
        &self.all[dice.index(self.all.len())]
    }

    pub(crate) fn orphans(&self) -> usize {
        let lanes = self.lanes.snapshot().lanes;
        lanes.iter().map(|lane| lane.orphans.len()).sum()
    }

    /// Lets time go on until nobody is queued or active.
    pub(crate) async fn idle_within(&self, longest: Duration, trials: &[Trial]) {
        let began = now();
        while !self.is_idle() {
            pass(TICK * 10, trials).await;
            assert!(now() - began < longest, "{:#?}", self.lanes.snapshot());
        }
    }

    /// Nobody is queued or active.
    pub(crate) fn is_idle(&self) -> bool {
        let snapshot = self.lanes.snapshot();
        let mut lanes = snapshot.lanes.iter();
        lanes.all(|lane| lane.active.is_empty() && lane.queued.is_empty())
    }
}

pub(crate) fn priority(dice: &mut Dice) -> Priority {
    [Priority::Foreground, Priority::Normal, Priority::Background][dice.index(3)]
}

/// What goes on for ever gets a budget.
pub(crate) fn bounded<'a>(task: TaskBuilder<'a>, kind: Hostile) -> TaskBuilder<'a> {
    match kind.expected() {
        Expected::Endless => task.timeout(Timeout::budget(BUDGET)),
        _ => task,
    }
}

/// A task in an outer lane that runs one of this kind in an inner one.
pub(crate) fn nest(kind: Hostile, outer: TaskBuilder<'_>, inner: Lane, limited: bool) -> Nested {
    let handle = outer.spawn(async move |_| {
        let task = bounded(inner.task().name("inner"), kind);
        let task = if limited {
            task
        } else {
            task.no_stall_ceiling()
        };
        task.run(async move |_| kind.await).await
    });
    (kind, handle)
}

/// Asks everybody who can be asked, and judges the answers.
pub(crate) async fn judge(trials: &mut [Trial], nested: Vec<Nested>) {
    for trial in trials {
        let kind = trial.kind();
        let answer = trial.answer().await;
        assert!(
            kind.expected().admits(answer.as_ref()),
            "{kind:?}: {answer:?}"
        );
        if let Some(Ok(value)) = answer {
            assert_eq!(value, kind);
        }
    }
    for (kind, handle) in nested {
        // The one that waits is healthy, whatever it waits for (S9).
        let inner = handle
            .await
            .unwrap_or_else(|e| panic!("around {kind:?}: {e}"));
        assert!(kind.expected().admits(Some(&inner)), "{kind:?}: {inner:?}");
    }
}

#[test]
fn s4_s7_s8_a_mixture_harms_nobody_who_is_well() {
    prove("s4_s7_s8_a_mixture_harms_nobody_who_is_well", 8, |seed| {
        let mut dice = Dice::new(seed);
        let tasks = 12 + dice.index(24);
        paused().block_on(mixture(&mut dice, tasks));
        tasks
    });
}

async fn mixture(dice: &mut Dice, tasks: usize) {
    let fleet = Fleet::new(dice, config);
    let (mut trials, mut nested) = (Vec::new(), Vec::new());
    for _ in 0..tasks {
        let kind = Hostile::ALL[dice.index(Hostile::ALL.len())];
        if kind.is_future() && dice.below(3) == 0 {
            let outer = dice.index(2);
            let inner = outer + 1 + dice.index(2 - outer);
            let outer = fleet.all[outer].task().priority(priority(dice));
            nested.push(nest(
                kind,
                outer.name("outer"),
                fleet.all[inner].clone(),
                true,
            ));
        } else {
            let task = fleet.any(dice).task().priority(priority(dice));
            trials.push(bounded(task, kind).submit_as(kind));
        }
        if dice.below(4) == 0 {
            pass(TICK * dice.below(12) as u32, &trials).await;
        }
    }
    // Each of them may hold a slot for its limits, one after another.
    let longest = (CEILING.max(BUDGET) + GRACE * 2 + TICK * 4) * (tasks as u32 + 2);
    fleet.idle_within(longest, &trials).await;
    // Later tasks run, though some threads are still blocked.
    for lane in &fleet.all {
        let mut later = lane.spawn(async |_| 7);
        let_run().await;
        let later = poll_once(std::pin::Pin::new(&mut later));
        assert!(matches!(later, std::task::Poll::Ready(Ok(7))), "{later:?}");
    }
    for trial in &mut trials {
        trial.release();
    }
    let judged = judge(&mut trials, nested);
    tokio::time::timeout(MINUTE, judged)
        .await
        .expect("everybody is told");
    let forgotten =
        |trial: &&Trial| matches!(trial.kind(), Hostile::Leaked | Hostile::ForgottenSlot);
    let forgotten = trials.iter().filter(forgotten).count();
    drop(trials);
    // Threads come to their ends in their own time.
    crate::common::until(|| fleet.orphans() == forgotten).await;
    for lane in &fleet.all {
        assert_as_before(&fleet.lanes, lane, true).await;
    }
}

/// The same kinds, where a lane may have one orphan at most: then it is full
/// of phantoms, says so, and heals when they let go (S10).
#[test]
fn s10_a_lane_full_of_phantoms_heals_when_they_let_go() {
    prove(
        "s10_a_lane_full_of_phantoms_heals_when_they_let_go",
        4,
        |seed| {
            let mut dice = Dice::new(seed);
            let blocking: Vec<_> = Hostile::ALL
                .iter()
                .copied()
                .filter(|k| k.blocks_a_thread())
                .collect();
            paused().block_on(async {
                let fleet = Fleet::new(&mut dice, |slots| config(slots).max_orphans(1));
                let mut trials = Vec::new();
                for lane in &fleet.all {
                    for _ in 0..5 {
                        let kind = blocking[dice.index(blocking.len())];
                        trials.push(kind.submit(lane.task()));
                    }
                }
                let later: Vec<_> = fleet
                    .all
                    .iter()
                    .map(|lane| lane.spawn(async |_| 7))
                    .collect();
                pass(SECOND * 2, &trials).await;
                for lane in fleet.lanes.snapshot().lanes {
                    let (active, orphans) = (lane.active.len(), lane.orphans.len());
                    assert_eq!((active, orphans), (lane.max_concurrent, 1), "{lane:#?}");
                }
                for trial in &mut trials {
                    trial.release();
                }
                // Those that were queued have their turn, on their threads: the
                // clock does not move by itself before they are through.
                fleet.idle_within(SECOND * 20, &trials).await;
                for later in later {
                    let later = tokio::time::timeout(MINUTE, later).await;
                    assert_eq!(later.expect("it runs").unwrap(), 7);
                }
                drop(trials);
                for lane in &fleet.all {
                    assert_as_before(&fleet.lanes, lane, false).await;
                }
            });
            15
        },
    );
}

/// The order of words in which a test reads best.
pub(crate) trait SubmitAs {
    fn submit_as(self, kind: Hostile) -> Trial;
}

impl SubmitAs for TaskBuilder<'_> {
    fn submit_as(self, kind: Hostile) -> Trial {
        kind.submit(self)
    }
}
