//! Wakers that re-enter, panic, or are dropped on another thread: woken and
//! dropped outside every lock, and none of them costs another its wake-up
//! (S13, S14).

use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use laneway::testing::HostileWaker;
use laneway::{Drain, Lane, LaneConfig, Lanes, Reason};

use crate::common::{HOUR, MINUTE, let_run, poll_once};
use crate::kinds::paused;
use crate::proof::said;

fn one() -> (Lanes, Lane) {
    let config = LaneConfig::new(1).stall_ceiling(HOUR);
    let lanes = Lanes::builder().lane("main", config).build().unwrap();
    let main = lanes.lane("main").unwrap();
    (lanes, main)
}

/// A future, polled with a waker of this kind.
fn poll_with<F: Future + ?Sized>(
    future: Pin<&mut F>,
    kind: HostileWaker,
    lane: &Lane,
) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&kind.waker(lane)))
}

/// Whoever waits for anything of ours, with such a waker; and beside each of
/// them one that is well.
#[test]
fn s13_s14_whatever_a_waker_does_nobody_else_pays() {
    let mut tasks = 0;
    for &kind in HostileWaker::ALL {
        paused().block_on(async {
            let (lanes, main) = one();
            let slot = main.acquire().await.unwrap();
            let cx = slot.context().clone();

            let mut queued = Box::pin(main.run(async |_| 1));
            let mut acquiring = Box::pin(main.acquire());
            let mut handle = main.spawn(async |_| 2);
            let mut idle = Box::pin(main.idle());
            let mut all_idle = Box::pin(lanes.idle());
            let mut leaving = Box::pin(main.wait_active(MINUTE));
            let mut cancelled = Box::pin(cx.cancelled());
            // These two hold a timer of tokio's, which does not survive a waker
            // that panics when it is dropped.
            let timed = match kind {
                HostileWaker::PanicsInDrop => HostileWaker::Panics,
                other => other,
            };
            // Twice, so that the first waker is dropped for the second.
            for _ in 0..2 {
                assert!(poll_with(queued.as_mut(), kind, &main).is_pending());
                assert!(poll_with(acquiring.as_mut(), kind, &main).is_pending());
                assert!(poll_with(Pin::new(&mut handle), kind, &main).is_pending());
                assert!(poll_with(idle.as_mut(), kind, &main).is_pending());
                assert!(poll_with(all_idle.as_mut(), kind, &main).is_pending());
                assert!(poll_with(leaving.as_mut(), timed, &main).is_pending());
                assert!(poll_with(cancelled.as_mut(), kind, &main).is_pending());
            }
            let mut drained = Box::pin(main.drain(Drain::within(MINUTE)));
            main.resume();
            for _ in 0..2 {
                assert!(poll_with(drained.as_mut(), timed, &main).is_pending());
            }
            let well = main.spawn(async |_| 3);
            slot.context().progress();
            main.cancel_all(Reason::User);
            let last = main.spawn(async |_| 4);
            drop(slot);
            let_run().await;
            // Woken or not, they are what they are when they are polled.
            let all = async {
                assert!(queued.await.is_err());
                assert!(acquiring.await.is_err());
                assert!(handle.await.is_err());
                assert!(well.await.is_err());
                assert_eq!(last.await.unwrap(), 4);
                cancelled.await;
                leaving.await.unwrap();
                idle.await;
                all_idle.await;
                drained.await;
            };
            tokio::time::timeout(MINUTE * 10, all)
                .await
                .expect("all of it");
            assert_eq!(main.run(async |_| 7).await.unwrap(), 7);
            tasks += main.snapshot().counters.submitted as usize;
        });
    }
    said(
        "s13_s14_whatever_a_waker_does_nobody_else_pays",
        1,
        tasks,
        0,
    );
}

/// The scheduler wakes many; the first of them do as they like.
#[test]
fn s14_a_wake_of_many_reaches_those_behind_a_hostile_one() {
    for &kind in HostileWaker::ALL {
        paused().block_on(async {
            let (_lanes, main) = one();
            let slot = main.acquire().await.unwrap();
            let mut before = Box::pin(main.idle());
            assert!(poll_with(before.as_mut(), kind, &main).is_pending());
            let lane = main.clone();
            let well = tokio::spawn(async move { lane.idle().await });
            let_run().await;
            let mut after = Box::pin(main.idle());
            assert!(poll_with(after.as_mut(), kind, &main).is_pending());
            drop(slot);
            let told = tokio::time::timeout(MINUTE, well).await;
            told.expect("it is told").unwrap();
        });
    }
}

/// A future that is polled here and dropped on another thread, its waker with
/// it, while the lane goes on.
#[test]
fn s12_s13_a_waker_that_is_dropped_on_another_thread() {
    let mut tasks = 0;
    for &kind in HostileWaker::ALL {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_time().build().unwrap();
        runtime.block_on(async {
            let (_lanes, main) = one();
            for round in 0..50 {
                let slot = main.acquire().await.unwrap();
                let lane = main.clone();
                let mut waiter: Pin<Box<dyn Future<Output = ()> + Send>> = match round % 3 {
                    0 => Box::pin(async move { drop(lane.run(async |_| ()).await) }),
                    1 => Box::pin(async move { drop(lane.acquire().await) }),
                    _ => Box::pin(async move { lane.idle().await }),
                };
                assert!(poll_with(waiter.as_mut(), kind, &main).is_pending());
                let (ready, start) = std::sync::mpsc::channel();
                let handle = tokio::runtime::Handle::current();
                let thread = std::thread::spawn(move || {
                    let _entered = handle.enter();
                    start.recv().unwrap();
                    let dropped = std::panic::AssertUnwindSafe(move || drop(waiter));
                    drop(std::panic::catch_unwind(dropped));
                });
                ready.send(()).unwrap();
                // At the same moment, if it likes.
                drop(slot);
                thread.join().unwrap();
                let task = main.task().no_stall_ceiling();
                assert_eq!(task.run(async |_| 7).await.unwrap(), 7);
            }
            main.idle().await;
            assert!(main.snapshot().orphans.is_empty());
            tasks += main.snapshot().counters.submitted as usize;
        });
    }
    said(
        "s12_s13_a_waker_that_is_dropped_on_another_thread",
        4,
        tasks,
        0,
    );
}

/// The runner's own waker, of a task that is asked to end.
#[test]
fn s8_s14_a_runner_whose_waker_panics_loses_its_slot_all_the_same() {
    for &kind in HostileWaker::ALL {
        paused().block_on(async {
            let (_lanes, main) = one();
            let mut silent = pin!(main.run(async |_| pending::<()>().await));
            assert!(poll_with(silent.as_mut(), kind, &main).is_pending());
            let next = main.spawn(async |_| 7);
            let next = tokio::time::timeout(HOUR + MINUTE, next).await;
            assert_eq!(next.expect("it is taken").unwrap(), 7);
            assert!(poll_once(silent.as_mut()).is_ready());
        });
    }
}
