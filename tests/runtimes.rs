//! Runtimes that come, go, stand side by side, or are missing (S7).

#![expect(
    clippy::async_yields_async,
    reason = "handles leave the runtime that they were made in"
)]

mod common;

use std::future::{Future, pending};
use std::sync::mpsc;
use std::time::Duration;

use common::{HOUR, SHORT, assert_clean, one_lane, orphans_gone, poll_once, until};
use laneway::{
    AcquireError, Drain, Lane, LaneConfig, Reason, TaskError, TaskHandle, TaskStatus,
    TryAcquireError,
};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn multi_thread() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

#[track_caller]
fn runtime_shutdown<T: std::fmt::Debug>(result: Result<T, TaskError>) {
    assert!(
        matches!(result, Err(TaskError::RuntimeShutdown { .. })),
        "{result:?}"
    );
}

/// The lane works, and its ceilings do, too.
async fn works(main: &Lane) {
    let phantom = main.task().stall_ceiling(SHORT);
    let phantom = phantom.spawn(async |_| pending::<()>().await);
    assert_eq!(main.run(async |_| "run").await.unwrap(), "run");
    assert_eq!(main.spawn(async |_| "spawn").await.unwrap(), "spawn");
    assert!(matches!(phantom.await, Err(TaskError::Stalled { .. })));
    main.idle().await;
    orphans_gone(main).await;
    assert_clean(main);
}

/// Everything that a runtime may have under way when it goes.
struct Load {
    active: TaskHandle<()>,
    with_hooks: TaskHandle<()>,
    blocking: TaskHandle<()>,
    release: mpsc::Sender<()>,
    queued: Vec<TaskHandle<()>>,
    queued_blocking: TaskHandle<()>,
}

/// Fills a lane of four, one of them by a task of somebody else.
async fn load(main: &Lane) -> Load {
    let active = main.spawn(async |_| pending().await);
    let with_hooks = main.spawn(async |cx| {
        cx.defer(|_| pending());
        drop(cx.spawn(pending::<()>()));
        pending().await
    });
    let (release, released) = mpsc::channel::<()>();
    let (started, has_started) = oneshot::channel();
    let blocking = main.spawn_blocking(move |_| {
        started.send(()).unwrap();
        let _ = released.recv();
    });
    has_started.await.unwrap();
    let lane = main.clone();
    drop(tokio::spawn(async move {
        lane.run(async |_| pending::<()>().await).await
    }));
    until(|| main.snapshot().active.len() == 4).await;
    let lane = main.clone();
    drop(tokio::spawn(async move { lane.acquire().await }));
    until(|| main.snapshot().queued.len() == 1).await;
    let queued = (0..8).map(|_| main.spawn(async |_| ())).collect();
    let queued_blocking = main.spawn_blocking(|_| ());
    Load {
        active,
        with_hooks,
        blocking,
        release,
        queued,
        queued_blocking,
    }
}

#[test]
fn s7_a_runtime_that_is_shut_down_under_load_leaves_nobody_waiting() {
    for (first, second) in [
        (current_thread(), multi_thread()),
        (multi_thread(), current_thread()),
    ] {
        let (_lanes, main) = one_lane(LaneConfig::new(4).no_stall_ceiling());
        let load = first.block_on(load(&main));
        first.shutdown_background();
        second.block_on(async {
            runtime_shutdown(load.active.await);
            runtime_shutdown(load.with_hooks.await);
            runtime_shutdown(load.blocking.await);
            for queued in load.queued {
                runtime_shutdown(queued.await);
            }
            // It may have found a slot, and a thread, just before the end.
            match load.queued_blocking.await {
                Ok(()) => {}
                Err(error) => runtime_shutdown(Err::<(), _>(error)),
            }
            // All but the thread have let go; it does so when it is through.
            assert!(!main.snapshot().active.is_empty());
            load.release.send(()).unwrap();
            main.idle().await;
            orphans_gone(&main).await;
            works(&main).await;
        });
    }
}

