//! What ends a task while a slot of it is away: it gave that back for a wait,
//! and has not come back to it.

mod common;

use std::future::pending;

use common::{CEILING, HOUR, MINUTE, SECOND, assert_clean, poll_once};
use laneway::{Chain, Lane, LaneConfig, Lanes, OnStall};
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
