//! Tasks that wait for somebody, and whose wait nobody polls, or somebody else.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;

use laneway::{Lane, Lanes, Reason, TaskContext, TaskError, Timeout};
use tokio::sync::Notify;

use crate::common::{SECOND, TICK, assert_clean, let_run, poll_once};
use crate::kinds::{CEILING, config, paused};

fn one(test: impl AsyncFnOnce(Lanes, Lane)) {
    paused().block_on(async {
        let lanes = Lanes::builder().lane("main", config(1)).build().unwrap();
        let main = lanes.lane("main").unwrap();
        test(lanes.clone(), main.clone()).await;
        let_run().await;
        assert_clean(&main);
        assert!(main.snapshot().parked.is_empty());
        assert!(main.snapshot().orphans.is_empty());
        assert_eq!(main.run(async |_| 7).await.unwrap(), 7);
    });
}

#[test]
fn s5_whose_runner_never_comes_back_is_in_nobodys_way_without_its_slot() {
    one(async |_, main| {
        let mut left = Box::pin(main.run(async |cx| {
            let wait = cx.waiting("x").limit(SECOND).release(["main"]);
            wait.on(pending::<()>()).await
        }));
        assert!(poll_once(left.as_mut()).is_pending());
        // Before its limit and after it.
        for pause in [SECOND + TICK, CEILING + TICK * 2] {
            assert_eq!(main.run(async |_| 7).await.unwrap(), 7);
            assert_eq!(main.snapshot().parked.len(), 1);
            tokio::time::sleep(pause).await;
        }
        assert!(
            main.snapshot().parked.is_empty(),
            "S7: it hangs, and is told so"
        );
        drop(left);
    });
}

#[test]
fn s8_whose_runner_never_comes_back_stalls_with_its_slot_once_its_limit_is_over() {
    one(async |_, main| {
        let mut left = Box::pin(main.run(async |cx| {
            let wait = cx.waiting("x").limit(SECOND);
            wait.on(pending::<()>()).await
        }));
        assert!(poll_once(left.as_mut()).is_pending());
        let next = main.spawn(async |_| ());
        tokio::time::sleep(SECOND + CEILING - TICK).await;
        assert_eq!(main.snapshot().queued.len(), 1, "S9: it is not silent yet");
        tokio::time::sleep(TICK * 4).await;
        next.await.unwrap();
        drop(left);
    });
}

/// Its wait is forgotten, and it goes on as if there were none.
async fn forgets(cx: &TaskContext, release: &[&str]) {
    let wait = cx.waiting("x").limit(SECOND).release(release);
    let mut wait = Box::pin(wait.on(pending::<()>()));
    assert!(poll_once(wait.as_mut()).is_pending());
    std::mem::forget(wait);
}

#[test]
fn s12_a_wait_that_is_forgotten_keeps_nobody_and_nothing() {
    let releases: [&[&str]; 2] = [&["main"], &[]];
    for release in releases {
        one(async |_, main| {
            let ends = main.run(async |cx| {
                forgets(&cx, release).await;
                cx.is_current()
            });
            assert_eq!(ends.await.unwrap(), release.is_empty());
            let stays = main.spawn(async move |cx| {
                forgets(&cx, release).await;
                pending::<()>().await;
            });
            let_run().await;
            if !release.is_empty() {
                assert_eq!(main.run(async |_| 7).await.unwrap(), 7, "S5");
                stays.cancel(Reason::User);
                let_run().await;
                let told = stays.await;
                assert!(matches!(told, Err(TaskError::Cancelled { .. })), "{told:?}");
                return;
            }
            let told = stays.await;
            assert!(
                matches!(told, Err(TaskError::Stalled { .. })),
                "S8: {told:?}"
            );
        });
    }
}

#[test]
fn a_wait_that_another_tokio_task_polls_ends_there_and_its_task_goes_on_here() {
    for answered in [true, false] {
        one(async |_, main| {
            let gate = Arc::new(Notify::new());
            let asked = Arc::clone(&gate);
            let task = main.task().timeout(Timeout::budget(SECOND * 60));
            let task = task.spawn(async move |cx| {
                let wait = cx.waiting("x").limit(SECOND * 600).release(["main"]);
                let wait = wait.on(async move { asked.notified().await });
                let wait = tokio::spawn(wait);
                if answered {
                    wait.await.unwrap().unwrap();
                } else {
                    tokio::task::yield_now().await;
                    wait.abort();
                    wait.await.unwrap_err();
                    // It runs on without its slot up to here.
                    let mut turn = pin!(tokio::task::yield_now());
                    turn.as_mut().await;
                }
                cx.is_current()
            });
            let_run().await;
            if answered {
                assert_eq!(main.snapshot().parked.len(), 1);
                assert_eq!(main.run(async |_| 7).await.unwrap(), 7, "S5");
                tokio::time::sleep(SECOND * 300).await;
                gate.notify_one();
            }
            assert!(task.await.unwrap(), "it has its slot again");
        });
    }
}

#[test]
fn s8_a_strict_lane_is_not_held_by_a_task_that_is_asked_on_its_way_back() {
    paused().block_on(async {
        let lanes = Lanes::builder()
            .lane("session", config(1).strict())
            .lane("main", config(1).strict())
            .build()
            .unwrap();
        let (session, main) = (lanes.lane("session").unwrap(), lanes.lane("main").unwrap());
        let chain = lanes.chain(["session", "main"]).unwrap();
        let turn = chain.spawn(async |cx| {
            {
                let wait = cx.waiting("x").release(["main"]);
                let mut wait = pin!(wait.on(pending::<()>()));
                assert!(poll_once(wait.as_mut()).is_pending());
                // Somebody else has its slot by now, and it wants it back.
                tokio::time::sleep(TICK).await;
            }
            pending::<()>().await;
        });
        let_run().await;
        let busy = main.acquire().await.unwrap();
        tokio::time::sleep(TICK * 2).await;
        assert_eq!(main.snapshot().queued.len(), 1, "it is in line");
        turn.cancel(Reason::User);
        tokio::time::sleep(TICK * 2).await;
        assert!(session.try_acquire().is_ok(), "S8");
        assert!(matches!(turn.await, Err(TaskError::Cancelled { .. })));
        drop(busy);
        let_run().await;
        assert_clean(&session);
        assert_clean(&main);
    });
}
