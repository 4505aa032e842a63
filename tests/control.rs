//! The control verbs that leave a lane in use, for queued, active and new
//! tasks; `closing.rs` has those that end it, `drain.rs` the drain.

#![expect(
    clippy::disallowed_methods,
    reason = "a test reads the paused clock to say when something happened"
)]

mod common;

use std::future::pending;
use std::time::Duration;

use common::{MINUTE, one_lane};
use laneway::{
    ControlError, Lane, LaneConfig, Lanes, Reason, TaskError, TaskHandle, TaskStatus,
    TryAcquireError,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(10);

fn lane_of(slots: usize) -> (Lanes, Lane) {
    lane_with(LaneConfig::new(slots))
}

fn lane_with(config: LaneConfig) -> (Lanes, Lane) {
    let lanes = Lanes::builder().lane("main", config).build().unwrap();
    let main = lanes.lane("main").unwrap();
    (lanes, main)
}

/// A task that ends when its gate is opened.
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

/// Lets everybody run who can run now; paused time stands still meanwhile.
async fn quiet() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

fn statuses<T>(tasks: &[TaskHandle<T>]) -> Vec<TaskStatus> {
    tasks.iter().map(TaskHandle::status).collect()
}

#[tokio::test(start_paused = true)]
async fn pause_lets_the_active_run_and_the_others_wait() {
    let (_lanes, main) = lane_of(2);
    let (active, open) = gated(&main);
    quiet().await;
    main.pause();
    let new = main.spawn(async |_| "new");
    assert!(matches!(
        main.try_acquire(),
        Err(TryAcquireError::NoSlot { .. })
    ));
    open.send(()).unwrap();
    assert_eq!(active.await.unwrap(), "done");
    quiet().await;
    assert_eq!(new.status(), TaskStatus::Queued);
    assert!(main.snapshot().paused);
    main.resume();
    assert_eq!(new.await.unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn s5_pause_for_resumes_by_itself_without_traffic() {
    let (_lanes, main) = lane_of(1);
    let began = Instant::now();
    // Sooner than anything else would have the lane looked at.
    main.pause_for(SECOND * 7).unwrap();
    let waiter = main.spawn(async |_| Instant::now());
    let started = waiter.await.unwrap() - began;
    assert!(started >= SECOND * 7 && started <= SECOND * 7 + TICK);
    assert!(!main.snapshot().paused);
}

#[tokio::test(start_paused = true)]
async fn the_last_word_on_a_pause_counts() {
    let (_lanes, main) = lane_of(1);
    let waiter = forever(&main);
    quiet().await;
    waiter.cancel(Reason::User);
    quiet().await;
    // Resumed early, then paused for good: the old moment resumes nothing.
    main.pause_for(SECOND * 10).unwrap();
    main.resume();
    main.pause();
    let waiter = main.spawn(async |_| ());
    tokio::time::sleep(SECOND * 60).await;
    assert_eq!(waiter.status(), TaskStatus::Queued);
    // And a cooldown after it counts from its own call.
    main.pause_for(SECOND * 10).unwrap();
    main.pause_for(SECOND * 20).unwrap();
    let began = Instant::now();
    waiter.await.unwrap();
    assert!(began.elapsed() >= SECOND * 20);
}

#[tokio::test(start_paused = true)]
async fn s7_clear_tells_the_queued_and_nobody_else() {
    let (_lanes, main) = lane_of(1);
    let (active, open) = gated(&main);
    let queued = [forever(&main), forever(&main)];
    tokio::time::sleep(SECOND * 3).await;
    assert_eq!(main.clear(), 2);
    assert_eq!(main.clear(), 0);
    for task in queued {
        let id = task.id();
        match task.await {
            Err(TaskError::Cleared {
                lane,
                id: told,
                waited,
            }) => {
                assert_eq!((&*lane, told), ("main", id));
                assert_eq!(waited, SECOND * 3);
            }
            other => panic!("{other:?}"),
        }
    }
    let new = main.spawn(async |_| "new");
    open.send(()).unwrap();
    assert_eq!(active.await.unwrap(), "done");
    assert_eq!(new.await.unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn cancel_all_settles_the_queued_first_and_dispatches_none_of_them() {
    let (_lanes, main) = lane_of(1);
    let active = main.spawn(async |cx| cx.cancelled().await);
    let queued: Vec<_> = (0..5).map(|_| forever(&main)).collect();
    quiet().await;
    assert_eq!(main.cancel_all(Reason::Superseded), 6);
    // Nobody has been polled since: the queued are settled, the active is asked.
    assert_eq!(statuses(&queued), [TaskStatus::Settled; 5]);
    assert_eq!(active.status(), TaskStatus::Active);
    let new = main.spawn(async |_| "new");
    assert_eq!(active.await.unwrap(), Reason::Superseded);
    for task in queued {
        assert!(matches!(
            task.await,
            Err(TaskError::CancelledQueued {
                reason: Reason::Superseded,
                ..
            })
        ));
    }
    assert_eq!(new.await.unwrap(), "new");
    assert_eq!(main.snapshot().counters.granted, 2);
}

#[tokio::test(start_paused = true)]
async fn cancel_all_drops_who_does_not_listen() {
    let (_lanes, main) = lane_of(2);
    let active = [forever(&main), forever(&main)];
    tokio::time::sleep(SECOND).await;
    let began = Instant::now();
    assert_eq!(main.cancel_all(Reason::User), 2);
    for task in active {
        match task.await {
            Err(TaskError::Cancelled {
                reason, elapsed, ..
            }) => assert_eq!((reason, elapsed), (Reason::User, SECOND)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(main.snapshot().orphans.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn reset_takes_the_active_at_once_and_dispatches_the_queued_in_their_order() {
    let (_lanes, main) = lane_of(1);
    let slot = main.acquire().await.unwrap();
    let (say, mut said) = mpsc::unbounded_channel();
    let queued: Vec<_> = (0..3)
        .map(|n| {
            let say = say.clone();
            main.spawn(async move |cx| {
                say.send((n, cx.fence())).unwrap();
            })
        })
        .collect();
    let began = Instant::now();
    assert_eq!(main.reset(), 1);
    // Before anybody is polled: not current any more, and the next has its slot.
    assert!(!slot.is_current());
    assert_eq!(queued[0].status(), TaskStatus::Active);
    assert_eq!(slot.lost().await, Reason::Reset);
    for task in queued {
        task.await.unwrap();
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    let order: Vec<_> = std::iter::from_fn(|| said.try_recv().ok()).collect();
    assert_eq!(order.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(order.iter().all(|(_, fence)| *fence > slot.fence()));
    let snapshot = main.snapshot();
    assert_eq!(snapshot.orphans.len(), 1);
    assert_eq!(snapshot.counters.taken, 1);
    drop(slot);
    let snapshot = main.snapshot();
    assert_eq!((snapshot.orphans.len(), snapshot.counters.late), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn s10_reset_works_past_every_orphan_bound() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(2).strict())
        .max_orphans(0)
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let slots = [main.acquire().await.unwrap(), main.acquire().await.unwrap()];
    let queued = forever(&main);
    assert_eq!(main.reset(), 2);
    quiet().await;
    assert_eq!(main.reset(), 1, "whoever was dispatched is active now");
    assert!(matches!(
        queued.await,
        Err(TaskError::Cancelled {
            reason: Reason::Reset,
            ..
        })
    ));
    assert_eq!(main.spawn(async |_| "ran").await.unwrap(), "ran");
    assert_eq!(main.snapshot().orphans.len(), 2);
    drop(slots);
    assert_eq!(main.snapshot().orphans.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn reset_leaves_a_pause_alone() {
    let (_lanes, main) = lane_of(1);
    let active = forever(&main);
    quiet().await;
    let queued = main.spawn(async |_| ());
    main.pause();
    assert_eq!(main.reset(), 1);
    assert!(matches!(active.await, Err(TaskError::Cancelled { .. })));
    quiet().await;
    assert_eq!(queued.status(), TaskStatus::Queued);
    main.resume();
    queued.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn s1_lowering_evicts_nobody_and_grants_nothing_until_under() {
    let (_lanes, main) = lane_of(3);
    let (active, mut gates): (Vec<_>, Vec<_>) = (0..3).map(|_| gated(&main)).unzip();
    let queued = main.spawn(async |_| "queued");
    quiet().await;
    main.set_max_concurrent(1).unwrap();
    for still in [2, 1] {
        gates.pop().unwrap().send(()).unwrap();
        quiet().await;
        let snapshot = main.snapshot();
        assert_eq!((snapshot.active.len(), snapshot.queued.len()), (still, 1));
        assert_eq!(queued.status(), TaskStatus::Queued, "{still} still active");
    }
    gates.pop().unwrap().send(()).unwrap();
    assert_eq!(queued.await.unwrap(), "queued");
    for task in active {
        assert_eq!(task.await.unwrap(), "done");
    }
}

#[tokio::test(start_paused = true)]
async fn s5_raising_dispatches_at_once_and_zero_pauses() {
    let (_lanes, main) = lane_of(0);
    let queued: Vec<_> = (0..4).map(|_| forever(&main)).collect();
    tokio::time::sleep(SECOND * 60).await;
    assert_eq!(statuses(&queued), [TaskStatus::Queued; 4]);
    main.set_max_concurrent(3).unwrap();
    let now = [TaskStatus::Active, TaskStatus::Active, TaskStatus::Active];
    assert_eq!(statuses(&queued[..3]), now);
    assert_eq!(queued[3].status(), TaskStatus::Queued);
    main.set_max_concurrent(0).unwrap();
    queued[0].cancel(Reason::User);
    quiet().await;
    assert_eq!(queued[0].status(), TaskStatus::Settled);
    assert_eq!(queued[3].status(), TaskStatus::Queued);
    main.set_max_concurrent(usize::MAX).unwrap();
    assert_eq!(queued[3].status(), TaskStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn cancel_ends_one_task_and_no_other() {
    let (lanes, main) = lane_of(1);
    let active = main.spawn(async |cx| cx.cancelled().await);
    let [queued, other] = [forever(&main), forever(&main)];
    quiet().await;
    lanes.cancel(queued.id(), Reason::User).unwrap();
    assert_eq!(queued.status(), TaskStatus::Settled);
    assert_eq!(other.status(), TaskStatus::Queued);
    lanes.cancel(active.id(), Reason::Superseded).unwrap();
    // The first reason stands.
    lanes.cancel(active.id(), Reason::User).unwrap();
    let id = active.id();
    assert_eq!(active.await.unwrap(), Reason::Superseded);
    assert_eq!(
        lanes.cancel(id, Reason::User),
        Err(ControlError::UnknownTask { id })
    );
    assert_eq!(other.status(), TaskStatus::Active);
    // An id of another scheduler is unknown here, whatever its number.
    let (_elsewhere, main) = lane_of(1);
    let refused = main.task().name("").spawn(async |_| ());
    assert!(lanes.cancel(refused.id(), Reason::User).is_err());
}

#[tokio::test(start_paused = true)]
async fn cancel_key_ends_every_task_of_that_key_in_every_lane() {
    let lanes = Lanes::builder()
        .default_lane(LaneConfig::new(1))
        .build()
        .unwrap();
    let [a, b] = ["a", "b"].map(|name| lanes.lane(name).unwrap());
    let keyed = |lane: &Lane, key: &str| {
        let key = key.to_owned();
        lane.task().key(key).spawn(async |_| pending::<()>().await)
    };
    let hit = [keyed(&a, "k"), keyed(&a, "k"), keyed(&b, "k")];
    let spared = [keyed(&b, "kk"), forever(&a)];
    quiet().await;
    assert_eq!(lanes.cancel_key("nobody", Reason::User), 0);
    assert_eq!(lanes.cancel_key("k", Reason::User), 3);
    for task in hit {
        assert!(matches!(
            task.await,
            Err(TaskError::Cancelled { .. } | TaskError::CancelledQueued { .. })
        ));
    }
    assert_eq!(lanes.cancel_key("k", Reason::User), 0);
    assert_eq!(statuses(&spared), [TaskStatus::Active; 2]);
}

#[tokio::test(start_paused = true)]
async fn verbs_on_all_lanes_reach_those_that_are_yet_to_be_made() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1))
        .default_lane(LaneConfig::new(1))
        .build()
        .unwrap();
    lanes.pause();
    let tasks = ["main", "new"].map(|name| {
        let lane = lanes.lane(name).unwrap();
        (gated(&lane), forever(&lane))
    });
    quiet().await;
    for ((active, _), _) in &tasks {
        assert_eq!(active.status(), TaskStatus::Queued);
    }
    lanes.resume();
    quiet().await;
    for ((active, _), queued) in &tasks {
        assert_eq!(active.status(), TaskStatus::Active);
        assert_eq!(queued.status(), TaskStatus::Queued);
    }
    assert_eq!(lanes.clear(), 2);
    assert_eq!(lanes.reset(), 2);
    for ((active, _), queued) in tasks {
        assert!(matches!(active.await, Err(TaskError::Cancelled { .. })));
        assert!(matches!(queued.await, Err(TaskError::Cleared { .. })));
    }
    let active = forever(&lanes.lane("third").unwrap());
    quiet().await;
    assert_eq!(lanes.cancel_all(Reason::User), 1);
    assert!(matches!(active.await, Err(TaskError::Cancelled { .. })));
}

#[tokio::test(start_paused = true)]
async fn s5_a_pause_that_is_over_is_over_where_nothing_was_submitted_yet() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    main.pause_for(SECOND).unwrap();
    sleep(MINUTE).await;
    assert!(!main.snapshot().paused);
    drop(main.try_acquire().unwrap());
}

#[tokio::test(start_paused = true)]
async fn s15_a_lane_that_was_paused_for_a_while_goes() {
    let lanes = Lanes::builder()
        .pattern("s:*", LaneConfig::new(1))
        .build()
        .unwrap();
    lanes.lane("s:1").unwrap().pause_for(SECOND).unwrap();
    sleep(MINUTE).await;
    assert_eq!(lanes.snapshot().lanes.len(), 0);
}
