//! Where a task stands: a silent peer, a future that nobody polls, a blocked
//! poll and a runtime that polls nobody are told apart.

mod common;

use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

use laneway::{Finding, Lane, LaneConfig, Lanes, Problem, Standing};
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

use common::{
    MINUTE, SECOND, lanes_of_one, let_run, one_lane, one_worker, poll_once, until, until_now,
};

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Of its only holder.
fn standing(lane: &Lane) -> Standing {
    lane.snapshot().active[0].standing.unwrap()
}

async fn probed(lanes: &Lanes, lane: &Lane) -> Standing {
    sleep(2 * SECOND).await;
    lanes.probe().await;
    standing(lane)
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_leaves_its_task_pending_and_polled_when_woken() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let task = main.spawn(async |_| pending::<()>().await);
    assert_eq!(standing(&main), Standing::Unclaimed);
    let_run().await;
    assert_eq!(standing(&main), Standing::Pending);
    assert_eq!(probed(&lanes, &main).await, Standing::PolledWhenWoken);
    // It still is, for as long as it is silent.
    sleep(MINUTE).await;
    assert_eq!(standing(&main), Standing::PolledWhenWoken);
    drop(task);
}

/// What a report says is newer than what a probe found out.
#[tokio::test(start_paused = true)]
async fn a_task_that_reports_is_only_pending() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let _task = main.spawn(async |cx| {
        sleep(10 * SECOND).await;
        cx.progress();
        pending::<()>().await
    });
    let_run().await;
    assert_eq!(probed(&lanes, &main).await, Standing::PolledWhenWoken);
    sleep(10 * SECOND).await;
    assert_eq!(standing(&main), Standing::Pending);
}

/// The futurelock: it holds its slot, and the `select!` around it has moved on.
#[tokio::test(start_paused = true)]
async fn a_future_in_a_select_that_moved_on_is_woken_and_not_polled() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let locked = tokio::spawn({
        let main = main.clone();
        async move {
            let mut parked = pin!(main.run(async |_| pending::<()>().await));
            tokio::select! {
                biased;
                _ = &mut parked => {}
                () = sleep(SECOND) => {}
            }
            // It waits for the slot that it holds itself, and polls only this.
            drop(main.task().no_stall_ceiling().acquire().await);
        }
    });
    sleep(2 * SECOND).await;
    lanes.probe().await;
    assert_eq!(standing(&main), Standing::NotPolled);
    locked.abort();
}

/// Woken once is enough to be seen, however seldom its peer answers.
#[tokio::test(start_paused = true)]
async fn a_forgotten_future_is_woken_and_not_polled() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let mut run = Box::pin(main.run(async |_| pending::<()>().await));
    assert!(poll_once(run.as_mut()).is_pending());
    std::mem::forget(run);
    assert_eq!(probed(&lanes, &main).await, Standing::NotPolled);
}

#[tokio::test(start_paused = true)]
async fn one_that_wakes_itself_for_ever_is_polled_without_end() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let _task = main.spawn(async |_| {
        loop {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            sleep(Duration::from_millis(10)).await;
        }
    });
    assert_eq!(probed(&lanes, &main).await, Standing::PolledWithoutEnd);
}

#[tokio::test(start_paused = true)]
async fn a_slot_by_hand_is_polled_by_nobody() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let slot = main.acquire().await.unwrap();
    assert_eq!(probed(&lanes, &main).await, Standing::ByHand);
    drop(slot);
}

/// Whoever waits for a slot of ours is not asked, and says so by itself.
#[tokio::test(start_paused = true)]
async fn who_waits_for_one_of_our_lanes_is_not_probed() {
    let (lanes, [outer, main]) = lanes_of_one(["outer", "main"]);
    let slot = main.acquire().await.unwrap();
    let inner = main.clone();
    let _task = outer.spawn(async move |_| inner.run(async |_| ()).await);
    assert_eq!(probed(&lanes, &outer).await, Standing::Pending);
    assert!(outer.snapshot().active[0].waiting);
    drop(slot);
}

/// Whoever awaits it is not to blame.
#[tokio::test(start_paused = true)]
async fn what_a_silent_holder_awaits_is_probed_with_it() {
    let (_lanes, [outer, main]) = lanes_of_one(["outer", "main"]);
    let inner = main.clone();
    let _task = outer.spawn(async move |_| inner.run(async |_| pending::<()>().await).await);
    let _waiter = outer.spawn(async |_| ());
    sleep(MINUTE).await;
    assert_eq!(standing(&main), Standing::PolledWhenWoken);
}

#[test]
fn a_blocked_poll_is_in_poll_and_a_closure_on_its_thread() {
    let (_lanes, main) = one_lane(LaneConfig::new(2));
    let runtime = one_worker();
    let (release, gate) = mpsc::channel::<()>();
    let (opened, blocked) = mpsc::channel::<()>();
    let _entered = runtime.enter();
    let task = main.spawn(async move |_| {
        opened.send(()).unwrap();
        let _ = gate.recv();
    });
    blocked.recv().unwrap();
    assert_eq!(standing(&main), Standing::InPoll);
    let (through, wait) = mpsc::channel::<()>();
    let closure = main.spawn_blocking(move |_| {
        let _ = wait.recv();
    });
    until_now(|| {
        let active = main.snapshot().active;
        active.len() == 2 && active[1].standing == Some(Standing::OnThread)
    });
    drop((release, through));
    runtime.block_on(async { (task.await.unwrap(), closure.await.unwrap()) });
}

