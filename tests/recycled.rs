//! The memory of a task that is over is used again; nothing of the task is.
//!
//! All of these are on one thread, so that the second task has what the first
//! one left.

mod common;

use std::future::pending;
use std::sync::Arc;

use common::{CEILING, HOUR, MINUTE, SECOND, ceilinged, now, one_lane, poll_once};
use laneway::{Lane, LaneConfig, Lanes, Reason, TaskError, TaskStatus, Timeout};
use tokio::time::sleep;

/// A lane that ends nobody by itself.
fn patient() -> LaneConfig {
    LaneConfig::new(1).no_stall_ceiling()
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn s2_a_context_that_is_kept_says_nothing_for_the_next_task() {
    let (_lanes, main) = ceilinged(1);
    let kept = main.run(async |cx| cx).await.unwrap();
    let (first, fence) = (kept.id(), kept.fence());
    let late = main
        .run(async |cx| {
            assert_ne!(cx.id(), first);
            assert!(cx.is_current() && !kept.is_current());
            sleep(CEILING / 2).await;
            kept.progress();
            pending::<()>().await;
        })
        .await;
    let Err(TaskError::Stalled { idle, .. }) = late else {
        panic!("{late:?}");
    };
    assert!(idle < CEILING + SECOND, "{idle:?}");
    assert_eq!((kept.id(), kept.fence()), (first, fence));
}

#[tokio::test(start_paused = true)]
async fn s9_a_deadline_ends_with_its_task() {
    let (_lanes, main) = ceilinged(1);
    let hasty = main.run(async |cx| cx.set_deadline(now() + SECOND)).await;
    // Under a ceiling, so that it is looked at in between.
    let patient = main
        .run(async |cx| {
            for _ in 0..4 {
                sleep(CEILING / 2).await;
                cx.progress();
            }
        })
        .await;
    assert!(hasty.is_ok() && patient.is_ok(), "{patient:?}");
}

#[tokio::test(start_paused = true)]
async fn s9_a_timeout_ends_with_its_task() {
    let (_lanes, main) = one_lane(patient());
    let hasty = main.task().timeout(Timeout::budget(SECOND));
    assert!(hasty.run(async |_| ()).await.is_ok());
    let patient = main.run(async |_| sleep(HOUR).await).await;
    assert!(patient.is_ok(), "{patient:?}");
}

#[tokio::test(start_paused = true)]
async fn s8_a_report_is_the_report_of_its_task() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    main.run(async |cx| cx.progress()).await.unwrap();
    let silent = main.run(async |_| pending::<()>().await).await;
    let Err(TaskError::Stalled { ceiling, .. }) = silent else {
        panic!("{silent:?}");
    };
    assert_eq!(ceiling, HOUR, "it has never reported any progress");
}

#[tokio::test(start_paused = true)]
async fn s8_an_extension_ends_with_its_task() {
    let (lanes, main) = ceilinged(1);
    main.run(async |cx| lanes.extend(cx.id(), HOUR * 9).unwrap())
        .await
        .unwrap();
    let silent = main.run(async |_| pending::<()>().await).await;
    let Err(TaskError::Stalled { idle, .. }) = silent else {
        panic!("{silent:?}");
    };
    assert!(idle < CEILING + SECOND, "{idle:?}");
}

#[tokio::test(start_paused = true)]
async fn s8_who_does_not_listen_has_no_grace_of_who_did() {
    let (lanes, main) = one_lane(patient());
    let asked = main.run(async |cx| cx.cancel_reason()).await;
    assert_eq!(asked.unwrap(), None);
    let began = now();
    let deaf = main
        .run(async |cx| {
            lanes.cancel(cx.id(), Reason::User).unwrap();
            drop(cx);
            pending::<()>().await;
        })
        .await;
    assert!(matches!(deaf, Err(TaskError::Cancelled { .. })), "{deaf:?}");
    assert_eq!(now(), began);
}

#[tokio::test(start_paused = true)]
async fn s2_an_ask_is_not_the_next_tasks() {
    let (lanes, main) = one_lane(patient());
    let asked = main
        .run(async |cx| {
            lanes.cancel(cx.id(), Reason::User).unwrap();
            cx.cancel_reason()
        })
        .await;
    assert_eq!(asked.unwrap(), Some(Reason::User));
    let next = main
        .run(async |cx| {
            sleep(MINUTE).await;
            cx.cancel_reason()
        })
        .await;
    assert_eq!(next.unwrap(), None);
}

/// Takes the slot of its own task, between the end of its future and that of its
/// slot.
struct Resets(Lane);

