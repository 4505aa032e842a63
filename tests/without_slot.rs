//! What others make of a task that gave a slot back for a wait: those that end, drain,
//! remove or look at its lane, and those that it is part of.

#![expect(
    clippy::disallowed_types,
    reason = "what the tests themselves have seen"
)]

mod common;

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{
    CEILING, HOUR, MINUTE, SECOND, TICK, lanes_of, lanes_of_one, let_run, one_lane, poll_once,
};
use laneway::{
    Bound, Cause, Descendants, Drain, Lane, LaneConfig, OnStall, Reason, TaskError, TaskStatus,
};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

/// Its wait is over after a minute, and nobody polls it for its slot.
fn hangs_without_slot(main: &Lane) -> Pin<Box<impl Future<Output = Result<(), TaskError>>>> {
    let mut task = Box::pin(main.run(async |cx| {
        let wait = cx.waiting("x").limit(MINUTE).release(["main"]);
        drop(wait.on(pending::<()>()).await);
    }));
    assert!(poll_once(task.as_mut()).is_pending());
    task
}

/// A drain spares it; a cancel that gives this as its reason is a cancel.
#[tokio::test(start_paused = true)]
async fn s7_a_cancel_of_all_reaches_it_whatever_its_reason() {
    for reason in [Reason::User, Reason::Draining] {
        let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
        let (_answer, asked) = oneshot::channel::<()>();
        let task = main.spawn(async move |cx| {
            let _ = cx.waiting("x").release(["main"]).on(asked).await;
        });
        let_run().await;
        let asked = main.cancel_all(reason);
        let told = timeout(HOUR, task).await;
        assert!(asked == 1 && told.is_ok(), "{reason:?} {asked} {told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn s7_a_shutdown_waits_for_its_hooks() {
    for release in [&[][..], &["main"]] {
        let (lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
        let ran = Arc::new(AtomicUsize::new(0));
        let of_hook = Arc::clone(&ran);
        let task = main.spawn(async move |cx| {
            cx.defer(async move |_| {
                sleep(SECOND).await;
                of_hook.fetch_add(1, Ordering::SeqCst);
            });
            let _ = cx.waiting("x").release(release).on(pending::<()>()).await;
        });
        let_run().await;
        lanes.shutdown().await;
        let ran = ran.load(Ordering::SeqCst);
        drop(task);
        assert_eq!(ran, 1, "{release:?}: its hook");
    }
}

#[tokio::test(start_paused = true)]
async fn a_removed_lane_is_seen_until_it_has_come_back() {
    let (lanes, [main, _other]) = lanes_of_one(["main", "other"]);
    let (answer, asked) = oneshot::channel::<()>();
    let task = main.spawn(async move |cx| {
        let _ = cx.waiting("x").release(["main"]).on(asked).await;
        cx.is_current()
    });
    let_run().await;
    lanes
        .reconfigure(|change| {
            change.remove_lane("main");
        })
        .unwrap();
    let seen = lanes
        .snapshot()
        .lanes
        .iter()
        .any(|lane| lane.name == "main");
    assert!(seen, "its parked task is not seen");
    answer.send(()).unwrap();
    assert!(task.await.unwrap());
}

/// No slot was taken, and so nothing was tried in vain.
#[tokio::test(start_paused = true)]
async fn s17_its_end_is_no_reclaim_that_did_not_help() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
    let _task = hangs_without_slot(&main);
    let healthy = main.acquire().await.unwrap();
    let _behind = main.spawn(async |_| ());
    for _ in 0..15 {
        sleep(MINUTE).await;
        healthy.progress();
    }
    let counters = main.snapshot().counters;
    assert_eq!((counters.ineffective, counters.recovered), (0, 0));
}

/// Nobody asks a bound of orphans for whoever has no slot.
#[tokio::test(start_paused = true)]
async fn s10_no_bound_is_said_to_hold_it() {
    let (lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING).strict());
    let task = hangs_without_slot(&main);
    let id = main.snapshot().parked[0].id;
    sleep(2 * MINUTE).await;
    let said = lanes.explain(id).unwrap();
    sleep(CEILING).await;
    let told = timeout(SECOND, task).await;
    assert!(told.is_ok(), "it is told without its runner");
    assert!(!format!("{said:?}").contains("needs_runner: true"));
}

/// A drain leaves it alone.
#[tokio::test(start_paused = true)]
async fn of_its_end_by_a_drain_nothing_is_said() {
    let (lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
    let (_answer, asked) = oneshot::channel::<()>();
    let task = main.spawn(async move |cx| {
        let _ = cx.waiting("x").release(["main"]).on(asked).await;
    });
    let_run().await;
    let holder = main.acquire().await.unwrap();
    let mut drain = Box::pin(main.drain(Drain::within(MINUTE)));
    assert!(poll_once(drain.as_mut()).is_pending());
    let said = lanes.explain(task.id()).unwrap();
    let foretold = format!("{said:?}").contains("Drain,");
    drop(holder);
    sleep(2 * MINUTE).await;
    assert_eq!(task.status(), TaskStatus::Active, "left alone");
    assert!(!foretold, "it was said that the drain ends it");
}

/// And ends who runs on without its slot.
#[tokio::test(start_paused = true)]
async fn of_who_was_detached_the_end_by_a_drain_is_foretold() {
    let (lanes, main) = one_lane(
        LaneConfig::new(1)
            .stall_ceiling(CEILING)
            .on_stall(OnStall::Detach),
    );
    let task = main.spawn(async move |_| pending::<()>().await);
    let_run().await;
    sleep(CEILING + SECOND).await;
    let _holder = main.acquire().await.unwrap();
    let mut drain = Box::pin(main.drain(Drain::within(MINUTE)));
    assert!(poll_once(drain.as_mut()).is_pending());
    let said = lanes.explain(task.id()).unwrap();
    assert!(format!("{said:?}").contains("Drain,"));
    sleep(MINUTE + SECOND).await;
    assert_eq!(task.status(), TaskStatus::Settled);
}

/// A child that is part of its parent listens, with its slot and without.
#[tokio::test(start_paused = true)]
async fn s3_as_a_child_it_has_its_grace_with_its_parent() {
    let config = LaneConfig::new(1).stall_ceiling(CEILING);
    for release in [&[][..], &["main"]] {
        let (_lanes, [session, main]) = lanes_of(&config, ["session", "main"]);
        let told = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&told);
        let outer = session.spawn(async move |_| {
            main.run(async move |cx| {
                let wait = cx.waiting("x").release(release).on(pending::<()>());
                tokio::select! {
                    _ = wait => (),
                    _ = cx.cancelled() => {
                        sleep(SECOND).await;
                        seen.fetch_add(1, Ordering::SeqCst);
                    }
                }
            })
            .await
        });
        let_run().await;
        outer.cancel(Reason::User);
        drop(outer.await);
        assert_eq!(
            told.load(Ordering::SeqCst),
            1,
            "{release:?}: it closes what it has open"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn its_descendants_pass_a_drain_that_waits_for_its_other_slot() {
    let config = LaneConfig::new(1).stall_ceiling(CEILING);
    for release in [&[][..], &["main"]] {
        let (lanes, [.., tool]) = lanes_of(&config, ["session", "main", "tool"]);
        let chain = lanes.chain(["session", "main"]).unwrap();
        let (answer, asked) = oneshot::channel::<()>();
        let turn = chain.spawn(async move |cx| {
            let call = async move {
                let _ = asked.await;
                tool.run(async |_| 7).await
            };
            cx.waiting("tool").release(release).on(call).await
        });
        let_run().await;
        let drain = Drain::within(HOUR).descendants(Descendants::Admit);
        let mut drain = Box::pin(lanes.drain(drain));
        assert!(
            poll_once(drain.as_mut()).is_pending(),
            "it waits for the turn"
        );
        answer.send(()).unwrap();
        let told = turn.await.unwrap().unwrap();
        assert!(told.is_ok(), "{release:?}: {told:?}");
    }
}

/// It was in line for its slot at the deadline, and has its grace.
#[tokio::test(start_paused = true)]
async fn a_drain_that_ends_it_does_not_report_that_it_left_it_alone() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
    let (answer, asked) = oneshot::channel::<()>();
    let task = main.spawn(async move |cx| {
        let wait = async {
            let _ = cx.waiting("x").release(["main"]).on(asked).await;
            pending::<()>().await;
        };
        tokio::select! { biased; _ = cx.cancelled() => (), () = wait => () }
        pending::<()>().await;
    });
    let_run().await;
    let holder = main.spawn(async |_| sleep(MINUTE + TICK).await);
    let_run().await;
    answer.send(()).unwrap();
    let_run().await;
    let report = main.drain(Drain::within(MINUTE)).await;
    let _ = holder.await;
    let told = timeout(HOUR, task).await;
    let Ok(Err(TaskError::Cancelled { reason, .. })) = told else {
        panic!("{told:?}");
    };
    assert_eq!(reason, Reason::Draining);
    assert_eq!(report.parked, 0, "{report:?}");
}

/// In line for its slot when the drain's time is over.
#[tokio::test(start_paused = true)]
async fn of_who_is_on_its_way_back_the_end_by_a_drain_is_foretold() {
    let (lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
    let (answer, asked) = oneshot::channel::<()>();
    let task = main.spawn(async move |cx| {
        let _ = cx.waiting("x").release(["main"]).on(asked).await;
        pending::<()>().await;
    });
    let_run().await;
    let holder = main.acquire().await.unwrap();
    answer.send(()).unwrap();
    let_run().await;
    let mut drain = Box::pin(main.drain(Drain::within(MINUTE)));
    assert!(poll_once(drain.as_mut()).is_pending());
    let said = lanes.explain(task.id()).unwrap();
    let dues = format!("{:?}", said.graph.task(task.id()).unwrap().dues);
    sleep(MINUTE + SECOND).await;
    assert_eq!(task.status(), TaskStatus::Settled, "the drain ended it");
    drop(holder);
    assert!(dues.contains("Drain"), "{dues}\n{said}");
}

/// A lane further on drains, where it has a slot or waits for one.
#[tokio::test(start_paused = true)]
async fn of_a_chain_the_end_by_a_drain_further_on_is_foretold() {
    let config = LaneConfig::new(1).stall_ceiling(CEILING);
    for (gathers, asked) in [(false, false), (true, false), (false, true)] {
        let (lanes, [_session, main]) = lanes_of(&config, ["session", "main"]);
        let holder = gathers.then(|| main.try_acquire().unwrap());
        let chain = lanes.chain(["session", "main"]).unwrap();
        let turn = chain.spawn(async |cx| {
            cx.cancelled().await;
            pending::<()>().await;
        });
        let_run().await;
        let mut drain = Box::pin(main.drain(Drain::within(MINUTE)));
        assert!(poll_once(drain.as_mut()).is_pending());
        if asked {
            turn.cancel(Reason::User);
        }
        let said = lanes.explain(turn.id()).unwrap();
        let dues = &said.graph.task(turn.id()).unwrap().dues;
        let drains = dues.iter().position(|due| due.bound == Bound::Drain);
        // The soonest of all, but nothing to one that is to end before.
        assert_eq!(drains, (!asked).then_some(0), "{said}");
        sleep(MINUTE + 10 * SECOND).await;
        assert_eq!(turn.status(), TaskStatus::Settled);
        drop(holder);
    }
}

/// Nobody polls it, and it is on its way back.
#[tokio::test(start_paused = true)]
async fn of_who_hangs_without_its_slot_it_is_said_that_it_is_silent() {
    let (lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
    let _task = hangs_without_slot(&main);
    let id = main.snapshot().parked[0].id;
    sleep(6 * MINUTE).await;
    let parked = main.snapshot().parked[0].parked.clone().unwrap();
    assert_eq!((parked.waits, parked.waited), (false, MINUTE));
    let said = lanes.explain(id).unwrap();
    assert_eq!(said.cause, Cause::Silent { task: id }, "{said}");
}

/// The same in the lane of whoever awaits it.
#[tokio::test(start_paused = true)]
async fn of_who_waits_behind_one_that_hangs_without_its_slot_the_cause_is_named() {
    let (lanes, [outer, main]) = lanes_of(
        &LaneConfig::new(1).stall_ceiling(CEILING),
        ["outer", "main"],
    );
    let lane = main.clone();
    let mut parent = Box::pin(outer.run(async move |_| {
        let _child = hangs_without_slot(&lane);
        pending::<()>().await;
    }));
    assert!(poll_once(parent.as_mut()).is_pending());
    let behind = outer.spawn(async |_| ());
    sleep(6 * MINUTE).await;
    let said = lanes.explain(behind.id()).unwrap();
    let child = main.snapshot().parked[0].id;
    assert_eq!(
        said.cause,
        Cause::Silent { task: child },
        "{said}\n{}",
        lanes.diagnose()
    );
}
