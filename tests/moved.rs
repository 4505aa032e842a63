//! Tasks that outlive the runtime they began on, or the scheduler (S7, S8).

#![expect(
    clippy::async_yields_async,
    reason = "handles leave the runtime that they were made in"
)]

mod common;

use std::future::pending;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::Poll;

use common::{
    CEILING, HOUR, MINUTE, SHORT, assert_clean, let_run, one_lane, poll_once, stalled_in,
};
use laneway::{Lane, LaneConfig, Reason, TaskError, TaskHandle, TaskStatus, WaitingError};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::sleep;

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// One whose clock stands still until everybody waits.
fn paused() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap()
}

/// A run that is active moves on, and its ceiling with it.
#[test]
fn s8_an_active_run_that_moved_from_a_runtime_that_is_gone_stalls() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(SHORT));
    let mut run = Box::pin(main.run(async |_| pending::<()>().await));
    let first = current_thread();
    first.block_on(async { assert!(poll_once(run.as_mut()).is_pending()) });
    drop(first);
    stalled_in(current_thread().block_on(run), "main");
    assert_clean(&main);
}

/// It waits in line behind a phantom, which nobody else is there to reclaim.
#[test]
fn s8_a_queued_run_that_moved_from_a_runtime_that_is_gone_gets_its_slot() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(SHORT));
    let mut run = Box::pin(main.run(async |_| 7));
    let mut acquire = Box::pin(main.acquire());
    let first = current_thread();
    first.block_on(async {
        std::mem::forget(main.acquire().await.unwrap());
        assert!(poll_once(run.as_mut()).is_pending());
        assert!(poll_once(acquire.as_mut()).is_pending());
    });
    drop(first);
    current_thread().block_on(async {
        assert_eq!(run.await.unwrap(), 7);
        drop(acquire.await.unwrap());
    });
    assert_eq!(main.snapshot().orphans.len(), 1);
}

#[test]
fn s7_a_shutdown_on_another_runtime_takes_a_phantom() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let first = current_thread();
    first.block_on(async { std::mem::forget(main.acquire().await.unwrap()) });
    drop(first);
    current_thread().block_on(lanes.shutdown());
    let snapshot = main.snapshot();
    assert_eq!((snapshot.active.len(), snapshot.orphans.len()), (0, 1));
}

/// It waited on one runtime and came for its slot on another, where nobody has
/// asked for anything else.
#[test]
fn s8_a_slot_that_was_claimed_on_another_runtime_is_looked_after_there() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
    let (first, second) = (paused(), paused());
    let mut acquire = Box::pin(main.acquire());
    first.block_on(async {
        let holder = main.try_acquire().unwrap();
        assert!(poll_once(acquire.as_mut()).is_pending());
        drop(holder);
    });
    second.block_on(async {
        let Poll::Ready(slot) = poll_once(acquire.as_mut()) else {
            panic!("it was granted");
        };
        std::mem::forget(slot.unwrap());
    });
    drop(first);
    second.block_on(async { sleep(CEILING + MINUTE).await });
    let snapshot = main.snapshot();
    assert_eq!((snapshot.active.len(), snapshot.orphans.len()), (0, 1));
}

/// Whoever waits for a lane on another runtime is told that the last of it went
/// with its own.
#[test]
fn s7_idle_is_woken_when_the_runtime_of_the_last_waiter_goes() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    main.pause();
    let (first, second) = (current_thread(), paused());
    let queued = first.block_on(async { main.spawn(async |_| ()) });
    second.block_on(async {
        let lane = main.clone();
        let idle = tokio::spawn(async move { lane.idle().await });
        let_run().await;
        assert!(!idle.is_finished());
        first.shutdown_background();
        assert_eq!(queued.status(), TaskStatus::Settled);
        let_run().await;
        assert!(idle.is_finished(), "S7: it waits for ever");
    });
    assert_clean(&main);
}

/// A thread of `runtime` that is busy until it is told to end.
fn busy_thread(main: &Lane, runtime: &Runtime) -> (TaskHandle<()>, mpsc::Sender<()>) {
    let (started, starts) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let task = runtime.block_on(async {
        main.spawn_blocking(move |_| {
            started.send(()).unwrap();
            let _ = released.recv();
        })
    });
    starts.recv().unwrap();
    (task, release)
}

/// Its caller was told long ago; its slot comes free with its thread.
#[test]
fn s7_wait_active_is_woken_when_the_thread_of_a_settled_task_ends() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    let first = current_thread();
    let (task, release) = busy_thread(&main, &first);
    first.shutdown_background();
    current_thread().block_on(async {
        assert!(matches!(task.await, Err(TaskError::RuntimeShutdown { .. })));
        assert_eq!(main.snapshot().active.len(), 1);
        // It waits by the time that the thread is let go.
        let end = async { release.send(()).unwrap() };
        let (waited, ()) = futures::join!(main.wait_active(HOUR), end);
        waited.unwrap();
    });
    assert_clean(&main);
}

