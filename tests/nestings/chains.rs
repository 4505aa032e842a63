//! Random chains, nestings and waits for somebody. Where all lanes are entered in
//! one order nobody can be stuck, and nobody is refused; in any other order
//! whoever is stuck is refused, and everything else finishes.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use laneway::{GroupConfig, LaneConfig, Lanes, Reason, TaskContext, TaskError, WaitingError};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::time::{sleep, timeout};

use crate::recorded::{recorded, reproduces};

const LANES: usize = 5;
const LONG: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug)]
pub(crate) struct Case {
    slots: [usize; LANES],
    /// The budget of the first two lanes, and the order in which lanes are entered
    /// is then nobody's.
    budget: Option<usize>,
    tasks: Vec<Task>,
}

#[derive(Clone, Debug)]
pub(crate) struct Task {
    lanes: Vec<usize>,
    detached: bool,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Sleep(u64),
    Nest(Task),
    Both(Vec<Self>, Vec<Self>),
    /// For so long, without the last so many of its slots.
    Park(u64, usize),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) served: usize,
    pub(crate) refused: usize,
}

fn task(steps: impl Strategy<Value = Vec<Step>> + 'static) -> BoxedStrategy<Task> {
    (vec(0..LANES, 1..4), any::<bool>(), steps)
        .prop_map(|(lanes, detached, steps)| Task {
            lanes,
            detached,
            steps,
        })
        .boxed()
}

fn steps() -> BoxedStrategy<Vec<Step>> {
    let leaf = prop_oneof![
        2 => (1..20_u64).prop_map(Step::Sleep),
        2 => (1..20_u64, 0..4_usize).prop_map(|(time, slots)| Step::Park(time, slots)),
    ];
    let step = leaf.prop_recursive(3, 16, 3, |step| {
        let steps = vec(step, 0..3).boxed();
        prop_oneof![
            4 => task(steps.clone()).prop_map(Step::Nest),
            1 => (steps.clone(), steps).prop_map(|(one, other)| Step::Both(one, other)),
        ]
    });
    vec(step, 0..4).boxed()
}

pub(crate) fn cases() -> impl Strategy<Value = Case> {
    let slots = [1..=2_usize, 1..=3, 1..=1, 1..=2, 1..=3];
    let budget = prop::option::weighted(0.3, 1..=2_usize);
    (slots, budget, vec(task(steps()), 1..8)).prop_map(|(slots, budget, tasks)| Case {
        slots,
        budget,
        tasks,
    })
}

struct Scene {
    lanes: Lanes,
    ordered: bool,
    told: Mutex<Told>,
}

/// `ordered` says that every lane is entered after all those before it, whatever
/// the case says.
pub(crate) fn play(case: &Case, ordered: bool) -> Told {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut lanes = Lanes::builder();
        for (n, slots) in case.slots.iter().enumerate() {
            let config = LaneConfig::new(*slots).no_stall_ceiling();
            lanes = lanes.lane(name(n), config);
        }
        if let Some(budget) = case.budget.filter(|_| !ordered) {
            let group = GroupConfig::new(budget).member(name(0)).member(name(1));
            lanes = lanes.group("two", group);
        }
        let scene = Arc::new(Scene {
            lanes: recorded(lanes).build().unwrap(),
            ordered,
            told: Mutex::default(),
        });
        let all = case.tasks.iter().map(|task| {
            let (scene, task) = (Arc::clone(&scene), task.clone());
            tokio::spawn(async move { scene.task(&task, None).await })
        });
        let all = futures::future::join_all(all);
        let over = timeout(LONG, async {
            assert!(all.await.iter().all(Result::is_ok), "a panic");
            // Whoever is parked without a slot is not waited for by that.
            let parked = || {
                let lanes = scene.lanes.snapshot().lanes;
                lanes.iter().any(|lane| !lane.parked.is_empty())
            };
            scene.lanes.idle().await;
            while parked() {
                sleep(Duration::from_millis(1)).await;
                scene.lanes.idle().await;
            }
        });
        let snapshot = |scene: &Scene| scene.lanes.snapshot();
        assert!(
            over.await.is_ok(),
            "stuck, and not refused: {:#?}",
            snapshot(&scene)
        );
        for (lane, slots) in snapshot(&scene).lanes.iter().zip(case.slots) {
            assert!(
                lane.parked.is_empty() && lane.orphans.is_empty(),
                "{lane:?}"
            );
            let handle = scene.lanes.lane(&lane.name).unwrap();
            let fits = case.budget.filter(|_| !ordered).unwrap_or(slots).min(slots);
            let all: Vec<_> = (0..fits).map(|_| handle.try_acquire()).collect();
            assert!(all.iter().all(Result::is_ok), "{lane:?}");
        }
        reproduces(&scene.lanes);
        *scene.told.lock().unwrap_or_else(PoisonError::into_inner)
    })
}

fn name(lane: usize) -> String {
    format!("lane-{lane}")
}

type Steps<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl Scene {
    fn task<'a>(self: &'a Arc<Self>, task: &'a Task, above: Option<usize>) -> Steps<'a> {
        Box::pin(async move {
            let mut lanes: Vec<usize> = Vec::new();
            for lane in &task.lanes {
                let late = self.ordered && above.is_some_and(|above| *lane <= above);
                if !late && !lanes.contains(lane) {
                    lanes.push(*lane);
                }
            }
            if self.ordered {
                lanes.sort_unstable();
            }
            let Some(last) = lanes.iter().max().copied() else {
                return;
            };
            let names: Vec<String> = lanes.into_iter().map(name).collect();
            let chain = self.lanes.chain(&names).unwrap();
            let (scene, steps) = (Arc::clone(self), task.steps.clone());
            let body = async move |cx: TaskContext| {
                assert!(cx.is_current(), "S1");
                scene.steps(&cx, &names, last, &steps).await;
                assert!(cx.is_current(), "S1");
            };
            let told = if task.detached {
                chain.spawn(move |cx| async move { body(cx).await }).await
            } else {
                Box::pin(chain.run(move |cx| async move { body(cx).await })).await
            };
            let mut count = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            match told {
                Ok(()) => count.served += 1,
                Err(
                    TaskError::WouldDeadlock { .. }
                    | TaskError::Cancelled {
                        reason: Reason::WouldDeadlock,
                        ..
                    },
                ) => count.refused += 1,
                Err(error) => panic!("{error}"),
            }
        })
    }

    fn steps<'a>(
        self: &'a Arc<Self>,
        cx: &'a TaskContext,
        lanes: &'a [String],
        last: usize,
        steps: &'a [Step],
    ) -> Steps<'a> {
        Box::pin(async move {
            for step in steps {
                match step {
                    Step::Sleep(time) => sleep(Duration::from_millis(*time)).await,
                    Step::Nest(task) => self.task(task, Some(last)).await,
                    Step::Both(one, other) => {
                        let one = self.steps(cx, lanes, last, one);
                        tokio::join!(one, self.steps(cx, lanes, last, other));
                    }
                    Step::Park(time, slots) => {
                        let kept = lanes.len().saturating_sub(*slots);
                        let wait = cx.waiting("time").release(&lanes[kept..]);
                        // Two at a time are one too many, and that is told.
                        let told = wait.on(sleep(Duration::from_millis(*time))).await;
                        if told == Err(WaitingError::NotActive) {
                            // It is being ended, and has not got its slots back.
                            std::future::pending().await
                        }
                    }
                }
            }
        })
    }
}
