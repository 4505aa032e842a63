//! What ends a task while a slot of it is away: it gave that back for a wait,
//! and has not come back to it.

#![expect(clippy::disallowed_types, reason = "a waker of the tests themselves")]

mod common;

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use common::{
    CEILING, HOUR, MINUTE, SECOND, TICK, assert_clean, let_run, now, one_lane, poll_once,
};
use laneway::{
    Chain, ControlError, Lane, LaneConfig, Lanes, Limit, OnStall, Reason, TaskContext, TaskError,
    TaskStatus, Timeout,
};
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

/// Its clocks go on, and so more silence can be granted to it.
#[tokio::test(start_paused = true)]
async fn s9_who_is_in_line_for_its_slot_may_be_granted_more_silence() {
    let (lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
    let spawned = main.spawn(async |cx| {
        let wait = cx.waiting("x").limit(MINUTE).release(["main"]);
        let mut wait = Box::pin(wait.on(pending::<()>()));
        assert!(poll_once(wait.as_mut()).is_pending());
        sleep(10 * HOUR).await;
    });
    let_run().await;
    let id = spawned.id();
    let not_yet = lanes.extend(id, HOUR);
    assert_eq!(
        not_yet,
        Err(ControlError::NotRunning { id }),
        "they stand still"
    );
    sleep(MINUTE + SECOND).await;
    lanes.extend(id, HOUR).unwrap();
    sleep(HOUR - SECOND).await;
    assert_eq!(spawned.status(), TaskStatus::Active);
    let told = timeout(2 * SECOND, spawned).await.expect("S7");
    assert!(matches!(told, Err(TaskError::Stalled { .. })), "{told:?}");
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

/// It waits without end for somebody, and has given `main` back.
async fn waits(cx: TaskContext) {
    let wait = cx.waiting("x").release(["main"]);
    drop(wait.on(pending::<()>()).await);
}

/// S10: what ends it in the lane whose slot it gave back takes nothing there.
#[tokio::test(start_paused = true)]
async fn s10_who_is_ended_in_the_lane_whose_slot_it_gave_back_is_no_orphan_there() {
    for shutdown in [false, true] {
        let (_lanes, session, main, chain) = two(LaneConfig::new(1));
        let mut turn = Box::pin(chain.run(waits));
        assert!(poll_once(turn.as_mut()).is_pending());
        if shutdown {
            drop(main.shutdown());
        } else {
            main.cancel_all(Reason::User);
        }
        sleep(MINUTE).await;
        assert_eq!(session.snapshot().orphans.len(), 1);
        assert_eq!(main.snapshot().orphans.len(), 0, "it had no slot there");
        assert!(turn.await.is_err());
    }
}

/// One that is over is parked nowhere any more, and keeps nobody else from that.
#[tokio::test(start_paused = true)]
async fn s7_who_is_over_is_parked_nowhere() {
    let (_lanes, session, main, chain) = two(LaneConfig::new(1).max_parked(1));
    let mut turn = Box::pin(chain.run(waits));
    assert!(poll_once(turn.as_mut()).is_pending());
    session.cancel_all(Reason::User);
    sleep(MINUTE).await;
    assert_eq!(session.snapshot().orphans.len(), 1);
    assert!(main.snapshot().parked.is_empty());
    let other = main.run(async |cx| cx.waiting("y").release(["main"]).on(async {}).await);
    timeout(HOUR, other).await.unwrap().unwrap().unwrap();
    assert!(turn.await.is_err());
}

/// S3: a wait with all its slots goes on for as long as its task has grace, in a chain
/// as in one lane.
#[tokio::test(start_paused = true)]
async fn asked_while_it_waits_with_all_its_slots_it_has_what_it_waited_for() {
    let lanes = Lanes::builder().pattern("*", LaneConfig::new(1));
    let lanes = lanes.build().unwrap();
    let session = lanes.lane("session").unwrap();
    let chain = lanes.chain(["session", "main"]).unwrap();
    for alone in [true, false] {
        let (answer, asked) = oneshot::channel();
        let waits = async move |cx: TaskContext| {
            // It listens.
            assert_eq!(cx.cancel_reason(), None);
            cx.waiting("x").on(asked).await.map(Result::unwrap)
        };
        let turn = match alone {
            true => session.spawn(waits),
            false => chain.spawn(waits),
        };
        let_run().await;
        turn.cancel(Reason::User);
        let_run().await;
        answer.send(7).unwrap();
        assert_eq!(turn.await.unwrap(), Ok(7), "alone: {alone}");
    }
}

/// S5: nor is it in line there any more.
#[tokio::test(start_paused = true)]
async fn s5_who_is_over_is_given_no_slot_on_its_way_back() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let (answer, asked) = oneshot::channel::<()>();
    let mut left = Box::pin(main.run(async |cx| {
        drop(cx.waiting("x").release(["main"]).on(asked).await);
    }));
    assert!(poll_once(left.as_mut()).is_pending());
    let id = main.snapshot().parked[0].id;
    let busy = main.try_acquire().unwrap();
    answer.send(()).unwrap();
    assert!(poll_once(left.as_mut()).is_pending());
    // Nobody polls it any more.
    lanes.cancel(id, Reason::User).unwrap();
    sleep(SECOND).await;
    assert_eq!(main.snapshot().queued.len(), 0);
    drop(busy);
    let next = timeout(SECOND, main.acquire()).await;
    assert!(next.is_ok(), "nobody holds it");
    assert!(left.await.is_err());
}

/// S7: what it sets for itself on its way back holds, since its clocks go on.
#[tokio::test(start_paused = true)]
async fn s7_a_deadline_that_is_set_without_a_slot_holds() {
    let (_lanes, main) = one_lane(LaneConfig::new(1));
    let (answer, asked) = oneshot::channel::<()>();
    let (say, said) = oneshot::channel();
    let turn = main.spawn(async |cx| {
        say.send(cx.clone()).ok();
        drop(cx.waiting("x").release(["main"]).on(asked).await);
        pending::<()>().await;
    });
    let_run().await;
    let cx = said.await.unwrap();
    let busy = main.try_acquire().unwrap();
    answer.send(()).unwrap();
    sleep(MINUTE).await;
    cx.set_deadline(common::now() + SECOND);
    let told = timeout(SECOND + 2 * TICK, turn).await;
    assert!(
        matches!(told, Ok(Err(TaskError::TimedOut { .. }))),
        "{told:?}"
    );
    drop(busy);
}

/// S7: no bound keeps it from being told. It is an orphan until its runner comes.
#[tokio::test(start_paused = true)]
async fn s7_who_hangs_without_its_slot_is_told_at_any_bound() {
    for strict in [false, true] {
        let config = LaneConfig::new(1).stall_ceiling(CEILING);
        let config = if strict { config.strict() } else { config };
        let (_lanes, main) = one_lane(config);
        let mut left = Box::pin(main.run(async |cx| {
            let wait = cx.waiting("x").limit(MINUTE).release(["main"]);
            drop(wait.on(pending::<()>()).await);
        }));
        assert!(poll_once(left.as_mut()).is_pending());
        sleep(MINUTE + CEILING + 4 * TICK).await;
        assert!(main.snapshot().parked.is_empty(), "strict: {strict}");
        assert_eq!(main.snapshot().orphans.len(), 1, "S10");
        assert!(main.try_acquire().is_ok());
        let told = left.await;
        assert!(matches!(told, Err(TaskError::Stalled { .. })), "{told:?}");
        assert_clean(&main);
    }
}

/// S7: its runner comes in the end, and its hooks have their bound then, as an orphan's.
#[tokio::test(start_paused = true)]
async fn s7_the_hooks_of_who_hung_without_its_slot_are_bounded() {
    for release in [&[], &["main"][..]] {
        let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
        let mut left = Box::pin(main.run(async |cx| {
            cx.defer(|_| pending());
            let wait = cx.waiting("x").limit(MINUTE).release(release);
            drop(wait.on(pending::<()>()).await);
        }));
        assert!(poll_once(left.as_mut()).is_pending());
        sleep(HOUR).await;
        let told = timeout(HOUR, left).await.expect("S7");
        assert!(matches!(told, Err(TaskError::Stalled { .. })), "{told:?}");
    }
}

/// S2: what it has to say later is a late completion.
#[tokio::test(start_paused = true)]
async fn s2_who_hung_without_its_slot_completes_late() {
    for release in [&[], &["main"][..]] {
        let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
        let slot = main.acquire().await.unwrap();
        let wait = slot.context().waiting("x").limit(MINUTE).release(release);
        let mut wait = Box::pin(wait.on(pending::<()>()));
        assert!(poll_once(wait.as_mut()).is_pending());
        sleep(MINUTE + CEILING + SECOND).await;
        drop((wait, slot));
        let counters = assert_clean(&main);
        let taken = u64::from(release.is_empty());
        assert_eq!((counters.taken, counters.late), (taken, 1), "{release:?}");
    }
}

type Left = Pin<Box<dyn Future<Output = Result<(), TaskError>> + Send>>;

/// Polls it on the spot when it is woken, as a thread of its own might.
struct Comes {
    left: Mutex<Option<Left>>,
    told: Mutex<Option<Poll<Result<(), TaskError>>>>,
}

impl Wake for Comes {
    fn wake(self: Arc<Self>) {
        let left = self.left.lock().unwrap().take();
        let mut noop = Context::from_waker(Waker::noop());
        let told = left.map(|mut left| left.as_mut().poll(&mut noop));
        *self.told.lock().unwrap() = told;
    }
}

/// S2: its runner comes between the take and the settlement, and says the same.
#[tokio::test(start_paused = true)]
async fn s2_a_runner_that_comes_as_it_is_over_tells_how_it_ended() {
    for release in [&[], &["main"][..]] {
        let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
        let main: &Lane = Box::leak(Box::new(main));
        let (say, said) = oneshot::channel();
        let mut left: Left = Box::pin(main.run(async |cx| {
            say.send(cx.clone()).ok();
            pending().await
        }));
        assert!(poll_once(left.as_mut()).is_pending());
        let cx = said.await.unwrap();
        let wait = cx.waiting("x").limit(MINUTE).release(release);
        let mut wait = Box::pin(wait.on(pending::<()>()));
        assert!(poll_once(wait.as_mut()).is_pending());
        let asked = || {
            let snapshot = main.snapshot();
            let mut tasks = snapshot.parked.iter().chain(&snapshot.active);
            tasks.any(|task| task.asked.is_some())
        };
        sleep(MINUTE + CEILING - SECOND).await;
        while !asked() {
            sleep(TICK / 10).await;
        }
        let comes = Arc::new(Comes {
            left: Mutex::new(Some(left)),
            told: Mutex::default(),
        });
        let waker = Waker::from(Arc::clone(&comes));
        let _ready = wait.as_mut().poll(&mut Context::from_waker(&waker));
        sleep(SECOND).await;
        let told = comes.told.lock().unwrap().take();
        let stalled = matches!(told, Some(Poll::Ready(Err(TaskError::Stalled { .. }))));
        assert!(stalled, "{release:?}: {told:?}");
    }
}

/// S8: one that was asked to end is no excuse for whoever awaits it, whatever it waited
/// for, and at any bound.
#[tokio::test(start_paused = true)]
async fn s8_who_awaits_one_that_was_asked_while_it_waited_is_reclaimed() {
    for chained in [false, true] {
        let strict = LaneConfig::new(1).strict();
        let lanes = Lanes::builder()
            .lane("outer", LaneConfig::new(1).stall_ceiling(CEILING))
            .lane("inner", strict.clone())
            .lane("last", strict);
        let lanes = lanes.build().unwrap();
        let [outer, inner] = ["outer", "inner"].map(|name| lanes.lane(name).unwrap());
        let chain = lanes.chain(["inner", "last"]).unwrap();
        let mut parent = Box::pin(outer.run(async |_| {
            let waits = async |cx: TaskContext| drop(cx.waiting("x").on(pending::<()>()).await);
            let mut alone = Box::pin(inner.run(waits));
            let mut child = Box::pin(chain.run(waits));
            let polled = match chained {
                true => poll_once(child.as_mut()),
                false => poll_once(alone.as_mut()),
            };
            assert!(polled.is_pending());
            pending::<()>().await;
        }));
        assert!(poll_once(parent.as_mut()).is_pending());
        sleep(HOUR).await;
        assert!(outer.try_acquire().is_err(), "S9: its child waits");
        inner.cancel_all(Reason::User);
        sleep(CEILING - SECOND).await;
        assert!(outer.try_acquire().is_err(), "S9: that was no silence");
        sleep(2 * SECOND).await;
        assert!(outer.try_acquire().is_ok(), "chained: {chained}");
        assert!(parent.await.is_err());
    }
}

/// A deadline is a moment and no clock, with its slot and without; also one that is set
/// while it waits.
#[tokio::test(start_paused = true)]
async fn s7_a_deadline_ends_who_waits_for_somebody() {
    for (release, before) in [(&[][..], true), (&["main"], true), (&["main"], false)] {
        let (lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
        let (tell, told) = oneshot::channel();
        let task = main.spawn(async move |cx| {
            let deadline = now() + SECOND;
            if before {
                cx.set_deadline(deadline);
            }
            tell.send((cx.clone(), deadline)).ok();
            let _ = cx.waiting("x").release(release).on(pending::<()>()).await;
        });
        let_run().await;
        let (cx, deadline) = told.await.unwrap();
        if !before {
            cx.set_deadline(deadline);
        }
        let why = format!("{:?}", lanes.explain(task.id()).unwrap());
        assert!(why.contains("Deadline"), "{why}");
        let ended = timeout(2 * SECOND, task).await.expect("S7");
        let Err(TaskError::TimedOut { limit, .. }) = ended else {
            panic!("{ended:?}");
        };
        assert_eq!(limit, Limit::Deadline, "{release:?}");
        assert_clean(&main);
    }
}

/// S7: whoever waits for a lane to be idle is told by the last who leaves it in a
/// shutdown, also where that gave its slot back, and so has none to leave.
#[tokio::test(start_paused = true)]
async fn s7_who_is_let_go_of_last_in_a_shutdown_leaves_the_lane_idle() {
    let (_lanes, _session, main, chain) = two(LaneConfig::new(1));
    let mut turn = Box::pin(chain.run(waits));
    assert!(poll_once(turn.as_mut()).is_pending());
    // Asked first, it comes while the shutdown asks the other.
    let comes = Arc::new(Comes {
        left: Mutex::new(None),
        told: Mutex::default(),
    });
    let holder = main.clone();
    let mut holder: Left = Box::pin(async move {
        let listens = async |cx: TaskContext| {
            cx.cancelled().await;
        };
        holder.run(listens).await
    });
    let waker = Waker::from(Arc::clone(&comes));
    assert!(
        holder
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    *comes.left.lock().unwrap() = Some(holder);
    let lane = main.clone();
    let idle = tokio::spawn(async move { lane.idle().await });
    let_run().await;
    drop(main.shutdown());
    assert!(comes.left.lock().unwrap().is_none(), "it came");
    assert!(timeout(SECOND, idle).await.is_ok(), "S7");
}
