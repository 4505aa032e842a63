//! A queue of so many places, and who is refused.

mod common;

use std::future::pending;

use common::{SECOND, assert_clean, let_run, one_lane, poll_once};
use laneway::{AcquireError, LaneConfig, Lanes, Reason, TaskError, TaskStatus, TryAcquireError};
use tokio::time::sleep;

const CLAIM: std::time::Duration = std::time::Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn s18_whoever_would_queue_beyond_the_capacity_is_refused_by_name() {
    let (lanes, main) = one_lane(LaneConfig::new(1).queue_capacity(2));
    let slot = main.acquire().await.unwrap();
    let queued = [main.spawn(async |_| 1), main.spawn(async |_| 2)];

    let spawned = main.spawn(async |_| 3);
    assert_eq!(spawned.status(), TaskStatus::Settled);
    let refused = spawned.id();
    match spawned.await.unwrap_err() {
        TaskError::QueueFull {
            lane,
            id,
            capacity,
            queued,
        } => assert_eq!((&*lane, id, capacity, queued), ("main", refused, 2, 2)),
        other => panic!("{other:?}"),
    }
    let blocking = main.spawn_blocking(|_| 4).await.unwrap_err();
    assert!(
        matches!(blocking, TaskError::QueueFull { .. }),
        "{blocking:?}"
    );
    assert!(blocking.is_retryable() && blocking.id().is_some());
    let ran = main.run(async |_| 5).await.unwrap_err();
    assert!(matches!(ran, TaskError::QueueFull { .. }), "{ran:?}");
    let acquired = main.acquire().await.unwrap_err();
    assert!(acquired.is_retryable());
    let told = acquired.to_string();
    assert_eq!(told, r#"the queue of lane "main" is full, 2 of 2"#);
    assert!(matches!(acquired, AcquireError::QueueFull { .. }));
    // Who never waits is told that there is no slot.
    let tried = main.try_acquire().unwrap_err();
    assert!(matches!(tried, TryAcquireError::NoSlot { .. }));

    let snapshot = main.snapshot();
    assert_eq!(snapshot.queue_capacity, Some(2));
    assert_eq!((snapshot.queued.len(), snapshot.counters.submitted), (2, 3));
    // A refused one left nothing behind by which it could be ended.
    assert!(lanes.cancel(refused, Reason::User).is_err());

    drop(slot);
    for (queued, value) in queued.into_iter().zip(1..) {
        assert_eq!(queued.await.unwrap(), value);
    }
    assert_eq!(main.spawn(async |_| 6).await.unwrap(), 6);
    assert_clean(&main);
}

/// With no places at all, only who finds a free slot.
#[tokio::test(start_paused = true)]
async fn s5_a_queue_of_no_places_serves_whoever_finds_a_slot() {
    let (_lanes, main) = one_lane(LaneConfig::new(2).queue_capacity(0));
    let slots = [main.acquire().await.unwrap(), main.acquire().await.unwrap()];
    let refused = main.run(async |_| ()).await.unwrap_err();
    assert!(matches!(
        refused,
        TaskError::QueueFull {
            capacity: 0,
            queued: 0,
            ..
        }
    ));
    drop(slots);
    let both = [main.spawn(async |_| 7), main.spawn(async |_| 8)];
    assert_eq!(main.snapshot().active.len(), 2);
    for (task, value) in both.into_iter().zip(7..) {
        assert_eq!(task.await.unwrap(), value);
    }
    main.pause();
    let paused = main.run(async |_| ()).await.unwrap_err();
    assert!(matches!(paused, TaskError::QueueFull { .. }));
    assert_clean(&main);
}

/// Whatever a waiter leaves by gives its place to the next comer.
#[tokio::test(start_paused = true)]
async fn s12_a_place_that_comes_free_is_there_for_the_next() {
    let (lanes, main) = one_lane(LaneConfig::new(1).queue_capacity(1));
    let slot = main.acquire().await.unwrap();
    let full = async || {
        let refused = main.run(async |_| ()).await;
        assert!(matches!(refused, Err(TaskError::QueueFull { .. })));
    };
    // Dropped,
    let mut dropped = Box::pin(main.run(async |_| ()));
    assert!(poll_once(dropped.as_mut()).is_pending());
    full().await;
    drop(dropped);
    // cancelled,
    let cancelled = main.spawn(async |_| ());
    full().await;
    lanes.cancel(cancelled.id(), Reason::User).unwrap();
    assert!(cancelled.await.is_err());
    // cleared,
    let cleared = main.spawn(async |_| ());
    full().await;
    assert_eq!(main.clear(), 1);
    assert!(cleared.await.is_err());
    // out of time,
    let waiting = main.task().timeout(laneway::Timeout::wait(SECOND));
    let late = waiting.spawn(async |_| ());
    full().await;
    assert!(matches!(late.await, Err(TaskError::TimedOut { .. })));
    // or served.
    let served = main.spawn(async |_| pending::<()>().await);
    full().await;
    drop(slot);
    let next = main.spawn(async |_| ());
    full().await;
    assert_eq!(main.cancel_all(Reason::User), 2);
    assert!(served.await.is_err() && next.await.is_err());
    assert_clean(&main);
}

/// S20 is stronger: who lost a slot that it did not come for has a place.
#[tokio::test(start_paused = true)]
async fn s20_who_comes_back_to_its_place_is_never_refused() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).queue_capacity(1));
    let slot = main.acquire().await.unwrap();
    let mut sleeper = Box::pin(main.acquire());
    assert!(poll_once(sleeper.as_mut()).is_pending());
    drop(slot);
    // Granted, and nobody polls it; the next one queues meanwhile.
    let next = main.spawn(async |_| sleep(SECOND * 60).await);
    sleep(CLAIM + SECOND).await;
    let queued = main.spawn(async |_| ());
    let_run().await;
    assert!(
        poll_once(sleeper.as_mut()).is_pending(),
        "it is back in line"
    );
    assert_eq!(main.snapshot().queued.len(), 2);
    let refused = main.run(async |_| ()).await;
    assert!(matches!(
        refused,
        Err(TaskError::QueueFull {
            capacity: 1,
            queued: 2,
            ..
        })
    ));
    next.await.unwrap();
    drop(sleeper.await.unwrap());
    queued.await.unwrap();
    assert_clean(&main);
}

/// Many who come at once, on threads: never more than there are places, and
/// everybody is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s1_s7_a_crowd_finds_no_more_places_than_there_are() {
    let config = LaneConfig::new(2).queue_capacity(3);
    let lanes = Lanes::builder().lane("main", config).build().unwrap();
    let main = lanes.lane("main").unwrap();
    let mut comers = Vec::new();
    for _ in 0..64 {
        let main = main.clone();
        comers.push(tokio::spawn(async move {
            let (mut ran, mut refused) = (0, 0);
            for _ in 0..200 {
                let look = main.clone();
                let task = main.run(async move |_| look.snapshot().queued.len());
                match task.await {
                    Ok(queued) => {
                        assert!(queued <= 3, "{queued} are queued");
                        ran += 1;
                    }
                    Err(TaskError::QueueFull { queued, .. }) => {
                        assert!(queued >= 3, "refused, and only {queued} were queued");
                        refused += 1;
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
            (ran, refused)
        }));
    }
    let (mut ran, mut refused) = (0, 0);
    for comer in comers {
        let (some, others) = comer.await.unwrap();
        ran += some;
        refused += others;
    }
    assert_eq!(ran + refused, 64 * 200);
    assert_eq!(assert_clean(&main).completed, ran);
}