/// A storm of submissions from outside while the runtime goes.
#[test]
fn s7_submitting_to_a_runtime_that_goes_leaves_nobody_waiting() {
    for round in 0..20 {
        let (_lanes, main) = one_lane(LaneConfig::new(2));
        let first = multi_thread();
        let handle = first.handle().clone();
        let lane = main.clone();
        let (begun, has_begun) = mpsc::channel();
        let submitter = std::thread::spawn(move || {
            let _entered = handle.enter();
            let tasks = (0..200).map(|n| {
                if n == round * 10 {
                    begun.send(()).unwrap();
                }
                lane.spawn(async move |_| {
                    tokio::task::yield_now().await;
                    n
                })
            });
            tasks.collect::<Vec<_>>()
        });
        has_begun.recv().unwrap();
        first.shutdown_background();
        let tasks = submitter.join().unwrap();
        multi_thread().block_on(async {
            for (n, task) in (0..).zip(tasks) {
                match task.await {
                    Ok(value) => assert_eq!(value, n),
                    gone => runtime_shutdown(gone),
                }
            }
            main.idle().await;
            works(&main).await;
        });
    }
}

/// What its caller polls is bound to no runtime: it moves with its caller.
#[test]
fn s7_a_run_that_waited_on_a_runtime_goes_on_with_another() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    let first = current_thread();
    let mut run = Box::pin(main.run(async |_| Handle::current().id()));
    let mut acquire = Box::pin(main.acquire());
    let holder = first.block_on(async {
        let holder = main.acquire().await.unwrap();
        assert!(poll_once(run.as_mut()).is_pending());
        assert!(poll_once(acquire.as_mut()).is_pending());
        holder
    });
    drop(first);
    let second = multi_thread();
    drop(holder);
    second.block_on(async {
        assert_eq!(run.await.unwrap(), second.handle().id());
        drop(acquire.await.unwrap());
        works(&main).await;
    });
}

#[test]
fn two_runtimes_side_by_side_run_their_own_tasks_in_one_lane() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).no_stall_ceiling());
    let (a, b) = (multi_thread(), multi_thread());
    let on = |runtime: &Runtime| {
        let _entered = runtime.enter();
        main.spawn(async |_| Handle::current().id())
    };
    let (end, ended) = oneshot::channel::<()>();
    let holder = a.block_on(async { main.spawn(async |_| ended.await.unwrap()) });
    let tasks: Vec<_> = (0..10)
        .map(|n| on(if n % 2 == 0 { &a } else { &b }))
        .collect();
    end.send(()).unwrap();
    // Awaited on whichever.
    b.block_on(async {
        holder.await.unwrap();
        for (n, task) in tasks.into_iter().enumerate() {
            let expected = if n % 2 == 0 { &a } else { &b };
            assert_eq!(task.await.unwrap(), expected.handle().id());
        }
        works(&main).await;
    });
    // One goes, and the other serves everybody.
    drop(b);
    a.block_on(works(&main));
}

/// A phantom whose runtime nobody drives just now, or one that is gone.
fn phantom_elsewhere(main: &Lane, still: &Runtime) -> TaskHandle<()> {
    still.block_on(async {
        let phantom = main.task().stall_ceiling(SHORT);
        let phantom = phantom.spawn(async |_| pending::<()>().await);
        tokio::task::yield_now().await;
        phantom
    })
}

