//! What ends a task while a slot of it is away: it gave that back for a wait,
//! and has not come back to it.

mod common;

use std::future::pending;

use common::{CEILING, HOUR, MINUTE, SECOND, TICK, assert_clean, let_run, one_lane, poll_once};
use laneway::{Chain, Lane, LaneConfig, Lanes, OnStall, TaskError, TaskStatus, Timeout};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

fn two(config: LaneConfig) -> (Lanes, Lane, Lane, Chain) {
    let config = config.stall_ceiling(CEILING);
    let lanes = Lanes::builder()
        .lane("session", config.clone())
        .lane("main", config);
    let lanes = lanes.build().unwrap();
    let (session, main) = (lanes.lane("session").unwrap(), lanes.lane("main").unwrap());
    let chain = lanes.chain(["session", "main"]).unwrap();
    (lanes, session, main, chain)
}

/// It is not on its way back to `main` yet: its wait is over, and nobody polls it.
#[tokio::test(start_paused = true)]
async fn s7_who_is_detached_without_a_slot_further_on_goes_on_and_is_told() {
    let (_lanes, session, main, chain) = two(LaneConfig::new(1).on_stall(OnStall::Detach));
    let mut turn = Box::pin(chain.run(async |cx| {
        let wait = cx.waiting("x").limit(MINUTE).release(["main"]);
        wait.on(pending::<()>()).await.is_err()
    }));
    assert!(poll_once(turn.as_mut()).is_pending());
    sleep(MINUTE + CEILING + SECOND).await;
    assert!(session.try_acquire().is_ok(), "it was detached");
    assert_eq!(
        main.snapshot().orphans.len(),
        0,
        "S10: it had no slot there"
    );
    let told = timeout(HOUR, turn).await.expect("S7");
    assert!(told.unwrap());
    for lane in [session, main] {
        assert_clean(&lane);
    }
}

/// It dropped its wait, and is in line for its slot again.
#[tokio::test(start_paused = true)]
async fn s7_who_is_detached_on_its_way_back_goes_on_and_is_told() {
    let (_lanes, session, main, chain) = two(LaneConfig::new(1).on_stall(OnStall::Detach));
    let (answer, asked) = oneshot::channel::<()>();
    let mut turn = Box::pin(chain.run(async move |cx| {
        let wait = cx.waiting("x").release(["main"]).on(pending::<()>());
        tokio::select! { biased; _ = wait => (), _ = asked => () }
        tokio::task::yield_now().await;
        cx.is_current()
    }));
    assert!(poll_once(turn.as_mut()).is_pending());
    let busy = main.try_acquire().unwrap();
    answer.send(()).unwrap();
    assert!(poll_once(turn.as_mut()).is_pending());
    drop(busy);
    sleep(CEILING + MINUTE).await;
    assert!(session.try_acquire().is_ok(), "it was detached");
    let told = timeout(HOUR, turn).await.expect("S7");
    assert!(!told.unwrap(), "S11");
}

#[tokio::test(start_paused = true)]
async fn s10_who_gave_its_slot_back_is_no_orphan_of_that_lane() {
    let (_lanes, session, main, chain) = two(LaneConfig::new(1));
    let mut turn = Box::pin(chain.run(async |cx| {
        let wait = cx.waiting("x").limit(MINUTE).release(["main"]);
        drop(wait.on(pending::<()>()).await);
    }));
    assert!(poll_once(turn.as_mut()).is_pending());
    sleep(MINUTE + CEILING + SECOND).await;
    assert!(session.try_acquire().is_ok(), "it was taken");
    assert_eq!(main.snapshot().orphans.len(), 0);
    // Another, which hangs, is not the second one.
    std::mem::forget(main.try_acquire().unwrap());
    let next = timeout(HOUR, main.acquire()).await;
    assert!(next.is_ok(), "S8: no orphan is in its way");
}

/// It waits for nobody but its slot, and that is part of its time.
#[tokio::test(start_paused = true)]
async fn s7_its_budget_goes_on_while_it_is_in_line_for_its_slot() {
    for release in [&["main"][..], &["session", "main"]] {
        let (_lanes, session, main, chain) = two(LaneConfig::new(1));
        let chain = chain.with_timeout(Timeout::budget(10 * MINUTE));
        let (answer, asked) = oneshot::channel::<()>();
        let turn = chain.spawn(async move |cx| {
            drop(cx.waiting("x").release(release).on(asked).await);
            sleep(MINUTE).await;
        });
        let_run().await;
        sleep(HOUR).await;
        let lane = if release.len() == 1 { main } else { session };
        let busy = lane.acquire().await.unwrap();
        answer.send(()).unwrap();
        for _ in 0..11 {
            assert_eq!(turn.status(), TaskStatus::Active, "{release:?}");
            sleep(MINUTE).await;
            busy.progress();
        }
        let told = turn.await;
        assert!(matches!(told, Err(TaskError::TimedOut { .. })), "{told:?}");
    }
}

/// Its runner never comes back from a wait that is over, neither with its slot nor
/// without.
#[tokio::test(start_paused = true)]
async fn s7_who_hangs_without_its_slot_is_told_in_time() {
    for release in [&[], &["main"][..]] {
        let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
        let mut left = Box::pin(main.run(async |cx| {
            let wait = cx.waiting("x").limit(MINUTE).release(release);
            drop(wait.on(pending::<()>()).await);
        }));
        assert!(poll_once(left.as_mut()).is_pending());
        sleep(MINUTE + CEILING + 4 * TICK).await;
        assert!(main.try_acquire().is_ok(), "it is in nobody's way");
        assert!(main.snapshot().parked.is_empty(), "{release:?}");
        let told = left.await;
        assert!(matches!(told, Err(TaskError::Stalled { .. })), "{told:?}");
    }
}

/// Nor does whoever awaits one that hangs so.
#[tokio::test(start_paused = true)]
async fn s8_who_awaits_one_that_hangs_without_its_slot_is_reclaimed() {
    for release in [&[], &["main"][..]] {
        let lanes = Lanes::builder().pattern("*", LaneConfig::new(1).stall_ceiling(CEILING));
        let lanes = lanes.build().unwrap();
        let [outer, main] = ["outer", "main"].map(|name| lanes.lane(name).unwrap());
        let mut parent = Box::pin(outer.run(async |_| {
            let mut child = Box::pin(main.run(async |cx| {
                let wait = cx.waiting("x").limit(MINUTE).release(release);
                drop(wait.on(pending::<()>()).await);
            }));
            assert!(poll_once(child.as_mut()).is_pending());
            pending::<()>().await;
        }));
        assert!(poll_once(parent.as_mut()).is_pending());
        sleep(MINUTE + CEILING - TICK).await;
        assert!(outer.try_acquire().is_err(), "S9: {release:?}");
        sleep(SECOND).await;
        assert!(outer.try_acquire().is_ok(), "{release:?}");
        assert!(parent.await.is_err());
    }
}
