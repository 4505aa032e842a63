//! What a machine that slept may do to tasks (S19), and what holds where nobody
//! set anything (S8).

mod common;

use std::future::pending;
use std::time::Duration;

use common::{
    CEILING, HOUR, MINUTE, SECOND, TICK, assert_clean, ceilinged, let_run, now, one_lane, poll_once,
};
use laneway::{LaneConfig, TaskError};
use tokio::time::{advance, sleep};

/// Nobody set a ceiling, and still nothing is held for ever.
#[tokio::test(start_paused = true)]
async fn s8_the_default_ceiling_is_sixty_minutes_and_ten_after_a_report() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    for (reports, expected) in [(0, HOUR), (1, 15 * MINUTE), (3, 25 * MINUTE)] {
        let result = main.run(async |cx| {
            for _ in 0..reports {
                sleep(5 * MINUTE).await;
                cx.progress();
            }
            pending::<()>().await;
        });
        match result.await {
            Err(TaskError::Stalled { elapsed, .. }) => {
                assert!(elapsed >= expected, "{elapsed:?}");
                assert!(elapsed <= expected + TICK, "{elapsed:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    let quiet = main.run(async |_| sleep(HOUR - SECOND).await);
    quiet.await.unwrap();
    let told = main.task().no_stall_ceiling();
    told.run(async |_| sleep(24 * HOUR).await).await.unwrap();
    assert_clean(&main);
}

/// The machine slept: a task that comes to within a tick is not reclaimed for
/// what the machine did.
#[tokio::test(start_paused = true)]
async fn s19_one_tick_of_grace_after_a_jump() {
    let (_lanes, main) = ceilinged(2);
    let (wake, mut woken) = tokio::sync::watch::channel(());
    let lively = main.spawn(async move |cx| {
        woken.changed().await.unwrap();
        cx.progress();
        sleep(CEILING - TICK).await;
        "survived"
    });
    let silent = main.spawn(async |_| pending::<()>().await);
    let_run().await;
    advance(HOUR).await;
    let_run().await;
    assert_eq!(
        main.snapshot().active.len(),
        2,
        "nobody is reclaimed at once"
    );
    wake.send(()).unwrap();
    let began = now();
    assert!(matches!(silent.await, Err(TaskError::Stalled { .. })));
    let grace = now() - began;
    assert!(grace > Duration::ZERO && grace <= TICK, "{grace:?}");
    assert_eq!(lively.await.unwrap(), "survived");
    assert_eq!(assert_clean(&main).reclaimed, 1);
}

/// Once a stall: a machine that jumps again and again shields nobody.
#[tokio::test(start_paused = true)]
async fn s19_the_grace_is_given_once_a_stall() {
    let (_lanes, main) = ceilinged(1);
    let silent = main.spawn(async |_| pending::<()>().await);
    let_run().await;
    advance(CEILING + MINUTE).await;
    let_run().await;
    assert_eq!(main.snapshot().active.len(), 1);
    advance(MINUTE).await;
    let_run().await;
    assert_eq!(main.snapshot().active.len(), 0);
    assert!(silent.await.is_err());

    // A task that moved after its grace is a new stall.
    let (wake, mut woken) = tokio::sync::watch::channel(());
    let lively = main.spawn(async move |cx| {
        for _ in 0..3 {
            woken.changed().await.unwrap();
            cx.progress();
        }
        "survived"
    });
    let_run().await;
    for _ in 0..3 {
        advance(HOUR).await;
        let_run().await;
        wake.send(()).unwrap();
        let_run().await;
    }
    assert_eq!(lively.await.unwrap(), "survived");
}

/// A jump reclaims no grants that their runners could not come for.
#[tokio::test(start_paused = true)]
async fn s19_a_jump_takes_no_unclaimed_grant_at_once() {
    let (_lanes, main) = ceilinged(1);
    let holder = main.acquire().await.unwrap();
    let mut waiter = Box::pin(main.acquire());
    assert!(poll_once(waiter.as_mut()).is_pending());
    drop(holder);
    advance(MINUTE).await;
    let_run().await;
    assert!(poll_once(waiter.as_mut()).is_ready());
    drop(waiter);
    assert_clean(&main);
}
