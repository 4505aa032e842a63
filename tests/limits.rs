//! Limits that stand behind other limits, and last polls (S3, S8).

mod common;

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::time::Duration;

use common::{HOUR, MINUTE, SECOND, TICK, assert_clean, ceilinged, let_run, one_lane, poll_once};
use laneway::{Lane, LaneConfig, Lanes, Limit, OnStall, TaskError, Timeout};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

/// It comes, and if it never does, that is a failure and no hang.
async fn in_time<F: Future>(future: F) -> F::Output {
    let output = timeout(24 * HOUR, future).await;
    output.expect("settled within a day")
}

#[track_caller]
fn assert_stalled_after<T: std::fmt::Debug>(result: Result<T, TaskError>, exact: Duration) {
    match result {
        Err(TaskError::Stalled { elapsed, .. }) => {
            assert!(elapsed >= exact && elapsed <= exact + TICK, "{elapsed:?}");
        }
        other => panic!("{other:?}"),
    }
}

/// The inner phase allowed more than the outer one, which holds again after it.
#[tokio::test(start_paused = true)]
async fn s8_the_ceiling_of_a_phase_holds_again_after_the_phase_within_it() {
    let (_lanes, main) = ceilinged(1);
    let noted = |expected: &str| {
        let note = main.snapshot().active[0].note.clone();
        assert_eq!(note.as_deref(), Some(expected));
    };
    let stalled = main.run(async |cx| {
        let _outer = cx.phase("outer").silence(MINUTE).unwrap();
        let inner = cx.phase("inner").silence(20 * MINUTE).unwrap();
        noted("inner");
        sleep(5 * MINUTE).await;
        drop(inner);
        noted("outer");
        pending::<()>().await;
    });
    assert_stalled_after(in_time(stalled).await, 6 * MINUTE);
    assert_clean(&main);
}

/// And so does the one around that.
#[tokio::test(start_paused = true)]
async fn s8_phases_give_way_to_each_other_from_the_inside_out() {
    let (_lanes, main) = ceilinged(1);
    let stalled = main.run(async |cx| {
        let outer = cx.phase("outer").silence(2 * MINUTE).unwrap();
        let middle = cx.phase("middle").silence(HOUR).unwrap();
        let inner = cx.phase("inner");
        sleep(HOUR - TICK).await;
        drop(inner);
        sleep(HOUR - TICK).await;
        drop(middle);
        sleep(2 * MINUTE - TICK).await;
        drop(outer);
        pending::<()>().await;
    });
    let exact = 2 * HOUR + 2 * MINUTE - 3 * TICK + common::CEILING;
    assert_stalled_after(in_time(stalled).await, exact);
}

async fn idle_timeout_holds(main: &Lane) {
    let bounded = || main.task().timeout(Timeout::idle(5 * MINUTE));
    let run = bounded().run(async |_| pending::<()>().await);
    let handle = bounded().spawn(async |cx| {
        sleep(4 * MINUTE).await;
        cx.progress();
        pending::<()>().await;
    });
    for (result, silent_after) in [
        (in_time(run).await, Duration::ZERO),
        (in_time(handle).await, 4 * MINUTE),
    ] {
        match result {
            Err(TaskError::TimedOut {
                limit: Limit::Idle,
                allowed,
                elapsed,
                ..
            }) => {
                assert_eq!(allowed, 5 * MINUTE);
                let exact = silent_after + 5 * MINUTE;
                assert!(elapsed >= exact && elapsed <= exact + TICK, "{elapsed:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(assert_clean(main).taken, 0);
}

#[tokio::test(start_paused = true)]
async fn s7_an_idle_timeout_holds_behind_a_stall_that_is_only_observed() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(2).stall_ceiling(MINUTE))
        .observe_only()
        .build()
        .unwrap();
    idle_timeout_holds(&lanes.lane("main").unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn s7_an_idle_timeout_holds_behind_a_stall_that_only_warns() {
    let config = LaneConfig::new(2).stall_ceiling(MINUTE);
    let (_lanes, main) = one_lane(config.on_stall(OnStall::WarnOnly));
    idle_timeout_holds(&main).await;
}

/// With no other limit, a stall that is only reported ends nobody.
#[tokio::test(start_paused = true)]
async fn a_stall_that_is_only_reported_ends_nobody() {
    let config = LaneConfig::new(1).stall_ceiling(MINUTE);
    let (_lanes, main) = one_lane(config.on_stall(OnStall::WarnOnly));
    let silent = main.run(async |_| sleep(10 * HOUR).await);
    in_time(silent).await.unwrap();
    assert_clean(&main);
}

/// The value was there before the last poll, and the tokio task had used up
/// what it may poll at a stretch.
#[tokio::test(start_paused = true)]
async fn s3_the_last_poll_sees_a_value_that_is_there_whatever_was_polled_before() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    let (tell, told) = oneshot::channel();
    let bounded = main.task().timeout(Timeout::budget(MINUTE));
    let mut run = pin!(bounded.run(async |_| told.await.unwrap()));
    assert!(poll_once(run.as_mut()).is_pending());
    sleep(MINUTE + TICK / 2).await;
    tell.send(7).unwrap();
    let mut fresh = true;
    let value = poll_fn(|cx| {
        if std::mem::take(&mut fresh) {
            loop {
                let used = pin!(tokio::task::coop::consume_budget());
                if used.poll(cx).is_pending() {
                    break;
                }
            }
        }
        run.as_mut().poll(cx)
    });
    assert_eq!(value.await.unwrap(), 7);
    assert_clean(&main);
}

/// A reset takes the slot, and not the bound from the hooks.
#[tokio::test(start_paused = true)]
async fn s10_hooks_of_a_task_that_was_reset_in_its_teardown_keep_their_bound() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    let task = main.spawn(async move |cx| {
        cx.defer(async |_| pending::<()>().await);
        7
    });
    sleep(SECOND).await;
    assert_eq!(main.reset(), 1);
    assert_eq!(main.run(async |_| 8).await.unwrap(), 8);
    assert_eq!(main.snapshot().orphans.len(), 1);
    assert_eq!(in_time(task).await.unwrap(), 7);
    // The teardown of five seconds, of which one was over.
    sleep(4 * SECOND + 2 * TICK).await;
    let_run().await;
    assert_clean(&main);
}
