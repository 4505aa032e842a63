//! Ask, then take: what a task that is to end may still do, and what its
//! caller is told.

mod common;

use std::future::pending;

use common::{
    CEILING, HOUR, MINUTE, SECOND, TICK, assert_clean, ceilinged, let_run, now, one_lane, poll_once,
};
use laneway::{LaneConfig, Priority, Reason, TaskContext, TaskError, TaskStatus, Timeout};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn s3_a_listener_has_its_grace_and_its_value_is_delivered() {
    let (_lanes, main) = ceilinged(1);
    let began = now();
    let spawned = main.spawn(async |cx| {
        let reason = cx.cancelled().await;
        sleep(4 * SECOND).await;
        (reason, cx.is_current())
    });
    let next = main.spawn(async |_| now());
    assert_eq!(spawned.await.unwrap(), (Reason::Stalled, true));
    assert_eq!(next.await.unwrap() - began, CEILING + 4 * SECOND);
    // A value is a value, and the ask that brought it counts all the same.
    let counters = assert_clean(&main);
    assert_eq!((counters.completed, counters.reclaimed), (2, 1));

    let ran = main.run(async |cx| cx.cancelled().await);
    assert_eq!(ran.await.unwrap(), Reason::Stalled);
}

#[tokio::test(start_paused = true)]
async fn s8_a_listener_that_does_not_end_is_dropped_after_its_grace() {
    let (_lanes, main) = ceilinged(1);
    let began = now();
    let stubborn = main.spawn(async |cx| {
        cx.cancelled().await;
        pending::<()>().await;
    });
    let next = main.spawn(async |_| now()).await.unwrap() - began;
    assert!(next >= CEILING + 5 * SECOND, "{next:?}");
    assert!(next <= CEILING + 5 * SECOND + TICK, "{next:?}");
    assert!(matches!(stubborn.await, Err(TaskError::Stalled { .. })));
    assert_eq!(assert_clean(&main).taken, 0);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_listen_has_no_grace() {
    let (_lanes, main) = ceilinged(1);
    let began = now();
    let deaf = main.spawn(async |cx| {
        // Somebody that listened, and stopped to.
        tokio::select! {
            biased;
            _ = cx.cancelled() => {}
            () = sleep(SECOND) => {}
        }
        pending::<()>().await;
    });
    let next = main.spawn(async |_| now()).await.unwrap() - began;
    assert!(next <= CEILING + TICK, "{next:?}");
    assert!(matches!(deaf.await, Err(TaskError::Stalled { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_grace_can_be_shorter_and_zero() {
    for grace in [SECOND, std::time::Duration::ZERO] {
        let config = LaneConfig::new(1)
            .stall_ceiling(CEILING)
            .timeout(Timeout::grace(grace));
        let (_lanes, main) = one_lane(config);
        let began = now();
        let stubborn = main.spawn(async |cx| {
            cx.cancelled().await;
            pending::<()>().await;
        });
        let next = main.spawn(async |_| now()).await.unwrap() - began;
        assert!(next >= CEILING + grace, "{next:?}");
        assert!(next <= CEILING + grace + TICK, "{next:?}");
        assert!(stubborn.await.is_err());
    }
}

/// The last poll comes after the ask, and what is ready by then wins.
#[tokio::test(start_paused = true)]
async fn s3_a_value_at_the_last_poll_beats_the_limit() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).timeout(Timeout::budget(MINUTE)));
    let at_once = main.run(async |_| {
        sleep(MINUTE).await;
        "just in time"
    });
    assert_eq!(at_once.await.unwrap(), "just in time");

    // Kept from being polled until after the ask.
    let (answer, answered) = oneshot::channel();
    let mut parked = Box::pin(main.run(async |_| answered.await.unwrap()));
    assert!(poll_once(parked.as_mut()).is_pending());
    tokio::time::advance(MINUTE).await;
    let_run().await;
    answer.send("at the last poll").unwrap();
    assert_eq!(parked.await.unwrap(), "at the last poll");
    let counters = assert_clean(&main);
    assert_eq!((counters.completed, counters.taken), (2, 0));
}

/// Asked in the middle of a poll, it has one more.
#[tokio::test(start_paused = true)]
async fn s3_the_last_poll_comes_after_the_ask() {
    let (lanes, main) = ceilinged(1);
    let ends_itself = async |cx: TaskContext| {
        lanes.cancel(cx.id(), Reason::User).unwrap();
        tokio::task::yield_now().await;
        "value"
    };
    assert_eq!(main.run(ends_itself).await.unwrap(), "value");
    // One more, and not two.
    let too_slow = main.run(async |cx| {
        ends_itself(cx).await;
        tokio::task::yield_now().await;
    });
    assert!(matches!(too_slow.await, Err(TaskError::Cancelled { .. })));
    assert_clean(&main);
}

/// The runner drops the future, and only then is its slot passed on.
#[tokio::test(start_paused = true)]
async fn s12_no_overlap_with_the_next_holder() {
    struct Tell(TaskContext, UnboundedSender<(&'static str, bool)>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.1.send(("dropped", self.0.is_current())).unwrap();
        }
    }
    let (_lanes, main) = ceilinged(1);
    let (tell, mut told) = unbounded_channel();
    for spawned in [true, false] {
        let phantom = {
            let tell = tell.clone();
            async move |cx: TaskContext| {
                let _guard = Tell(cx, tell);
                pending::<()>().await;
            }
        };
        let tell = tell.clone();
        let next = main.task().priority(Priority::Background);
        let next = next.run(async |cx| tell.send(("next", cx.is_current())).unwrap());
        let (phantom, next) = if spawned {
            let phantom = main.spawn(phantom);
            tokio::join!(phantom, next)
        } else {
            tokio::join!(main.run(phantom), next)
        };
        next.unwrap();
        assert!(matches!(phantom, Err(TaskError::Stalled { .. })));
        assert_eq!(told.recv().await, Some(("dropped", true)));
        assert_eq!(told.recv().await, Some(("next", true)));
    }
}

#[tokio::test(start_paused = true)]
async fn cancel_ends_a_queued_task_at_once_and_asks_an_active_one() {
    let (lanes, main) = ceilinged(1);
    let active = main.spawn(async |cx| {
        let reason = cx.cancelled().await;
        sleep(SECOND).await;
        reason
    });
    let queued = main.spawn(async |_| ());
    assert_eq!(active.status(), TaskStatus::Active);
    assert_eq!(queued.status(), TaskStatus::Queued);
    let_run().await;
    sleep(MINUTE).await;

    let id = queued.id();
    queued.cancel(Reason::Superseded);
    assert_eq!(queued.status(), TaskStatus::Settled);
    match queued.await {
        Err(TaskError::CancelledQueued {
            reason,
            waited,
            id: told,
            ..
        }) => {
            assert_eq!((reason, waited, told), (Reason::Superseded, MINUTE, id));
        }
        other => panic!("{other:?}"),
    }
    assert!(lanes.cancel(id, Reason::User).is_err(), "it is settled");

    // The first reason stands.
    active.cancel(Reason::User);
    lanes.cancel(active.id(), Reason::Superseded).unwrap();
    assert_eq!(active.status(), TaskStatus::Active);
    assert_eq!(active.await.unwrap(), Reason::User);

    let deaf = main.spawn(async |_| pending::<()>().await);
    let_run().await;
    sleep(MINUTE).await;
    deaf.cancel(Reason::User);
    match deaf.await {
        Err(TaskError::Cancelled {
            reason, elapsed, ..
        }) => {
            assert_eq!((reason, elapsed), (Reason::User, MINUTE));
        }
        other => panic!("{other:?}"),
    }
    assert_clean(&main);
}

#[tokio::test(start_paused = true)]
async fn cancel_key_ends_every_task_of_that_key() {
    let (lanes, main) = ceilinged(2);
    let keyed = || main.task().key("ticket-42");
    let active = keyed().spawn(async |_| pending::<()>().await);
    let other = main.task().key("ticket-43").spawn(async |_| 7);
    let queued = keyed().spawn(async |_| ());
    assert_eq!(lanes.cancel_key("ticket-42", Reason::User), 2);
    assert!(matches!(
        queued.await,
        Err(TaskError::CancelledQueued { .. })
    ));
    assert!(active.await.is_err());
    assert_eq!(other.await.unwrap(), 7);
    assert_eq!(lanes.cancel_key("ticket-42", Reason::User), 0);
}

#[tokio::test(start_paused = true)]
async fn cancel_on_ends_a_task_wherever_it_is() {
    let (_lanes, main) = ceilinged(1);
    let (stop_active, stopped_active) = oneshot::channel::<()>();
    let (stop_queued, stopped_queued) = oneshot::channel::<()>();
    let signal = |stopped: oneshot::Receiver<()>| async move { drop(stopped.await) };
    let active = main
        .task()
        .cancel_on(signal(stopped_active))
        .spawn(async |cx| cx.cancelled().await);
    let queued = main.task().cancel_on(signal(stopped_queued));
    let queued = queued.spawn(async |_| ());
    let_run().await;
    stop_queued.send(()).unwrap();
    assert!(matches!(
        queued.await,
        Err(TaskError::CancelledQueued {
            reason: Reason::Signal,
            ..
        })
    ));
    stop_active.send(()).unwrap();
    assert_eq!(active.await.unwrap(), Reason::Signal);

    // For what its caller polls, too; and the signal ends with its task.
    let (mut kept, gone) = oneshot::channel::<()>();
    let run = main.task().cancel_on(signal(gone)).run(async |_| 5);
    assert_eq!(run.await.unwrap(), 5);
    kept.closed().await;
}

#[tokio::test(start_paused = true)]
async fn dropping_a_handle_detaches_unless_told_otherwise() {
    let (_lanes, main) = ceilinged(1);
    let (done, is_done) = oneshot::channel();
    drop(main.spawn(async move |_| {
        sleep(SECOND).await;
        done.send(()).unwrap();
    }));
    let queued = main.spawn(async |_| ()).abort_on_drop();
    drop(queued);
    assert!(main.snapshot().queued.is_empty());
    is_done.await.unwrap();

    let (told, reason) = oneshot::channel();
    let active = main.spawn(async |cx| told.send(cx.cancelled().await));
    let active = active.abort_on_drop();
    let_run().await;
    drop(active);
    assert_eq!(reason.await.unwrap(), Reason::Dropped);
    main.idle().await;
}

/// Awaited by reference, a handle can be awaited again.
#[tokio::test(start_paused = true)]
async fn s12_a_handle_that_was_not_waited_out_loses_nothing() {
    let (_lanes, main) = ceilinged(1);
    let mut task = main.spawn(async |_| {
        sleep(MINUTE).await;
        "kept"
    });
    for _ in 0..3 {
        assert!(tokio::time::timeout(SECOND, &mut task).await.is_err());
    }
    assert_eq!(task.await.unwrap(), "kept");
}

/// A blocking closure is asked like anybody, and it alone can answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_a_blocking_closure_that_asks_for_its_reason_ends_in_its_grace() {
    let config = LaneConfig::new(1).timeout(Timeout::grace(HOUR));
    let (_lanes, main) = one_lane(config);
    let (started, has_started) = oneshot::channel();
    let task = main.spawn_blocking(move |cx| {
        assert_eq!(cx.cancel_reason(), None);
        started.send(()).unwrap();
        loop {
            match cx.cancel_reason() {
                Some(reason) => break reason,
                None => std::thread::yield_now(),
            }
        }
    });
    has_started.await.unwrap();
    task.cancel(Reason::User);
    assert_eq!(task.await.unwrap(), Reason::User);
    main.idle().await;
    assert_eq!(assert_clean(&main).completed, 1);
}

/// The signal reaches those who listen beside the task, and it ends.
#[tokio::test(start_paused = true)]
async fn s7_whoever_listens_elsewhere_is_told_that_the_task_is_over() {
    let (_lanes, main) = ceilinged(1);
    let (send, receive) = oneshot::channel();
    let task = main.spawn(async move |cx| {
        send.send(cx).unwrap();
        sleep(SECOND).await;
    });
    let cx = receive.await.unwrap();
    let beside = tokio::spawn(cx.cancelled());
    task.await.unwrap();
    assert_eq!(beside.await.unwrap(), Reason::Completed);
    assert!(!cx.is_current());
}
