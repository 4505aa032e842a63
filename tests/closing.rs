//! The verbs that end a lane, and waiting for one to be empty.

#![expect(
    clippy::disallowed_methods,
    reason = "a test reads the paused clock to say when something happened"
)]

mod common;

use std::future::pending;
use std::time::Duration;

use common::{lanes_of_one, let_run};
use futures::FutureExt;
use laneway::{
    AcquireError, ControlError, Lane, LaneConfig, LaneNameError, LaneState, Lanes, Reason,
    TaskError, TaskHandle, TaskSnapshot, TaskStatus, TryAcquireError,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(10);

fn lane_with(config: LaneConfig) -> (Lanes, Lane) {
    let lanes = Lanes::builder().lane("main", config).build().unwrap();
    let main = lanes.lane("main").unwrap();
    (lanes, main)
}

fn gated(lane: &Lane) -> (TaskHandle<&'static str>, oneshot::Sender<()>) {
    let (open, gate) = oneshot::channel();
    let task = lane.spawn(async move |_| {
        let _ = gate.await;
        "done"
    });
    (task, open)
}

fn forever(lane: &Lane) -> TaskHandle<()> {
    lane.spawn(async |_| pending().await)
}

async fn quiet() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// Every way of submitting is refused, and leaves nothing behind.
async fn assert_closed(main: &Lane) {
    let before = main.snapshot();
    let id = match main.run(async |_| ()).await {
        Err(TaskError::Closed { lane, id }) => {
            assert_eq!(&*lane, "main");
            id
        }
        other => panic!("{other:?}"),
    };
    let spawned = main.spawn(async |_| ());
    assert_eq!(spawned.status(), TaskStatus::Settled);
    assert_ne!(spawned.id(), id);
    assert!(matches!(spawned.await, Err(TaskError::Closed { .. })));
    let blocking = main.spawn_blocking(|_| ());
    assert!(matches!(blocking.await, Err(TaskError::Closed { .. })));
    let acquired = main.acquire().await;
    assert!(matches!(acquired, Err(AcquireError::Closed { .. })));
    let tried = main.try_acquire();
    assert!(matches!(tried, Err(TryAcquireError::Closed { .. })));
    assert!(matches!(
        main.set_max_concurrent(9),
        Err(ControlError::Closed { .. })
    ));
    let after = main.snapshot();
    assert_eq!(after.counters.submitted, before.counters.submitted);
    assert_eq!(after.queued.len(), before.queued.len());
    assert_eq!(after.max_concurrent, before.max_concurrent);
}

#[tokio::test(start_paused = true)]
async fn close_refuses_the_new_and_runs_the_rest() {
    let (_lanes, main) = lane_with(LaneConfig::new(1));
    let (active, open) = gated(&main);
    let queued = main.spawn(async |_| "queued");
    quiet().await;
    main.close();
    assert_eq!(main.snapshot().state, LaneState::Closed);
    assert_closed(&main).await;
    // Neither a pause nor a resume opens it again.
    main.pause();
    main.resume();
    assert_closed(&main).await;
    open.send(()).unwrap();
    assert_eq!(active.await.unwrap(), "done");
    assert_eq!(queued.await.unwrap(), "queued");
}

#[tokio::test(start_paused = true)]
async fn close_on_all_lanes_makes_no_more_of_them() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1))
        .default_lane(LaneConfig::new(1))
        .build()
        .unwrap();
    let used = lanes.lane("used").unwrap();
    lanes.close();
    assert_closed(&lanes.lane("main").unwrap()).await;
    let refused = used.run(async |_| ()).await;
    assert!(matches!(refused, Err(TaskError::Closed { .. })));
    assert_eq!(
        lanes.lane("new").unwrap_err(),
        LaneNameError::Closed { name: "new".into() }
    );
    lanes.resume();
    assert!(lanes.lane("new").is_err());
}

