//! Each situation staged in earnest: it is found, with its culprit and a remedy, and
//! the remedy clears it.

mod common;

use std::future::pending;
use std::pin::pin;
use std::sync::mpsc;
use std::time::Duration;

use laneway::{
    Diagnosis, Finding, GroupConfig, Lane, LaneConfig, Lanes, Never, OnDeadlock, Problem, Reason,
    Remedy, TaskHandle, TaskId,
};
use tokio::sync::oneshot;
use tokio::time::sleep;

use common::{
    HOUR, MINUTE, SECOND, SHORT, TICK, let_run, one_lane, one_worker, poll_once, until, until_now,
};

/// As long as a lane's `warn_after`, and some more.
const LONG: Duration = Duration::from_secs(40);

/// The only thing that is wrong.
fn only(lanes: &Lanes) -> Finding {
    let Diagnosis { mut findings, .. } = lanes.diagnose();
    assert_eq!(findings.len(), 1, "{findings:#?}");
    findings.remove(0)
}

fn assert_well(lanes: &Lanes) {
    let diagnosis = lanes.diagnose();
    assert!(diagnosis.is_healthy(), "{diagnosis}");
    assert_eq!(diagnosis.to_string(), "nothing is wrong\n");
}

fn for_ever(lane: &Lane) -> TaskHandle<()> {
    lane.task()
        .no_stall_ceiling()
        .spawn(async |_| pending::<()>().await)
}

fn named(lanes: &[&str]) -> Lanes {
    let mut builder = Lanes::builder();
    for lane in lanes {
        builder = builder.lane(*lane, LaneConfig::new(1));
    }
    builder.build().unwrap()
}

fn cancel(lanes: &Lanes, finding: &Finding, id: TaskId) {
    assert!(
        finding.remedies.contains(&Remedy::Cancel { id }),
        "{finding}"
    );
    lanes.cancel(id, Reason::User).unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_wrong_with_lanes_that_move_or_idle() {
    let (lanes, main) = one_lane(LaneConfig::new(2));
    assert_well(&lanes);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            main.spawn(async |cx| {
                for _ in 0..3 {
                    sleep(SECOND).await;
                    cx.progress();
                }
            })
        })
        .collect();
    for _ in 0..30 {
        sleep(SECOND).await;
        // Who came last waits for less than half a minute.
        assert_well(&lanes);
    }
    for task in tasks {
        task.await.unwrap();
    }
    // A long silence for which nobody waits is nobody's business, also once it
    // was looked into.
    let quiet = for_ever(&main);
    sleep(5 * MINUTE).await;
    lanes.probe().await;
    assert_well(&lanes);
    quiet.cancel(Reason::User);
}

#[tokio::test(start_paused = true)]
async fn s16_a_silent_holder_is_found_once_for_all_who_wait_behind_it() {
    let lanes = named(&["session", "main"]);
    let [session, main] = ["session", "main"].map(|lane| lanes.lane(lane).unwrap());
    let holder = for_ever(&main);
    let inner = main.clone();
    let turn = session.spawn(async move |_| inner.run(async |_| ()).await);
    let next = session.spawn(async |_| ());
    sleep(SECOND).await;
    assert_well(&lanes);
    sleep(LONG).await;
    let finding = only(&lanes);
    let task = holder.id();
    assert_eq!(finding.problem, Problem::Silent { task });
    assert_eq!(finding.lanes, ["session", "main"]);
    assert_eq!((finding.waiting, finding.never), (2, Some(Never::NoLimit)));
    assert_eq!(finding.waited, LONG + SECOND);
    cancel(&lanes, &finding, task);
    let_run().await;
    assert_well(&lanes);
    turn.await.unwrap().unwrap();
    next.await.unwrap();
}

/// A futurelock: it holds the slot that its own caller waits for.
#[tokio::test(start_paused = true)]
async fn a_phantom_is_found() {
    let (lanes, main) = one_lane(LaneConfig::new(1).no_stall_ceiling());
    let locked = tokio::spawn({
        let main = main.clone();
        async move {
            let mut parked = pin!(main.run(async |_| pending::<()>().await));
            tokio::select! {
                biased;
                _ = &mut parked => {}
                () = sleep(SECOND) => {}
            }
            drop(main.acquire().await);
        }
    });
    sleep(SECOND + LONG).await;
    let finding = only(&lanes);
    let task = main.snapshot().active[0].id;
    assert_eq!(finding.problem, Problem::Phantom { task });
    assert!(
        finding.remedies.contains(&Remedy::Poll { id: task }),
        "{finding}"
    );
    // Nobody polls it, so it is of no use to ask: its slot is taken.
    cancel(&lanes, &finding, task);
    sleep(TICK * 3).await;
    locked.await.unwrap();
    // Its future is gone, and with it the orphan.
    assert_well(&lanes);
}

