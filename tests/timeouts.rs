//! Lane timeouts, and what a caller is told when one of them ran out.

#![expect(
    clippy::disallowed_methods,
    reason = "a test reads the paused clock to say when something happened"
)]

use std::future::pending;
use std::time::Duration;

use futures::FutureExt;
use laneway::{
    AcquireError, Lane, LaneConfig, LaneTimeout, Lanes, Limit, Reason, TaskError, TaskHandle,
    Timeout,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(10);

fn lane_with(config: LaneConfig) -> (Lanes, Lane) {
    let lanes = Lanes::builder().lane("main", config).build().unwrap();
    let main = lanes.lane("main").unwrap();
    (lanes, main)
}

fn forever(lane: &Lane) -> TaskHandle<()> {
    lane.spawn(async |_| pending().await)
}

/// Which limit ran out: what it granted, the time since the start, the time
/// since the last progress.
fn timed_out<T>(outcome: Result<T, TaskError>) -> (Limit, Duration, Duration, Duration) {
    match outcome {
        Err(TaskError::TimedOut {
            limit,
            allowed,
            elapsed,
            idle,
            ..
        }) => (limit, allowed, elapsed, idle),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it ended by itself"),
    }
}

#[track_caller]
fn assert_close(got: Duration, expected: Duration) {
    let close = got >= expected && got <= expected + TICK;
    assert!(close, "{got:?} for {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn per_field_the_tighter_of_lane_handles_and_task_wins() {
    let seconds = |n| Timeout::budget(SECOND * n);
    let [ten, twenty, thirty] = [10, 20, 30].map(seconds);
    let none = LaneTimeout::default();
    for (lane, outer, inner, task) in [
        (ten, thirty, twenty, thirty),
        (thirty, ten, twenty, none),
        (none, twenty, ten, thirty),
        (thirty, none, twenty, ten),
        (none, none, none, ten),
        (ten, none, none, none),
    ] {
        let (_lanes, main) = lane_with(LaneConfig::new(1).timeout(lane));
        let bounded = main.with_timeout(outer).with_timeout(inner);
        let submitted = bounded.task().timeout(task);
        let outcome = submitted.run(async |_| pending::<()>().await).await;
        let (limit, allowed, elapsed, _) = timed_out(outcome);
        assert_eq!((limit, allowed), (Limit::Budget, SECOND * 10));
        assert_close(elapsed, SECOND * 10);
    }
}

#[tokio::test(start_paused = true)]
async fn the_fields_are_apart() {
    let lane = Timeout::budget(SECOND * 20).idle(SECOND * 30);
    let (_lanes, main) = lane_with(LaneConfig::new(1).timeout(lane));
    // The task loosens the budget in vain, and tightens idle.
    let task = main
        .task()
        .timeout(Timeout::budget(MINUTE).idle(SECOND * 8));
    let moves = task.run(async |cx| {
        loop {
            tokio::time::sleep(SECOND * 5).await;
            cx.progress();
        }
    });
    let (limit, allowed, elapsed, idle) = timed_out::<()>(moves.await);
    assert_eq!((limit, allowed), (Limit::Budget, SECOND * 20));
    assert_close(elapsed, SECOND * 20);
    assert!(idle <= SECOND * 5 + TICK);
    let task = main.task().timeout(Timeout::idle(SECOND * 8));
    let (limit, allowed, ..) = timed_out(task.run(async |_| pending::<()>().await).await);
    assert_eq!((limit, allowed), (Limit::Idle, SECOND * 8));
    // And the handle itself is as it was.
    let (limit, allowed, ..) = timed_out(forever(&main).await);
    assert_eq!((limit, allowed), (Limit::Budget, SECOND * 20));
}

#[tokio::test(start_paused = true)]
async fn idle_counts_from_the_last_progress() {
    let (_lanes, main) = lane_with(LaneConfig::new(1).timeout(Timeout::idle(SECOND * 10)));
    let task = main.spawn(async |cx| {
        for _ in 0..5 {
            tokio::time::sleep(SECOND * 9).await;
            cx.progress();
        }
        pending::<()>().await
    });
    let (limit, allowed, elapsed, idle) = timed_out(task.await);
    assert_eq!((limit, allowed), (Limit::Idle, SECOND * 10));
    assert_close(elapsed, SECOND * 55);
    assert_close(idle, SECOND * 10);
}

#[tokio::test(start_paused = true)]
async fn of_idle_and_stall_ceiling_the_tighter_wins() {
    let (_lanes, main) = lane_with(LaneConfig::new(1).stall_ceiling(SECOND * 20));
    let run = |idle| {
        let task = main.task().timeout(Timeout::idle(idle));
        task.spawn(async |_| pending::<()>().await)
    };
    match run(SECOND * 30).await {
        Err(TaskError::Stalled {
            elapsed,
            idle,
            ceiling,
            ..
        }) => {
            assert_eq!(ceiling, SECOND * 20);
            assert_close(elapsed, SECOND * 20);
            assert_close(idle, SECOND * 20);
        }
        other => panic!("{other:?}"),
    }
    let (limit, allowed, ..) = timed_out(run(SECOND * 10).await);
    assert_eq!((limit, allowed), (Limit::Idle, SECOND * 10));
    // A task's own ceiling stands in place of the lane's, wider or not.
    let task = main.task().stall_ceiling(MINUTE);
    match task.run(async |_| pending::<()>().await).await {
        Err(TaskError::Stalled { ceiling, .. }) => assert_eq!(ceiling, MINUTE),
        other => panic!("{other:?}"),
    }
    let task = main.task().no_stall_ceiling();
    let long = task.run(async |_| tokio::time::sleep(MINUTE * 600).await);
    long.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn idle_and_budget_count_from_the_grant_and_wait_from_the_submission() {
    let (_lanes, main) = lane_with(LaneConfig::new(1));
    for timeout in [
        Timeout::idle(SECOND * 10),
        Timeout::budget(SECOND * 10),
        Timeout::budget(SECOND * 10).wait(SECOND * 50),
    ] {
        let (open, gate) = oneshot::channel::<()>();
        let holder = main.spawn(async move |_| gate.await);
        tokio::task::yield_now().await;
        let queued = main.with_timeout(timeout);
        let queued = queued.spawn(async |_| pending::<()>().await);
        tokio::time::sleep(SECOND * 40).await;
        open.send(()).unwrap();
        holder.await.unwrap().unwrap();
        let granted = Instant::now();
        let (limit, _, elapsed, _) = timed_out(queued.await);
        assert_ne!(limit, Limit::Wait);
        assert_close(elapsed, SECOND * 10);
        assert_close(granted.elapsed(), SECOND * 10);
    }
}

#[tokio::test(start_paused = true)]
async fn s7_wait_ends_the_queued_and_only_them() {
    let (_lanes, main) = lane_with(LaneConfig::new(1));
    let bounded = main.with_timeout(Timeout::wait(SECOND * 10));
    let active = bounded.spawn(async |_| tokio::time::sleep(MINUTE).await);
    tokio::task::yield_now().await;
    let began = Instant::now();
    let spawned = bounded.spawn(async |_| ());
    let (ran, acquired) = tokio::join!(bounded.run(async |_| ()), bounded.acquire());
    for outcome in [ran, spawned.await] {
        let (limit, allowed, elapsed, idle) = timed_out(outcome);
        assert_eq!((limit, allowed), (Limit::Wait, SECOND * 10));
        assert_close(elapsed, SECOND * 10);
        assert_eq!(idle, elapsed);
    }
    match acquired {
        Err(
            error @ AcquireError::TimedOut {
                allowed, waited, ..
            },
        ) => {
            assert!(error.is_retryable());
            assert_eq!(allowed, SECOND * 10);
            assert_close(waited, SECOND * 10);
        }
        other => panic!("{other:?}"),
    }
    assert_close(began.elapsed(), SECOND * 10);
    assert!(main.snapshot().queued.is_empty());
    active.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_its_own_ends_a_task() {
    let (_lanes, main) = lane_with(LaneConfig::new(1).timeout(Timeout::budget(MINUTE)));
    let at = |set: fn(&laneway::TaskContext)| {
        let task = main.run(async move |cx| {
            tokio::time::sleep(SECOND).await;
            set(&cx);
            pending::<()>().await
        });
        task.map(timed_out)
    };
    let (limit, allowed, elapsed, _) = at(|cx| cx.set_deadline(Instant::now() + SECOND * 9)).await;
    assert_eq!((limit, allowed), (Limit::Deadline, SECOND * 10));
    assert_close(elapsed, SECOND * 10);
    // The last word counts, be it later or earlier.
    let (limit, _, elapsed, _) = at(|cx| {
        cx.set_deadline(Instant::now() + SECOND * 9);
        cx.set_deadline(Instant::now() + SECOND * 19);
    })
    .await;
    assert_eq!(limit, Limit::Deadline);
    assert_close(elapsed, SECOND * 20);
    // One that is past is due at once; one past the budget changes nothing.
    let (limit, _, elapsed, _) = at(|cx| cx.set_deadline(Instant::now() - SECOND)).await;
    assert_eq!(limit, Limit::Deadline);
    assert_close(elapsed, SECOND);
    let (limit, ..) = at(|cx| cx.set_deadline(Instant::now() + MINUTE * 600)).await;
    assert_eq!(limit, Limit::Budget);
}

#[tokio::test(start_paused = true)]
async fn the_grace_of_a_timeout_is_tightened_too() {
    let config = LaneConfig::new(1).timeout(Timeout::budget(SECOND * 10).grace(SECOND * 3));
    let (_lanes, main) = lane_with(config);
    for (task, grace) in [(SECOND, SECOND), (SECOND * 9, SECOND * 3)] {
        let began = Instant::now();
        let task = main.task().timeout(Timeout::grace(task));
        let stubborn = task.run(async |cx| {
            assert_eq!(cx.cancelled().await, Reason::TimedOut);
            pending::<()>().await
        });
        let (limit, ..) = timed_out(stubborn.await);
        assert_eq!(limit, Limit::Budget);
        assert_close(began.elapsed(), SECOND * 10 + grace);
    }
    // What it still returns in its grace is delivered (S3).
    let polite = main.run(async |cx| cx.cancelled().await);
    assert_eq!(polite.await.unwrap(), Reason::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn cancelled_in_the_queue_and_while_active_are_told_apart() {
    let (_lanes, main) = lane_with(LaneConfig::new(1));
    let active = forever(&main);
    tokio::time::sleep(SECOND * 2).await;
    let queued = forever(&main);
    tokio::time::sleep(SECOND * 3).await;
    queued.cancel(Reason::Superseded);
    active.cancel(Reason::User);
    match queued.await {
        Err(TaskError::CancelledQueued { reason, waited, .. }) => {
            assert_eq!((reason, waited), (Reason::Superseded, SECOND * 3));
        }
        other => panic!("{other:?}"),
    }
    match active.await {
        Err(TaskError::Cancelled {
            reason, elapsed, ..
        }) => assert_eq!((reason, elapsed), (Reason::User, SECOND * 5)),
        other => panic!("{other:?}"),
    }
    // Granted and cancelled before it was ever polled: it never ran.
    let unpolled = forever(&main);
    unpolled.cancel(Reason::User);
    let told = unpolled.await;
    assert!(matches!(told, Err(TaskError::CancelledQueued { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_signal_cancels_the_queued_and_the_active() {
    let (_lanes, main) = lane_with(LaneConfig::new(1));
    let on = |after| {
        let task = main.task().cancel_on(tokio::time::sleep(after));
        task.spawn(async |_| pending::<()>().await)
    };
    let began = Instant::now();
    let (active, queued) = (on(SECOND * 20), on(SECOND * 10));
    let told = queued.await;
    assert!(matches!(
        told,
        Err(TaskError::CancelledQueued {
            reason: Reason::Signal,
            ..
        })
    ));
    assert_close(began.elapsed(), SECOND * 10);
    let told = active.await;
    assert!(matches!(
        told,
        Err(TaskError::Cancelled {
            reason: Reason::Signal,
            ..
        })
    ));
    assert_close(began.elapsed(), SECOND * 20);
}

#[tokio::test(start_paused = true)]
async fn on_wait_calls_once_and_may_use_the_lane() {
    let (lanes, main) = lane_with(LaneConfig::new(1));
    let holder = main.task().name("holder");
    let holder = holder.spawn(async |_| pending::<()>().await);
    let ahead = forever(&main);
    let (tell, mut told) = mpsc::unbounded_channel();
    let waits = main.task().on_wait(SECOND * 10, {
        let (main, lanes, holder) = (main.clone(), lanes.clone(), holder.id());
        move |info| {
            // S13: outside every lock, so this may do as it likes.
            lanes.cancel(holder, Reason::Superseded).unwrap();
            tell.send((info, main.snapshot().queued.len())).unwrap();
        }
    });
    let waits = waits.spawn(async |_| ());
    let quick = main.task().on_wait(MINUTE, |_| panic!("it did not wait"));
    let quick = quick.spawn(async |_| ());
    let (info, _) = told.recv().await.unwrap();
    assert_eq!((&*info.lane, info.id), ("main", waits.id()));
    assert_eq!((info.queued_ahead, info.active_ahead), (1, 1));
    assert_close(info.waited, SECOND * 10);
    assert!(holder.await.is_err());
    tokio::time::sleep(SECOND).await;
    ahead.cancel(Reason::User);
    waits.await.unwrap();
    quick.await.unwrap();
    assert!(told.recv().await.is_none(), "once");
}