#[tokio::test(start_paused = true)]
async fn s7_shutdown_asks_then_takes_and_settles_everybody() {
    let (_lanes, main) = lane_with(LaneConfig::new(3));
    let listens = main.spawn(async |cx| {
        let reason = cx.cancelled().await;
        tokio::time::sleep(SECOND * 2).await;
        reason
    });
    let deaf = forever(&main);
    let forgotten = main.acquire().await.unwrap();
    let queued = [forever(&main), forever(&main)];
    quiet().await;
    let began = Instant::now();
    let over = main.shutdown();
    // It has begun, whether or not anybody waits for it.
    assert_eq!(main.snapshot().state, LaneState::Shutdown);
    for task in queued {
        let told = task.now_or_never().expect("settled at once");
        assert!(matches!(told, Err(TaskError::Shutdown { .. })));
    }
    assert_closed(&main).await;
    assert!(matches!(
        deaf.await,
        Err(TaskError::Cancelled {
            reason: Reason::Shutdown,
            ..
        })
    ));
    assert_eq!(listens.await.unwrap(), Reason::Shutdown);
    assert_eq!(began.elapsed(), SECOND * 2);
    over.await;
    // The forgotten slot heard nothing: taken, long since.
    assert!(!forgotten.is_current());
    assert_eq!(main.snapshot().orphans.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn shutdown_takes_who_never_settles_within_grace_and_a_tick() {
    // Strict, and with no orphan allowed anywhere: a lane that is shut down
    // grants nothing any more, so taking breaks no bound.
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(2).strict())
        .max_orphans(0)
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let listening = main.acquire().await.unwrap();
    let (stuck, released) = std::sync::mpsc::channel::<()>();
    let (begun, has_begun) = oneshot::channel();
    let blocked = main.spawn_blocking(move |_| {
        begun.send(()).unwrap();
        let _ = released.recv();
    });
    has_begun.await.unwrap();
    let mut lost = Box::pin(listening.lost());
    assert!(lost.as_mut().now_or_never().is_none());
    // A blocked thread stops the paused clock: it is moved by hand.
    let shutdown = tokio::spawn(lanes.shutdown());
    quiet().await;
    assert!(matches!(
        main.snapshot().active[..],
        [
            TaskSnapshot {
                asked: Some(Reason::Shutdown),
                ..
            },
            ..
        ]
    ));
    tokio::time::advance(SECOND * 5).await;
    quiet().await;
    assert!(listening.is_current(), "it has its grace, and a tick");
    tokio::time::advance(TICK * 2).await;
    quiet().await;
    assert!(!listening.is_current());
    assert!(shutdown.is_finished());
    assert_eq!(lost.await, Reason::Shutdown);
    assert!(matches!(
        blocked.await,
        Err(TaskError::Cancelled {
            reason: Reason::Shutdown,
            ..
        })
    ));
    assert_eq!(main.snapshot().orphans.len(), 2);
    drop(stuck);
}

#[tokio::test(start_paused = true)]
async fn s7_shutdown_settles_even_when_nobody_awaits_it() {
    let (_lanes, main) = lane_with(LaneConfig::new(1));
    let slot = main.acquire().await.unwrap();
    let mut lost = Box::pin(slot.lost());
    assert!(lost.as_mut().now_or_never().is_none());
    drop(main.shutdown());
    assert!(slot.is_current(), "it has its grace");
    tokio::time::sleep(SECOND * 6).await;
    assert!(!slot.is_current());
}

#[tokio::test(start_paused = true)]
async fn s7_dropping_the_scheduler_settles_the_queued_and_lets_the_active_run() {
    let (lanes, main) = lane_with(LaneConfig::new(1));
    let (active, open) = gated(&main);
    let queued = forever(&main);
    let mut acquiring = Box::pin(main.acquire());
    quiet().await;
    assert!(acquiring.as_mut().now_or_never().is_none());
    let clone = lanes.clone();
    drop(lanes);
    assert_eq!(queued.status(), TaskStatus::Queued, "a clone is left");
    drop(clone);
    assert!(matches!(
        queued.await,
        Err(TaskError::SchedulerDropped { .. })
    ));
    assert!(matches!(
        acquiring.await,
        Err(AcquireError::Shutdown { .. })
    ));
    assert_closed(&main).await;
    open.send(()).unwrap();
    assert_eq!(active.await.unwrap(), "done");
}

#[tokio::test(start_paused = true)]
async fn s8_a_phantom_is_reclaimed_after_its_scheduler_was_dropped() {
    let (lanes, main) = lane_with(LaneConfig::new(1).stall_ceiling(SECOND * 60));
    let phantom = forever(&main);
    quiet().await;
    drop(lanes);
    assert!(matches!(phantom.await, Err(TaskError::Stalled { .. })));
}

#[tokio::test(start_paused = true)]
async fn idle_waits_for_queued_and_active_and_not_for_orphans() {
    let (lanes, main) = lane_with(LaneConfig::new(1));
    main.idle().await;
    lanes.idle().await;
    let (active, open) = gated(&main);
    let (queued, open_queued) = gated(&main);
    let mut idle = Box::pin(main.idle());
    let mut all_idle = Box::pin(lanes.idle());
    quiet().await;
    open.send(()).unwrap();
    active.await.unwrap();
    assert!(idle.as_mut().now_or_never().is_none());
    open_queued.send(()).unwrap();
    queued.await.unwrap();
    idle.await;
    assert!(all_idle.as_mut().now_or_never().is_some());
    // Woken by a take, with the orphan still there.
    let slot = main.acquire().await.unwrap();
    let idle = tokio::spawn({
        let main = main.clone();
        async move { main.idle().await }
    });
    quiet().await;
    assert!(!idle.is_finished());
    main.reset();
    idle.await.unwrap();
    assert_eq!(main.snapshot().orphans.len(), 1);
    drop(slot);
}

#[tokio::test(start_paused = true)]
async fn idle_is_woken_when_the_last_waiter_leaves() {
    let (_lanes, main) = lane_with(LaneConfig::new(0));
    let queued = forever(&main);
    let idle = tokio::spawn({
        let main = main.clone();
        async move { main.idle().await }
    });
    quiet().await;
    assert!(!idle.is_finished());
    let mut other = Box::pin(main.acquire());
    assert!(other.as_mut().now_or_never().is_none());
    queued.cancel(Reason::User);
    quiet().await;
    assert!(!idle.is_finished());
    drop(other);
    idle.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn idle_over_all_lanes_follows_a_task_from_lane_to_lane() {
    let lanes = Lanes::builder()
        .default_lane(LaneConfig::new(1))
        .build()
        .unwrap();
    let [a, b] = ["a", "b"].map(|name| lanes.lane(name).unwrap());
    let (task, open) = gated(&b);
    let (then, gate) = oneshot::channel::<()>();
    let idle = tokio::spawn({
        let lanes = lanes.clone();
        async move { lanes.idle().await }
    });
    quiet().await;
    let first = a.spawn(async move |_| {
        let _ = gate.await;
    });
    open.send(()).unwrap();
    task.await.unwrap();
    quiet().await;
    assert!(!idle.is_finished(), "lane a is busy by now");
    then.send(()).unwrap();
    first.await.unwrap();
    idle.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn wait_active_waits_for_those_who_are_active_now() {
    let (lanes, main) = lane_with(LaneConfig::new(2));
    main.wait_active(SECOND).await.unwrap();
    let (first, open) = gated(&main);
    let (second, open_second) = gated(&main);
    let later = forever(&main);
    quiet().await;
    let mut waiting = Box::pin(main.wait_active(SECOND * 60));
    let mut all = Box::pin(lanes.wait_active(SECOND * 60));
    assert!(waiting.as_mut().now_or_never().is_none());
    assert!(all.as_mut().now_or_never().is_none());
    open.send(()).unwrap();
    first.await.unwrap();
    assert_eq!(later.status(), TaskStatus::Active);
    assert!(waiting.as_mut().now_or_never().is_none());
    open_second.send(()).unwrap();
    second.await.unwrap();
    waiting.await.unwrap();
    all.await.unwrap();
    assert_eq!(later.status(), TaskStatus::Active, "who came later runs on");
}

#[tokio::test(start_paused = true)]
async fn wait_active_says_how_many_are_left_when_its_time_is_over() {
    let (lanes, main) = lane_with(LaneConfig::new(3));
    let tasks = [forever(&main), forever(&main), forever(&main)];
    quiet().await;
    let mut waiting = Box::pin(main.wait_active(SECOND * 10));
    assert!(waiting.as_mut().now_or_never().is_none());
    tasks[1].cancel(Reason::User);
    let error = waiting.await.unwrap_err();
    assert_eq!((error.still_active, error.waited), (2, SECOND * 10));
    let error = lanes.wait_active(SECOND).await.unwrap_err();
    assert_eq!((error.still_active, error.waited), (2, SECOND));
    // Woken by a take.
    let mut waiting = Box::pin(main.wait_active(Duration::MAX));
    assert!(waiting.as_mut().now_or_never().is_none());
    main.reset();
    waiting.await.unwrap();
}

/// A holder whose runner never comes leaves, too, when its grant is passed on.
#[tokio::test(start_paused = true)]
async fn s7_wait_active_is_woken_when_a_grant_is_passed_on() {
    const CLAIM: Duration = Duration::from_secs(5);
    let (_lanes, main) = lane_with(LaneConfig::new(1));
    let slot = main.acquire().await.unwrap();
    let mut never_comes = Box::pin(main.acquire());
    assert!(never_comes.as_mut().now_or_never().is_none());
    drop(slot);
    let began = Instant::now();
    main.wait_active(SECOND * 60).await.unwrap();
    let left_at = began.elapsed();
    assert!((CLAIM..=CLAIM + TICK).contains(&left_at), "{left_at:?}");
}

#[tokio::test(start_paused = true)]
async fn s7_what_is_queued_further_on_at_a_shutdown_is_told_so() {
    let (lanes, [_a, b]) = lanes_of_one(["a", "b"]);
    let _slot = b.acquire().await.unwrap();
    let task = lanes.chain(["a", "b"]).unwrap().spawn(async |_| ());
    let_run().await;
    assert_eq!(task.status(), TaskStatus::Queued);
    lanes.shutdown().await;
    let told = task.await;
    assert!(matches!(told, Err(TaskError::Shutdown { .. })), "{told:?}");
}
