//! Whatever ends a task of a chain, in whatever lane, ends it in all of them.

mod common;

use std::future::{Future, pending};
use std::pin::Pin;
use std::task::Poll;

use common::{
    CEILING, HOUR, MINUTE, SECOND, TICK, assert_clean, let_run, orphans_gone, poll_once, until,
};
use laneway::{
    Chain, Drain, Lane, LaneConfig, Lanes, OnStall, QueuedWork, Reason, TaskContext, TaskError,
    TaskStatus, Timeout,
};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

fn two(config: LaneConfig) -> (Lanes, Lane, Lane, Chain) {
    let lanes = Lanes::builder()
        .lane("session", config.clone())
        .lane("main", config)
        .build()
        .unwrap();
    let (session, main) = (lanes.lane("session").unwrap(), lanes.lane("main").unwrap());
    let chain = lanes.chain(["session", "main"]).unwrap();
    (lanes, session, main, chain)
}

#[tokio::test(start_paused = true)]
async fn s8_a_stall_frees_both_slots_in_time() {
    let (_lanes, session, main, chain) = two(LaneConfig::new(1).stall_ceiling(CEILING));
    let silent = chain.spawn(async |_| pending::<()>().await);
    let next = main.spawn(async |_| common::now());
    let began = common::now();
    let ended = silent.await;
    assert!(matches!(ended, Err(TaskError::Stalled { .. })), "{ended:?}");
    assert!(next.await.unwrap() - began <= CEILING + 2 * TICK);
    let counters = [assert_clean(&session), assert_clean(&main)];
    assert_eq!(counters.map(|c| c.reclaimed), [1, 1]);
    assert!(chain.try_acquire().is_ok());
}

#[tokio::test(start_paused = true)]
async fn s8_s10_forgotten_it_loses_both_slots_and_is_an_orphan_in_both() {
    let (_lanes, session, main, chain) = two(LaneConfig::new(1).stall_ceiling(CEILING));
    let mut forgotten: Pin<Box<_>> = Box::pin(chain.run(async |_| pending::<()>().await));
    assert!(poll_once(forgotten.as_mut()).is_pending());
    let behind = (session.spawn(async |_| ()), main.spawn(async |_| ()));
    let began = common::now();
    behind.0.await.unwrap();
    behind.1.await.unwrap();
    assert!(common::now() - began <= CEILING + 3 * TICK);
    let of = |lane: &Lane| {
        lane.snapshot()
            .orphans
            .iter()
            .map(|t| t.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&session), of(&main));
    assert_eq!(of(&main).len(), 1);
    drop(forgotten);
    let_run().await;
    assert_clean(&session);
    assert_clean(&main);
}