/// With nobody behind it, a probe has to tell.
#[tokio::test(start_paused = true)]
async fn a_phantom_that_nobody_waits_for_is_found_by_a_probe() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let mut run = Box::pin(main.run(async |_| pending::<()>().await));
    assert!(poll_once(run.as_mut()).is_pending());
    sleep(LONG).await;
    assert_well(&lanes);
    lanes.probe().await;
    let finding = only(&lanes);
    let task = main.snapshot().active[0].id;
    assert_eq!(finding.problem, Problem::Phantom { task });
    assert!(finding.lanes.is_empty());
    drop(run);
    assert_well(&lanes);
}

#[tokio::test(start_paused = true)]
async fn one_that_spins_is_found() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let task = main.spawn(async |_| {
        loop {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            sleep(TICK).await;
        }
    });
    let next = main.spawn(async |_| ());
    sleep(LONG).await;
    let finding = only(&lanes);
    assert_eq!(finding.problem, Problem::Spinning { task: task.id() });
    cancel(&lanes, &finding, task.id());
    next.await.unwrap();
    assert_well(&lanes);
}

#[test]
fn a_blocked_poll_is_found() {
    let config = LaneConfig::new(1).warn_after(TICK).no_stall_ceiling();
    let (lanes, main) = one_lane(config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (release, gate) = mpsc::channel::<()>();
    runtime.block_on(async {
        let task = main.spawn(async move |_| {
            let _ = gate.recv();
        });
        until(|| main.snapshot().active.len() == 1).await;
        let next = main.spawn(async |_| ());
        let blocked = Problem::BlockedPoll { task: task.id() };
        let found = |problem: &Problem| {
            let findings = lanes.diagnose().findings;
            findings.iter().any(|finding| finding.problem == *problem)
        };
        until(|| found(&blocked)).await;
        // What helps is that it returns.
        drop(release);
        task.await.unwrap();
        next.await.unwrap();
        until(|| lanes.diagnose().is_healthy()).await;
    });
}

/// Noticed from outside, while the only worker is blocked.
#[test]
fn a_stuck_runtime_is_found_while_it_is_stuck() {
    let config = LaneConfig::new(1);
    let lanes = Lanes::builder().lane("main", config).watchdog();
    let lanes = lanes.build().unwrap();
    let main = lanes.lane("main").unwrap();
    let runtime = one_worker();
    let (release, gate) = mpsc::channel::<()>();
    let tasks = {
        let _entered = runtime.enter();
        let blocks = main.spawn(async move |_| {
            let _ = gate.recv();
        });
        [blocks, main.spawn(async |_| ())]
    };
    let found = || match lanes.diagnose().findings.first() {
        Some(finding) => matches!(finding.problem, Problem::RuntimeStuck { .. }),
        None => false,
    };
    until_now(found);
    drop(release);
    runtime.block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
        until(|| lanes.diagnose().is_healthy()).await;
    });
}

/// Also without the watchdog: whoever asks sees it.
#[test]
fn lanes_that_no_runtime_sees_to_are_found() {
    let (lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(SHORT));
    let runtime = one_worker();
    let (release, gate) = mpsc::channel::<()>();
    let blocks = {
        let _entered = runtime.enter();
        main.spawn(async move |_| {
            let _ = gate.recv();
        })
    };
    let found = || {
        let first = lanes.diagnose().findings.into_iter().next()?;
        matches!(first.problem, Problem::NotDriven { .. }).then_some(first)
    };
    let finding = loop {
        match found() {
            Some(finding) => break finding,
            None => std::thread::yield_now(),
        }
    };
    let unblock = Remedy::Unblock { id: blocks.id() };
    assert_eq!(finding.remedies, [unblock]);
    drop(release);
    runtime.block_on(async {
        drop(blocks.await);
        until(|| lanes.diagnose().is_healthy()).await;
    });
}

