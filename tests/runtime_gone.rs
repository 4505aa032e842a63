//! A thread cannot be stopped, not even by the end of its runtime.

#![expect(
    clippy::async_yields_async,
    reason = "a handle leaves the runtime that it was made in"
)]

use std::sync::mpsc;
use std::time::Duration;

use laneway::{
    EventKind, LaneConfig, Lanes, LanesBuilder, OnStall, Reason, TaskError, TaskHandle, TaskStatus,
    TryAcquireError,
};
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn s7_s10_a_blocking_closure_outlives_its_runtime_and_keeps_its_strict_slot() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1).strict())
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let (started, starts) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let first = runtime();
    let task = first.block_on(async {
        main.spawn_blocking(move |_| {
            started.send(()).unwrap();
            released.recv().unwrap();
        })
    });
    starts.recv().unwrap();
    first.shutdown_background();

    let second = runtime();
    second.block_on(async {
        // Its caller is told at once; its slot is still in use.
        assert!(matches!(task.await, Err(TaskError::RuntimeShutdown { .. })));
        let taken = main.try_acquire();
        assert!(matches!(taken, Err(TryAcquireError::NoSlot { .. })));
        let next = main.spawn(async |_| "next");
        release.send(()).unwrap();
        let next = tokio::time::timeout(Duration::from_secs(60), next).await;
        assert_eq!(next.unwrap().unwrap(), "next");
        assert_eq!(main.snapshot().orphans.len(), 0);
    });
}

#[test]
fn s2_what_a_caller_was_told_stands_whenever_it_asks() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1).strict())
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let (started, starts) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let first = runtime();
    let task = first.block_on(async {
        main.spawn_blocking(move |_| {
            started.send(()).unwrap();
            released.recv().unwrap();
            7
        })
    });
    starts.recv().unwrap();
    first.shutdown_background();
    while !matches!(task.status(), TaskStatus::Settled) {
        std::thread::yield_now();
    }

    // Its value comes later, and nobody has asked yet.
    release.send(()).unwrap();
    let second = runtime();
    second.block_on(async {
        let slot = tokio::time::timeout(Duration::from_secs(60), main.acquire()).await;
        drop(slot.unwrap().unwrap());
        let told = task.await;
        assert!(
            matches!(told, Err(TaskError::RuntimeShutdown { .. })),
            "{told:?}"
        );
    });
}

/// What is submitted where a runtime has gone before, as a thread of its own may that
/// outlives it, is settled at once, though its lane starts nobody.
#[test]
fn s7_a_task_that_comes_after_its_runtime_went_is_told() {
    let lanes = Lanes::builder().lane("main", LaneConfig::new(1));
    let lanes = lanes.build().unwrap();
    let main = lanes.lane("main").unwrap();
    main.pause();
    let first = runtime();
    let gone = first.handle().clone();
    let before = first.block_on(async { main.spawn(async |_| ()) });
    drop(first);
    let _entered = gone.enter();
    let after = [main.spawn(async |_| ()), main.spawn_blocking(|_| ())];
    for task in [&before, &after[0], &after[1]] {
        assert!(matches!(task.status(), TaskStatus::Settled), "{task:?}");
    }
    assert!(main.snapshot().queued.is_empty());
}

/// A thread that was detached from its slot, and whose runtime went then; another
/// that does not; and what the thread waits for.
fn detached(lanes: LanesBuilder) -> (Lanes, TaskHandle<bool>, Runtime, mpsc::Sender<()>) {
    let config = LaneConfig::new(1).stall_ceiling(Duration::from_millis(50));
    let lanes = lanes.lane("main", config.on_stall(OnStall::Detach));
    let lanes = lanes.build().unwrap();
    let main = lanes.lane("main").unwrap();
    let (release, released) = mpsc::channel::<()>();
    let (first, second) = (runtime(), runtime());
    let task = first.block_on(async { main.spawn_blocking(move |_| released.recv().is_ok()) });
    // Somebody else has its slot, so it was detached.
    drop(second.block_on(main.acquire()).unwrap());
    assert_eq!(task.status(), TaskStatus::Detached);
    first.shutdown_background();
    (lanes, task, second, release)
}

/// S7: nor need the caller of one that was detached from its slot wait for it.
#[test]
fn s7_who_awaits_a_thread_that_was_detached_is_told() {
    let (_lanes, task, runtime, release) = detached(Lanes::builder());
    let told = runtime.block_on(task);
    assert!(
        matches!(told, Err(TaskError::RuntimeShutdown { .. })),
        "{told:?}"
    );
    release.send(()).unwrap();
}

/// S2: nor does whoever reads the log learn of its end twice.
#[test]
fn s2_a_detached_thread_that_was_told_is_settled_once() {
    let (lanes, task, runtime, release) = detached(Lanes::builder().events(100));
    let id = task.id();
    let told = runtime.block_on(task);
    assert!(matches!(told, Err(TaskError::RuntimeShutdown { .. })));
    lanes.lane("main").unwrap().cancel_all(Reason::User);
    release.send(()).unwrap();
    let mut events = lanes.task_events(id).unwrap();
    let all = std::iter::from_fn(|| events.try_next()).map(Result::unwrap);
    let settled: Vec<_> = all
        .filter(|event| matches!(event.kind, EventKind::Settled { .. }))
        .map(|event| event.kind)
        .collect();
    assert_eq!(settled.len(), 1, "{settled:?}");
}
