//! The way back to a slot that was given back for a wait: who comes for it, and who
//! does not any more.

mod common;

use std::future::pending;

use common::{CEILING, HOUR, MINUTE, SECOND, lanes_of, let_run, now, one_lane, poll_once};
use laneway::{Drain, Finding, Lane, LaneConfig, OnStall, Problem, TaskStatus, WaitingError};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

/// The wait is dropped in the task's first poll, which has no waker of the runner yet.
#[tokio::test(start_paused = true)]
async fn s5_a_wait_dropped_in_the_first_poll_sends_its_task_for_the_slot() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
    let (answer, asked) = oneshot::channel::<()>();
    let task = main.spawn(async move |cx| {
        let wait = cx.waiting("x").release(["main"]).on(pending::<()>());
        tokio::select! { biased; _ = wait => (), () = std::future::ready(()) => () }
        let _ = asked.await;
        cx.is_current()
    });
    let_run().await;
    sleep(MINUTE).await;
    let snapshot = main.snapshot();
    let parked = snapshot.parked.len();
    let free = main.try_acquire().is_ok();
    drop(answer);
    let _ = task.await;
    assert_eq!(
        (parked, free),
        (0, false),
        "its slot is free, and it has not come for it"
    );
}

/// On its way back it returns, and its hook takes a while.
#[tokio::test(start_paused = true)]
async fn s5_who_ends_leaves_the_line_before_its_hooks_run() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
    let (answer, asked) = oneshot::channel::<()>();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = main.spawn(async move |cx| {
        cx.defer(async |_| sleep(4 * SECOND).await);
        let wait = cx.waiting("x").release(["main"]).on(asked);
        tokio::select! { biased; _ = wait => (), _ = stopped => () }
    });
    let_run().await;
    let busy = main.try_acquire().unwrap();
    answer.send(()).unwrap();
    let_run().await;
    assert_eq!(main.snapshot().parked.len(), 1);
    let behind = main.spawn(async |_| ());
    stop.send(()).unwrap();
    let_run().await;
    drop(busy);
    let_run().await;
    let status = behind.status();
    let _ = timeout(HOUR, behind).await;
    task.await.unwrap();
    assert_ne!(status, TaskStatus::Queued, "S5, S20");
}

/// The same where its caller drops it.
#[tokio::test(start_paused = true)]
async fn s5_who_is_dropped_leaves_the_line_before_its_hooks_run() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
    let (answer, asked) = oneshot::channel::<()>();
    let mut task = Box::pin(main.run(async move |cx| {
        cx.defer(async |_| sleep(4 * SECOND).await);
        let _ = cx.waiting("x").release(["main"]).on(asked).await;
    }));
    assert!(poll_once(task.as_mut()).is_pending());
    let busy = main.try_acquire().unwrap();
    answer.send(()).unwrap();
    assert!(poll_once(task.as_mut()).is_pending());
    let behind = main.spawn(async |_| ());
    drop(task);
    drop(busy);
    let_run().await;
    let status = behind.status();
    let _ = timeout(HOUR, behind).await;
    assert_ne!(status, TaskStatus::Queued, "S5, S20");
}

/// Nobody polls a slot that is held by hand, and so nobody would come for another.
#[tokio::test(start_paused = true)]
async fn s20_a_slot_by_hand_whose_wait_is_dropped_leaves_the_line() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
    let slot = main.acquire().await.unwrap();
    let (answer, asked) = oneshot::channel::<()>();
    let mut wait = Box::pin(slot.context().waiting("x").release(["main"]).on(asked));
    assert!(poll_once(wait.as_mut()).is_pending());
    let busy = main.try_acquire().unwrap();
    answer.send(()).unwrap();
    assert!(poll_once(wait.as_mut()).is_pending());
    let behind = main.spawn(async |_| ());
    drop(wait);
    drop(busy);
    let_run().await;
    let status = behind.status();
    let _ = timeout(HOUR, behind).await;
    let idle = timeout(MINUTE, main.idle()).await.is_ok();
    assert!(
        status != TaskStatus::Queued && idle,
        "S5, S20: {status:?} {idle}"
    );
}