/// What is not read is not said to be well.
#[tokio::test(start_paused = true)]
async fn a_wait_that_is_too_deep_to_read_is_found() {
    const DEEP: usize = 80;
    let mut builder = Lanes::builder();
    for lane in 0..DEEP {
        builder = builder.lane(format!("{lane:02}"), LaneConfig::new(1).no_stall_ceiling());
    }
    let lanes = builder.build().unwrap();
    let lane = |at: usize| lanes.lane(&format!("{at:02}")).unwrap();
    let deepest = lane(DEEP - 1).acquire().await.unwrap();
    let mut tasks = Vec::new();
    for at in (0..DEEP - 1).rev() {
        let below = lane(at + 1);
        tasks.push(lane(at).spawn(async move |_| drop(below.run(async |_| ()).await)));
        let_run().await;
    }
    let next = lane(0).spawn(async |_| ());
    sleep(LONG).await;
    let found = lanes.diagnose().findings;
    let unread =
        |finding: &Finding| matches!(&finding.problem, Problem::Unread { lane } if lane == "00");
    assert!(found.iter().any(unread), "{found:#?}");
    drop(deepest);
    next.await.unwrap();
    assert_well(&lanes);
}

#[tokio::test(start_paused = true)]
async fn a_paused_lane_with_waiters_is_found_and_one_that_resumes_is_not() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    main.pause();
    let first = main.spawn(async |_| ());
    sleep(LONG).await;
    let finding = only(&lanes);
    let lane = || "main".to_owned();
    assert_eq!(finding.problem, Problem::Paused { lane: lane() });
    assert_eq!(finding.remedies, [Remedy::Resume { lane: lane() }]);
    main.resume();
    first.await.unwrap();
    assert_well(&lanes);
    main.pause_for(HOUR).unwrap();
    let second = main.spawn(async |_| ());
    sleep(LONG).await;
    assert_well(&lanes);
    main.set_max_concurrent(0).unwrap();
    main.resume();
    let finding = only(&lanes);
    assert_eq!(finding.problem, Problem::NoSlots { lane: lane() });
    let more = Remedy::SetMaxConcurrent {
        lane: lane(),
        at_least: 1,
    };
    assert_eq!(finding.remedies, [more]);
    main.set_max_concurrent(1).unwrap();
    second.await.unwrap();
    assert_well(&lanes);
}

#[tokio::test(start_paused = true)]
async fn a_lane_at_capacity_whose_holders_move_is_the_last_of_worries() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let moves = main.spawn(async |cx| {
        loop {
            sleep(SECOND).await;
            cx.progress();
        }
    });
    let next = main.spawn(async |_| ());
    sleep(LONG).await;
    let finding = only(&lanes);
    let lane = || "main".to_owned();
    assert_eq!(finding.problem, Problem::AtCapacity { lane: lane() });
    let more = Remedy::SetMaxConcurrent {
        lane: lane(),
        at_least: 2,
    };
    assert!(finding.remedies.contains(&more), "{finding}");
    main.set_max_concurrent(2).unwrap();
    next.await.unwrap();
    assert_well(&lanes);
    moves.cancel(Reason::User);
}

/// Ten come in the time in which five are served.
#[tokio::test(start_paused = true)]
async fn a_queue_that_grows_faster_than_it_drains_is_found() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let mut tasks = Vec::new();
    for _ in 0..60 {
        tasks.push(main.spawn(async |_| sleep(4 * SECOND).await));
        sleep(2 * SECOND).await;
    }
    let found = lanes.diagnose().findings;
    let lane = || "main".to_owned();
    let grows = Problem::Grows {
        lane: lane(),
        arrivals_per_hour: 1800,
        dispatches_per_hour: 900,
    };
    assert_eq!(found[0].problem, grows, "{found:#?}");
    assert_eq!(found[1].problem, Problem::AtCapacity { lane: lane() });
    let more = Remedy::SetMaxConcurrent {
        lane: lane(),
        at_least: 2,
    };
    assert!(found[0].remedies.contains(&more), "{}", found[0]);
    // What it has come to is told beforehand, too.
    let why = main.explain().to_string();
    assert!(why.contains("; 4s more at its recent pace"), "{why}");
    main.set_max_concurrent(8).unwrap();
    for task in tasks {
        task.await.unwrap();
    }
    assert_well(&lanes);
}