/// Whoever waits somewhere else, and for whatever, does not wait for ever.
#[test]
fn s8_a_runtime_that_stands_still_is_served_by_the_one_that_waits() {
    for way in 0..5 {
        let (_lanes, main) = one_lane(LaneConfig::new(1).no_stall_ceiling());
        let (still, other) = (current_thread(), multi_thread());
        let phantom = phantom_elsewhere(&main, &still);
        other.block_on(async {
            match way {
                0 => main.idle().await,
                1 => main.wait_active(HOUR).await.unwrap(),
                2 => drop(main.acquire().await.unwrap()),
                3 => assert!(main.drain(Drain::within(SHORT)).await.returned.is_empty()),
                _ => {}
            }
            assert!(matches!(
                phantom.await,
                Err(TaskError::Stalled { .. } | TaskError::Cancelled { .. })
            ));
            assert_eq!(main.snapshot().orphans.len(), 1);
        });
        // Driven again, its runner lets go.
        still.block_on(orphans_gone(&main));
        assert_clean(&main);
    }
}

/// Joined on one runtime and polled on another: there it has its ceiling.
#[test]
fn s8_a_run_that_moved_to_another_runtime_is_looked_after_there() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(SHORT));
    for queued in [true, false] {
        let first = current_thread();
        let mut run = Box::pin(main.run(async |_| pending::<()>().await));
        let holder = first.block_on(async {
            let holder = main.try_acquire().unwrap();
            assert!(poll_once(run.as_mut()).is_pending());
            holder
        });
        if queued {
            drop(first);
        }
        drop(holder);
        let ended = current_thread().block_on(run);
        assert!(matches!(ended, Err(TaskError::Stalled { .. })));
    }
}

async fn no_runtime(main: &Lane) {
    let task = main.spawn(async |_| ());
    assert_eq!(task.status(), TaskStatus::Settled);
    task.cancel(Reason::User);
    let other = main.spawn_blocking(|_| ());
    assert_ne!(task.id(), other.id());
    assert!(matches!(task.await, Err(TaskError::NoRuntime)));
    assert!(matches!(other.await, Err(TaskError::NoRuntime)));
    let ran = main.run(async |_| ()).await;
    assert!(matches!(ran, Err(TaskError::NoRuntime)));
    let acquired = main.acquire().await;
    assert!(matches!(acquired, Err(AcquireError::NoRuntime)));
    let acquired = main.try_acquire();
    assert!(matches!(acquired, Err(TryAcquireError::NoRuntime)));
    assert_eq!(main.snapshot().counters.submitted, 0);
    assert_clean(main);
    main.idle().await;
}

#[test]
fn s18_without_a_runtime_with_timers_everything_is_refused() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    futures::executor::block_on(no_runtime(&main));
    for mut builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
        let timeless = builder.build().unwrap();
        timeless.block_on(no_runtime(&main));
    }
    // What needs none works.
    main.pause();
    main.resume();
    assert_eq!(
        (main.reset(), main.clear(), lanes.snapshot().lanes.len()),
        (0, 0, 1)
    );
    current_thread().block_on(works(&main));
}

/// What holds a slot ends outside of any runtime as well as in one.
#[test]
fn s2_slots_and_futures_may_be_dropped_outside_of_any_runtime() {
    let (_lanes, main) = one_lane(LaneConfig::new(2));
    let runtime = current_thread();
    let mut run = Box::pin(main.run(async |cx| {
        cx.defer(async |_| ());
        pending::<()>().await;
    }));
    let slot = runtime.block_on(async {
        assert!(poll_once(run.as_mut()).is_pending());
        main.acquire().await.unwrap()
    });
    drop(slot);
    drop(run);
    assert_eq!(
        main.snapshot().active.len(),
        1,
        "its hook waits for its runtime"
    );
    drop(runtime);
    assert_clean(&main);
}

/// The runtime's end is not held up by what sleeps in our name.
#[test]
fn a_runtime_with_an_idle_scheduler_shuts_down() {
    fn stay<F: Future>(runtime: &Runtime, future: F) -> F::Output {
        runtime.block_on(future)
    }
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    for runtime in [current_thread(), multi_thread()] {
        stay(&runtime, async { main.run(async |_| ()).await }).unwrap();
        runtime.shutdown_timeout(Duration::from_secs(60));
    }
}
