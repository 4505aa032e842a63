//! The scenario that the crate exists for: a task that never settles, no
//! traffic, and everybody else gets on with it.

mod common;

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::mpsc;
use std::task::Poll;

use common::{
    CEILING, HOUR, MINUTE, SECOND, SHORT, TICK, assert_clean, ceilinged, let_run, now, one_lane,
    orphans_gone, poll_once, until,
};
use laneway::{Lane, LaneConfig, Reason, TaskError, TaskHandle};
use tokio::time::{Instant, advance, sleep};

/// The second task of a lane of one, and when it ran.
fn queued_behind(lane: &Lane) -> TaskHandle<Instant> {
    lane.spawn(async |_| now())
}

#[track_caller]
fn assert_at_ceiling(began: Instant, ran_at: Instant) {
    let after = ran_at - began;
    assert!(after >= CEILING, "{after:?}");
    assert!(after <= CEILING + TICK, "{after:?}");
}

#[track_caller]
fn assert_stalled<T: std::fmt::Debug>(result: Result<T, TaskError>) {
    match result {
        Err(TaskError::Stalled {
            lane,
            ceiling,
            idle,
            elapsed,
            ..
        }) => {
            assert_eq!(&*lane, "main");
            assert!(idle >= ceiling, "{idle:?} of {ceiling:?}");
            assert!(elapsed >= idle);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn s8_a_spawned_phantom_gives_way_without_traffic() {
    let (_lanes, main) = ceilinged(1);
    let began = now();
    let phantom = main.spawn(async |_| pending::<()>().await);
    assert_at_ceiling(began, queued_behind(&main).await.unwrap());
    assert_stalled(phantom.await);
    let counters = assert_clean(&main);
    assert_eq!((counters.reclaimed, counters.taken), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn s8_a_phantom_that_its_caller_polls_gives_way_without_traffic() {
    let (_lanes, main) = ceilinged(1);
    let began = now();
    let (phantom, ran_at) = tokio::join!(
        main.run(async |_| pending::<()>().await),
        main.run(async |_| now()),
    );
    assert_at_ceiling(began, ran_at.unwrap());
    assert_stalled(phantom);
    let counters = assert_clean(&main);
    assert_eq!((counters.reclaimed, counters.taken), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn s4_healthy_siblings_keep_results_times_and_places() {
    let (_lanes, main) = ceilinged(3);
    let began = now();
    let sibling = |answer| {
        main.task().name("sibling").spawn(async move |cx| {
            for _ in 0..4 * 60 {
                sleep(5 * SECOND).await;
                cx.progress();
            }
            (answer, cx.fence(), cx.is_current(), now())
        })
    };
    let siblings = [sibling(1), sibling(2)];
    let phantom = main.spawn(async |_| pending::<()>().await);
    let second = queued_behind(&main);

    let facts = |lane: &Lane| -> Vec<_> {
        let active = lane.snapshot().active.into_iter();
        active
            .filter(|task| task.name.as_deref() == Some("sibling"))
            .map(|task| (task.id, task.fence, task.waited))
            .collect()
    };
    let before = facts(&main);
    assert_eq!(before.len(), 2);
    assert_at_ceiling(began, second.await.unwrap());
    assert_stalled(phantom.await);

    let snapshot = main.snapshot();
    assert_eq!(facts(&main), before);
    for task in &snapshot.active {
        assert_eq!(task.age, Some(now() - began), "its time goes on");
        assert!(task.idle < Some(6 * SECOND));
    }
    for (sibling, answer) in siblings.into_iter().zip([1, 2]) {
        let fence = before[answer - 1].1;
        let (got, got_fence, current, at) = sibling.await.unwrap();
        assert_eq!((got, Some(got_fence), current), (answer, fence, true));
        assert_eq!(at - began, 20 * MINUTE);
    }
    assert_eq!(assert_clean(&main).completed, 3);
}

#[tokio::test(start_paused = true)]
async fn s4_siblings_that_wait_keep_their_places() {
    let (_lanes, main) = ceilinged(1);
    let phantom = main.spawn(async |_| pending::<()>().await);
    let (order, mut ran) = tokio::sync::mpsc::unbounded_channel();
    for n in 0..4 {
        let order = order.clone();
        drop(main.spawn(async move |_| order.send(n)));
    }
    assert_stalled(phantom.await);
    for n in 0..4 {
        assert_eq!(ran.recv().await, Some(n));
    }
}

#[tokio::test(start_paused = true)]
async fn s8_idle_and_wait_active_wake_up() {
    let (lanes, main) = ceilinged(1);
    let began = now();
    drop(main.spawn(async |_| pending::<()>().await));
    let (wait_active, (), ()) = tokio::join!(main.wait_active(HOUR), main.idle(), lanes.idle());
    wait_active.unwrap();
    assert_at_ceiling(began, now());
}

#[tokio::test(start_paused = true)]
async fn s8_idle_and_wait_active_are_woken_by_a_take_and_not_by_its_orphan() {
    let (lanes, main) = ceilinged(3);
    let began = now();
    let mut parked = Box::pin(main.run(async |_| pending::<()>().await));
    assert!(poll_once(parked.as_mut()).is_pending());
    let healthy = main.spawn(async |cx| {
        sleep(9 * MINUTE).await;
        cx.progress();
        sleep(9 * MINUTE).await;
    });
    let woken = tokio::join!(
        async { main.wait_active(HOUR).await.map(|()| now() - began) },
        async { (main.idle().await, now() - began).1 },
        async { (lanes.idle().await, now() - began).1 },
    );
    assert_eq!(woken, (Ok(18 * MINUTE), 18 * MINUTE, 18 * MINUTE));
    assert_eq!(main.snapshot().orphans.len(), 1);
    healthy.await.unwrap();
    // And nobody but the orphan: the wait for those active now is over.
    main.wait_active(SECOND).await.unwrap();
    drop(parked);
    assert_clean(&main);
}

/// Parked: polled once, and then kept by somebody who does not poll it.
#[tokio::test(start_paused = true)]
async fn s8_a_future_that_nobody_polls_gives_way_as_an_orphan() {
    let (_lanes, main) = ceilinged(1);
    let began = now();
    let (answer, answered) = tokio::sync::oneshot::channel();
    let mut parked = Box::pin(main.run(async |_| answered.await));
    tokio::select! {
        biased;
        _ = &mut parked => unreachable!(),
        () = std::future::ready(()) => {}
    }
    let ran_at = queued_behind(&main).await.unwrap();
    assert_at_ceiling(began, ran_at);
    let snapshot = main.snapshot();
    assert_eq!(snapshot.orphans.len(), 1);
    assert_eq!(snapshot.orphans[0].asked, Some(Reason::Stalled));

    // S2: what it comes to now changes nothing, not even when it could end.
    let holder = main.acquire().await.unwrap();
    let before = main.snapshot().counters;
    answer.send(()).unwrap();
    assert_stalled(parked.await);
    assert!(holder.is_current());
    assert!(main.try_acquire().is_err());
    assert_eq!(main.snapshot().counters, before);
    drop(holder);
    assert_clean(&main);
}

#[tokio::test(start_paused = true)]
async fn s8_an_orphan_that_is_dropped_unpolled_is_let_go_of() {
    let (_lanes, main) = ceilinged(1);
    let mut parked = Box::pin(main.run(async |_| pending::<()>().await));
    assert!(poll_once(parked.as_mut()).is_pending());
    queued_behind(&main).await.unwrap();
    let holder = main.acquire().await.unwrap();
    drop(parked);
    assert!(holder.is_current());
    assert_eq!(main.snapshot().active.len(), 1);
    assert!(main.snapshot().orphans.is_empty());
}

#[tokio::test(start_paused = true)]
async fn s8_a_forgotten_slot_gives_way() {
    let (lanes, main) = ceilinged(1);
    let began = now();
    std::mem::forget(main.acquire().await.unwrap());
    let ran_at = main.run(async |_| now()).await.unwrap();
    assert_at_ceiling(began, ran_at);
    // Nobody will ever let go of it, but somebody can vouch for it.
    let orphan = main.snapshot().orphans[0].id;
    lanes.forget_orphan(orphan).unwrap();
    assert_clean(&main);
}

#[tokio::test(start_paused = true)]
async fn s2_a_slot_that_was_taken_frees_nothing_when_it_is_dropped() {
    let (_lanes, main) = ceilinged(1);
    let phantom = main.acquire().await.unwrap();
    let second = main.acquire().await.unwrap();
    assert!(!phantom.is_current() && second.is_current());
    assert!(second.fence() > phantom.fence());
    assert_eq!(phantom.lost().await, Reason::Stalled);
    let mut third = pin!(main.acquire());
    assert!(poll_once(third.as_mut()).is_pending());
    let before = main.snapshot().counters;
    drop(phantom);
    let_run().await;
    assert!(poll_once(third.as_mut()).is_pending());
    let after = main.snapshot();
    assert_eq!(after.orphans.len(), 0);
    assert_eq!(after.counters.late, 1);
    assert_eq!(after.counters.completed, before.completed);
    drop(second);
    assert!(third.await.unwrap().is_current());
}

/// A future whose poll blocks until the test releases it.
fn blocked_poll(released: mpsc::Receiver<u32>) -> impl Future<Output = u32> {
    poll_fn(move |_| Poll::Ready(released.recv().unwrap()))
}

/// The phantom never settles, the second runs, and what the phantom comes to
/// in the end changes nothing.
async fn taken_from_a_blocked_thread(
    main: Lane,
    phantom: TaskHandle<u32>,
    release: mpsc::Sender<u32>,
) {
    queued_behind(&main).await.unwrap();
    assert_stalled(phantom.await);
    let holder = main.acquire().await.unwrap();
    let before = main.snapshot();
    assert_eq!(before.orphans.len(), 1);
    release.send(7).unwrap();
    orphans_gone(&main).await;
    let after = main.snapshot();
    assert!(holder.is_current());
    assert!(main.try_acquire().is_err());
    assert_eq!(after.active.len(), 1);
    assert_eq!(after.counters.late, before.counters.late + 1);
    assert_eq!(after.counters.completed, before.counters.completed);
    assert_eq!(after.counters.granted, before.counters.granted);
    drop(holder);
    assert_clean(&main);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s8_a_blocked_poll_gives_way_as_an_orphan() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).no_stall_ceiling());
    let (release, released) = mpsc::channel();
    let phantom = main.task().stall_ceiling(SHORT);
    let phantom = phantom.spawn(async move |_| blocked_poll(released).await);
    taken_from_a_blocked_thread(main, phantom, release).await;
}

/// The driver must not wait for the very thread that is blocked, though it was
/// that thread which set the ceiling off.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s8_a_poll_that_blocks_on_the_thread_that_woke_the_driver_gives_way() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).no_stall_ceiling());
    // Polled by a task of somebody else, the first that this scheduler sees.
    let (release, released) = mpsc::channel();
    let polled = tokio::spawn({
        let main = main.clone();
        async move {
            let phantom = main.task().stall_ceiling(SHORT);
            phantom.run(async |_| blocked_poll(released).await).await
        }
    });
    until(|| !main.snapshot().active.is_empty()).await;
    queued_behind(&main).await.unwrap();
    assert_eq!(main.snapshot().orphans.len(), 1);
    release.send(7).unwrap();
    assert_stalled(polled.await.unwrap());
    assert_clean(&main);

    // The driver sleeps, and it is a phase that wakes it.
    let (release, released) = mpsc::channel();
    let phantom = main.spawn(async move |cx| {
        let _phase = cx.phase("short").silence(SHORT).unwrap();
        blocked_poll(released).await
    });
    taken_from_a_blocked_thread(main, phantom, release).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s8_a_blocking_closure_gives_way_as_an_orphan() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).no_stall_ceiling());
    let (release, released) = mpsc::channel();
    let phantom = main.task().stall_ceiling(SHORT);
    let phantom = phantom.spawn_blocking(move |_| released.recv().unwrap());
    taken_from_a_blocked_thread(main, phantom, release).await;
}

#[tokio::test(start_paused = true)]
async fn s8_a_blocking_closure_gives_way_at_its_ceiling() {
    let (_lanes, main) = ceilinged(1);
    let (release, released) = mpsc::channel::<u32>();
    let (started, has_started) = tokio::sync::oneshot::channel();
    let phantom = main.spawn_blocking(move |cx| {
        started.send(()).unwrap();
        (released.recv().unwrap(), cx.is_current())
    });
    let second = queued_behind(&main);
    has_started.await.unwrap();
    // A thread holds the clock, so it is moved by hand.
    advance(CEILING - TICK).await;
    let_run().await;
    assert!(main.snapshot().orphans.is_empty());
    advance(TICK).await;
    let_run().await;
    advance(TICK).await;
    second.await.unwrap();
    assert_stalled(phantom.await);
    assert_eq!(main.snapshot().orphans.len(), 1);
    release.send(7).unwrap();
    orphans_gone(&main).await;
    assert_eq!(assert_clean(&main).late, 1);
}

/// On real time and on several threads: only what comes of it, not when.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s8_phantoms_of_every_kind_give_way_on_many_threads() {
    let (_lanes, main) = one_lane(LaneConfig::new(3).no_stall_ceiling());
    let (finish, finished) = tokio::sync::oneshot::channel();
    let healthy = main.spawn(async |_| finished.await);
    let phantom = || main.task().stall_ceiling(SHORT);
    let spawned = phantom().spawn(async |_| pending::<()>().await);
    std::mem::forget(phantom().acquire().await.unwrap());
    let waiters: Vec<_> = (0..8).map(|n| main.spawn(async move |_| n)).collect();
    for (n, waiter) in waiters.into_iter().enumerate() {
        assert_eq!(waiter.await.unwrap(), n);
    }
    assert_stalled(spawned.await);
    finish.send(17).unwrap();
    assert_eq!(healthy.await.unwrap(), Ok(17));
    main.idle().await;
    until(|| main.snapshot().orphans.len() == 1).await;
}
