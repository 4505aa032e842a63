//! The last handle of a scheduler goes, and its lanes do not (S7, S8).

mod common;

use std::future::pending;

use common::{SHORT, assert_clean, let_run, one_lane, poll_once};
use laneway::{AcquireError, Lane, LaneConfig, Lanes, TaskError, TaskStatus, TryAcquireError};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn multi_thread() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

async fn dropping_the_scheduler(lanes: Lanes, main: Lane) {
    let (end, ended) = oneshot::channel::<()>();
    let active = main.spawn(async |cx| {
        ended.await.unwrap();
        cx.progress();
        cx.is_current()
    });
    let queued = main.spawn(async |_| ());
    let mut run = Box::pin(main.run(async |_| ()));
    let mut acquire = Box::pin(main.acquire());
    assert!(poll_once(run.as_mut()).is_pending());
    assert!(poll_once(acquire.as_mut()).is_pending());
    let clone = lanes.clone();
    drop(lanes);
    assert_eq!(queued.status(), TaskStatus::Queued, "one is left");
    drop(clone);
    let dropped = |error| matches!(error, Err(TaskError::SchedulerDropped { .. }));
    assert!(dropped(queued.await));
    assert!(dropped(run.await));
    assert!(matches!(acquire.await, Err(AcquireError::Shutdown { .. })));
    end.send(()).unwrap();
    assert!(active.await.unwrap());
    let closed = |error| matches!(error, Err(TaskError::Closed { .. }));
    assert!(closed(main.run(async |_| ()).await));
    assert!(closed(main.spawn(async |_| ()).await));
    assert!(matches!(
        main.acquire().await,
        Err(AcquireError::Closed { .. })
    ));
    assert!(matches!(
        main.try_acquire(),
        Err(TryAcquireError::Closed { .. })
    ));
    main.idle().await;
    assert_clean(&main);
}

#[test]
fn s7_the_last_scheduler_handle_closes_the_lanes_and_settles_the_queued() {
    for runtime in [current_thread(), multi_thread()] {
        for made_on_first_use in [false, true] {
            let builder = Lanes::builder();
            let lanes = if made_on_first_use {
                builder.default_lane(LaneConfig::new(1))
            } else {
                builder.lane("main", LaneConfig::new(1))
            };
            let lanes = lanes.build().unwrap();
            let main = lanes.lane("main").unwrap();
            runtime.block_on(dropping_the_scheduler(lanes, main));
        }
    }
}

/// A phantom is reclaimed with no scheduler handle left, and no lane handle.
#[test]
fn s8_a_phantom_gives_way_when_nobody_holds_the_scheduler() {
    for runtime in [current_thread(), multi_thread()] {
        let phantom = {
            let _entered = runtime.enter();
            let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(SHORT));
            main.spawn(async |_| pending::<()>().await)
        };
        let settled = runtime.block_on(phantom);
        assert!(matches!(settled, Err(TaskError::Stalled { .. })));
    }
}

/// What slept in its name in a runtime goes with it, though nothing moves there.
#[tokio::test(start_paused = true)]
async fn s15_a_scheduler_that_is_gone_leaves_no_task_in_its_runtime() {
    let alive = || Handle::current().metrics().num_alive_tasks();
    let before = alive();
    for _ in 0..3 {
        let (lanes, main) = one_lane(LaneConfig::new(1));
        main.run(async |_| ()).await.unwrap();
        assert!(alive() > before, "nobody looks after it");
        drop(lanes);
        let_run().await;
        assert!(alive() > before, "its lane is there yet");
        drop(main);
        let_run().await;
        assert_eq!(alive(), before, "S15");
    }
}