/// Nor does anybody poll a thread.
#[test]
fn s20_a_thread_whose_wait_is_dropped_leaves_the_line() {
    let a = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    a.block_on(async {
        let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
        let (answer, asked) = oneshot::channel::<()>();
        let (polled, was_polled) = oneshot::channel::<()>();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let (parked, is_parked) = oneshot::channel::<()>();
        let (go, goes) = std::sync::mpsc::channel::<()>();
        let task = main.spawn_blocking(move |cx| {
            let mut wait = Box::pin(cx.waiting("x").release(["main"]).on(asked));
            assert!(poll_once(wait.as_mut()).is_pending());
            parked.send(()).unwrap();
            goes.recv().unwrap();
            assert!(poll_once(wait.as_mut()).is_pending());
            drop(wait);
            polled.send(()).unwrap();
            ended.recv().unwrap();
        });
        is_parked.await.unwrap();
        let busy = main.acquire().await.unwrap();
        answer.send(()).unwrap();
        go.send(()).unwrap();
        was_polled.await.unwrap();
        let behind = main.spawn(async |_| ());
        drop(busy);
        let told = timeout(SECOND, behind).await;
        end.send(()).unwrap();
        task.await.unwrap();
        assert!(told.is_ok(), "S20");
    });
}

/// It waits for nobody any more, and its holder may let go of the rest.
#[tokio::test(start_paused = true)]
async fn a_slot_by_hand_whose_wait_was_dropped_is_part_of_no_circle() {
    let config = LaneConfig::new(1).stall_ceiling(CEILING);
    let (lanes, [session, main]) = lanes_of(&config, ["session", "main"]);
    let chain = lanes.chain(["session", "main"]).unwrap();
    let slot = chain.acquire().await.unwrap();
    let (answer, asked) = oneshot::channel::<()>();
    let mut wait = Box::pin(slot.context().waiting("x").release(["main"]).on(asked));
    assert!(poll_once(wait.as_mut()).is_pending());
    let inner = session.clone();
    let (go, gone) = oneshot::channel::<()>();
    let holder = main.spawn(async move |_| {
        let _ = gone.await;
        inner.run(async |_| ()).await
    });
    let_run().await;
    answer.send(()).unwrap();
    assert!(poll_once(wait.as_mut()).is_pending());
    drop(wait);
    go.send(()).unwrap();
    let_run().await;
    // Its holder gives up the rest, which it may at any time.
    drop(slot);
    let told = holder.await.unwrap();
    assert!(told.is_ok(), "{told:?}");
}