/// The scheduler went first, and then the runtime of what it still ran.
#[test]
fn s7_a_runtime_that_goes_after_the_scheduler_settles_its_blocking_tasks() {
    for lane_is_held in [true, false] {
        let (lanes, main) = one_lane(LaneConfig::new(1));
        let first = current_thread();
        let (task, release) = busy_thread(&main, &first);
        let main = lane_is_held.then_some(main);
        drop(lanes);
        assert_eq!(task.status(), TaskStatus::Active);
        first.shutdown_background();
        let settled = current_thread().block_on(task);
        assert!(matches!(settled, Err(TaskError::RuntimeShutdown { .. })));
        drop(release);
        if let Some(main) = main {
            current_thread().block_on(main.idle());
            assert_clean(&main);
        }
    }
}

/// Blocking tasks that wait when their runtime goes are settled by then, and
/// whichever of them still finds a thread runs within its lane's limit.
#[test]
fn s1_s7_a_runtime_that_goes_settles_its_blocking_tasks_within_the_limit() {
    for beside in 0..6 {
        let (_lanes, main) = one_lane(LaneConfig::new(1));
        let runtime = current_thread();
        let (say, said) = mpsc::channel();
        let tasks = runtime.block_on(async {
            for _ in 0..beside {
                drop(tokio::spawn(pending::<()>()));
            }
            drop(main.spawn(async |_| ()));
            [0, 1].map(|n| {
                let (say, lane) = (say.clone(), main.clone());
                main.spawn_blocking(move |cx| {
                    let active = lane.snapshot().active.len();
                    say.send((n, cx.is_current(), active)).unwrap();
                })
            })
        });
        drop(runtime);
        drop(say);
        let ran: Vec<_> = said.iter().collect();
        for (n, mut task) in tasks.into_iter().enumerate() {
            match poll_once(Pin::new(&mut task)) {
                Poll::Ready(Ok(())) => assert!(ran.iter().any(|(ran, ..)| *ran == n)),
                // A thread that it was given just before the end may have run
                // it all the same.
                Poll::Ready(Err(TaskError::RuntimeShutdown { .. })) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(
            ran.iter()
                .all(|(_, current, active)| *current && *active <= 1)
        );
        assert_clean(&main);
    }
}

#[test]
fn s7_a_wait_that_moved_from_a_runtime_that_is_gone_has_its_limit() {
    for release in [&[][..], &["main"]] {
        let (_lanes, main) = one_lane(LaneConfig::new(1));
        let first = current_thread();
        let slot = first.block_on(main.acquire()).unwrap();
        let wait = slot.context().waiting("x").limit(SHORT).release(release);
        let mut wait = Box::pin(wait.on(pending::<()>()));
        first.block_on(async { assert!(poll_once(wait.as_mut()).is_pending()) });
        drop(first);
        let told = current_thread().block_on(wait);
        assert!(matches!(told, Err(WaitingError::LimitPassed { .. })));
    }
}

#[test]
fn s8_who_asks_whether_a_slot_is_lost_on_another_runtime_is_told() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(SHORT));
    let first = current_thread();
    let slot = first.block_on(main.acquire()).unwrap();
    drop(first);
    assert_eq!(current_thread().block_on(slot.lost()), Reason::Stalled);
}

/// In line for its slot, behind a phantom.
#[test]
fn s8_who_comes_back_on_another_runtime_gets_its_slot() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(SHORT));
    let first = current_thread();
    let slot = first.block_on(main.acquire()).unwrap();
    let (answer, asked) = oneshot::channel::<()>();
    let wait = slot.context().waiting("x").release(["main"]).on(asked);
    let mut wait = Box::pin(wait);
    first.block_on(async {
        assert!(poll_once(wait.as_mut()).is_pending());
        std::mem::forget(main.try_acquire().unwrap());
    });
    drop(first);
    answer.send(()).unwrap();
    let told = current_thread().block_on(wait);
    assert!(told.is_ok(), "S8: {told:?}");
}

#[test]
fn s8_an_inbox_that_is_asked_on_another_runtime_is_over_with_its_slot() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(SHORT));
    let first = current_thread();
    let slot = first.block_on(main.acquire()).unwrap();
    let mut inbox = slot.context().inbox::<u32>();
    drop(first);
    assert_eq!(current_thread().block_on(inbox.recv()), None, "S8");
}
