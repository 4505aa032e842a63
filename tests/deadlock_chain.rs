//! Waits of chains, and of tasks that come back to a lane, that would never end.

#![expect(
    clippy::async_yields_async,
    reason = "a task gives out a handle that outlives it"
)]

mod common;

use common::{HOUR, assert_clean, let_run};
use laneway::{Lane, LaneConfig, Lanes, Reason, TaskError, WaitingError, WaitsFor};
use tokio::sync::oneshot;

fn two() -> (Lanes, Lane, Lane) {
    let lanes = Lanes::builder()
        .lane("a", LaneConfig::new(1))
        .lane("b", LaneConfig::new(1))
        .build()
        .unwrap();
    let (a, b) = (lanes.lane("a").unwrap(), lanes.lane("b").unwrap());
    (lanes, a, b)
}

#[tokio::test(start_paused = true)]
async fn two_chains_in_opposite_order_do_not_wait_for_each_other() {
    for detached in [true, false] {
        let (lanes, a, b) = two();
        let (there, back) = (
            lanes.chain(["a", "b"]).unwrap(),
            lanes.chain(["b", "a"]).unwrap(),
        );
        // The other gets `b`, and is behind this one in `a`.
        let busy = a.try_acquire().unwrap();
        let this = async {
            if detached {
                there.task().name("this").spawn(async |_| "this").await
            } else {
                there.task().name("this").run(async |_| "this").await
            }
        };
        let other = async {
            let other = back.spawn(async |_| "other");
            let_run().await;
            drop(busy);
            (other.id(), other.await)
        };
        let (this, (id, other)) = tokio::join!(this, other);
        let Err(TaskError::WouldDeadlock { lane, cycle, .. }) = this else {
            panic!("{this:?}");
        };
        assert_eq!(&*lane, "a");
        let told = cycle.tasks();
        assert_eq!(told.len(), 2);
        assert_eq!(told[0].name.as_deref(), Some("this"));
        assert!(matches!(&told[0].waits_for, WaitsFor::Lane { lane, .. } if &**lane == "b"));
        assert!(matches!(&told[1].waits_for, WaitsFor::Lane { lane, .. } if &**lane == "a"));
        assert_eq!(told[1].id, id);
        assert_eq!(other.unwrap(), "other");
        assert_clean(&a);
        assert_clean(&b);
    }
}

#[tokio::test(start_paused = true)]
async fn a_chain_over_a_lane_that_its_own_ancestor_fills_is_refused() {
    let (lanes, a, b) = two();
    let chain = lanes.chain(["a", "b"]).unwrap();
    let outer = b
        .run(async |_| {
            let nested = chain.run(async |_| ()).await;
            assert!(
                matches!(nested, Err(TaskError::WouldDeadlock { .. })),
                "{nested:?}"
            );
            chain.spawn(async |_| "after all")
        })
        .await
        .unwrap();
    // It was not awaited there, so that nothing was closed.
    assert_eq!(outer.await.unwrap(), "after all");
    assert_clean(&a);
    assert_clean(&b);
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_and_would_wait_for_ever_ends_and_the_other_goes_on() {
    let (lanes, a, b) = two();
    let chain = lanes.chain(["a", "b"]).unwrap();
    let (answer, asked) = oneshot::channel::<()>();
    let parked = chain.spawn(async |cx| {
        let wait = cx.waiting("x").limit(HOUR).release(["b"]).on(asked);
        let told = wait.await.map(|_| ());
        (told, cx.cancel_reason())
    });
    let_run().await;
    let in_b = a.clone();
    let other = b.spawn(async move |_| in_b.run(async |_| "went on").await);
    let_run().await;
    // It waits for somebody, and so for nobody's slot yet.
    assert_eq!(a.snapshot().queued.len(), 1);
    answer.send(()).unwrap();
    let told = (Err(WaitingError::NotActive), Some(Reason::WouldDeadlock));
    assert_eq!(parked.await.unwrap(), told);
    assert_eq!(other.await.unwrap().unwrap(), "went on");
    assert_clean(&a);
    assert_clean(&b);
    assert!(b.snapshot().parked.is_empty());
}

#[tokio::test(start_paused = true)]
async fn chains_in_one_order_are_never_refused() {
    let (lanes, a, b) = two();
    let chain = lanes.chain(["a", "b"]).unwrap();
    let slot = b.try_acquire().unwrap();
    let tasks: Vec<_> = (0..8).map(|n| chain.spawn(async move |_| n)).collect();
    let nested = a.run(async |_| b.run(async |_| "nested").await);
    let free = async {
        let_run().await;
        drop(slot);
    };
    let (nested, ()) = tokio::join!(nested, free);
    assert_eq!(nested.unwrap().unwrap(), "nested");
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await.unwrap(), n);
    }
    let deadlocks = [a.snapshot().counters, b.snapshot().counters];
    assert_eq!(deadlocks.map(|counters| counters.deadlocks), [0, 0]);
}
