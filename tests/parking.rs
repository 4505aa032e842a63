//! Tasks that wait for somebody: their clocks stand still, and their slots
//! serve others.

mod common;

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use common::{CEILING, HOUR, MINUTE, SECOND, TICK, assert_clean, let_run, now, poll_once};
use futures::future::join_all;
use laneway::{
    Chain, Drain, InvalidDuration, Lane, LaneConfig, Lanes, Limit, QueuedWork, Reason, TaskContext,
    TaskError, TaskStatus, Timeout, WaitingError,
};
use tokio::sync::oneshot;
use tokio::time::sleep;

struct Two {
    lanes: Lanes,
    session: Lane,
    main: Lane,
    chain: Chain,
}

impl Two {
    fn new(config: LaneConfig) -> Self {
        let lanes = Lanes::builder()
            .lane("session", config.clone())
            .lane("main", config)
            .build()
            .unwrap();
        Self {
            session: lanes.lane("session").unwrap(),
            main: lanes.lane("main").unwrap(),
            chain: lanes.chain(["session", "main"]).unwrap(),
            lanes,
        }
    }

    fn plain() -> Self {
        Self::new(LaneConfig::new(1))
    }

    #[track_caller]
    fn assert_free(&self) {
        for lane in [&self.session, &self.main] {
            assert_clean(lane);
            assert!(lane.snapshot().parked.is_empty());
        }
        assert!(self.chain.try_acquire().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn it_keeps_one_slot_gives_the_other_back_and_comes_back_ahead() {
    let two = Two::plain();
    let (approve, approval) = oneshot::channel::<&str>();
    let turn = two.chain.task().name("turn").spawn(async |cx| {
        let before = cx.fence_in("main");
        let said = cx
            .waiting("approval #12")
            .release(["main"])
            .on(approval)
            .await
            .unwrap()
            .unwrap();
        (said, cx.is_current(), before, cx.fence_in("main"))
    });
    let_run().await;
    let (session, main) = (two.session.snapshot(), two.main.snapshot());
    assert_eq!(session.active[0].id, turn.id());
    let parked = session.active[0].parked.as_ref().unwrap();
    assert_eq!(
        (&*parked.what, &*parked.released),
        ("approval #12", &["main".to_owned()][..])
    );
    assert_eq!(main.parked[0].id, turn.id());
    assert!(main.active.is_empty());
    // Others use the slot, and nobody overtakes it in its session.
    let holder = two.main.try_acquire().unwrap();
    let next = two.chain.spawn(async |_| "next");
    let later = two.main.spawn(async |_| common::now());
    let_run().await;
    assert_eq!(next.status(), TaskStatus::Queued);
    approve.send("granted").unwrap();
    let_run().await;
    let waits: Vec<_> = two.main.snapshot().queued.iter().map(|t| t.id).collect();
    assert_eq!(waits, [turn.id(), later.id()]);
    drop(holder);
    let (said, current, before, after) = turn.await.unwrap();
    assert_eq!((said, current), ("granted", true));
    assert!(after > before && before.is_some());
    assert_eq!(next.await.unwrap(), "next");
    later.await.unwrap();
    two.assert_free();
    let counters = assert_clean(&two.main);
    assert_eq!(
        (counters.submitted, counters.completed, counters.ended),
        (5, 5, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn its_clocks_stand_still() {
    let two = Two::new(LaneConfig::new(1).stall_ceiling(CEILING));
    let chain = two.chain.with_timeout(Timeout::budget(HOUR));
    let began = common::now();
    let ended = chain
        .spawn(async |cx| {
            for _ in 0..4 {
                sleep(CEILING - SECOND).await;
                cx.progress();
            }
            for release in [&["main"][..], &["session", "main"], &[]] {
                let asked = sleep(5 * HOUR);
                cx.waiting("sleep")
                    .release(release)
                    .on(asked)
                    .await
                    .unwrap();
            }
            for _ in 0..40 {
                sleep(MINUTE).await;
                cx.progress();
            }
        })
        .await;
    let Err(TaskError::TimedOut {
        limit: Limit::Budget,
        elapsed,
        ..
    }) = ended
    else {
        panic!("{ended:?}");
    };
    assert!(elapsed >= HOUR && elapsed < HOUR + SECOND, "{elapsed:?}");
    let lasted = common::now() - began;
    assert!(
        lasted >= 16 * HOUR && lasted < 16 * HOUR + MINUTE,
        "{lasted:?}"
    );
    let_run().await;
    two.assert_free();
}

#[tokio::test(start_paused = true)]
async fn its_limit_does_not_stand_still() {
    let two = Two::new(LaneConfig::new(1).stall_ceiling(CEILING));
    for release in [&["main"][..], &["session", "main"], &[]] {
        let began = common::now();
        let told = two.chain.run(async |cx| {
            let wait = cx.waiting("nobody").limit(HOUR).release(release);
            let told = wait.on(pending::<()>()).await;
            (told, cx.is_current())
        });
        let (told, current) = told.await.unwrap();
        assert_eq!(
            told,
            Err(WaitingError::LimitPassed {
                what: "nobody".into(),
                limit: HOUR
            })
        );
        assert!(current);
        let lasted = common::now() - began;
        assert!(lasted >= HOUR && lasted <= HOUR + 2 * TICK, "{lasted:?}");
        two.assert_free();
    }
}

#[tokio::test(start_paused = true)]
async fn s8_past_its_limit_it_stalls_even_if_nobody_polls_it() {
    let two = Two::new(LaneConfig::new(1).stall_ceiling(CEILING));
    let mut forgotten = Box::pin(two.chain.run(async |cx| {
        let wait = cx.waiting("nobody").limit(HOUR).release(["main"]);
        drop(wait.on(pending::<()>()).await);
    }));
    assert!(poll_once(forgotten.as_mut()).is_pending());
    let began = common::now();
    // The slot that it kept is free in the end, and the other is at once.
    two.main.run(async |_| ()).await.unwrap();
    two.session.run(async |_| ()).await.unwrap();
    let lasted = common::now() - began;
    // It has no slot in `main`, so that it is not active before it came back.
    assert!(lasted >= HOUR, "{lasted:?}");
    drop(forgotten);
    let_run().await;
    two.assert_free();
}

#[tokio::test(start_paused = true)]
async fn a_task_of_one_lane_gives_its_only_slot_back() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1))
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let mut answers = Vec::new();
    let mut tasks = Vec::new();
    for n in 0..20 {
        let (answer, asked) = oneshot::channel::<()>();
        answers.push(answer);
        tasks.push(main.spawn(async move |cx| {
            let first = cx.fence();
            cx.waiting("answer")
                .release(["main"])
                .on(asked)
                .await
                .unwrap()
                .unwrap();
            assert!(cx.is_current() && cx.fence() > first);
            sleep(SECOND).await;
            n
        }));
    }
    let_run().await;
    let snapshot = main.snapshot();
    assert_eq!((snapshot.parked.len(), snapshot.active.len()), (20, 0));
    assert!(tasks.iter().all(|task| task.status() == TaskStatus::Active));
    for answer in answers.into_iter().rev() {
        answer.send(()).unwrap();
    }
    let_run().await;
    // One at a time, in the order in which they came first.
    let began = common::now();
    let done: Vec<_> = join_all(tasks)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(done, (0..20).collect::<Vec<_>>());
    assert!(common::now() - began >= 20 * SECOND);
    assert_clean(&main);
}

#[tokio::test(start_paused = true)]
async fn s18_a_wait_that_cannot_work_changes_nothing() {
    let two = Two::plain();
    let full = LaneConfig::new(2).max_parked(1);
    let (_lanes, narrow) = common::one_lane(full);
    two.chain
        .run(async |cx| {
            let of = |lanes: &[&str]| cx.waiting("x").release(lanes.iter().copied()).on(pending::<()>());
            assert!(matches!(
                of(&["main", "other"]).await,
                Err(WaitingError::NotHeld { lane, held }) if lane == "other" && held.len() == 2
            ));
            assert!(matches!(
                of(&["session"]).await,
                Err(WaitingError::OutOfOrder { lane, kept }) if &*lane == "session" && &*kept == "main"
            ));
            assert!(matches!(
                cx.waiting("x").limit(std::time::Duration::ZERO).on(pending::<()>()).await,
                Err(WaitingError::Limit(InvalidDuration { .. }))
            ));
            let mut first = pin!(cx.waiting("first").release(["main"]).on(pending::<()>()));
            assert!(poll_once(first.as_mut()).is_pending());
            assert!(matches!(
                of(&[]).await,
                Err(WaitingError::AlreadyParked { what }) if &*what == "first"
            ));
        })
        .await
        .unwrap();
    two.assert_free();
    let parks = async |cx: laneway::TaskContext| {
        cx.waiting("x")
            .limit(MINUTE)
            .release(["main"])
            .on(pending::<()>())
            .await
    };
    let (first, second) = (narrow.spawn(parks), narrow.spawn(parks));
    assert!(matches!(
        second.await.unwrap(),
        Err(WaitingError::TooMany { lane, max_parked: 1 }) if &*lane == "main"
    ));
    assert!(matches!(
        first.await.unwrap(),
        Err(WaitingError::LimitPassed { .. })
    ));
    let over = narrow.run(async |cx| cx).await.unwrap();
    assert_eq!(
        over.waiting("x").on(async {}).await,
        Err(WaitingError::NotActive)
    );
    assert!(matches!(
        narrow.run(parks).await.unwrap(),
        Err(WaitingError::LimitPassed { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn s12_ended_at_any_stage_it_leaves_nothing_behind() {
    let two = Two::plain();
    for own in [false, true] {
        let release: &[&str] = if own { &["session", "main"] } else { &["main"] };
        for stage in 0..3 {
            for how in 0..3 {
                let (answer, asked) = oneshot::channel::<()>();
                let turn = two.chain.spawn(async move |cx| {
                    cx.defer(async |_| sleep(SECOND).await);
                    let wait = cx.waiting("x").release(release).on(asked);
                    drop(wait.await);
                    pending::<()>().await;
                });
                let_run().await;
                // Back in line, or back with the slot and not polled yet.
                let mut busy = (stage > 0).then(|| two.main.try_acquire().unwrap());
                if stage > 0 {
                    answer.send(()).unwrap();
                    let_run().await;
                }
                if stage == 2 {
                    busy = None;
                }
                match how {
                    0 => turn.cancel(Reason::User),
                    1 => assert!(two.main.cancel_all(Reason::User) >= 1),
                    _ => assert!(two.session.cancel_all(Reason::User) >= 1),
                }
                let ended = turn.await;
                assert!(
                    matches!(
                        ended,
                        Err(TaskError::Cancelled {
                            reason: Reason::User,
                            ..
                        })
                    ),
                    "{own} {stage} {how}: {ended:?}"
                );
                drop(busy);
                let_run().await;
                two.assert_free();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn s12_dropped_with_its_caller_at_any_stage() {
    let two = Two::plain();
    for release in [&["main"][..], &["session", "main"], &[]] {
        for stage in 0..3 {
            let (answer, asked) = oneshot::channel::<()>();
            let mut run = Box::pin(two.chain.run(async move |cx| {
                drop(cx.waiting("x").release(release).on(asked).await);
                pending::<()>().await;
            }));
            assert!(poll_once(run.as_mut()).is_pending());
            let busy = (stage == 1 && !release.is_empty()).then(|| two.main.try_acquire().unwrap());
            if stage > 0 {
                answer.send(()).unwrap();
                assert!(poll_once(run.as_mut()).is_pending());
            }
            drop(run);
            drop(busy);
            two.assert_free();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn s1_a_wait_that_is_dropped_is_followed_by_nothing_without_the_slot() {
    let two = Two::plain();
    let (busy, freed) = oneshot::channel::<()>();
    let turn = two.chain.spawn(async |cx| {
        tokio::select! {
            _ = cx.waiting("x").release(["main"]).on(pending::<()>()) => unreachable!(),
            () = sleep(SECOND) => {}
        }
        let of_this_poll = cx.is_current();
        tokio::task::yield_now().await;
        (of_this_poll, cx.is_current(), common::now())
    });
    let_run().await;
    let began = common::now();
    let holder = two.main.spawn(async move |_| drop(freed.await));
    sleep(MINUTE).await;
    assert_eq!(two.main.snapshot().queued[0].id, turn.id());
    drop(busy);
    let (of_this_poll, after, at) = turn.await.unwrap();
    assert!(!of_this_poll && after);
    assert!(at - began >= MINUTE);
    holder.await.unwrap();
    // With nothing given back, there is nothing to wait for.
    let plain = two.chain.run(async |cx| {
        {
            let mut wait = pin!(cx.waiting("x").on(pending::<()>()));
            assert!(poll_once(wait.as_mut()).is_pending());
        }
        tokio::task::yield_now().await;
        cx.is_current()
    });
    assert!(plain.await.unwrap());
    two.assert_free();
}

#[tokio::test(start_paused = true)]
async fn a_drain_leaves_it_be_and_it_comes_back_later() {
    for close in [false, true] {
        let two = Two::new(LaneConfig::new(1).queue_capacity(0));
        let (approve, approval) = oneshot::channel::<()>();
        let turn = two.chain.spawn(async move |cx| {
            let wait = cx.waiting("approval").release(["main"]).on(approval);
            wait.await.unwrap().unwrap();
            "went on"
        });
        let_run().await;
        let report = two.main.drain(Drain::within(SECOND)).await;
        assert_eq!((report.parked, report.interrupted), (1, 0), "{report:?}");
        sleep(MINUTE).await;
        if close {
            two.main.close();
        }
        approve.send(()).unwrap();
        assert_eq!(turn.await.unwrap(), "went on");
        let_run().await;
        assert_clean(&two.main);
        assert_clean(&two.session);
    }
}

#[tokio::test(start_paused = true)]
async fn s4_a_clear_leaves_it_be_on_its_way_back() {
    let two = Two::plain();
    let (approve, approval) = oneshot::channel::<()>();
    let turn = two.chain.spawn(async move |cx| {
        let wait = cx.waiting("approval").release(["main"]).on(approval);
        wait.await.unwrap().unwrap();
        "went on"
    });
    let_run().await;
    let busy = two.main.try_acquire().unwrap();
    approve.send(()).unwrap();
    let_run().await;
    assert_eq!(two.main.clear(), 0);
    drop(busy);
    assert_eq!(turn.await.unwrap(), "went on");
    two.assert_free();
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_hand_back_what_has_begun() {
    let two = Two::plain();
    let (approve, approval) = oneshot::channel::<()>();
    let turn = two.chain.spawn(async move |cx| {
        let wait = cx.waiting("approval").release(["main"]).on(approval);
        wait.await.unwrap().unwrap();
        "went on"
    });
    let_run().await;
    let busy = two.main.try_acquire().unwrap();
    approve.send(()).unwrap();
    let_run().await;
    // It is in line for its slot, and others that are in line are handed back.
    let drain = two
        .main
        .drain(Drain::within(MINUTE).queued(QueuedWork::Return));
    let (report, ()) = futures::join!(drain, async {
        let_run().await;
        drop(busy);
    });
    assert!(report.returned.is_empty(), "{report:?}");
    assert_eq!(turn.await.unwrap(), "went on");
}

#[tokio::test(start_paused = true)]
async fn a_reset_takes_what_it_holds_and_shutdown_ends_it() {
    let two = Two::plain();
    let parked = |lanes: &'static [&'static str]| {
        two.chain.spawn(async move |cx| {
            drop(cx.waiting("x").release(lanes).on(pending::<()>()).await);
        })
    };
    let away = parked(&["session", "main"]);
    let_run().await;
    assert_eq!(two.main.reset() + two.session.reset(), 0);
    let_run().await;
    assert_eq!(away.status(), TaskStatus::Active);
    away.cancel(Reason::User);
    assert!(away.await.is_err());
    let kept = parked(&["main"]);
    let_run().await;
    assert_eq!(two.session.reset(), 1);
    assert!(matches!(
        kept.await,
        Err(TaskError::Cancelled {
            reason: Reason::Reset,
            ..
        })
    ));
    let_run().await;
    two.assert_free();
    let away = parked(&["session", "main"]);
    let_run().await;
    drop(two.lanes.shutdown());
    assert!(matches!(
        away.await,
        Err(TaskError::Cancelled {
            reason: Reason::Shutdown,
            ..
        })
    ));
    let_run().await;
    assert_clean(&two.session);
    assert_clean(&two.main);
}

#[tokio::test(start_paused = true)]
async fn s9_whoever_awaits_it_is_not_stalling() {
    let two = Two::new(LaneConfig::new(1).stall_ceiling(CEILING));
    let outer = Lanes::builder()
        .lane("outer", LaneConfig::new(1).stall_ceiling(CEILING))
        .build()
        .unwrap();
    let outer = outer.lane("outer").unwrap();
    let waits = outer.run(async |_| {
        let turn = two.chain.run(async |cx| {
            let wait = cx.waiting("x").release(["main"]).on(sleep(10 * HOUR));
            wait.await.unwrap();
        });
        turn.await
    });
    waits.await.unwrap().unwrap();
    two.assert_free();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s1_s7_hundreds_park_and_come_back_on_real_threads() {
    let lanes = Lanes::builder()
        .pattern("session:*", LaneConfig::new(1))
        .lane("main", LaneConfig::new(3))
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let mut tasks = Vec::new();
    for n in 0..400 {
        let chain = lanes
            .chain([format!("session:{}", n % 37), "main".into()])
            .unwrap();
        let (answer, asked) = oneshot::channel::<()>();
        let task = chain.spawn(async move |cx| {
            for round in 0..3 {
                let lanes: &[&str] = if round == 1 { &["main"] } else { &[] };
                let wait = cx.waiting("x").release(lanes.iter().copied());
                wait.on(tokio::task::yield_now()).await.unwrap();
                assert!(cx.is_current());
            }
            cx.waiting("y")
                .release(["main"])
                .on(asked)
                .await
                .unwrap()
                .unwrap();
            assert!(cx.is_current());
            n
        });
        if n % 11 == 5 {
            task.cancel(Reason::User);
        }
        tasks.push(task);
        tokio::spawn(async move {
            tokio::task::yield_now().await;
            let _gone = answer.send(());
        });
    }
    let mut done = 0;
    for task in tasks {
        match task.await {
            Ok(_) => done += 1,
            Err(TaskError::Cancelled { .. } | TaskError::CancelledQueued { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(done >= 360);
    common::until(|| lanes.snapshot().lanes.len() == 1).await;
    assert_clean(&main);
    assert!(main.snapshot().parked.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_clear_or_a_drain_does_not_end_whoever_comes_back() {
    let two = Two::plain();
    for drained in [false, true] {
        let (answer, asked) = oneshot::channel::<()>();
        let turn = two.chain.spawn(async move |cx| {
            let wait = cx.waiting("x").release(["main"]).on(asked);
            wait.await.unwrap().unwrap();
            cx.is_current()
        });
        let_run().await;
        let busy = two.main.try_acquire().unwrap();
        answer.send(()).unwrap();
        let_run().await;
        let queued = two.main.spawn(async |_| ());
        if drained {
            let drain = Drain::within(MINUTE).queued(laneway::QueuedWork::Return);
            let (report, ()) = tokio::join!(two.main.drain(drain), async { drop(busy) });
            assert_eq!((report.returned.len(), report.interrupted), (1, 0));
            two.main.resume();
        } else {
            assert_eq!(two.main.clear(), 1);
            drop(busy);
        }
        assert!(turn.await.unwrap());
        assert!(queued.await.is_err());
        two.assert_free();
    }
    // At the drain's deadline it ends as those who are active do.
    let (answer, asked) = oneshot::channel::<()>();
    let turn = two.chain.spawn(async move |cx| {
        let wait = cx.waiting("x").release(["main"]).on(asked);
        drop(wait.await);
        pending::<()>().await;
    });
    let_run().await;
    let busy = two.main.try_acquire().unwrap();
    answer.send(()).unwrap();
    let_run().await;
    let report = two.main.drain(Drain::within(SECOND)).await;
    assert_eq!(report.still_active, 0, "{report:?}");
    assert!(matches!(
        turn.await,
        Err(TaskError::Cancelled {
            reason: Reason::Draining,
            ..
        })
    ));
    drop(busy);
}

#[tokio::test(start_paused = true)]
async fn it_gives_the_same_slot_back_again_and_again() {
    let two = Two::plain();
    two.chain
        .run(async |cx| {
            for round in 0..3 {
                let wait = cx.waiting("x").release(["main"]).on(async {
                    let free = two.main.try_acquire();
                    assert!(free.is_ok(), "round {round}");
                });
                wait.await.unwrap();
                assert!(cx.is_current());
            }
        })
        .await
        .unwrap();
    two.assert_free();
}

#[tokio::test(start_paused = true)]
async fn asked_while_it_waits_it_has_its_grace_and_leaves_no_orphan() {
    for strict in [false, true] {
        for busy in [false, true] {
            let config = LaneConfig::new(1);
            let two = Two::new(if strict { config.strict() } else { config });
            let turn = two.chain.spawn(async |cx| {
                let reason = tokio::select! {
                    reason = cx.cancelled() => reason,
                    _ = cx.waiting("x").release(["main"]).on(pending::<()>()) => unreachable!(),
                };
                sleep(SECOND).await;
                (reason, cx.fence_in("main"))
            });
            let_run().await;
            let holder = busy.then(|| two.main.try_acquire().unwrap());
            turn.cancel(Reason::User);
            assert_eq!(
                turn.await.unwrap(),
                (Reason::User, None),
                "its value is lost"
            );
            drop(holder);
            let_run().await;
            two.assert_free();
            // So has one that has what it waited for, and is in line.
            let (answer, asked) = oneshot::channel::<()>();
            let turn = two.chain.spawn(async move |cx| {
                drop(cx.cancelled());
                let stop = cx.cancelled();
                let told = cx.waiting("x").release(["main"]).on(asked).await;
                (told.is_ok(), stop.await)
            });
            let_run().await;
            let holder = two.main.try_acquire().unwrap();
            answer.send(()).unwrap();
            let_run().await;
            turn.cancel(Reason::User);
            let ended = turn.await;
            assert!(matches!(ended, Ok((false, Reason::User))), "{ended:?}");
            drop(holder);
            let_run().await;
            two.assert_free();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn s8_whoever_is_not_polled_on_its_way_back_stalls() {
    let two = Two::new(LaneConfig::new(1).stall_ceiling(CEILING));
    for answered in [true, false] {
        let (answer, asked) = oneshot::channel::<()>();
        let mut forgotten = Box::pin(two.chain.run(async |cx| {
            let wait = cx.waiting("x").release(["main"]).on(asked);
            drop(wait.await);
        }));
        let slot = two.chain.try_acquire();
        if answered {
            drop(slot);
            assert!(poll_once(forgotten.as_mut()).is_pending());
            let busy = two.main.try_acquire().unwrap();
            answer.send(()).unwrap();
            assert!(poll_once(forgotten.as_mut()).is_pending());
            drop(busy);
        } else {
            // Nobody polls a slot by hand for those that it gave back.
            let slot = slot.unwrap();
            let wait = slot.context().waiting("x").release(["main"]);
            let mut wait = Box::pin(wait.on(pending::<()>()));
            assert!(poll_once(wait.as_mut()).is_pending());
            drop(wait);
            std::mem::forget(slot);
        }
        let began = common::now();
        two.session.run(async |_| ()).await.unwrap();
        let lasted = common::now() - began;
        assert!(lasted < CEILING + MINUTE, "{lasted:?}");
        drop(forgotten);
        let_run().await;
        if answered {
            two.assert_free();
        }
    }
}

/// S7: whoever waits for those who are active does not wait for one that has
/// given its slot back for a while.
#[tokio::test(start_paused = true)]
async fn s7_wait_active_is_woken_when_a_slot_is_given_back_for_a_while() {
    for release in [&["main"][..], &["session", "main"]] {
        let two = Two::plain();
        let (go, gone) = oneshot::channel::<()>();
        let turn = two.chain.spawn(async move |cx| {
            gone.await.unwrap();
            let wait = cx.waiting("x").release(release);
            wait.on(pending::<()>()).await
        });
        let_run().await;
        let lane = if release.len() == 1 {
            &two.main
        } else {
            &two.session
        };
        let began = now();
        let parks = async { go.send(()).unwrap() };
        let (waited, ()) = futures::join!(lane.wait_active(HOUR), parks);
        waited.unwrap();
        assert_eq!(now(), began, "not before its own time was over");
        turn.cancel(Reason::User);
        turn.await.unwrap_err();
        two.assert_free();
    }
}

/// S15: a task that waits again and again, and gives each wait up.
#[tokio::test(start_paused = true)]
async fn s15_a_wait_that_is_dropped_keeps_no_waker() {
    struct Nobody;
    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }
    let (_lanes, main) = common::one_lane(LaneConfig::new(1));
    let slot = main.try_acquire().unwrap();
    let nobody = Arc::new(Nobody);
    let waker = Waker::from(Arc::clone(&nobody));
    for _ in 0..3 {
        let mut wait = Box::pin(slot.context().waiting("x").on(pending::<()>()));
        let polled = wait.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    drop(waker);
    assert_eq!(Arc::strong_count(&nobody), 1);
}

/// S16: it gives a wait up, and is not silent since that began.
#[tokio::test(start_paused = true)]
async fn s16_a_wait_that_is_given_up_was_no_silence() {
    let (_lanes, main) = common::one_lane(LaneConfig::new(1));
    let turn = main.spawn(async |cx| {
        let wait = cx.waiting("x").on(pending::<()>());
        tokio::time::timeout(HOUR, wait).await.unwrap_err();
        pending::<()>().await;
    });
    let waits = main.spawn(async |_| ());
    sleep(HOUR + SECOND).await;
    let silent = main.snapshot().active[0].idle.unwrap();
    assert!(silent <= SECOND + TICK, "{silent:?}");
    turn.cancel(Reason::User);
    waits.await.unwrap();
}

/// The same of one that is to get a slot back first.
#[tokio::test(start_paused = true)]
async fn s16_a_wait_that_is_given_up_without_a_slot_was_no_silence() {
    let two = Two::plain();
    let slot = two.chain.try_acquire().unwrap();
    let wait = slot.context().waiting("x").release(["main"]);
    let mut wait = Box::pin(wait.on(pending::<()>()));
    assert!(poll_once(wait.as_mut()).is_pending());
    sleep(HOUR).await;
    drop(wait);
    let silent = two.session.snapshot().active[0].idle.unwrap();
    assert!(silent <= TICK, "{silent:?}");
}

/// S8: a task that is asked to end waits for nobody any more.
#[tokio::test(start_paused = true)]
async fn s8_who_was_asked_to_end_is_not_parked_any_more() {
    let two = Two::plain();
    for release in [&["main"][..], &["session", "main"]] {
        let turn = two.chain.spawn(async move |cx| {
            cx.cancelled().await;
            let wait = cx.waiting("x").release(release);
            wait.on(pending::<()>()).await
        });
        let_run().await;
        turn.cancel(Reason::User);
        assert_eq!(turn.await.unwrap(), Err(WaitingError::NotActive));
        two.assert_free();
    }
}

/// S15: of a wait that one lane refuses the others know nothing.
#[tokio::test(start_paused = true)]
async fn s15_a_wait_that_a_lane_further_on_refuses_is_not_counted_before() {
    let lanes = Lanes::builder()
        .lane("session", LaneConfig::new(3).max_parked(1))
        .lane("main", LaneConfig::new(3).max_parked(1))
        .build()
        .unwrap();
    let parks = async |cx: TaskContext| {
        let wait = cx.waiting("x").release(["session", "main"]);
        wait.on(pending::<()>()).await
    };
    let [session, main] = ["session", "main"].map(|name| lanes.lane(name).unwrap());
    let there = main.spawn(async |cx| {
        cx.waiting("there")
            .release(["main"])
            .on(sleep(MINUTE))
            .await
    });
    let_run().await;
    let chain = lanes.chain(["session", "main"]).unwrap();
    let told = chain.run(parks).await.unwrap();
    assert!(matches!(told, Err(WaitingError::TooMany { lane, .. }) if &*lane == "main"));
    let alone = session.run(async |cx| cx.waiting("z").release(["session"]).on(async {}).await);
    alone.await.unwrap().unwrap();
    there.await.unwrap().unwrap();
}

/// S3: asked on its way back it has its grace, and its last poll, too.
#[tokio::test(start_paused = true)]
async fn s3_what_is_there_at_the_last_poll_counts_for_who_came_back_without_its_slot() {
    let (lanes, main) = common::one_lane(LaneConfig::new(1));
    let (send, gate) = oneshot::channel::<u32>();
    let mut turn = Box::pin(main.run(async |cx| {
        let mut wait = Box::pin(cx.waiting("x").release(["main"]).on(pending::<()>()));
        assert!(futures::poll!(wait.as_mut()).is_pending());
        drop(wait);
        let asked = cx.cancelled();
        let mut asked = pin!(asked);
        assert!(futures::poll!(asked.as_mut()).is_pending());
        gate.await.unwrap()
    }));
    assert!(poll_once(turn.as_mut()).is_pending());
    let id = main.snapshot().parked[0].id;
    let busy = main.try_acquire().unwrap();
    assert!(poll_once(turn.as_mut()).is_pending());
    lanes.cancel(id, Reason::User).unwrap();
    assert!(poll_once(turn.as_mut()).is_pending());
    // The grace is over, and its last poll has not been.
    sleep(5 * SECOND + TICK / 2).await;
    send.send(7).unwrap();
    assert_eq!(turn.await.unwrap(), 7);
    drop(busy);
}

/// S7: its way back was passed on, and is one again when it is polled: what
/// that closes is looked for.
#[tokio::test(start_paused = true)]
async fn s7_a_way_back_that_begins_anew_is_looked_at() {
    let two = Two::plain();
    let (answer, asked) = oneshot::channel::<()>();
    let mut first = Box::pin(two.chain.run(async |cx| {
        let wait = cx.waiting("x").release(["main"]);
        wait.on(asked).await.map(|_| ())
    }));
    assert!(poll_once(first.as_mut()).is_pending());
    let busy = two.main.try_acquire().unwrap();
    answer.send(()).unwrap();
    assert!(poll_once(first.as_mut()).is_pending());
    // Granted, it does not come.
    drop(busy);
    sleep(MINUTE).await;
    let session = two.session.clone();
    let second = two
        .main
        .spawn(async move |_| session.run(async |_| ()).await);
    let_run().await;
    let told = tokio::time::timeout(MINUTE, first).await;
    told.expect("nothing is in its way").unwrap().unwrap();
    // Its wait is the newer of the two.
    let told = second.await.unwrap();
    assert!(
        matches!(told, Err(TaskError::WouldDeadlock { .. })),
        "{told:?}"
    );
    two.assert_free();
}

/// S1: a task that has dropped its wait, and is told to end, is not polled
/// without its slot, not even a last time.
#[tokio::test(start_paused = true)]
async fn s1_who_is_told_to_end_on_its_way_back_is_not_polled_without_its_slot() {
    let (lanes, main) = common::one_lane(LaneConfig::new(1));
    let polls = std::cell::Cell::new(0);
    let mut turn = Box::pin(main.run(async |cx| {
        let mut wait = Box::pin(cx.waiting("x").release(["main"]).on(pending::<()>()));
        assert!(futures::poll!(wait.as_mut()).is_pending());
        drop(wait);
        std::future::poll_fn(|_| {
            polls.set(polls.get() + 1);
            std::task::Poll::<()>::Pending
        })
        .await;
    }));
    assert!(poll_once(turn.as_mut()).is_pending());
    let _busy = main.try_acquire().unwrap();
    let id = main.snapshot().parked[0].id;
    lanes.cancel(id, Reason::User).unwrap();
    assert!(matches!(turn.await, Err(TaskError::Cancelled { .. })));
    assert_eq!(polls.get(), 1);
}

/// S2: what is at its end waits for nobody.
#[tokio::test(start_paused = true)]
async fn s2_a_hook_of_a_task_that_was_dropped_does_not_wait_as_the_task() {
    let (_lanes, main) = common::one_lane(LaneConfig::new(1));
    let (say, said) = oneshot::channel();
    let mut turn = Box::pin(main.run(async |cx| {
        let task = cx.clone();
        cx.defer(async move |_| {
            let wait = task.waiting("x").release(["main"]).on(async {});
            let _ = say.send(wait.await);
        });
        pending::<()>().await;
    }));
    assert!(poll_once(turn.as_mut()).is_pending());
    drop(turn);
    assert_eq!(said.await.unwrap(), Err(WaitingError::NotActive));
    assert_clean(&main);
}