#[tokio::test(start_paused = true)]
async fn s11_reset_further_on_it_is_not_current_any_more_and_ends() {
    for first in [true, false] {
        let (_lanes, session, main, chain) = two(LaneConfig::new(1));
        let slot = chain.acquire().await.unwrap();
        assert!(slot.is_current());
        let lane = if first { &session } else { &main };
        assert_eq!(lane.reset(), 1);
        assert!(!slot.is_current());
        assert_eq!(slot.lost().await, Reason::Reset);
        drop(slot);
        orphans_gone(lane).await;
        let_run().await;
        assert!(chain.try_acquire().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_verb_further_on_ends_it_wherever_it_is() {
    let (_lanes, session, main, chain) = two(LaneConfig::new(1));
    let busy = main.try_acquire().unwrap();
    let cleared = chain.spawn(async |_| ());
    let_run().await;
    assert_eq!(main.clear(), 1);
    assert!(matches!(cleared.await, Err(TaskError::Cleared { .. })));
    assert!(session.try_acquire().is_ok());
    let mut polled = Box::pin(chain.run(async |_| ()));
    assert!(poll_once(polled.as_mut()).is_pending());
    assert_eq!(main.cancel_all(Reason::User), 2);
    assert!(matches!(
        polled.await,
        Err(TaskError::CancelledQueued {
            reason: Reason::User,
            ..
        })
    ));
    drop(busy);
    let active = chain.spawn(async |cx| {
        let reason = cx.cancelled().await;
        sleep(SECOND).await;
        reason
    });
    let_run().await;
    assert_eq!(main.cancel_all(Reason::User), 1);
    // It listens, and has its grace in both lanes.
    assert_eq!(active.await.unwrap(), Reason::User);
    assert_clean(&session);
    assert_clean(&main);
    assert!(chain.try_acquire().is_ok());
}

#[tokio::test(start_paused = true)]
async fn its_hooks_are_over_before_either_slot_is_free() {
    let (_lanes, session, main, chain) = two(LaneConfig::new(1));
    let task = chain.spawn(async |cx| {
        cx.defer(async |_| sleep(SECOND).await);
        pending::<()>().await;
    });
    let_run().await;
    let began = common::now();
    task.cancel(Reason::User);
    let free = async |lane: &Lane| {
        drop(lane.acquire().await.unwrap());
        common::now() - began
    };
    let (a, b) = tokio::join!(free(&session), free(&main));
    assert!(a >= SECOND && b >= SECOND, "{a:?} {b:?}");
    assert!(matches!(task.await, Err(TaskError::Cancelled { .. })));
}

#[tokio::test(start_paused = true)]
async fn s7_a_panic_frees_both_slots() {
    let (_lanes, _, _, chain) = two(LaneConfig::new(1));
    let ended = chain.run(async |_| panic!("boom")).await;
    assert!(matches!(ended, Err(TaskError::Panicked { .. })));
    let ended = chain.spawn_blocking(|_| panic!("boom")).await;
    assert!(matches!(ended, Err(TaskError::Panicked { .. })));
    assert!(chain.try_acquire().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_drain_of_all_lanes_lets_it_through() {
    let (lanes, session, main, chain) = two(LaneConfig::new(1));
    let first = chain.spawn(async |_| sleep(SECOND).await);
    let second = chain.spawn(async |_| sleep(SECOND).await);
    let_run().await;
    let report = lanes.drain(Drain::within(MINUTE)).await;
    assert_eq!(report.interrupted, 0, "{report:?}");
    first.await.unwrap();
    second.await.unwrap();
    assert!(matches!(
        chain.spawn(async |_| ()).await,
        Err(TaskError::Draining { .. })
    ));
    lanes.resume();
    let busy = main.try_acquire().unwrap();
    let gathering = chain.spawn(async |_| ());
    let queued = chain.spawn(async |_| ());
    let_run().await;
    let drained = lanes.drain(Drain::within(MINUTE).queued(QueuedWork::Return));
    drop(busy);
    drained.await;
    assert!(matches!(
        gathering.await,
        Ok(()) | Err(TaskError::Draining { .. })
    ));
    assert!(matches!(queued.await, Err(TaskError::Draining { .. })));
    assert_clean(&session);
    assert_clean(&main);
}

#[tokio::test(start_paused = true)]
async fn s7_shutdown_and_the_last_handle_settle_it_wherever_it_waits() {
    for shutdown in [true, false] {
        let (lanes, session, main, chain) = two(LaneConfig::new(1));
        let busy = main.try_acquire().unwrap();
        let gathering = chain.spawn(async |_| ());
        let queued = chain.spawn(async |_| ());
        let_run().await;
        if shutdown {
            drop(lanes.shutdown());
        }
        drop(lanes);
        for ended in [gathering.await, queued.await] {
            assert!(
                matches!(
                    ended,
                    Err(TaskError::Shutdown { .. }
                        | TaskError::SchedulerDropped { .. }
                        | TaskError::CancelledQueued {
                            reason: Reason::Shutdown,
                            ..
                        })
                ),
                "{ended:?}"
            );
        }
        drop(busy);
        assert_clean(&session);
        assert_clean(&main);
    }
}

#[test]
fn s7_its_runtime_goes_while_it_waits() {
    let (_lanes, session, main, chain) = two(LaneConfig::new(1));
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().unwrap()
    };
    let (home, other) = (runtime(), runtime());
    let _entered = other.enter();
    let busy = main.try_acquire().unwrap();
    let waits = {
        let _home = home.enter();
        chain.spawn(async |_| ())
    };
    assert_eq!(main.snapshot().queued.len(), 1);
    drop(home);
    assert!(matches!(
        other.block_on(waits),
        Err(TaskError::RuntimeShutdown { .. })
    ));
    assert!(main.snapshot().queued.is_empty());
    drop(busy);
    let home = runtime();
    let active = {
        let _home = home.enter();
        chain.spawn(async |_| pending::<()>().await)
    };
    other.block_on(until(|| active.status() == TaskStatus::Active));
    drop(home);
    assert!(matches!(
        other.block_on(active),
        Err(TaskError::RuntimeShutdown { .. })
    ));
    let slot = other.block_on(chain.acquire()).unwrap();
    drop(slot);
    assert_clean(&session);
    assert_clean(&main);
}

#[tokio::test(start_paused = true)]
async fn detached_it_runs_on_without_either_slot() {
    let config = LaneConfig::new(1)
        .stall_ceiling(CEILING)
        .on_stall(OnStall::Detach);
    let (_lanes, session, main, chain) = two(config);
    let task = chain.spawn(async |_| {
        sleep(2 * CEILING).await;
        "late"
    });
    sleep(CEILING + SECOND).await;
    assert_eq!(task.status(), TaskStatus::Detached);
    assert!(chain.try_acquire().is_ok());
    assert_eq!(task.await.unwrap(), "late");
    assert_clean(&session);
    assert_clean(&main);
}

#[tokio::test(start_paused = true)]
async fn the_tighter_limit_of_its_lanes_is_its_own() {
    let lanes = Lanes::builder()
        .lane(
            "session",
            LaneConfig::new(1).timeout(Timeout::budget(10 * MINUTE)),
        )
        .lane("main", LaneConfig::new(1).timeout(Timeout::budget(MINUTE)))
        .build()
        .unwrap();
    for names in [["session", "main"], ["main", "session"]] {
        let chain = lanes.chain(names).unwrap();
        let ended = chain.run(async |_| pending::<()>().await).await;
        assert!(
            matches!(ended, Err(TaskError::TimedOut { allowed, .. }) if allowed == MINUTE),
            "{ended:?}"
        );
        let_run().await;
        assert!(chain.try_acquire().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn s7_a_drain_hands_it_back_once_wherever_it_waits() {
    for all in [true, false] {
        let (lanes, session, main, chain) = two(LaneConfig::new(1));
        let busy = main.try_acquire().unwrap();
        let gathering = chain.task().key("k").meta(17_u32).spawn(async |_| ());
        let_run().await;
        let drain = Drain::within(MINUTE).queued(QueuedWork::Return);
        let free = async { drop(busy) };
        let report = if all {
            tokio::join!(lanes.drain(drain), free).0
        } else {
            tokio::join!(main.drain(drain), free).0
        };
        let [task] = &report.returned[..] else {
            panic!("{report:?}");
        };
        assert_eq!((task.id, &*task.lane), (gathering.id(), "session"));
        assert_eq!(task.key.as_deref(), Some("k"));
        let chain: Vec<&str> = task.chain.iter().map(|lane| &**lane).collect();
        assert_eq!(chain, ["session", "main"]);
        let meta = task.meta.as_ref().unwrap().downcast_ref::<u32>();
        assert_eq!(meta, Some(&17));
        assert!(matches!(gathering.await, Err(TaskError::Draining { .. })));
        assert_clean(&session);
        assert_clean(&main);
    }
}

#[tokio::test(start_paused = true)]
async fn s10_a_strict_lane_further_on_is_not_detached_from() {
    let lanes = Lanes::builder()
        .lane(
            "session",
            LaneConfig::new(1)
                .stall_ceiling(CEILING)
                .on_stall(OnStall::Detach),
        )
        .lane("main", LaneConfig::new(1).strict())
        .build()
        .unwrap();
    let (session, main) = (lanes.lane("session").unwrap(), lanes.lane("main").unwrap());
    let task = lanes
        .chain(["session", "main"])
        .unwrap()
        .spawn(async |_| sleep(2 * CEILING).await);
    sleep(CEILING + SECOND).await;
    assert!(session.try_acquire().is_ok());
    assert!(main.try_acquire().is_err());
    task.await.unwrap();
    assert!(main.try_acquire().is_ok());
}

/// Nor is it counted against what all lanes may have between them.
#[tokio::test(start_paused = true)]
async fn s10_a_slot_that_is_not_detached_from_uses_no_orphan_up() {
    let detaching = LaneConfig::new(2)
        .stall_ceiling(CEILING)
        .on_stall(OnStall::Detach);
    let lanes = Lanes::builder()
        .max_orphans(2)
        .lane("session", detaching)
        .lane("main", LaneConfig::new(1).strict())
        .build()
        .unwrap();
    let late = async |_| sleep(2 * CEILING).await;
    let chain = lanes.chain(["session", "main"]).unwrap();
    chain.run(late).await.unwrap();
    let session = lanes.lane("session").unwrap();
    let tasks = [session.spawn(late), session.spawn(late)];
    sleep(CEILING + SECOND).await;
    let statuses = tasks.each_ref().map(laneway::TaskHandle::status);
    assert_eq!(statuses, [TaskStatus::Detached; 2]);
}

#[tokio::test(start_paused = true)]
async fn s11_it_is_not_current_when_the_next_holder_starts() {
    let (_lanes, _session, main, chain) = two(LaneConfig::new(1));
    let slot = chain.acquire().await.unwrap();
    let old = slot.context().clone();
    let next = main.spawn(async move |_| old.is_current());
    let_run().await;
    main.reset();
    let old = slot.context().clone();
    assert!(!old.is_current());
    drop(slot);
    assert!(!old.is_current());
    assert!(!next.await.unwrap());
}

/// Nor where all lanes have as many between them as they may.
#[tokio::test(start_paused = true)]
async fn s10_at_the_bound_over_all_lanes_a_slot_further_on_is_not_detached_from() {
    let detaching = LaneConfig::new(1).stall_ceiling(CEILING);
    let lanes = Lanes::builder()
        .max_orphans(1)
        .lane("session", detaching.on_stall(OnStall::Detach))
        .lane("main", LaneConfig::new(1))
        .build()
        .unwrap();
    let (session, main) = (lanes.lane("session").unwrap(), lanes.lane("main").unwrap());
    let chain = lanes.chain(["session", "main"]).unwrap();
    let task = chain.spawn(async |_| sleep(2 * CEILING).await);
    sleep(CEILING + SECOND).await;
    assert!(session.try_acquire().is_ok());
    assert!(main.try_acquire().is_err(), "there is room for one orphan");
    task.await.unwrap();
    assert!(main.try_acquire().is_ok());
}

/// S10: it is vouched for in all of them, and nobody else could do that further on.
#[tokio::test(start_paused = true)]
async fn s10_an_orphan_is_forgotten_in_all_its_lanes() {
    let (lanes, session, main, chain) = two(LaneConfig::new(1).stall_ceiling(CEILING));
    std::mem::forget(chain.acquire().await.unwrap());
    sleep(CEILING + SECOND).await;
    let orphan = main.snapshot().orphans[0].id;
    lanes.forget_orphan(orphan).unwrap();
    let left = [&session, &main].map(|lane| lane.snapshot().orphans.len());
    assert_eq!(left, [0, 0]);
}

/// S9: what a task says of its own time is about its own slot, and where its stall
/// is only told of, no other slot makes more of it.
#[tokio::test(start_paused = true)]
async fn s9_a_phase_is_no_ceiling_for_a_slot_further_on() {
    let config = LaneConfig::new(1).on_stall(OnStall::WarnOnly);
    let (_lanes, _, main, chain) = two(config);
    let busy = main.try_acquire().unwrap();
    let task = chain.spawn(async |cx| {
        let _phase = cx.phase("bash").silence(MINUTE);
        sleep(2 * MINUTE).await;
    });
    drop(busy);
    task.await.unwrap();
}

/// With which a lane of one is at its bound.
async fn an_orphan_of(main: &Lane) -> Pin<Box<impl Future<Output = Result<(), TaskError>>>> {
    let mut hung = Box::pin(main.run(async |_| pending::<()>().await));
    assert!(poll_once(hung.as_mut()).is_pending());
    main.cancel_all(Reason::User);
    sleep(SECOND).await;
    hung
}

/// S10: nor does the one count that it was not taken in yet.
#[tokio::test(start_paused = true)]
async fn s10_an_orphan_is_forgotten_where_its_take_was_refused() {
    let lanes = Lanes::builder().pattern("*", LaneConfig::new(1));
    let lanes = lanes.build().unwrap();
    let [session, main] = ["session", "main"].map(|name| lanes.lane(name).unwrap());
    let chain = lanes.chain(["session", "main"]).unwrap();
    let first = an_orphan_of(&main).await;
    // At its bound from now on.
    let first_id = main.snapshot().orphans[0].id;
    let mut turn = Box::pin(chain.run(async |_| pending::<()>().await));
    assert!(poll_once(turn.as_mut()).is_pending());
    session.cancel_all(Reason::User);
    sleep(SECOND).await;
    let id = session.snapshot().orphans[0].id;
    assert_eq!(main.snapshot().active.len(), 1, "its take was refused");
    lanes.forget_orphan(id).unwrap();
    let next = timeout(SECOND, main.acquire()).await;
    assert!(next.is_ok(), "somebody insists");
    lanes.forget_orphan(first_id).unwrap();
    sleep(MINUTE).await;
    assert_eq!(main.snapshot().orphans.len(), 0);
    // Another one that hangs is the first.
    std::mem::forget(next);
    assert!(timeout(2 * HOUR, main.acquire()).await.is_ok(), "S8");
    assert!(turn.await.is_err() && first.await.is_err());
}

/// S8: it is detached further on once there is room for it.
#[tokio::test(start_paused = true)]
async fn s8_who_is_not_detached_at_a_bound_is_detached_after_that() {
    let config = LaneConfig::new(1).stall_ceiling(CEILING);
    let lanes = Lanes::builder().pattern("*", config.on_stall(OnStall::Detach));
    let lanes = lanes.build().unwrap();
    let [session, main] = ["session", "main"].map(|name| lanes.lane(name).unwrap());
    let chain = lanes.chain(["session", "main"]).unwrap();
    let first = an_orphan_of(&main).await;
    assert_eq!(main.snapshot().orphans.len(), 1, "at its bound");
    let mut turn = Box::pin(chain.run(async |_| pending::<()>().await));
    assert!(poll_once(turn.as_mut()).is_pending());
    sleep(CEILING + SECOND).await;
    assert_eq!(session.snapshot().orphans.len(), 1);
    assert_eq!(main.snapshot().active.len(), 1);
    assert!(first.await.is_err());
    let next = timeout(HOUR, main.acquire()).await;
    assert!(next.is_ok());
    drop((next, turn));
    for lane in [session, main] {
        assert_clean(&lane);
    }
}

/// S10: nor is it in the way that its own slot could not be taken.
#[tokio::test(start_paused = true)]
async fn s10_an_orphan_is_forgotten_where_its_own_take_was_refused() {
    let config = || LaneConfig::new(1).stall_ceiling(CEILING);
    let lanes = Lanes::builder()
        .lane("session", config().strict())
        .lane("main", config());
    let lanes = lanes.build().unwrap();
    let [session, main] = ["session", "main"].map(|name| lanes.lane(name).unwrap());
    let chain = lanes.chain(["session", "main"]).unwrap();
    let slot = chain.acquire().await.unwrap();
    sleep(CEILING + SECOND).await;
    assert_eq!(session.snapshot().orphans.len(), 0, "it is strict");
    let orphan = main.snapshot().orphans[0].id;
    lanes.forget_orphan(orphan).unwrap();
    assert_eq!(main.snapshot().orphans.len(), 0);
    let again = lanes.forget_orphan(orphan);
    assert!(again.is_err(), "{again:?}");
    drop(slot);
    for lane in [session, main] {
        assert_clean(&lane);
    }
}

type Turn<'a> = Pin<Box<dyn Future<Output = Result<(), TaskError>> + 'a>>;

/// It is through once that is sent, and its hook never is.
fn with_endless_hook(chain: &Chain) -> (Turn<'_>, oneshot::Sender<()>) {
    let (answer, asked) = oneshot::channel::<()>();
    let mut turn: Turn<'_> = Box::pin(chain.run(async move |cx| {
        cx.defer(async |_| pending::<()>().await);
        let _ = asked.await;
    }));
    assert!(poll_once(turn.as_mut()).is_pending());
    (turn, answer)
}

/// Detached, but not from its second slot, for a bound; then it returns, and its hook
/// is never polled through.
#[tokio::test(start_paused = true)]
async fn s8_a_slot_further_on_is_taken_once_the_bound_is_free_though_its_task_hangs_in_its_hooks() {
    let config = LaneConfig::new(1)
        .stall_ceiling(CEILING)
        .on_stall(OnStall::Detach);
    let lanes = Lanes::builder()
        .lane("session", config.clone())
        .lane(
            "main",
            LaneConfig::new(2).stall_ceiling(CEILING).max_orphans(1),
        )
        .build()
        .unwrap();
    let (session, main) = (lanes.lane("session").unwrap(), lanes.lane("main").unwrap());
    // An orphan in `main`, for now.
    let mut other = Box::pin(main.run(async |_| pending::<()>().await));
    assert!(poll_once(other.as_mut()).is_pending());
    main.reset();
    assert_eq!(main.snapshot().orphans.len(), 1);
    let chain = lanes.chain(["session", "main"]).unwrap();
    let (mut turn, answer) = with_endless_hook(&chain);
    sleep(CEILING + SECOND).await;
    assert!(session.try_acquire().is_ok(), "detached");
    assert_eq!(main.snapshot().active.len(), 1, "refused at the bound");
    answer.send(()).unwrap();
    // It returns, and its hook begins; after that nobody polls it.
    assert!(poll_once(turn.as_mut()).is_pending());
    // The bound is free again.
    drop(other);
    assert_eq!(main.snapshot().orphans.len(), 0);
    sleep(24 * HOUR).await;
    assert_eq!(main.snapshot().active.len(), 0, "S8: nobody looks after it");
}

/// Both slots were taken before it was through.
#[tokio::test(start_paused = true)]
async fn s10_who_was_detached_and_hangs_in_its_hooks_is_forgotten_in_all_its_lanes() {
    let config = LaneConfig::new(1).stall_ceiling(CEILING);
    let (lanes, session, main, chain) = two(config.on_stall(OnStall::Detach));
    let (mut turn, answer) = with_endless_hook(&chain);
    sleep(CEILING + SECOND).await;
    let orphans = || [&session, &main].map(|lane| lane.snapshot().orphans.len());
    assert_eq!(orphans(), [1, 1]);
    let id = session.snapshot().orphans[0].id;
    answer.send(()).unwrap();
    assert!(poll_once(turn.as_mut()).is_pending());
    sleep(MINUTE).await;
    lanes.forget_orphan(id).unwrap();
    assert_eq!(orphans(), [0, 0], "S10");
}

/// Who is through comes back for nothing, and no lane counts on it while its hooks run.
#[tokio::test(start_paused = true)]
async fn s2_who_is_through_is_parked_nowhere_while_its_hooks_run() {
    let (_lanes, session, main, chain) = two(LaneConfig::new(1));
    let turn = chain.spawn(async |cx| {
        cx.defer(async |_| sleep(SECOND).await);
        let wait = cx.waiting("x").release(["main"]).on(pending::<()>());
        tokio::select! { biased; _ = wait => (), () = sleep(SECOND) => () }
    });
    sleep(SECOND + TICK).await;
    assert_eq!(session.snapshot().active.len(), 1, "its hook runs");
    assert_eq!(main.snapshot().parked.len(), 0);
    turn.await.unwrap();
    for lane in [session, main] {
        assert_clean(&lane);
    }
}

/// It registers its hook in its last poll.
async fn late(cx: TaskContext) {
    let mut polled = false;
    let last = std::future::poll_fn(|_| match std::mem::replace(&mut polled, true) {
        false => Poll::Pending,
        true => Poll::Ready(()),
    });
    last.await;
    cx.defer(async |_| sleep(SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn s10_a_hook_that_is_registered_in_the_last_poll_keeps_all_slots() {
    let (_lanes, session, main, chain) = two(LaneConfig::new(1).stall_ceiling(CEILING));
    for alone in [true, false] {
        let turn = match alone {
            true => session.spawn(late),
            false => chain.spawn(late),
        };
        let_run().await;
        turn.cancel(Reason::User);
        sleep(SECOND / 2).await;
        let held = [&session, &main].map(|lane| lane.snapshot().active.len());
        turn.await.unwrap();
        assert_eq!(held, [1, usize::from(!alone)], "alone: {alone}");
    }
}