fn grouped(budget: usize, reserved: usize) -> Lanes {
    let mut group = GroupConfig::new(budget).member("review").member("plugin");
    if reserved > 0 {
        group = group.reserve("review", reserved);
    }
    Lanes::builder()
        .lane("review", LaneConfig::new(2))
        .lane("plugin", LaneConfig::new(2))
        .group("background", group)
        .build()
        .unwrap()
}

async fn moves(lane: &Lane) -> TaskHandle<()> {
    let task = lane.spawn(async |cx| {
        loop {
            sleep(SECOND).await;
            cx.progress();
        }
    });
    let_run().await;
    task
}

#[tokio::test(start_paused = true)]
async fn a_group_whose_budget_is_in_use_is_found() {
    for reserved in [0, 1] {
        let lanes = grouped(2, reserved);
        let plugin = lanes.lane("plugin").unwrap();
        let mut holders = Vec::new();
        for _ in 0..2 - reserved {
            holders.push(moves(&plugin).await);
        }
        let plugin = match reserved {
            0 => lanes.lane("review").unwrap(),
            _ => plugin,
        };
        let next = plugin.spawn(async |_| ());
        sleep(LONG).await;
        let finding = only(&lanes);
        let group = || "background".to_owned();
        assert_eq!(finding.problem, Problem::GroupFull { group: group() });
        assert!(
            finding.remedies.contains(&Remedy::Group { group: group() }),
            "{finding}"
        );
        lanes
            .reconfigure(|change| {
                change.group(
                    "background",
                    GroupConfig::new(3).member("review").member("plugin"),
                );
            })
            .unwrap();
        next.await.unwrap();
        assert_well(&lanes);
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_without_room_for_a_lane_is_found() {
    let lanes = grouped(1, 1);
    let plugin = lanes.lane("plugin").unwrap();
    let next = plugin.spawn(async |_| ());
    sleep(LONG).await;
    let finding = only(&lanes);
    let group = "background".to_owned();
    let lane = "plugin".to_owned();
    assert_eq!(finding.problem, Problem::NoBudget { group, lane });
    lanes
        .reconfigure(|change| {
            change.remove_group("background");
        })
        .unwrap();
    next.await.unwrap();
    assert_well(&lanes);
}

#[tokio::test(start_paused = true)]
async fn a_circle_of_waits_is_found_once() {
    let lanes = Lanes::builder()
        .lane("a", LaneConfig::new(1))
        .lane("b", LaneConfig::new(1))
        .on_deadlock(OnDeadlock::Warn)
        .build()
        .unwrap();
    let [a, b] = ["a", "b"].map(|lane| lanes.lane(lane).unwrap());
    let crossed = |own: &Lane, other: &Lane| {
        let other = other.clone();
        own.spawn(async move |_| {
            sleep(SECOND).await;
            other.run(async |_| ()).await
        })
    };
    let tasks = [crossed(&a, &b), crossed(&b, &a)];
    sleep(SECOND + LONG).await;
    let finding = only(&lanes);
    let Problem::Circle { tasks: circle } = &finding.problem else {
        panic!("{finding}");
    };
    for task in &tasks {
        assert!(circle.contains(&task.id()), "{finding}");
    }
    cancel(&lanes, &finding, tasks[0].id());
    sleep(TICK).await;
    assert_well(&lanes);
    let [first, second] = tasks;
    assert!(first.await.is_err());
    second.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn orphans_and_their_bound_are_found() {
    let config = LaneConfig::new(1).stall_ceiling(MINUTE).max_orphans(1);
    let (lanes, main) = one_lane(config);
    let forget = async || {
        let slot = main.acquire().await.unwrap();
        let id = slot.id();
        std::mem::forget(slot);
        id
    };
    let first = forget().await;
    sleep(MINUTE + TICK * 2).await;
    let orphans = |tasks: Vec<TaskId>| Problem::Orphans {
        lane: "main".into(),
        tasks,
    };
    assert_eq!(only(&lanes).problem, orphans(vec![first]));
    let second = forget().await;
    let next = main.spawn(async |_| ());
    sleep(MINUTE + LONG).await;
    let found = lanes.diagnose().findings;
    let bound = Problem::OrphanBound {
        task: second,
        lane: "main".into(),
    };
    assert_eq!(found[0].problem, bound, "{found:#?}");
    assert_eq!(found[1].problem, orphans(vec![first]), "{found:#?}");
    let forget = Remedy::ForgetOrphan { id: first };
    assert!(found[0].remedies.contains(&forget), "{}", found[0]);
    lanes.forget_orphan(first).unwrap();
    next.await.unwrap();
    assert_eq!(only(&lanes).problem, orphans(vec![second]));
    lanes.forget_orphan(second).unwrap();
    assert_well(&lanes);
}

#[tokio::test(start_paused = true)]
async fn who_is_parked_past_sense_is_found() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let approval = lanes.waitpoint::<bool>("approval").unwrap();
    let asks = main.spawn(async move |cx| {
        let waits = cx.waiting("approval #12").limit(4 * HOUR).on(approval);
        waits.await.unwrap().unwrap()
    });
    sleep(HOUR).await;
    assert_well(&lanes);
    let next = main.spawn(async |_| ());
    sleep(LONG).await;
    let finding = only(&lanes);
    let problem = Problem::Parked {
        task: asks.id(),
        what: "approval #12".into(),
    };
    assert_eq!(finding.problem, problem);
    let key = || "approval".to_owned();
    assert!(
        finding
            .remedies
            .contains(&Remedy::ResumeWaitpoint { key: key() }),
        "{finding}"
    );
    next.cancel(Reason::User);
    let_run().await;
    assert_well(&lanes);
    // Or for most of the time that it may, whoever waits.
    sleep(HOUR).await;
    assert_eq!(only(&lanes).problem, problem);
    lanes.resume_waitpoint("approval", true).unwrap();
    assert!(asks.await.unwrap());
    assert_well(&lanes);
}

#[tokio::test(start_paused = true)]
async fn waiters_that_nobody_waits_for_are_found() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    main.pause();
    for _ in 0..3 {
        drop(main.spawn(async |_| ()));
    }
    let heard = main.spawn(async |_| ());
    sleep(LONG).await;
    let lane = || "main".to_owned();
    assert_eq!(only(&lanes).problem, Problem::Paused { lane: lane() });
    heard.cancel(Reason::User);
    let found = lanes.diagnose().findings;
    assert_eq!(found[1].problem, Problem::CallersGone { lane: lane() });
    assert_eq!(found[1].remedies, [Remedy::Clear { lane: lane() }]);
    assert_eq!((found.len(), main.clear()), (2, 3));
    assert_well(&lanes);
}

/// Merged tasks have many handles, and whoever comes last may be the only one left.
#[tokio::test(start_paused = true)]
async fn merged_tasks_that_nobody_waits_for_are_found() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    main.pause();
    let call = || main.task().coalesce(1, |a, b| a + b, async |_, n: i32| n);
    let is_left = || {
        let found = lanes.diagnose().findings;
        let gone = |problem: &Problem| matches!(problem, Problem::CallersGone { .. });
        found.iter().any(|finding| gone(&finding.problem))
    };
    let (first, second) = (call(), call());
    sleep(LONG).await;
    drop(first);
    assert!(!is_left());
    drop(second);
    assert!(is_left());
    let third = call();
    assert!(!is_left());
    drop(third);
    assert!(is_left());
}

