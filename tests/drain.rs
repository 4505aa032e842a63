//! Draining: the active finish, the queued run or are handed back, the new are
//! told to try later.

#![expect(
    clippy::disallowed_methods,
    reason = "a test reads the paused clock to say when something happened"
)]
#![expect(
    clippy::disallowed_types,
    reason = "what the tests themselves have seen"
)]

mod common;

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{lanes_of_one, let_run, one_lane, poll_once};
use futures::FutureExt;
use laneway::{
    AcquireError, Descendants, Drain, Lane, LaneConfig, LaneState, Lanes, Priority, QueuedWork,
    Reason, TaskError, TaskHandle, TaskStatus, TryAcquireError,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn lane_of(slots: usize) -> (Lanes, Lane) {
    let config = LaneConfig::new(slots);
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

#[tokio::test(start_paused = true)]
async fn the_new_are_told_to_try_later_and_resume_lets_them_in() {
    let (_lanes, main) = lane_of(1);
    let (active, open) = gated(&main);
    quiet().await;
    let drain = main.drain(Drain::within(MINUTE));
    assert_eq!(main.snapshot().state, LaneState::Draining);
    let refused = main.run(async |_| ()).await.unwrap_err();
    assert!(matches!(refused, TaskError::Draining { .. }));
    assert!(refused.is_retryable());
    let spawned = main.spawn(async |_| ());
    assert_eq!(spawned.status(), TaskStatus::Settled);
    assert!(spawned.await.unwrap_err().is_retryable());
    let acquired = main.acquire().await.unwrap_err();
    assert!(matches!(acquired, AcquireError::Draining { .. }));
    assert!(acquired.is_retryable());
    assert!(matches!(
        main.try_acquire(),
        Err(TryAcquireError::Draining { .. })
    ));
    assert_eq!(main.snapshot().counters.submitted, 1);
    main.resume();
    let readmitted = main.spawn(async |_| "readmitted");
    open.send(()).unwrap();
    assert_eq!(active.await.unwrap(), "done");
    assert_eq!(readmitted.await.unwrap(), "readmitted");
    drain.await;
    // And the old deadline does nothing to whoever came after.
    let (later, open) = gated(&main);
    tokio::time::sleep(MINUTE * 2).await;
    open.send(()).unwrap();
    assert_eq!(later.await.unwrap(), "done");
}

#[tokio::test(start_paused = true)]
async fn queued_work_runs_while_the_time_lasts() {
    let (_lanes, main) = lane_of(1);
    let tasks: Vec<_> = (0..3)
        .map(|_| main.spawn(async |_| tokio::time::sleep(SECOND * 25).await))
        .collect();
    quiet().await;
    let began = Instant::now();
    let report = main.drain(Drain::within(MINUTE)).await;
    let elapsed = began.elapsed();
    // Two run to their end; the third is asked when the minute is over.
    assert!(
        elapsed >= MINUTE && elapsed < MINUTE + SECOND,
        "{elapsed:?}"
    );
    assert_eq!((report.finished, report.interrupted), (2, 1));
    assert_eq!((report.orphans, report.still_active), (0, 0));
    assert!(report.returned.is_empty());
    let ended: Vec<_> = futures::future::join_all(tasks).await;
    assert!(matches!(
        ended[..],
        [
            Ok(()),
            Ok(()),
            Err(TaskError::Cancelled {
                reason: Reason::Draining,
                ..
            })
        ]
    ));
}

#[tokio::test(start_paused = true)]
async fn queued_work_that_had_no_time_to_run_is_handed_back() {
    let (_lanes, main) = lane_of(1);
    let active = forever(&main);
    let queued = forever(&main);
    let report = main.drain(Drain::within(MINUTE)).await;
    assert_eq!((report.finished, report.interrupted), (0, 1));
    assert_eq!(report.returned.len(), 1);
    assert_eq!(report.returned[0].id, queued.id());
    assert_eq!(report.returned[0].waited, MINUTE);
    assert!(queued.await.unwrap_err().is_retryable());
    assert!(active.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn queued_work_is_cancelled_when_told_so() {
    let (_lanes, main) = lane_of(1);
    let (active, open) = gated(&main);
    let queued = [forever(&main), forever(&main)];
    quiet().await;
    let drain = main.drain(Drain::within(MINUTE).queued(QueuedWork::Cancel));
    for task in queued {
        let told = task.now_or_never().expect("settled at once");
        assert!(matches!(
            told,
            Err(TaskError::CancelledQueued {
                reason: Reason::Draining,
                ..
            })
        ));
    }
    open.send(()).unwrap();
    assert_eq!(active.await.unwrap(), "done");
    let report = drain.await;
    assert_eq!((report.finished, report.interrupted), (1, 0));
    assert!(report.returned.is_empty());
}

#[tokio::test(start_paused = true)]
async fn returned_work_carries_all_that_is_needed_to_run_it_elsewhere() {
    let (_lanes, main) = lane_of(1);
    let (active, open) = gated(&main);
    let mut queued = Vec::new();
    for (turn, priority) in [(1u32, Priority::Normal), (2, Priority::Foreground)] {
        let task = main
            .task()
            .name(format!("turn {turn}"))
            .key(format!("ticket-42/{turn}"))
            .meta(turn)
            .priority(priority);
        queued.push(task.spawn(async |_| ()));
        tokio::time::sleep(SECOND).await;
    }
    let drain = main.drain(Drain::within(MINUTE).queued(QueuedWork::Return));
    let ids: Vec<_> = queued.iter().map(TaskHandle::id).collect();
    for task in queued {
        let told = task.now_or_never().expect("settled at once");
        assert!(told.unwrap_err().is_retryable());
    }
    open.send(()).unwrap();
    assert_eq!(active.await.unwrap(), "done");
    let report = drain.await;
    // In the order in which they would have been served.
    let [foreground, normal] = &report.returned[..] else {
        panic!("{report:?}");
    };
    for (task, turn, id, waited) in [
        (foreground, 2u32, ids[1], SECOND),
        (normal, 1, ids[0], SECOND * 2),
    ] {
        assert_eq!((&*task.lane, task.id), ("main", id));
        assert_eq!(task.name.as_deref(), Some(&*format!("turn {turn}")));
        assert_eq!(task.key.as_deref(), Some(&*format!("ticket-42/{turn}")));
        let meta = task.meta.as_ref().unwrap();
        assert_eq!(meta.downcast_ref::<u32>(), Some(&turn));
        assert_eq!(task.waited, waited);
    }
    assert_eq!(foreground.priority, Priority::Foreground);
    assert_eq!(normal.priority, Priority::Normal);
}

#[tokio::test(start_paused = true)]
async fn s6_waited_restores_a_place_in_line() {
    let (_lanes, main) = lane_of(1);
    let (active, open) = gated(&main);
    let (say, mut said) = mpsc::unbounded_channel();
    let submit = |turn: u32, waited: Duration| {
        let say = say.clone();
        let task = main.task().waited(waited);
        task.spawn(async move |_| say.send(turn).unwrap())
    };
    let newcomers = [submit(3, Duration::ZERO), submit(4, Duration::ZERO)];
    tokio::time::sleep(SECOND * 5).await;
    // One has waited longer than they, one shorter.
    let returned = [submit(5, SECOND * 3), submit(2, SECOND * 60)];
    let oldest = submit(1, SECOND * 61);
    open.send(()).unwrap();
    active.await.unwrap();
    futures::future::join_all(newcomers.into_iter().chain(returned)).await;
    oldest.await.unwrap();
    let order: Vec<_> = std::iter::from_fn(|| said.try_recv().ok()).collect();
    assert_eq!(order, [1, 2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_asks_with_its_reason_then_takes() {
    let (_lanes, main) = lane_of(4);
    let finishes = main.spawn(async |_| tokio::time::sleep(SECOND * 30).await);
    let listens = main.spawn(async |cx| {
        let reason = cx.cancelled().await;
        tokio::time::sleep(SECOND * 2).await;
        reason
    });
    let deaf = forever(&main);
    let forgotten = main.acquire().await.unwrap();
    let began = Instant::now();
    let report = main.drain(Drain::within(MINUTE)).await;
    assert!(began.elapsed() >= MINUTE + SECOND * 2);
    assert!(began.elapsed() < MINUTE + SECOND * 3);
    // Who listens ends by itself, and is not interrupted.
    assert_eq!((report.finished, report.interrupted), (2, 2));
    assert_eq!((report.orphans, report.still_active), (1, 0));
    finishes.await.unwrap();
    assert_eq!(listens.await.unwrap(), Reason::Draining);
    assert!(deaf.await.is_err());
    assert_eq!(forgotten.lost().await, Reason::Draining);
    assert!(!forgotten.is_current());
}

#[tokio::test(start_paused = true)]
async fn s10_a_report_does_not_wait_for_who_cannot_be_taken() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1).strict())
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let slot = main.acquire().await.unwrap();
    let report = main.drain(Drain::within(MINUTE)).await;
    assert_eq!((report.still_active, report.orphans), (1, 0));
    assert!(slot.is_current());
}

#[tokio::test(start_paused = true)]
async fn a_report_waits_for_the_grace_of_a_strict_lane_too() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1).strict())
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let listens = main.spawn(async |cx| {
        let reason = cx.cancelled().await;
        tokio::time::sleep(SECOND).await;
        reason
    });
    quiet().await;
    let report = main.drain(Drain::within(MINUTE)).await;
    assert_eq!((report.finished, report.still_active), (1, 0));
    assert_eq!(listens.await.unwrap(), Reason::Draining);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_report_does_not_stop_the_drain() {
    let (_lanes, main) = lane_of(1);
    let active = forever(&main);
    let queued = forever(&main);
    quiet().await;
    drop(main.drain(Drain::within(MINUTE).queued(QueuedWork::Return)));
    assert!(queued.await.unwrap_err().is_retryable());
    assert!(main.spawn(async |_| ()).await.unwrap_err().is_retryable());
    let began = Instant::now();
    assert!(matches!(
        active.await,
        Err(TaskError::Cancelled {
            reason: Reason::Draining,
            ..
        })
    ));
    assert!(began.elapsed() >= MINUTE && began.elapsed() < MINUTE + SECOND);
    // What was handed back with that report is not handed back again.
    let report = main.drain(Drain::within(MINUTE)).await;
    assert!(report.returned.is_empty(), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn lanes_made_during_a_drain_of_all_drain_too() {
    let lanes = Lanes::builder()
        .default_lane(LaneConfig::new(1))
        .build()
        .unwrap();
    let report = lanes.drain(Drain::within(Duration::MAX)).await;
    assert_eq!((report.finished, report.interrupted), (0, 0));
    let new = lanes.lane("new").unwrap();
    assert!(new.run(async |_| ()).await.unwrap_err().is_retryable());
    assert!(matches!(
        new.try_acquire(),
        Err(TryAcquireError::Draining { .. })
    ));
    lanes.resume();
    new.run(async |_| ()).await.unwrap();
    lanes
        .lane("newer")
        .unwrap()
        .run(async |_| ())
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_drain_with_no_time_asks_at_once() {
    let (_lanes, main) = lane_of(1);
    let active = main.spawn(async |cx| cx.cancelled().await);
    let queued = forever(&main);
    quiet().await;
    let began = Instant::now();
    let report = main.drain(Drain::within(Duration::ZERO)).await;
    assert!(began.elapsed() < SECOND);
    assert_eq!((report.finished, report.returned.len()), (1, 1));
    assert_eq!(active.await.unwrap(), Reason::Draining);
    assert!(queued.await.is_err());
}

/// Who ended before the drain is not of its report.
#[tokio::test(start_paused = true)]
async fn a_report_counts_from_the_beginning_of_its_drain() {
    let (_lanes, main) = lane_of(2);
    for _ in 0..3 {
        main.run(async |_| ()).await.unwrap();
        forever(&main).cancel(Reason::User);
    }
    main.idle().await;
    let (last, open) = gated(&main);
    let hung = forever(&main);
    let drain = main.drain(Drain::within(MINUTE));
    open.send(()).unwrap();
    let report = drain.await;
    assert_eq!((report.finished, report.interrupted), (1, 1));
    last.await.unwrap();
    hung.await.unwrap_err();
}

/// S7: also what a lane hands back that the report had not heard of by then.
#[tokio::test(start_paused = true)]
async fn s7_the_report_has_what_a_lane_hands_back_that_was_made_meanwhile() {
    let lanes = Lanes::builder().pattern("*", LaneConfig::new(1));
    let lanes = lanes.build().unwrap();
    let main = lanes.lane("main").unwrap();
    let nested = lanes.clone();
    let (go, gone) = oneshot::channel::<()>();
    let turn = main.spawn(async move |_| {
        gone.await.unwrap();
        let session = nested.lane("session").unwrap();
        let held = session.spawn(async |_| pending::<()>().await);
        let task = session.spawn(async |_| ());
        drop(held);
        drop(task);
        pending::<()>().await;
    });
    tokio::task::yield_now().await;
    let drain = Drain::within(MINUTE).descendants(Descendants::Admit);
    let report = tokio::spawn(lanes.drain(drain));
    tokio::task::yield_now().await;
    go.send(()).unwrap();
    let report = report.await.unwrap();
    assert_eq!(report.returned.len(), 1, "{report:?}");
    assert_eq!(report.interrupted, 2, "{report:?}");
    turn.await.unwrap_err();
}

/// S15: also of a lane that was made after the report was given up.
#[tokio::test(start_paused = true)]
async fn s15_what_was_handed_back_and_nobody_reports_is_not_kept() {
    let meta = std::sync::Arc::new(5_u32);
    let lanes = Lanes::builder().pattern("*", LaneConfig::new(1));
    let lanes = lanes.build().unwrap();
    let main = lanes.lane("main").unwrap();
    let nested = (lanes.clone(), meta.clone());
    let (go, gone) = oneshot::channel::<()>();
    let turn = main.spawn(async move |_| {
        gone.await.unwrap();
        let (lanes, meta) = nested;
        let session = lanes.lane("session").unwrap();
        let held = session.spawn(async |_| pending::<()>().await);
        let task = session.task().meta(meta).spawn(async |_| ());
        (session, held, task)
    });
    tokio::task::yield_now().await;
    let drain = Drain::within(MINUTE).descendants(Descendants::Admit);
    drop(lanes.drain(drain));
    go.send(()).unwrap();
    let (session, held, task) = turn.await.unwrap();
    tokio::time::sleep(MINUTE + SECOND).await;
    assert!(matches!(task.await, Err(TaskError::Draining { .. })));
    held.cancel(Reason::User);
    drop(held.await);
    assert_eq!(std::sync::Arc::strong_count(&meta), 1, "S15");
    drop(session);
}

/// S15: a report that was given up keeps no lane, and one that is still awaited has all.
#[tokio::test(start_paused = true)]
async fn s15_lanes_that_come_and_go_in_a_drain_are_kept_only_for_a_report() {
    let lanes = Lanes::builder().pattern("*", LaneConfig::new(1));
    let lanes = lanes.build().unwrap();
    let main = lanes.lane("main").unwrap();
    for awaited in [0, 1] {
        let nested = lanes.clone();
        let (go, gone) = oneshot::channel::<()>();
        let turn = main.spawn(async move |_| {
            gone.await.unwrap();
            let session = nested.lane("session").unwrap();
            session.run(async |_| ()).await.unwrap();
            drop(session);
            nested.snapshot().lanes.len() - 1
        });
        tokio::task::yield_now().await;
        let drain = Drain::within(MINUTE).descendants(Descendants::Admit);
        let mut reports = [lanes.drain(drain), lanes.drain(drain)].map(Some);
        reports[awaited..].fill_with(|| None);
        go.send(()).unwrap();
        assert_eq!(turn.await.unwrap(), awaited, "lanes beside `main`");
        for report in reports.into_iter().flatten() {
            assert_eq!(report.await.finished, 2);
        }
        assert_eq!(lanes.snapshot().lanes.len(), 1, "none is kept after it");
        lanes.resume();
    }
}

/// S13: whoever is told that its task was handed back may look at any lane, and finds
/// that drained, too.
#[tokio::test(start_paused = true)]
async fn s13_nobody_is_told_of_a_drain_that_not_all_lanes_have_heard_of() {
    struct Looks(Lane, Arc<AtomicUsize>);

    impl Drop for Looks {
        fn drop(&mut self) {
            self.1
                .store(self.0.snapshot().queued.len(), Ordering::Relaxed);
        }
    }

    let (lanes, [a, b]) = lanes_of_one(["a", "b"]);
    let held = [a.try_acquire().unwrap(), b.try_acquire().unwrap()];
    for (lane, other) in [(&a, &b), (&b, &a)] {
        let seen = Arc::new(AtomicUsize::new(usize::MAX));
        let looks = Looks(other.clone(), Arc::clone(&seen));
        let first = lane.spawn(async move |_| drop(looks));
        let second = other.spawn(async |_| ());
        let drain = lanes.drain(Drain::within(MINUTE).queued(QueuedWork::Return));
        assert_eq!(seen.load(Ordering::Relaxed), 0);
        for told in [first.await, second.await] {
            assert!(matches!(told, Err(TaskError::Draining { .. })));
        }
        drop(drain);
        lanes.resume();
    }
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn s7_what_is_queued_further_on_at_the_deadline_is_handed_back() {
    let (lanes, [_a, b]) = lanes_of_one(["a", "b"]);
    let _slot = b.acquire().await.unwrap();
    let task = lanes.chain(["a", "b"]).unwrap().spawn(async |_| ());
    let_run().await;
    assert_eq!(task.status(), TaskStatus::Queued);
    let report = lanes.drain(Drain::within(10 * SECOND)).await;
    let told = task.await;
    assert!(matches!(told, Err(TaskError::Draining { .. })), "{told:?}");
    assert_eq!(report.returned.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn s7_what_was_granted_and_never_began_at_the_deadline_is_handed_back() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    let slot = main.acquire().await.unwrap();
    let mut run = Box::pin(main.run(async |_| ()));
    assert!(poll_once(run.as_mut()).is_pending());
    let drain = main.drain(Drain::within(3 * SECOND));
    sleep(2 * SECOND).await;
    drop(slot);
    let report = drain.await;
    let told = run.await;
    assert!(matches!(told, Err(TaskError::Draining { .. })), "{told:?}");
    assert_eq!(report.returned.len(), 1);
}
