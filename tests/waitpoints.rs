//! Values that come from outside, and whoever waits for them.

mod common;

use std::pin::pin;

use common::{HOUR, SECOND, let_run, one_lane, poll_once};
use laneway::{
    LaneConfig, Lanes, ResumeError, WaitingError, Waitpoint, WaitpointCancelled, WaitpointError,
};
use tokio::time::sleep;

fn lanes() -> Lanes {
    one_lane(LaneConfig::new(1)).0
}

#[tokio::test(start_paused = true)]
async fn it_is_resumed_by_its_key_or_its_token_once() {
    let lanes = lanes();
    let mut first = lanes.waitpoint::<u32>("a").unwrap();
    let token = first.token();
    assert!(poll_once(pin!(&mut first)).is_pending());
    lanes.resume_waitpoint("a", 7_u32).unwrap();
    let unknown = ResumeError::Unknown { key: "a".into() };
    assert_eq!(lanes.resume_waitpoint("a", 8_u32), Err(unknown.clone()));
    assert_eq!(lanes.cancel_waitpoint("a"), Err(unknown));
    let twice = ResumeError::AlreadyResumed { key: "a".into() };
    assert_eq!(token.resume(8), Err(twice.clone()));
    assert_eq!(token.cancel(), Err(twice));
    assert_eq!(first.await, Ok(7));
    let second = lanes.waitpoint::<u32>("a").unwrap();
    assert_eq!(
        token.resume(9),
        Err(ResumeError::AlreadyResumed { key: "a".into() })
    );
    second.token().resume(9).unwrap();
    assert_eq!(second.await, Ok(9));
}

#[tokio::test(start_paused = true)]
async fn it_is_cancelled_once() {
    let lanes = lanes();
    let point = lanes.waitpoint::<()>("a").unwrap();
    let token = point.token();
    lanes.cancel_waitpoint("a").unwrap();
    assert_eq!(
        token.resume(()),
        Err(ResumeError::Cancelled { key: "a".into() })
    );
    let ended: Result<(), WaitpointCancelled> = point.await;
    assert_eq!(&*ended.unwrap_err().key, "a");
}

#[tokio::test(start_paused = true)]
async fn s18_what_cannot_work_is_refused_and_changes_nothing() {
    let lanes = lanes();
    assert!(matches!(
        lanes.waitpoint::<()>("").map(drop),
        Err(WaitpointError::Invalid(_))
    ));
    let point = lanes.waitpoint::<bool>("a").unwrap();
    assert_eq!(
        lanes.waitpoint::<bool>("a").map(drop),
        Err(WaitpointError::Taken { key: "a".into() })
    );
    let wrong = lanes.resume_waitpoint("a", "yes").unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "waitpoint \"a\" waits for a bool, and not for a &str"
    );
    lanes.resume_waitpoint("a", true).unwrap();
    assert_eq!(point.await, Ok(true));
}

#[tokio::test(start_paused = true)]
async fn s15_one_that_is_dropped_leaves_nothing() {
    let lanes = lanes();
    let value = std::sync::Arc::new(());
    let kept = lanes.waitpoint::<std::sync::Arc<()>>("kept").unwrap();
    let token = {
        let point: Waitpoint<()> = lanes.waitpoint("a").unwrap();
        sleep(SECOND).await;
        let snapshot = lanes.snapshot().waitpoints;
        let seen: Vec<_> = snapshot
            .iter()
            .map(|p| (&*p.key, &*p.expects, p.age))
            .collect();
        assert_eq!(seen[0], ("a", "()", SECOND));
        assert_eq!(seen[1].0, "kept");
        point.token()
    };
    assert_eq!(
        token.resume(()),
        Err(ResumeError::Abandoned { key: "a".into() })
    );
    kept.token().resume(value.clone()).unwrap();
    assert!(lanes.snapshot().waitpoints.is_empty());
    drop(kept);
    assert_eq!(std::sync::Arc::strong_count(&value), 1);
}

#[tokio::test(start_paused = true)]
async fn a_parked_task_waits_at_it() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let approval = lanes.waitpoint::<bool>("approval #12").unwrap();
    let turn = main.spawn(async |cx| {
        let wait = cx.waiting("approval #12").limit(HOUR).release(["main"]);
        wait.on(approval).await
    });
    let_run().await;
    main.run(async |_| ()).await.unwrap();
    let lanes_of_handler = lanes.clone();
    tokio::spawn(async move { lanes_of_handler.resume_waitpoint("approval #12", true) })
        .await
        .unwrap()
        .unwrap();
    assert_eq!(turn.await.unwrap(), Ok(Ok(true)));
    let late = lanes.waitpoint::<bool>("approval #13").unwrap();
    let turn = main.spawn(async |cx| {
        let wait = cx.waiting("approval #13").limit(HOUR);
        wait.on(late).await.map(|_| ())
    });
    assert!(matches!(
        turn.await.unwrap(),
        Err(WaitingError::LimitPassed { .. })
    ));
    // It waits no more, and whoever comes now is told so.
    assert!(matches!(
        lanes.resume_waitpoint("approval #13", true),
        Err(ResumeError::Unknown { .. })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_resume_it_one_is_heard() {
    let lanes = lanes();
    for round in 0..200 {
        let point = lanes.waitpoint::<usize>("a").unwrap();
        let token = point.token();
        let resumes: Vec<_> = (0..4)
            .map(|n| {
                let (lanes, token) = (lanes.clone(), token.clone());
                tokio::spawn(async move {
                    let resumed = if (round + n) % 2 == 0 {
                        lanes.resume_waitpoint("a", n)
                    } else {
                        token.resume(n)
                    };
                    resumed.is_ok().then_some(n)
                })
            })
            .collect();
        let heard = point.await.unwrap();
        let mut told = Vec::new();
        for resumed in resumes {
            told.extend(resumed.await.unwrap());
        }
        assert_eq!(told, [heard]);
    }
    assert!(lanes.snapshot().waitpoints.is_empty());
}

/// S4: one that was resumed and is dropped late takes nothing from the next of
/// its key.
#[tokio::test(start_paused = true)]
async fn s4_one_that_is_dropped_late_is_not_taken_for_the_next_of_its_key() {
    let lanes = lanes();
    let first = lanes.waitpoint::<u32>("a").unwrap();
    first.token().resume(1).unwrap();
    let second = lanes.waitpoint::<u32>("a").unwrap();
    drop(first);
    lanes.resume_waitpoint("a", 2_u32).unwrap();
    assert_eq!(second.await, Ok(2));
}