/// To drop a handle is to let its task run, and where the lane moves it will.
#[tokio::test(start_paused = true)]
async fn work_that_was_sent_off_behind_one_that_moves_is_not_to_be_cleared() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let first = moves(&main).await;
    for _ in 0..2 {
        drop(main.spawn(async |_| ()));
    }
    sleep(LONG).await;
    let lane = "main".to_owned();
    assert_eq!(only(&lanes).problem, Problem::AtCapacity { lane });
    first.cancel(Reason::User);
    sleep(TICK).await;
    assert_well(&lanes);
}

/// Many at once are not many for ever.
#[tokio::test(start_paused = true)]
async fn a_burst_is_no_growth() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let mut tasks: Vec<_> = (0..20)
        .map(|_| main.spawn(async |_| sleep(4 * SECOND).await))
        .collect();
    for _ in 0..40 {
        sleep(4 * SECOND).await;
        tasks.push(main.spawn(async |_| sleep(4 * SECOND).await));
    }
    let lane = || "main".to_owned();
    assert_eq!(only(&lanes).problem, Problem::AtCapacity { lane: lane() });
    tasks.extend((0..12).map(|_| main.spawn(async |_| sleep(4 * SECOND).await)));
    sleep(SECOND).await;
    assert_eq!(only(&lanes).problem, Problem::AtCapacity { lane: lane() });
    drop(tasks);
}