impl Drop for Resets {
    fn drop(&mut self) {
        assert_eq!(self.0.reset(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn s2_how_a_task_was_settled_is_not_how_the_next_one_is() {
    let (_lanes, main) = one_lane(patient());
    let resets = Resets(main.clone());
    let ready = std::future::poll_fn(move |_| {
        let _held = &resets;
        std::task::Poll::Ready(7)
    });
    assert!(matches!(main.run(|_| ready).await, Ok(7)));
    let next = main.spawn(async |_| 8);
    assert_ne!(next.status(), TaskStatus::Settled);
    assert!(matches!(next.await, Ok(8)));
}

#[tokio::test(start_paused = true)]
async fn s9_who_waits_is_seen_to_wait_whoever_it_was_before() {
    let (_lanes, outer) = ceilinged(3);
    let (_lanes, inner) = one_lane(patient());
    // Three at once, for the holder, the parent and the child below.
    let three = [(); 3].map(|()| outer.run(async |_| tokio::task::yield_now().await));
    for ended in futures::future::join_all(three).await {
        ended.unwrap();
    }
    let slot = inner.acquire().await.unwrap();
    let parent = outer.run(async |_| inner.run(async |_| 7).await);
    let release = async {
        sleep(CEILING * 2).await;
        drop(slot);
    };
    let (answer, ()) = futures::join!(parent, release);
    assert!(matches!(answer, Ok(Ok(7))), "{answer:?}");
}

#[tokio::test]
async fn s15_a_parent_is_not_kept_by_its_childs_memory() {
    let lanes = Lanes::builder().default_lane(patient()).build().unwrap();
    let (outer, inner) = (lanes.lane("outer").unwrap(), lanes.lane("inner").unwrap());
    let value = Arc::new(());
    let child = outer
        .task()
        .meta(Arc::clone(&value))
        .run(async |_| inner.run(async |_| ()).await)
        .await;
    assert!(matches!(child, Ok(Ok(()))));
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn s8_the_clock_of_another_runtime_is_no_sign_of_life() {
    let (_lanes, main) = ceilinged(1);
    paused().block_on(async {
        let slot = main.acquire().await.unwrap();
        let mut waiter = std::pin::pin!(main.run(async |_| ()));
        assert!(poll_once(waiter.as_mut()).is_pending());
        drop(slot);
        sleep(HOUR * 9).await;
        waiter.await.unwrap();
    });
    // This clock begins where that one did, long before it ended.
    let (_lanes, other) = ceilinged(1);
    let silent = paused().block_on(async { other.run(async |_| pending::<()>().await).await });
    let Err(TaskError::Stalled { elapsed, .. }) = silent else {
        panic!("{silent:?}");
    };
    assert!(elapsed < CEILING + SECOND, "{elapsed:?}");
}

#[test]
fn s7_a_task_is_not_bound_to_the_runtime_of_the_one_before() {
    let (_lanes, main) = one_lane(patient());
    let gone = paused();
    gone.block_on(async {
        // Two at once, for the holder and the waiter below.
        drop([main.spawn(async |_| ()), main.spawn(async |_| ())]);
        main.idle().await;
    });
    paused().block_on(async {
        let slot = main.acquire().await.unwrap();
        let mut waiter = std::pin::pin!(main.run(async |_| 7));
        assert!(poll_once(waiter.as_mut()).is_pending());
        gone.shutdown_background();
        drop(slot);
        assert!(matches!(waiter.await, Ok(7)));
    });
}

#[tokio::test]
async fn s4_whoever_has_the_cell_of_a_handle_that_was_told_of_a_cancel_is_not_cancelled() {
    let (_lanes, main) = one_lane(patient());
    let slot = main.acquire().await.unwrap();
    let queued = main.spawn(async |_| ());
    queued.cancel(Reason::User);
    let told = queued.await;
    assert!(
        matches!(told, Err(TaskError::CancelledQueued { .. })),
        "{told:?}"
    );
    drop(slot);
    let active = main.spawn(async |_| pending::<()>().await);
    tokio::task::yield_now().await;
    active.cancel(Reason::User);
    let told = active.await;
    assert!(matches!(told, Err(TaskError::Cancelled { .. })), "{told:?}");
    for _ in 0..2 {
        let next = main.spawn(async |cx| (cx.cancel_reason(), cx.is_current()));
        assert_eq!(next.status(), TaskStatus::Active);
        assert_eq!(next.await.unwrap(), (None, true));
    }
    assert_eq!(main.run(async |cx| cx.cancel_reason()).await.unwrap(), None);
}

#[tokio::test]
async fn a_handle_that_gave_its_result_still_says_whose_it_was() {
    let (_lanes, main) = one_lane(patient());
    let mut first = main.spawn(async |_| 1);
    let id = first.id();
    assert_eq!((&mut first).await.unwrap(), 1);
    let second = main.spawn(async |_| pending::<()>().await);
    assert_eq!((first.id(), first.status()), (id, TaskStatus::Settled));
    assert_ne!(second.id(), id);
    // It names nobody else's task.
    first.cancel(Reason::User);
    drop(first.abort_on_drop());
    assert_eq!(second.status(), TaskStatus::Active);
}
