//! What the tests on paused time say, on a runtime with many threads: the
//! outcome, and never when it came.

mod common;

use std::future::pending;

use common::{HOUR, SHORT, assert_clean, one_lane, orphans_gone, until};
use laneway::{LaneConfig, OnStall, Reason, TaskContext, TaskError, TaskStatus, Timeout};
use tokio::sync::{mpsc, oneshot};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s3_a_listener_ends_in_its_grace_with_its_value() {
    let config = LaneConfig::new(1).timeout(Timeout::grace(HOUR));
    let (_lanes, main) = one_lane(config.no_stall_ceiling());
    let stalls = main.task().stall_ceiling(SHORT);
    let stalls = stalls.run(async |cx| cx.cancelled().await);
    assert_eq!(stalls.await.unwrap(), Reason::Stalled);
    let times_out = main.task().timeout(Timeout::budget(SHORT));
    let times_out = times_out.run(async |cx| cx.cancelled().await);
    assert_eq!(times_out.await.unwrap(), Reason::TimedOut);
    let (listens, is_listening) = oneshot::channel();
    let cancelled = main.spawn(async |cx| {
        let reason = cx.cancelled();
        let mut reason = std::pin::pin!(reason);
        assert!(futures::poll!(reason.as_mut()).is_pending());
        listens.send(()).unwrap();
        reason.await
    });
    is_listening.await.unwrap();
    cancelled.cancel(Reason::Superseded);
    assert_eq!(cancelled.await.unwrap(), Reason::Superseded);
    main.idle().await;
    assert_eq!(assert_clean(&main).completed, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hooks_run_before_the_next_starts_whatever_ended_their_task() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).no_stall_ceiling());
    let (say, mut said) = mpsc::unbounded_channel();
    let with_hooks = |cx: &TaskContext| {
        for name in ["first", "second"] {
            let say = say.clone();
            cx.defer(move |reason| async move {
                tokio::task::yield_now().await;
                say.send((name, Some(reason))).unwrap();
            });
        }
    };
    let next = async || {
        let say = say.clone();
        let next = main.spawn(async move |_| say.send(("next", None)).unwrap());
        next.await.unwrap();
    };

    main.run(async |cx| with_hooks(&cx)).await.unwrap();
    next().await;
    let panicked = main.run(async |cx| {
        with_hooks(&cx);
        panic!("over");
    });
    let panicked: Result<(), _> = panicked.await;
    assert!(matches!(panicked, Err(TaskError::Panicked { .. })));
    next().await;
    let (begun, has_begun) = oneshot::channel();
    let run = main.run(async |cx| {
        with_hooks(&cx);
        begun.send(()).unwrap();
        pending::<()>().await;
    });
    // Dropped by its caller, who moved on.
    tokio::select! {
        biased;
        _ = run => unreachable!(),
        begun = has_begun => begun.unwrap(),
    }
    next().await;

    for reason in [Reason::Completed, Reason::Panicked, Reason::Dropped] {
        assert_eq!(said.recv().await, Some(("second", Some(reason))));
        assert_eq!(said.recv().await, Some(("first", Some(reason))));
        assert_eq!(said.recv().await, Some(("next", None)));
    }
    main.idle().await;
    assert_clean(&main);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s14_panics_settle_and_cost_no_slot() {
    let (_lanes, main) = one_lane(LaneConfig::new(2));
    let tasks: Vec<_> = (0..100_u32)
        .map(|n| {
            main.spawn(async move |_| {
                tokio::task::yield_now().await;
                assert!(n % 3 != 0, "{n}");
                n
            })
        })
        .collect();
    for (n, task) in (0..).zip(tasks) {
        match task.await {
            Ok(value) => assert_eq!(value, n),
            Err(TaskError::Panicked { payload, .. }) => {
                assert_eq!(payload.message(), n.to_string());
                assert_eq!(n % 3, 0);
            }
            other => panic!("{other:?}"),
        }
    }
    main.idle().await;
    assert_eq!(assert_clean(&main).completed, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_detached_task_delivers_its_late_result() {
    let config = LaneConfig::new(1).on_stall(OnStall::Detach);
    let (_lanes, main) = one_lane(config.no_stall_ceiling());
    let (end, ended) = oneshot::channel();
    let late = main.task().stall_ceiling(SHORT);
    let late = late.spawn(async move |cx| (ended.await.unwrap(), cx.is_current()));
    main.run(async |_| ()).await.unwrap();
    assert_eq!(late.status(), TaskStatus::Detached);
    end.send("late").unwrap();
    assert_eq!(late.await.unwrap(), ("late", false));
    orphans_gone(&main).await;
    assert_clean(&main);
}

/// The value and the limit race, and whoever wins, everybody agrees on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s2_s3_a_result_and_a_cancel_race_to_one_end() {
    let (lanes, main) = one_lane(LaneConfig::new(4));
    let (mut values, mut cancelled) = (0, 0);
    for n in 0..500_u32 {
        let (go, went) = oneshot::channel::<()>();
        let task = main.spawn(async move |_| {
            let _ = went.await;
            n
        });
        let id = task.id();
        let lanes = lanes.clone();
        let cancel = tokio::spawn(async move { lanes.cancel(id, Reason::User).is_ok() });
        let _ = go.send(());
        let was_there = cancel.await.unwrap();
        match task.await {
            Ok(value) => {
                assert_eq!(value, n);
                values += 1;
            }
            Err(TaskError::Cancelled { .. } | TaskError::CancelledQueued { .. }) => {
                assert!(was_there);
                cancelled += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    main.idle().await;
    orphans_gone(&main).await;
    let counters = assert_clean(&main);
    assert_eq!(counters.completed, values);
    assert_eq!(values + cancelled, 500);
    until(|| lanes.snapshot().lanes[0].active.is_empty()).await;
}