/// What would have been reclaimed is still there, and said to be.
#[tokio::test(start_paused = true)]
async fn a_stall_that_is_only_observed_is_found() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1).stall_ceiling(MINUTE))
        .observe_only()
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let task = main.spawn(async |_| pending::<()>().await);
    sleep(2 * MINUTE).await;
    let finding = only(&lanes);
    assert_eq!(finding.problem, Problem::Silent { task: task.id() });
    assert_eq!(finding.never, Some(Never::OnlyReported));
    cancel(&lanes, &finding, task.id());
    let_run().await;
    assert_well(&lanes);
}

/// A waiter that sleeps beside the queue (S20), and who waits behind nobody.
#[tokio::test(start_paused = true)]
async fn a_waiter_that_nobody_polls_is_found() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    let slot = main.acquire().await.unwrap();
    let mut waits = Box::pin(main.acquire());
    assert!(poll_once(waits.as_mut()).is_pending());
    drop(slot);
    sleep(LONG + LONG).await;
    let finding = only(&lanes);
    let task = main.snapshot().queued[0].id;
    assert_eq!(finding.problem, Problem::Asleep { task });
    assert!(
        finding.remedies.contains(&Remedy::Poll { id: task }),
        "{finding}"
    );
    assert!(poll_once(waits.as_mut()).is_ready());
    assert_well(&lanes);
}

/// One that was spawned is nobody's to poll: it waits for a thread of its runtime.
#[test]
fn a_spawned_waiter_that_its_runtime_has_no_thread_for_is_found() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (lanes, main) = one_lane(LaneConfig::new(1));
        let (go, gone) = mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || gone.recv().unwrap_err());
        let task = main.spawn_blocking(|_| ());
        // A thread that is busy keeps paused time where it is.
        for _ in 0..6 {
            tokio::time::advance(LONG / 3).await;
            let_run().await;
        }
        let finding = only(&lanes);
        let id = task.id();
        assert_eq!(finding.problem, Problem::Asleep { task: id });
        assert_eq!(finding.remedies, [Remedy::Cancel { id }]);
        let text = finding.to_string();
        assert!(text.contains("its runtime has no thread free"), "{text}");
        drop(go);
        busy.await.unwrap();
        task.await.unwrap();
        assert_well(&lanes);
    });
}

/// Each comes to its end by itself.
#[tokio::test(start_paused = true)]
async fn what_leads_back_and_can_go_on_is_no_circle() {
    let lanes = Lanes::builder()
        .lane("nested", LaneConfig::new(2))
        .lane("loose", LaneConfig::new(1))
        .build()
        .unwrap();
    let [nested, loose] = ["nested", "loose"].map(|lane| lanes.lane(lane).unwrap());
    let inner = nested.clone();
    let turn = nested.spawn(async move |_| inner.run(async |_| ()).await);
    let _mover = moves(&nested).await;
    let inner = loose.clone();
    let _outer = loose.spawn(async move |cx| {
        let work = async {
            loop {
                sleep(SECOND).await;
                cx.progress();
            }
        };
        futures::join!(inner.run(async |_| ()).may_abandon(), work)
    });
    sleep(LONG).await;
    let problems: Vec<Problem> = lanes
        .diagnose()
        .findings
        .into_iter()
        .map(|of| of.problem)
        .collect();
    let at_capacity = |lane: &Lane| Problem::AtCapacity {
        lane: lane.name().to_owned(),
    };
    assert_eq!(problems, [at_capacity(&nested), at_capacity(&loose)]);
    drop(turn);
}

#[tokio::test(start_paused = true)]
async fn s16_who_has_just_come_back_has_not_waited_since_it_came_first() {
    let (lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(10 * MINUTE));
    let (answer, asked) = oneshot::channel::<()>();
    let turn = main.spawn(async move |cx| {
        for _ in 0..60 {
            sleep(MINUTE).await;
            cx.progress();
        }
        let _ = cx.waiting("x").release(["main"]).on(asked).await;
    });
    sleep(HOUR + SECOND).await;
    let holder = main.try_acquire().unwrap();
    answer.send(()).unwrap();
    sleep(SECOND).await;
    holder.progress();
    let waited = main.snapshot().queued[0].waited;
    assert_well(&lanes);
    assert!(waited < MINUTE, "{waited:?}");
    drop(holder);
    turn.await.unwrap();
}
