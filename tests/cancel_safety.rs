//! Futures that are dropped, forgotten, or not polled when their turn comes
//! (S12, S20).

mod common;

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use common::{
    CEILING, HOUR, SECOND, TICK, assert_clean, ceilinged, let_run, now, one_lane, orphans_gone,
    poll_once,
};
use futures::FutureExt;
use laneway::{AcquireError, LaneConfig, Reason, TaskError, TaskStatus, Timeout};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{advance, sleep, timeout};

const CLAIM: std::time::Duration = std::time::Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn s12_a_queued_future_that_is_dropped_had_never_joined() {
    let (_lanes, main) = ceilinged(1);
    let holder = main.acquire().await.unwrap();
    let (order, mut ran) = unbounded_channel();
    let waiter = |n: u32| {
        let order = order.clone();
        Box::pin(main.run(async move |_| order.send(n).unwrap()))
    };
    let mut waiters: Vec<_> = (0..5).map(waiter).collect();
    for waiter in &mut waiters {
        assert!(poll_once(waiter.as_mut()).is_pending());
    }
    let mut acquiring = Box::pin(main.acquire());
    assert!(poll_once(acquiring.as_mut()).is_pending());
    assert_eq!(main.snapshot().queued.len(), 6);
    drop(waiters.remove(0));
    drop(waiters.remove(1));
    drop(acquiring);
    let places: Vec<_> = main.snapshot().queued;
    assert_eq!(places.len(), 3);
    drop(holder);
    futures::future::join_all(waiters).await;
    drop(order);
    for expected in [Some(1), Some(3), Some(4), None] {
        assert_eq!(ran.recv().await, expected);
    }
    let counters = assert_clean(&main);
    assert_eq!((counters.granted, counters.completed), (4, 4));
}

/// Never polled, it never joined; and one that is polled joins only then.
#[tokio::test(start_paused = true)]
async fn s12_joining_takes_a_poll() {
    let (_lanes, main) = ceilinged(1);
    drop(main.run(async |_| ()));
    drop(main.acquire());
    assert_eq!(main.snapshot().counters.submitted, 0);
}

#[tokio::test(start_paused = true)]
async fn s20_a_grant_that_is_dropped_unclaimed_is_passed_on_at_once() {
    let (_lanes, main) = ceilinged(1);
    for by_run in [true, false] {
        let holder = main.acquire().await.unwrap();
        let mut run = Box::pin(main.run(async |_| ()));
        let mut acquire = Box::pin(main.acquire());
        let granted = if by_run {
            poll_once(run.as_mut()).is_pending()
        } else {
            poll_once(acquire.as_mut()).is_pending()
        };
        assert!(granted);
        let began = now();
        let next = main.spawn(async |_| now());
        drop(holder);
        assert!(main.try_acquire().is_err(), "it was granted");
        drop(run);
        drop(acquire);
        assert_eq!(next.await.unwrap(), began);
        assert_clean(&main);
    }
}

#[tokio::test(start_paused = true)]
async fn s12_an_active_future_that_is_dropped_releases_its_slot_after_its_destructors() {
    struct Look(
        laneway::Lane,
        tokio::sync::mpsc::UnboundedSender<(usize, bool)>,
    );
    impl Drop for Look {
        fn drop(&mut self) {
            let snapshot = self.0.snapshot();
            let taken = self.0.try_acquire().is_ok();
            self.1.send((snapshot.active.len(), taken)).unwrap();
        }
    }
    let (_lanes, main) = ceilinged(1);
    let (seen, mut saw) = unbounded_channel();
    let look = Look(main.clone(), seen);
    let mut run = Box::pin(main.run(async move |_| {
        let _look = look;
        pending::<()>().await;
    }));
    assert!(poll_once(run.as_mut()).is_pending());
    drop(run);
    assert_eq!(saw.recv().await, Some((1, false)));
    assert!(main.try_acquire().is_ok());
    let counters = assert_clean(&main);
    assert_eq!((counters.ended, counters.completed), (1, 1));
}

