//! What one decision causes is carried out to the end: none of it costs the
//! rest of it, however much it is (S7, S14).

mod common;

use std::cell::RefCell;
use std::future::{Future, pending};
use std::pin::Pin;
use std::task::Poll;

use common::{HOUR, MINUTE, SECOND, assert_clean, let_run, one_lane, poll_once};
use laneway::{Lane, LaneConfig, TaskError, TaskHandle, Timeout};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{advance, sleep, timeout};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// Far more than a stack holds, if each of them were a few frames of it.
const MANY: usize = 20_000;

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn multi_thread() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

/// Settled by now, and not by anything that happens later.
#[track_caller]
fn assert_runtime_shutdown(mut task: TaskHandle<()>) {
    let settled = poll_once(Pin::new(&mut task));
    assert!(
        matches!(settled, Poll::Ready(Err(TaskError::RuntimeShutdown { .. }))),
        "{settled:?}"
    );
}

/// Lets the runtime go while `holders` keep the lane full and many wait.
fn goes_under<F>(runtime: Runtime, slots: usize, beside: usize, holders: F)
where
    F: AsyncFnOnce(&Lane),
{
    let (_lanes, main) = one_lane(LaneConfig::new(slots));
    let queued: Vec<_> = runtime.block_on(async {
        // Where the runtime begins to drop its tasks depends on how many
        // there are.
        for _ in 0..beside {
            drop(tokio::spawn(pending::<()>()));
        }
        holders(&main).await;
        common::until(|| main.snapshot().active.len() == slots).await;
        (0..MANY).map(|_| main.spawn(async |_| ())).collect()
    });
    drop(runtime);
    for task in queued {
        assert_runtime_shutdown(task);
    }
    assert_clean(&main);
}

/// The slot comes free as its holder is dropped, and each that is granted it
/// from there is dropped on the spot.
#[test]
fn s7_a_runtime_that_goes_settles_a_long_queue_behind_a_slot() {
    for runtime in [current_thread(), multi_thread()] {
        goes_under(runtime, 1, 0, async |main: &Lane| {
            let lane = main.clone();
            drop(tokio::spawn(async move {
                let _slot = lane.acquire().await.unwrap();
                pending::<()>().await;
            }));
        });
    }
}

#[test]
fn s7_a_runtime_that_goes_settles_a_long_queue_behind_its_own_tasks() {
    for beside in 0..4 {
        for runtime in [current_thread(), multi_thread()] {
            goes_under(runtime, 4, beside, async |main: &Lane| {
                for _ in 0..4 {
                    drop(main.spawn(async |_| pending::<()>().await));
                }
            });
        }
    }
}

/// It goes with its thread, after what the thread has of ours.
#[test]
fn s7_a_runtime_that_is_a_thread_local_settles_a_long_queue() {
    thread_local! {
        static HOME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
    }
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    let lane = main.clone();
    let thread = std::thread::spawn(move || {
        // Before what tokio has of the thread, whose clock needs that in a test.
        let runtime = current_thread();
        drop(runtime.enter());
        HOME.with_borrow_mut(|home| {
            home.insert(runtime).block_on(async {
                let holds = lane.clone();
                drop(tokio::spawn(async move {
                    let _slot = holds.acquire().await.unwrap();
                    pending::<()>().await;
                }));
                let_run().await;
                // The thread has effects to carry out, for the first time.
                drop(lane.spawn(async |_| ()));
                lane.clear();
                (0..MANY).map(|_| lane.spawn(async |_| ())).collect()
            })
        })
    });
    let queued: Vec<_> = thread.join().unwrap();
    for task in queued {
        assert_runtime_shutdown(task);
    }
    assert_clean(&main);
}

/// Nobody holds a handle to any of them.
#[test]
fn s7_a_runtime_that_goes_forgets_a_long_queue_that_nobody_awaits() {
    for runtime in [current_thread(), multi_thread()] {
        let (_lanes, main) = one_lane(LaneConfig::new(1));
        runtime.block_on(async {
            drop(main.spawn(async |_| pending::<()>().await));
            let_run().await;
            for _ in 0..MANY {
                drop(main.spawn(async |_| ()));
            }
        });
        drop(runtime);
        assert_clean(&main);
    }
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

/// It comes, and if it never does, that is a failure and no hang.
async fn in_time<F: Future>(future: F) -> F::Output {
    let output = timeout(24 * HOUR, future).await;
    output.expect("settled within a day")
}

#[tokio::test(start_paused = true)]
async fn s14_metadata_that_panics_when_dropped_costs_no_other_its_settlement() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    let slot = main.acquire().await.unwrap();
    drop(main.task().meta(Bomb).spawn(async |_| ()));
    let second = main.spawn(async |_| ());
    drop(main.task().meta(Bomb).spawn(async |_| ()));
    let last = main.spawn(async |_| ());
    assert_eq!(main.clear(), 4);
    for waiter in [second, last] {
        let settled = in_time(waiter).await;
        assert!(
            matches!(settled, Err(TaskError::Cleared { .. })),
            "{settled:?}"
        );
    }
    drop(slot);
    assert_eq!(in_time(main.run(async |_| 7)).await.unwrap(), 7);
    assert_clean(&main);
}

/// A waiter's limit and a holder's ceiling are passed in one tick, and the
/// first to be told panics.
#[tokio::test(start_paused = true)]
async fn s8_s14_metadata_that_panics_when_dropped_costs_a_tick_nothing() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(MINUTE));
    std::mem::forget(main.acquire().await.unwrap());
    let limit = Timeout::wait(MINUTE - SECOND);
    drop(main.task().meta(Bomb).timeout(limit).spawn(async |_| ()));
    let next = main.spawn(async |_| 7);
    advance(2 * MINUTE).await;
    assert_eq!(in_time(next).await.unwrap(), 7);
    let snapshot = main.snapshot();
    assert_eq!((snapshot.active.len(), snapshot.queued.len()), (0, 0));
    assert_eq!(snapshot.orphans.len(), 1, "the slot that was forgotten");
}

/// Panics at whatever is said at this level.
struct Heckler(Level);

impl<S: Subscriber> Layer<S> for Heckler {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let said = event.metadata();
        assert!(said.target() != "laneway" || *said.level() != self.0);
    }
}

#[test]
fn s14_a_subscriber_that_panics_loses_no_grant() {
    for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG] {
        let subscriber = tracing_subscriber::registry().with(Heckler(level));
        let _heckled = tracing::subscriber::set_default(subscriber);
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (_lanes, main) = one_lane(LaneConfig::new(1));
            let slot = main.acquire().await.unwrap();
            let waiters = [main.spawn(async |_| 7), main.spawn(async |_| 8)];
            // Long enough that its dispatch is worth a word.
            sleep(MINUTE).await;
            drop(slot);
            let [first, second] = waiters;
            assert_eq!(in_time(first).await.unwrap(), 7);
            assert_eq!(in_time(second).await.unwrap(), 8);
            assert_clean(&main);
        });
    }
}
