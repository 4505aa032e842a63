//! Tasks that need slots of several lanes together, and how they come to them.

#![expect(clippy::disallowed_types, reason = "counters of the tests themselves")]

mod common;

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{CEILING, HOUR, MINUTE, SECOND, assert_clean, lanes_of_one, let_run, poll_once};
use futures::future::join_all;
use laneway::{
    AcquireError, Chain, ChainError, Lane, LaneConfig, LaneNameError, Lanes, Limit, OnBusy, Reason,
    TaskError, TaskStatus, Timeout, TryAcquireError,
};
use tokio::sync::oneshot;
use tokio::time::sleep;

/// A session in front of `main`, one slot each.
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
            assert!(lane.try_acquire().is_ok(), "{}", lane.name());
        }
        assert!(self.chain.try_acquire().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn it_queues_in_the_first_lane_and_holds_both_while_it_runs() {
    let two = Two::plain();
    let other = two.lanes.chain(["main"]).unwrap();
    let (finish, finished) = oneshot::channel::<()>();
    let first = two.chain.spawn(async |cx| {
        let fences = (
            cx.fence_in("session"),
            cx.fence_in("main"),
            cx.fence_in("x"),
        );
        drop(finished.await);
        (cx.is_current(), fences)
    });
    let second = two.chain.spawn(async |_| "second");
    let_run().await;
    let (session, main) = (two.session.snapshot(), two.main.snapshot());
    assert_eq!(session.active[0].id, first.id());
    assert_eq!(main.active[0].id, first.id());
    assert_eq!(session.queued[0].id, second.id());
    // The session's next turn takes nothing from whoever shares `main`.
    assert!(main.queued.is_empty());
    let third = other.spawn(async |_| "third");
    assert_eq!(two.main.snapshot().queued[0].id, third.id());
    finish.send(()).unwrap();
    let (current, (own, further, nowhere)) = first.await.unwrap();
    assert!(current);
    assert!(own.is_some() && further.is_some() && nowhere.is_none());
    assert_eq!(third.await.unwrap(), "third");
    assert_eq!(second.await.unwrap(), "second");
    let counters = [assert_clean(&two.session), assert_clean(&two.main)];
    assert_eq!(
        counters.map(|c| (c.submitted, c.completed)),
        [(2, 2), (3, 3)]
    );
}

#[tokio::test(start_paused = true)]
async fn while_it_waits_further_on_it_is_queued_and_shown_in_both() {
    let two = Two::plain();
    let busy = two.main.acquire().await.unwrap();
    let task = two.chain.task().name("turn").key("k").spawn(async |_| ());
    let_run().await;
    assert_eq!(task.status(), TaskStatus::Queued);
    let (session, main) = (two.session.snapshot(), two.main.snapshot());
    assert_eq!(session.active[0].id, task.id());
    assert!(session.active[0].waiting);
    assert_eq!(main.queued[0].id, task.id());
    assert_eq!(main.queued[0].name.as_deref(), Some("turn"));
    assert_eq!(main.queued[0].key.as_deref(), Some("k"));
    drop(busy);
    let_run().await;
    task.await.unwrap();
    two.assert_free();
}

#[tokio::test(start_paused = true)]
async fn its_clocks_start_with_its_last_slot() {
    let limits = Timeout::budget(10 * SECOND);
    let two = Two::new(LaneConfig::new(1).stall_ceiling(MINUTE));
    let chain = two.chain.with_timeout(limits);
    for detached in [true, false] {
        let busy = two.main.task().no_stall_ceiling().acquire().await.unwrap();
        drop(tokio::spawn(async move {
            sleep(HOUR).await;
            drop(busy);
        }));
        let began = common::now();
        let ended = if detached {
            chain.spawn(async |_| pending::<()>().await).await
        } else {
            chain.run(async |_| pending::<()>().await).await
        };
        let Err(TaskError::TimedOut { limit, elapsed, .. }) = ended else {
            panic!("{ended:?}");
        };
        assert_eq!(limit, Limit::Budget);
        assert!(
            elapsed >= 10 * SECOND && elapsed < 11 * SECOND,
            "{elapsed:?}"
        );
        assert!(common::now() - began > HOUR);
        let_run().await;
        two.assert_free();
    }
}

#[tokio::test(start_paused = true)]
async fn s9_waiting_further_on_is_no_stall() {
    let two = Two::new(LaneConfig::new(1).stall_ceiling(CEILING));
    let busy = two.main.task().no_stall_ceiling().acquire().await.unwrap();
    let task = two.chain.spawn(async |_| sleep(CEILING - SECOND).await);
    let polled = two.chain.run(async |_| sleep(CEILING - SECOND).await);
    let free = async {
        sleep(9 * CEILING).await;
        drop(busy);
    };
    let (task, polled, ()) = tokio::join!(task, polled, free);
    task.unwrap();
    polled.unwrap();
    two.assert_free();
}

#[tokio::test(start_paused = true)]
async fn s7_its_time_to_wait_is_over_when_it_is_however_short() {
    let two = Two::plain();
    let chain = two.chain.with_timeout(Timeout::wait(SECOND));
    let main = two.main.acquire().await.unwrap();
    for detached in [true, false] {
        let began = common::now();
        let ended = if detached {
            chain.spawn(async |_| ()).await
        } else {
            chain.run(async |_| ()).await
        };
        let waited = Limit::Wait;
        assert!(
            matches!(ended, Err(TaskError::TimedOut { limit, .. }) if limit == waited),
            "{ended:?}"
        );
        assert!(common::now() - began <= SECOND + common::TICK);
    }
    drop(main);
    two.assert_free();
}

#[tokio::test(start_paused = true)]
async fn its_time_to_wait_covers_both_queues() {
    let two = Two::plain();
    let chain = two.chain.with_timeout(Timeout::wait(MINUTE));
    for detached in [true, false] {
        let session = two.session.acquire().await.unwrap();
        let main = two.main.acquire().await.unwrap();
        drop(tokio::spawn(async move {
            sleep(40 * SECOND).await;
            drop(session);
        }));
        let began = common::now();
        let ended = if detached {
            chain.spawn(async |_| ()).await
        } else {
            chain.run(async |_| ()).await
        };
        assert!(
            matches!(ended, Err(TaskError::TimedOut { limit: Limit::Wait, ref lane, .. }) if &**lane == "session"),
            "{ended:?}"
        );
        let waited = common::now() - began;
        assert!(waited >= MINUTE && waited < MINUTE + SECOND, "{waited:?}");
        // The slot that it had is free for the session's next, and its place
        // further on is gone.
        assert!(two.session.try_acquire().is_ok());
        assert!(two.main.snapshot().queued.is_empty());
        drop(main);
        two.assert_free();
    }
}

#[tokio::test(start_paused = true)]
async fn s12_cancelled_at_any_stage_it_leaves_nothing_behind() {
    let two = Two::plain();
    for stage in 0..3 {
        let session = (stage == 0).then(|| two.session.try_acquire().unwrap());
        let main = (stage < 2).then(|| two.main.try_acquire().unwrap());
        let task = two
            .chain
            .task()
            .key("k")
            .spawn(async |_| pending::<()>().await);
        let_run().await;
        let by_key = stage % 2 == 0;
        if by_key {
            assert_eq!(two.lanes.cancel_key("k", Reason::User), 1);
        } else {
            two.lanes.cancel(task.id(), Reason::User).unwrap();
        }
        let ended = task.await;
        match stage {
            2 => assert!(
                matches!(ended, Err(TaskError::Cancelled { .. })),
                "{ended:?}"
            ),
            _ => assert!(
                matches!(
                    ended,
                    Err(TaskError::CancelledQueued {
                        reason: Reason::User,
                        ..
                    })
                ),
                "{ended:?}"
            ),
        }
        drop((session, main));
        two.assert_free();
    }
}

#[tokio::test(start_paused = true)]
async fn s12_dropped_at_any_stage_it_leaves_nothing_behind() {
    let two = Two::plain();
    for stage in 0..3 {
        let session = (stage == 0).then(|| two.session.try_acquire().unwrap());
        let main = (stage < 2).then(|| two.main.try_acquire().unwrap());
        {
            let mut run = pin!(two.chain.run(async |_| pending::<()>().await));
            assert!(poll_once(run.as_mut()).is_pending());
            let mut acquired = pin!(two.chain.acquire());
            assert!(poll_once(acquired.as_mut()).is_pending());
        }
        drop((session, main));
        two.assert_free();
    }
    // Granted further on, and dropped before it was polled.
    let main = two.main.try_acquire().unwrap();
    {
        let mut run = pin!(two.chain.run(async |_| ()));
        assert!(poll_once(run.as_mut()).is_pending());
        drop(main);
        assert_eq!(two.main.snapshot().active.len(), 1);
    }
    two.assert_free();
}

#[tokio::test(start_paused = true)]
async fn s20_unclaimed_further_on_it_gives_up_what_it_has_and_comes_back() {
    let two = Two::plain();
    let main = two.main.try_acquire().unwrap();
    let mut run = Box::pin(two.chain.run(async |_| "ran"));
    assert!(poll_once(run.as_mut()).is_pending());
    drop(main);
    // It has the slots of both by now, and nobody polls it.
    let next = two.chain.spawn(async |_| sleep(MINUTE).await);
    let began = common::now();
    while next.status() == TaskStatus::Queued {
        sleep(SECOND).await;
    }
    assert!(common::now() - began < 12 * SECOND);
    // Polled again, it is in line again.
    assert!(poll_once(run.as_mut()).is_pending());
    assert_eq!(two.session.snapshot().queued.len(), 1);
    next.await.unwrap();
    assert_eq!(run.await.unwrap(), "ran");
    two.assert_free();
}

#[tokio::test(start_paused = true)]
async fn s20_unclaimed_at_first_it_gives_up_its_slot() {
    let two = Two::plain();
    let session = two.session.try_acquire().unwrap();
    let mut run = Box::pin(two.chain.run(async |_| "ran"));
    assert!(poll_once(run.as_mut()).is_pending());
    drop(session);
    sleep(6 * SECOND).await;
    assert!(two.chain.try_acquire().is_ok());
    assert_eq!(run.await.unwrap(), "ran");
    two.assert_free();
}

#[tokio::test(start_paused = true)]
async fn what_refuses_it_further_on_is_named() {
    let two = Two::plain();
    let named = |error: &TaskError| error.to_string().contains("\"main\"");
    let draining = two.main.drain(laneway::Drain::within(MINUTE));
    let refused = two.chain.spawn(async |_| ()).await.unwrap_err();
    assert!(
        matches!(refused, TaskError::Draining { .. }) && named(&refused),
        "{refused}"
    );
    let refused = two.chain.run(async |_| ()).await.unwrap_err();
    assert!(
        matches!(refused, TaskError::Draining { .. }) && named(&refused),
        "{refused}"
    );
    assert!(matches!(
        two.chain.try_acquire(),
        Err(TryAcquireError::Draining { lane }) if &*lane == "main"
    ));
    draining.await;
    two.main.resume();
    let main = two.main.try_acquire().unwrap();
    let holder = main.id();
    let busy = two
        .chain
        .task()
        .on_busy(OnBusy::Reject)
        .run(async |_| ())
        .await;
    assert!(
        matches!(&busy, Err(TaskError::Busy { lane, holder: Some(id), .. }) if &**lane == "main" && *id == holder),
        "{busy:?}"
    );
    assert!(matches!(
        two.chain.try_acquire(),
        Err(TryAcquireError::NoSlot { lane }) if &*lane == "main"
    ));
    drop(main);
    two.assert_free();
    two.main.close();
    let closed = two.chain.spawn(async |_| ()).await.unwrap_err();
    assert!(
        matches!(closed, TaskError::Closed { .. }) && named(&closed),
        "{closed}"
    );
    let closed = two.chain.acquire().await.unwrap_err();
    assert!(matches!(closed, AcquireError::Closed { ref lane } if &**lane == "main"));
    assert_clean(&two.session);
    assert!(two.session.try_acquire().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_further_on_refuses_it_or_makes_it_wait() {
    for on_full in [laneway::OnFull::Reject, laneway::OnFull::Wait] {
        let lanes = Lanes::builder()
            .pattern("session:*", LaneConfig::new(1))
            .lane(
                "main",
                LaneConfig::new(1).queue_capacity(1).on_full(on_full),
            )
            .build()
            .unwrap();
        let main = lanes.lane("main").unwrap();
        let slot = main.try_acquire().unwrap();
        let tasks: Vec<_> = (0..3)
            .map(|n| {
                let chain = lanes
                    .chain([format!("session:{n}"), "main".into()])
                    .unwrap();
                chain.spawn(async move |_| n)
            })
            .collect();
        let_run().await;
        drop(slot);
        let outcomes = join_all(tasks).await;
        let ran: Vec<_> = outcomes.iter().map(|o| o.as_ref().ok().copied()).collect();
        match on_full {
            laneway::OnFull::Wait => assert_eq!(ran, [Some(0), Some(1), Some(2)]),
            _ => {
                assert_eq!(ran, [Some(0), None, None]);
                assert!(matches!(
                    &outcomes[1],
                    Err(TaskError::QueueFull { lane, capacity: 1, .. }) if &**lane == "main"
                ));
            }
        }
        assert_clean(&main);
        assert_eq!(lanes.snapshot().lanes.len(), 1);
    }
}

#[test]
fn s18_a_chain_that_cannot_work_is_refused() {
    let lanes = Lanes::builder()
        .lane("a", LaneConfig::new(1))
        .lane("b", LaneConfig::new(1))
        .build()
        .unwrap();
    let twice = lanes.chain(["a", "b", "a"]).unwrap_err();
    assert_eq!(
        twice,
        ChainError::Twice {
            lane: "a".into(),
            first: 0,
            second: 2
        }
    );
    assert_eq!(lanes.chain::<&str>([]).unwrap_err(), ChainError::Empty);
    assert!(matches!(
        lanes.chain(["a", "c"]).unwrap_err(),
        ChainError::Lane(LaneNameError::Unknown { name }) if name == "c"
    ));
    let one = lanes.chain(["b"]).unwrap();
    assert_eq!(one.lanes().collect::<Vec<_>>(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn offers_and_supersession_mean_the_first_lane() {
    let two = Two::plain();
    let main = two.main.try_acquire().unwrap();
    let turn = two.chain.task().key("t").spawn(async |_| "turn");
    let_run().await;
    let newer = two
        .chain
        .task()
        .key("t")
        .on_busy(OnBusy::Supersede)
        .spawn(async |_| "newer");
    assert!(matches!(
        turn.await,
        Err(TaskError::CancelledQueued {
            reason: Reason::Superseded,
            ..
        })
    ));
    drop(main);
    assert_eq!(newer.await.unwrap(), "newer");
    let steered = two.chain.spawn(async |cx| {
        let mut inbox = cx.inbox::<u32>();
        inbox.recv().await
    });
    let_run().await;
    let offered = two.chain.task().offer(7_u32, async |_, n| n);
    let by = steered.id();
    assert_eq!(offered.await.unwrap(), laneway::Offered::Taken { by });
    assert_eq!(steered.await.unwrap(), Some(7));
    two.assert_free();
}

#[tokio::test(start_paused = true)]
async fn three_lanes_and_a_thread() {
    let lanes = Lanes::builder()
        .lane("a", LaneConfig::new(2))
        .lane("b", LaneConfig::new(1))
        .lane("c", LaneConfig::new(1))
        .build()
        .unwrap();
    let chain = lanes.chain(["a", "b", "c"]).unwrap();
    let slot = chain.acquire().await.unwrap();
    assert!(slot.is_current());
    let task = chain.spawn_blocking(|cx| cx.fence_in("c"));
    let_run().await;
    assert_eq!(lanes.lane("b").unwrap().snapshot().queued[0].id, task.id());
    drop(slot);
    assert!(task.await.unwrap().is_some());
    assert!(chain.try_acquire().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s1_s7_many_sessions_in_front_of_few_slots() {
    let lanes = Lanes::builder()
        .pattern("session:*", LaneConfig::new(1))
        .lane("main", LaneConfig::new(3))
        .build()
        .unwrap();
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let sessions: Vec<_> = (0..16)
        .map(|n| {
            (
                lanes
                    .chain([format!("session:{n}"), "main".into()])
                    .unwrap(),
                Arc::new(AtomicUsize::new(0)),
            )
        })
        .collect();
    let mut handles = Vec::new();
    for round in 0..100_usize {
        for (chain, alone) in &sessions {
            let (running, most, alone) = (running.clone(), most.clone(), alone.clone());
            let task = chain.spawn(async move |cx| {
                assert_eq!(
                    alone.fetch_add(1, Ordering::SeqCst),
                    0,
                    "S1: two in a session"
                );
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                assert!(cx.is_current());
                running.fetch_sub(1, Ordering::SeqCst);
                alone.fetch_sub(1, Ordering::SeqCst);
            });
            if round % 7 == 3 {
                task.cancel(Reason::User);
            }
            handles.push(task);
        }
    }
    let mut ran = 0;
    for handle in handles {
        match handle.await {
            Ok(()) => ran += 1,
            Err(TaskError::CancelledQueued { .. } | TaskError::Cancelled { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(ran >= 16 * 85);
    assert!(most.load(Ordering::SeqCst) <= 3);
    drop(sessions);
    common::until(|| lanes.snapshot().lanes.len() == 1).await;
    assert_clean(&lanes.lane("main").unwrap());
}

#[tokio::test(start_paused = true)]
async fn s6_it_inherits_the_priority_of_whoever_waits_behind_it() {
    use laneway::Priority::{Background, Foreground};
    let lanes = Lanes::builder()
        .pattern("session:*", LaneConfig::new(1))
        .lane("main", LaneConfig::new(1))
        .lane("gpu", LaneConfig::new(1))
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let ran = |name: &'static str| {
        let order = order.clone();
        async move |_| order.lock().unwrap().push(name)
    };
    let chain = |session: &str, beyond: &[&str]| {
        let names = std::iter::once(format!("session:{session}"));
        lanes
            .chain(names.chain(beyond.iter().map(|n| (*n).to_owned())))
            .unwrap()
    };
    let (a, b) = (chain("a", &["main"]), chain("b", &["main", "gpu"]));
    let gpu = lanes.lane("gpu").unwrap();
    let busy = main.try_acquire().unwrap();
    let far = gpu.try_acquire().unwrap();
    let mut tasks: Vec<_> = ["first", "second"].map(|name| main.spawn(ran(name))).into();
    tasks.push(gpu.spawn(ran("other")));
    let turn = b.task().priority(Background).spawn(ran("b"));
    assert_eq!(main.snapshot().queued[2].priority, Background);
    tasks.push(b.task().priority(Foreground).spawn(ran("behind b")));
    let queued = main.snapshot().queued;
    assert_eq!((queued[0].id, queued[0].priority), (turn.id(), Foreground));
    drop(busy);
    // Further on it is as urgent from the start.
    let queued = gpu.snapshot().queued;
    assert_eq!((queued[0].id, queued[0].priority), (turn.id(), Foreground));
    // So is whoever waits for what it holds, through it.
    tasks.push(a.task().priority(Background).spawn(ran("a")));
    let c = chain("c", &["gpu"]);
    tasks.push(c.task().priority(Background).spawn(ran("c")));
    drop(far);
    tasks.push(turn);
    assert!(join_all(tasks).await.iter().all(Result::is_ok));
    assert_eq!(order.lock().unwrap()[0], "b");
    order.lock().unwrap().clear();

    let (busy, far) = (main.try_acquire().unwrap(), gpu.try_acquire().unwrap());
    let holds_main = b.task().priority(Background).spawn(ran("b"));
    drop(busy);
    let other = gpu.spawn(ran("other"));
    let waits = a.task().priority(Background).spawn(ran("a"));
    let queued = gpu.snapshot().queued;
    assert_eq!(queued[0].id, other.id());
    let urgent = a.task().priority(Foreground).spawn(ran("urgent"));
    let queued = gpu.snapshot().queued;
    assert_eq!(
        (queued[0].id, queued[0].priority),
        (holds_main.id(), Foreground)
    );
    drop(far);
    let all = join_all([holds_main, other, waits, urgent]).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(order.lock().unwrap()[0], "b");
    drop((a, b, c));
    assert_eq!(lanes.snapshot().lanes.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn s6_priority_goes_through_the_lane_in_the_middle() {
    use laneway::Priority::{Background, Foreground};
    let lanes = Lanes::builder()
        .pattern("session:*", LaneConfig::new(1))
        .lane("main", LaneConfig::new(1))
        .lane("gpu", LaneConfig::new(1))
        .build()
        .unwrap();
    let gpu = lanes.lane("gpu").unwrap();
    let busy = gpu.try_acquire().unwrap();
    let (a, b) = (
        lanes.chain(["session:a", "main", "gpu"]).unwrap(),
        lanes.chain(["session:b", "main", "gpu"]).unwrap(),
    );
    let holds_main = a.task().priority(Background).spawn(async |_| ());
    let other = gpu.spawn(async |_| ());
    let urgent = b.task().priority(Foreground).spawn(async |_| ());
    let queued = gpu.snapshot().queued;
    assert_eq!(
        (queued[0].id, queued[0].priority),
        (holds_main.id(), Foreground)
    );
    drop(busy);
    for task in [holds_main, other, urgent] {
        task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn s6_whoever_comes_back_is_not_raised_by_those_beside_it() {
    use laneway::Priority::{Background, Foreground};
    let (_lanes, main) = common::one_lane(LaneConfig::new(1));
    let (answer, asked) = oneshot::channel::<()>();
    let parked = main.task().priority(Background).spawn(async |cx| {
        let wait = cx.waiting("x").release(["main"]).on(asked);
        wait.await.unwrap().unwrap();
    });
    let_run().await;
    let busy = main.try_acquire().unwrap();
    let urgent = main.task().priority(Foreground).spawn(async |_| ());
    answer.send(()).unwrap();
    let_run().await;
    assert_eq!(main.snapshot().queued[0].id, urgent.id());
    drop(busy);
    urgent.await.unwrap();
    parked.await.unwrap();
}

/// Whoever comes back to a lane waits behind its holder, and hands its priority on.
#[tokio::test(start_paused = true)]
async fn s6_who_comes_back_raises_whoever_holds_its_lane_and_waits() {
    use laneway::Priority::{Background, Foreground};
    let (lanes, [main, gpu]) = lanes_of_one(["main", "gpu"]);
    let (answer, asked) = oneshot::channel::<()>();
    let comes_back = main.task().priority(Foreground).spawn(async |cx| {
        let wait = cx.waiting("x").release(["main"]).on(asked);
        wait.await.unwrap().unwrap();
    });
    let_run().await;
    let busy = gpu.try_acquire().unwrap();
    let chain = lanes.chain(["main", "gpu"]).unwrap();
    let holds_main = chain.task().priority(Background).spawn(async |_| ());
    let other = gpu.spawn(async |_| ());
    assert_eq!(gpu.snapshot().queued[0].id, other.id());
    answer.send(()).unwrap();
    let_run().await;
    let queued = gpu.snapshot().queued;
    assert_eq!(
        (queued[0].id, queued[0].priority),
        (holds_main.id(), Foreground)
    );
    drop(busy);
    for task in [holds_main, other, comes_back] {
        task.await.unwrap();
    }
}