/// Forgetting is what S8 is for, wherever the future was on its way.
#[tokio::test(start_paused = true)]
async fn s12_a_forgotten_future_costs_no_slot_for_ever() {
    let (_lanes, main) = ceilinged(1);
    let holder = main.acquire().await.unwrap();
    let mut queued = Box::pin(main.acquire());
    assert!(poll_once(queued.as_mut()).is_pending());
    std::mem::forget(queued);
    let began = now();
    drop(holder);
    // It was granted, it sleeps, and it is in nobody's way.
    let ran_at = main.run(async |_| now()).await.unwrap();
    assert!(ran_at - began >= CLAIM);
    assert!(ran_at - began <= CLAIM + TICK, "{:?}", ran_at - began);

    let mut active = Box::pin(main.run(async |_| pending::<()>().await));
    assert!(poll_once(active.as_mut()).is_pending());
    std::mem::forget(active);
    let began = now();
    let ran_at = main.run(async |_| now()).await.unwrap();
    assert!(ran_at - began <= CEILING + TICK, "{:?}", ran_at - began);
    assert_eq!(main.snapshot().orphans.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn s20_a_grant_that_nobody_polls_is_passed_on_and_rejoins_at_its_old_place() {
    let (_lanes, main) = ceilinged(1);
    let began = now();
    let holder = main.acquire().await.unwrap();
    let (order, mut ran) = unbounded_channel();
    let slow = order.clone();
    let mut slow = Box::pin(main.run(async move |_| slow.send("slow").unwrap()));
    let mut slow_acquire = Box::pin(main.acquire());
    assert!(poll_once(slow.as_mut()).is_pending());
    assert!(poll_once(slow_acquire.as_mut()).is_pending());
    let say = |name, after| {
        let order = order.clone();
        main.spawn(async move |_| {
            sleep(after).await;
            order.send(name).unwrap();
            now()
        })
    };
    let first = say("first", 10 * SECOND);
    let second = say("second", SECOND);
    drop(holder);

    // Two grants go by, five seconds each.
    sleep(CLAIM * 2 + TICK * 2).await;
    let snapshot = main.snapshot();
    assert_eq!(snapshot.active[0].id, first.id());
    assert_eq!(snapshot.queued.len(), 3, "asleep, they are still there");

    // Polled again while the first runs, both are ahead of the second.
    assert!(poll_once(slow_acquire.as_mut()).is_pending());
    assert!(poll_once(slow.as_mut()).is_pending());
    slow.await.unwrap();
    let slot = slow_acquire.await.unwrap();
    assert!(slot.is_current());
    order.send("slow slot").unwrap();
    drop(slot);
    let took = second.await.unwrap() - began;
    assert!(took >= CLAIM * 2 + 11 * SECOND, "{took:?}");
    assert!(took <= CLAIM * 2 + 11 * SECOND + 2 * TICK, "{took:?}");
    drop(order);
    first.await.unwrap();
    for expected in ["first", "slow", "slow slot", "second"] {
        assert_eq!(ran.recv().await, Some(expected));
    }
    assert_eq!(
        assert_clean(&main).taken,
        0,
        "a grant that is passed on is no take"
    );
}

/// Whoever comes back to a free lane starts at once.
#[tokio::test(start_paused = true)]
async fn s20_who_slept_and_finds_a_free_slot_has_it() {
    let (_lanes, main) = ceilinged(1);
    let holder = main.acquire().await.unwrap();
    let mut slow = Box::pin(main.run(async |cx| cx.is_current()));
    assert!(poll_once(slow.as_mut()).is_pending());
    drop(holder);
    sleep(HOUR).await;
    main.idle().await;
    let slot = main.acquire().await.unwrap();
    assert!(poll_once(slow.as_mut()).is_pending());
    drop(slot);
    assert!(slow.await.unwrap());
    assert_clean(&main);
}

/// Asleep outside the queue, its caller still gets an answer (S7).
#[tokio::test(start_paused = true)]
async fn s7_who_sleeps_is_settled_with_the_queue() {
    let (_lanes, main) = ceilinged(1);
    let sleeper = || {
        let holder = main.try_acquire().unwrap();
        let mut slow = Box::pin(main.run(async |_| ()));
        assert!(poll_once(slow.as_mut()).is_pending());
        drop(holder);
        slow
    };
    let slow = sleeper();
    sleep(CLAIM + TICK).await;
    assert_eq!(main.clear(), 1);
    assert!(matches!(slow.await, Err(TaskError::Cleared { .. })));

    let slow = sleeper();
    sleep(CLAIM + TICK).await;
    assert_eq!(main.cancel_all(Reason::User), 1);
    assert!(matches!(slow.await, Err(TaskError::CancelledQueued { .. })));

    let bounded = main.with_timeout(Timeout::wait(10 * SECOND));
    let holder = main.try_acquire().unwrap();
    let mut slow = Box::pin(bounded.acquire());
    assert!(poll_once(slow.as_mut()).is_pending());
    drop(holder);
    sleep(20 * SECOND).await;
    assert!(matches!(slow.await, Err(AcquireError::TimedOut { .. })));

    let slow = sleeper();
    sleep(CLAIM + TICK).await;
    main.shutdown().await;
    assert!(matches!(slow.await, Err(TaskError::Shutdown { .. })));
    assert_clean(&main);
}

/// Many hands, many lanes' worth of races, and nothing is lost or doubled.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s2_a_storm_of_dropped_futures_leaves_the_lane_as_it_was() {
    let (_lanes, main) = one_lane(LaneConfig::new(2).no_stall_ceiling());
    let storm = (0..64_u32).map(|n| {
        let main = main.clone();
        tokio::spawn(async move {
            for round in 0..50 {
                let mut run = Box::pin(main.run(async |cx| {
                    tokio::task::yield_now().await;
                    assert!(cx.is_current());
                }));
                // Polled a few times, and then dropped wherever it is.
                for _ in 0..(n + round) % 7 {
                    if futures::poll!(Pin::as_mut(&mut run)).is_ready() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
        })
    });
    for storm in futures::future::join_all(storm).await {
        storm.unwrap();
    }
    main.idle().await;
    orphans_gone(&main).await;
    let counters = assert_clean(&main);
    assert_eq!(counters.submitted, counters.completed + counters.ended);
    let_run().await;
    let both = (main.try_acquire(), main.try_acquire(), main.try_acquire());
    assert!(matches!(both, (Ok(_), Ok(_), Err(_))));
}

type Wait<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

struct Witness;

impl Wake for Witness {
    fn wake(self: Arc<Self>) {}
}

/// Whoever gives up waiting takes its waker along, however long what it waited
/// for still takes.
#[tokio::test(start_paused = true)]
async fn s15_a_wait_that_is_dropped_leaves_no_waker_behind() {
    let (lanes, main) = ceilinged(1);
    let slot = main.acquire().await.unwrap();
    let waits: [(&str, Wait<'_>); 6] = [
        ("Lane::idle", Box::pin(main.idle())),
        ("Lanes::idle", Box::pin(lanes.idle())),
        (
            "Lane::wait_active",
            Box::pin(main.wait_active(HOUR).map(drop)),
        ),
        (
            "Lanes::wait_active",
            Box::pin(lanes.wait_active(HOUR).map(drop)),
        ),
        ("Slot::lost", Box::pin(slot.lost().map(drop))),
        ("Lane::acquire", Box::pin(main.acquire().map(drop))),
    ];
    for (what, mut wait) in waits {
        let witness = Arc::new(Witness);
        let waker = Waker::from(Arc::clone(&witness));
        assert!(
            wait.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        drop(waker);
        assert!(Arc::strong_count(&witness) > 1, "{what} is not registered");
        drop(wait);
        assert_eq!(Arc::strong_count(&witness), 1, "{what}");
    }
}

/// A thread that is not free in time: its grant is passed on, and the closure
/// is put back in line, at its old place.
#[test]
fn s20_a_closure_that_gets_no_thread_rejoins_at_its_old_place() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let builder = builder
        .enable_all()
        .start_paused(true)
        .max_blocking_threads(1);
    builder.build().unwrap().block_on(async {
        let (_lanes, main) = ceilinged(1);
        let (free, busy) = std::sync::mpsc::channel::<()>();
        let thread = tokio::task::spawn_blocking(move || busy.recv().is_err());
        let slow = main.spawn_blocking(|cx| cx.fence());
        advance(CLAIM).await;
        let_run().await;
        assert_eq!(slow.status(), TaskStatus::Queued);
        let meanwhile = main.acquire().await.unwrap().fence();
        drop(free);
        thread.await.unwrap();
        let ran = timeout(HOUR, slow).await.expect("it is not lost");
        assert!(ran.unwrap() > meanwhile);
        assert_clean(&main);
    });
}

/// The same of a future whose runtime nobody drives.
#[test]
fn s20_a_body_whose_runtime_stands_still_rejoins_at_its_old_place() {
    let paused = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    let (still, other) = (paused(), paused());
    let (_lanes, main) = ceilinged(1);
    let entered = still.enter();
    let slow = main.spawn(async |cx| cx.fence());
    drop(entered);
    let meanwhile = other.block_on(async {
        let slot = main.acquire().await.unwrap();
        assert_eq!(slow.status(), TaskStatus::Queued);
        slot.fence()
    });
    still.block_on(async {
        let ran = timeout(HOUR, slow).await.expect("it is not lost");
        assert!(ran.unwrap() > meanwhile);
    });
    assert_clean(&main);
}
