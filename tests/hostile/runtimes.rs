//! A runtime that is shut down under load, and a second one after it (S7).

use std::pin::Pin;
use std::task::Poll;

use laneway::testing::Hostile;
use laneway::{LaneConfig, Lanes, TaskError};

use crate::common::{MINUTE, poll_once, until};
use crate::mixtures::{Fleet, priority};
use crate::proof::{Dice, prove};
use crate::real_time::{limited, short, threads};

#[test]
fn s7_a_runtime_that_goes_under_load_leaves_nobody_waiting_and_no_slot_held() {
    let test = "s7_a_runtime_that_goes_under_load_leaves_nobody_waiting_and_no_slot_held";
    prove(test, 4, |seed| {
        let mut dice = Dice::new(seed);
        let tasks = 10 + dice.index(30);
        go_under(&mut dice, tasks);
        tasks
    });
}

fn go_under(dice: &mut Dice, tasks: usize) {
    let fleet = Fleet::new(dice, short);
    let first = threads();
    let (mut trials, siblings) = first.block_on(async {
        let (mut trials, mut siblings) = (Vec::new(), Vec::new());
        for number in 0..tasks {
            let kind = Hostile::ALL[dice.index(Hostile::ALL.len())];
            let task = fleet.any(dice).task().priority(priority(dice));
            trials.push(kind.submit(limited(kind, task)));
            let sibling = fleet.any(dice).task().no_stall_ceiling();
            siblings.push(sibling.spawn(async move |_| number));
        }
        for _ in 0..dice.below(50) {
            tokio::task::yield_now().await;
        }
        (trials, siblings)
    });
    // With threads in it that are blocked.
    first.shutdown_background();
    let second = threads();
    second.block_on(async {
        // Polled here, so that somebody has a timer for what is still active.
        for (number, sibling) in siblings.into_iter().enumerate() {
            match sibling.await {
                Ok(value) => assert_eq!(value, number),
                Err(TaskError::RuntimeShutdown { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        let later = fleet.all.iter().map(|lane| {
            let task = lane.task().no_stall_ceiling();
            task.spawn(async |_| 7)
        });
        let later: Vec<_> = later.collect();
        for later in later {
            assert_eq!(later.await.unwrap(), 7);
        }
        for trial in &mut trials {
            trial.release();
        }
        // Of all of them: one with a thread of its own may submit only now, as
        // its thread outlives the runtime and may not have run yet.
        for trial in &mut trials {
            let (kind, answer) = (trial.kind(), trial.answer().await);
            let must = kind.is_future() || kind == Hostile::BlocksInClosure;
            assert!(answer.is_some() || !must, "{kind:?}");
        }
        until(|| fleet.is_idle()).await;
        drop(trials);
        for lane in &fleet.all {
            for orphan in lane.snapshot().orphans {
                // One that is about to let go by itself is none any more.
                drop(fleet.lanes.forget_orphan(orphan.id));
            }
        }
        until(|| fleet.orphans() == 0).await;
        for lane in &fleet.all {
            let slots = lane.snapshot().max_concurrent;
            let all: Vec<_> = (0..slots).map(|_| lane.try_acquire()).collect();
            assert!(all.iter().all(Result::is_ok), "{:#?}", lane.snapshot());
            assert!(lane.try_acquire().is_err());
        }
    });
}

/// Everybody is told by the end of the runtime itself, with no other one.
#[test]
fn s7_with_no_runtime_left_everybody_has_been_told() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1))
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    for kind in Hostile::ALL
        .iter()
        .filter(|kind| kind.is_future() && !kind.is_healthy())
    {
        let runtime = crate::kinds::paused();
        let (mut holder, mut queued) = runtime.block_on(async {
            let kind = *kind;
            let holder = main.spawn(async move |_| kind.await);
            crate::common::let_run().await;
            (holder, main.spawn(async |_| ()))
        });
        drop(runtime);
        let told = poll_once(Pin::new(&mut holder));
        assert!(matches!(told, Poll::Ready(Err(_))), "{kind:?}: {told:?}");
        let told = poll_once(Pin::new(&mut queued));
        assert!(told.is_ready(), "{kind:?}: {told:?}");
        let snapshot = main.snapshot();
        assert_eq!(
            (snapshot.active.len(), snapshot.queued.len()),
            (0, 0),
            "{kind:?}"
        );
    }
}

/// Also whoever waits for a slot that the end of its runtime does not free.
#[test]
fn s7_who_waits_behind_somebody_elses_slot_is_told_when_its_runtime_goes() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1))
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let runtime = crate::kinds::paused();
    let (slot, mut queued) = runtime.block_on(async {
        let slot = main.acquire().await.unwrap();
        let queued = main.spawn(async |_| ());
        (slot, queued)
    });
    drop(runtime);
    let told = poll_once(Pin::new(&mut queued));
    assert!(
        matches!(told, Poll::Ready(Err(TaskError::RuntimeShutdown { .. }))),
        "{told:?}"
    );
    assert_eq!(main.snapshot().queued.len(), 0);
    assert!(slot.is_current());
}

/// Who only waits, on a second runtime, has the timer there that the first one
/// took with it.
#[test]
fn s8_whoever_only_waits_on_a_second_runtime_has_a_timer_there() {
    for wait_for_all in [false, true] {
        let config = LaneConfig::new(1).stall_ceiling(MINUTE);
        let lanes = Lanes::builder().lane("main", config).build().unwrap();
        let main = lanes.lane("main").unwrap();
        let first = crate::kinds::paused();
        std::mem::forget(first.block_on(main.acquire()).unwrap());
        drop(first);
        crate::kinds::paused().block_on(async {
            let idle = async {
                match wait_for_all {
                    true => lanes.idle().await,
                    false => main.idle().await,
                }
            };
            let told = tokio::time::timeout(2 * MINUTE, idle).await;
            told.expect("the forgotten slot is taken");
        });
    }
}