/// Its stand-in has the slot, and it has not come for it yet.
#[tokio::test(start_paused = true)]
async fn s7_whoever_waits_for_those_who_are_active_sees_who_comes_back_leave() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
    let (answer, asked) = oneshot::channel::<()>();
    let mut task = Box::pin(main.run(async move |cx| {
        let wait = cx.waiting("x").release(["main"]);
        wait.on(asked).await.unwrap().unwrap();
        sleep(SECOND).await;
    }));
    assert!(poll_once(task.as_mut()).is_pending());
    let busy = main.acquire().await.unwrap();
    answer.send(()).unwrap();
    assert!(poll_once(task.as_mut()).is_pending());
    // Its stand-in is granted the slot, and it has not come for it yet.
    drop(busy);
    let mut waits = Box::pin(main.wait_active(HOUR));
    assert!(poll_once(waits.as_mut()).is_pending());
    assert!(poll_once(task.as_mut()).is_pending());
    assert!(
        poll_once(waits.as_mut()).is_pending(),
        "it has its slot again"
    );
    task.await.unwrap();
    assert!(main.snapshot().active.is_empty());
    let began = now();
    let told = waits.await;
    assert!(told.is_ok(), "{told:?} after {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn s2_a_turn_that_completes_without_its_slot_counts_the_same_with_a_hook() {
    for hooked in [false, true] {
        let config = LaneConfig::new(1).stall_ceiling(CEILING);
        let (lanes, [session, main]) = lanes_of(&config, ["session", "main"]);
        let chain = lanes.chain(["session", "main"]).unwrap();
        chain
            .run(async |cx| {
                if hooked {
                    cx.defer(async |_| sleep(SECOND).await);
                }
                let mut wait = Box::pin(cx.waiting("x").release(["main"]).on(pending::<()>()));
                assert!(poll_once(wait.as_mut()).is_pending());
            })
            .await
            .unwrap();
        let of = |lane: &Lane| {
            let c = lane.snapshot().counters;
            (c.completed, c.ended)
        };
        assert_eq!(
            [of(&session), of(&main)],
            [(1, 0), (1, 0)],
            "hooked: {hooked}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_interrupts_nobody_who_completes() {
    for hooked in [false, true] {
        let config = LaneConfig::new(1).stall_ceiling(CEILING);
        let (lanes, [_session, main]) = lanes_of(&config, ["session", "main"]);
        let chain = lanes.chain(["session", "main"]).unwrap();
        let turn = chain.spawn(async move |cx| {
            if hooked {
                cx.defer(async |_| ());
            }
            let wait = cx.waiting("x").release(["main"]).on(pending::<()>());
            tokio::select! { biased; _ = wait => (), () = sleep(SECOND) => () }
        });
        let_run().await;
        let holder = main.try_acquire().unwrap();
        let mut drain = Box::pin(main.drain(Drain::within(MINUTE)));
        assert!(poll_once(drain.as_mut()).is_pending());
        turn.await.unwrap();
        drop(holder);
        let report = drain.await;
        assert_eq!(report.interrupted, 0, "hooked {hooked} {report:?}");
    }
}

/// Nothing brings it back, and it waits for nobody.
#[tokio::test(start_paused = true)]
async fn a_slot_by_hand_that_lost_its_wait_is_told_so_when_it_waits_again() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    let slot = main.acquire().await.unwrap();
    let wait = slot.context().waiting("approval").release(["main"]);
    let mut wait = Box::pin(wait.on(pending::<()>()));
    assert!(poll_once(wait.as_mut()).is_pending());
    drop(wait);
    let again = slot.context().waiting("another").on(async {}).await;
    assert!(matches!(again, Err(WaitingError::NotActive)), "{again:?}");
}

/// Its answer is there, and it waits for nobody but its slot.
#[tokio::test(start_paused = true)]
async fn who_has_its_answer_is_not_said_to_wait_for_somebody() {
    let config = LaneConfig::new(1).stall_ceiling(CEILING);
    let (lanes, [session, main]) = lanes_of(&config, ["session", "main"]);
    let chain = lanes.chain(["session", "main"]).unwrap();
    let (answer, asked) = oneshot::channel::<()>();
    let turn = chain.spawn(async move |cx| {
        let wait = cx.waiting("approval").limit(MINUTE).release(["main"]);
        let _ = wait.on(asked).await;
    });
    sleep(50 * SECOND).await;
    let holder = main.acquire().await.unwrap();
    answer.send(()).unwrap();
    for _ in 0..10 {
        sleep(10 * SECOND).await;
        holder.progress();
    }
    let said = lanes.diagnose();
    let parked = |finding: &Finding| matches!(finding.problem, Problem::Parked { .. });
    assert!(!said.findings.iter().any(parked), "long ago: {said}");
    let parked = session.snapshot().active[0].parked.clone().unwrap();
    assert_eq!((parked.waits, parked.waited), (false, 50 * SECOND));
    drop(holder);
    turn.await.unwrap();
}

/// Its wait was dropped, and it is silent.
#[tokio::test(start_paused = true)]
async fn a_slot_by_hand_whose_wait_was_dropped_is_not_said_to_wait_for_somebody() {
    let config = LaneConfig::new(1).stall_ceiling(CEILING);
    let config = config.on_stall(OnStall::WarnOnly);
    let (lanes, [session, _main]) = lanes_of(&config, ["session", "main"]);
    let chain = lanes.chain(["session", "main"]).unwrap();
    let slot = chain.acquire().await.unwrap();
    let wait = slot
        .context()
        .waiting("approval")
        .limit(MINUTE)
        .release(["main"]);
    let mut wait = Box::pin(wait.on(pending::<()>()));
    assert!(poll_once(wait.as_mut()).is_pending());
    drop(wait);
    sleep(HOUR).await;
    let parked = session.snapshot().active[0].parked.clone();
    let said = lanes.diagnose();
    drop(slot);
    assert!(!said.to_string().contains("approval"), "{parked:?}\n{said}");
    assert!(!said.is_healthy(), "it has been silent for an hour");
}

#[tokio::test(start_paused = true)]
async fn who_is_in_line_for_its_slot_is_told_so_when_it_waits_for_another() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    let slot = main.acquire().await.unwrap();
    let wait = slot.context().waiting("approval").limit(SECOND);
    let mut wait = Box::pin(wait.release(["main"]).on(pending::<()>()));
    assert!(poll_once(wait.as_mut()).is_pending());
    let holder = main.acquire().await.unwrap();
    sleep(MINUTE).await;
    assert!(poll_once(wait.as_mut()).is_pending(), "in line");
    let parked = main.snapshot().parked[0].parked.clone().unwrap();
    assert_eq!((parked.waits, parked.waited), (false, SECOND));
    let other = slot.context().waiting("another").on(async {}).await;
    assert!(matches!(other, Err(WaitingError::AlreadyParked { .. })));
    drop(holder);
    assert!(matches!(wait.await, Err(WaitingError::LimitPassed { .. })));
}