/// One runtime polls nobody, and another one finds out.
#[test]
fn a_runtime_that_polls_nobody_is_told_from_a_future_that_nobody_polls() {
    for detached in [true, false] {
        on_a_stuck_runtime(detached);
    }
}

/// Also of a task that its caller polls there.
fn on_a_stuck_runtime(detached: bool) {
    let (lanes, main) = one_lane(LaneConfig::new(1).warn_after(SECOND));
    let (stuck, well) = (one_worker(), current_thread());
    let task = if detached {
        let _entered = stuck.enter();
        let task = main.spawn(async |_| pending::<()>().await);
        stuck.spawn(async move { drop(task.await) })
    } else {
        let main = main.clone();
        stuck.spawn(async move { drop(main.run(async |_| pending::<()>().await).await) })
    };
    until_now(|| main.snapshot().active.len() == 1);
    until_now(|| standing(&main) == Standing::Pending);
    let (release, gate) = mpsc::channel::<()>();
    let (opened, blocked) = mpsc::channel::<()>();
    stuck.spawn(async move {
        opened.send(()).unwrap();
        let _ = gate.recv();
    });
    blocked.recv().unwrap();
    well.block_on(async {
        // Silent for a second, of which nobody measures the length.
        sleep(Duration::from_millis(1100)).await;
        let _waiter = main.spawn(async |_| ());
        sleep(Duration::from_millis(1100)).await;
        lanes.probe().await;
        assert_eq!(standing(&main), Standing::RuntimeStuck);
        let mut found = lanes.diagnose().findings;
        // Of a machine that is starved.
        found.retain(|finding| !matches!(finding.problem, Problem::NotDriven { .. }));
        let stuck = |finding: &Finding| matches!(finding.problem, Problem::RuntimeStuck { .. });
        assert!(found.iter().all(stuck) && found.len() == 1, "{found:#?}");
        drop(release);
        until(|| standing(&main) == Standing::PolledWhenWoken).await;
    });
    task.abort();
}

/// It had no waker yet by which it could have been woken.
#[test]
fn one_that_was_probed_in_its_first_poll_is_not_lost() {
    let (lanes, main) = one_lane(LaneConfig::new(1).no_stall_ceiling());
    let runtime = one_worker();
    let (release, gate) = mpsc::channel::<()>();
    let task = {
        let _entered = runtime.enter();
        main.spawn(async move |_| {
            let _ = gate.recv();
            pending::<()>().await;
        })
    };
    until_now(|| standing(&main) == Standing::InPoll);
    let well = current_thread();
    well.block_on(async {
        sleep(Duration::from_millis(1100)).await;
        lanes.probe().await;
    });
    assert_eq!(standing(&main), Standing::InPoll);
    drop(release);
    until_now(|| standing(&main) != Standing::InPoll);
    assert_eq!(standing(&main), Standing::Pending);
    drop(task);
}

/// What was known is known until it is known anew.
#[tokio::test(start_paused = true)]
async fn a_second_probe_unsays_nothing() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let mut run = Box::pin(main.run(async |_| pending::<()>().await));
    assert!(poll_once(run.as_mut()).is_pending());
    assert_eq!(probed(&lanes, &main).await, Standing::NotPolled);
    sleep(MINUTE).await;
    let mut again = Box::pin(lanes.probe());
    assert!(poll_once(again.as_mut()).is_pending());
    assert_eq!(standing(&main), Standing::NotPolled);
    again.await;
    assert_eq!(standing(&main), Standing::NotPolled);
}

/// The warning says it, a tick later than it would without.
#[tokio::test(start_paused = true)]
async fn s16_a_lane_that_is_about_to_warn_probes_first() {
    let (_lanes, main) = one_lane(LaneConfig::new(1).warn_after(10 * SECOND));
    let mut polls = 0;
    let _task = main.spawn(async move |_| {
        poll_fn(|_| {
            polls += 1;
            assert!(polls <= 2, "polled once for nothing, and not again");
            Poll::<()>::Pending
        })
        .await
    });
    let_run().await;
    let _waiter = main.spawn(async |_| ());
    sleep(10 * SECOND).await;
    assert_eq!(standing(&main), Standing::Pending);
    sleep(SECOND).await;
    assert_eq!(standing(&main), Standing::PolledWhenWoken);
}

/// A probe that is dropped has woken whoever it could.
#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_loses_nothing() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let _task = main.spawn(async |_| pending::<()>().await);
    sleep(2 * SECOND).await;
    {
        let mut probe: Pin<Box<dyn Future<Output = ()>>> = Box::pin(lanes.probe());
        assert!(poll_once(probe.as_mut()).is_pending());
    }
    sleep(SECOND).await;
    assert_eq!(standing(&main), Standing::PolledWhenWoken);
}
