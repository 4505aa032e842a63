//! The simulation, tried on runners that are right and on ones that are not;
//! and on the lanes themselves, with every verb there is.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use laneway::testing::{Hostile, Sim};
use laneway::{
    Drain, GroupConfig, LaneConfig, Lanes, OnDeadlock, OnStall, Priority, Reason, TaskContext,
    TaskError, Timeout,
};
use tokio::time::sleep;

use crate::common::{HOUR, MINUTE, SECOND, let_run, now, poll_once};
use crate::proof::{rounds, said};

fn lanes(config: LaneConfig) -> Lanes {
    Lanes::builder().default_lane(config).build().unwrap()
}

/// Whatever is said to whatever lanes, the promises hold at every moment.
#[test]
fn s1_s5_s8_promises_hold_under_every_verb() {
    let cases = 20 * rounds();
    let tasks = Rc::new(Cell::new(0));
    Sim::check(cases, async |sim| {
        let limit = Timeout::idle(MINUTE).budget(10 * MINUTE).wait(HOUR);
        let config = LaneConfig::new(1).timeout(limit).max_orphans(2);
        let lanes = lanes(config);
        sim.watch(&lanes);
        let names = ["a", "b", "c"];
        let mut told = Vec::new();
        for _ in 0..20 + sim.below(40) {
            let lane = lanes.lane(names[sim.below(3) as usize]).unwrap();
            match sim.below(16) {
                0 => lane
                    .pause_for(SECOND * (1 + sim.below(100) as u32))
                    .unwrap(),
                1 => lane.set_max_concurrent(1 + sim.below(4) as usize).unwrap(),
                2 => drop(lane.clear()),
                3 => drop(lane.cancel_all(Reason::User)),
                4 => drop(lane.reset()),
                5 => {
                    drop(lane.drain(Drain::within(SECOND)));
                    lane.resume();
                }
                6 => sleep(Duration::from_millis(sim.below(100_000))).await,
                _ => {
                    let (kind, inner) = (sim.hostile(), sim.chance(0.3));
                    let inner = inner.then(|| lanes.lane("provider").unwrap());
                    let priorities = [Priority::Foreground, Priority::Normal, Priority::Background];
                    let task = lane.task().priority(priorities[sim.below(3) as usize]);
                    told.push(task.spawn(async move |_| match inner {
                        Some(inner) => inner.run(async |_| kind.await).await,
                        None => Ok(kind.await),
                    }));
                }
            }
        }
        tasks.set(tasks.get() + told.len());
        for name in names {
            lanes.lane(name).unwrap().resume();
        }
        sim.run_until_idle(HOUR * 24).await;
        for task in told {
            // An answer it is, whichever.
            drop(task.await);
        }
    });
    let test = "s1_s5_s8_promises_hold_under_every_verb";
    said(test, cases, tasks.get(), 0);
}

/// A waiter beside a free slot of its lane, whose group has none left, or keeps
/// its last one for a sibling, breaks no promise.
#[test]
fn s5_who_waits_for_the_group_is_not_overlooked() {
    Sim::check(10 * rounds(), async |sim| {
        let config = LaneConfig::new(2).timeout(Timeout::idle(MINUTE).budget(10 * MINUTE));
        let shared = GroupConfig::new(2)
            .member("kept")
            .reserve("kept", 1)
            .member("other");
        let lanes = Lanes::builder()
            .lane("kept", config.clone())
            .lane("other", config)
            .group("shared", shared)
            .build()
            .unwrap();
        sim.watch(&lanes);
        let mut told = Vec::new();
        for _ in 0..2 + sim.below(6) {
            let name = if sim.chance(0.7) { "other" } else { "kept" };
            let kind = sim.hostile();
            told.push(lanes.lane(name).unwrap().spawn(async move |_| kind.await));
            sleep(Duration::from_millis(sim.below(90_000))).await;
        }
        sim.run_until_idle(24 * HOUR).await;
        for task in told {
            drop(task.await);
        }
    });
}

/// The same seed gives the same run.
#[test]
fn a_case_is_the_same_every_time() {
    let drawn = || {
        let all = std::cell::RefCell::new(Vec::new());
        Sim::check(5, async |sim| {
            let kinds: Vec<_> = (0..10).map(|_| sim.hostile()).collect();
            let lanes = lanes(LaneConfig::new(2).timeout(Timeout::budget(MINUTE)));
            sim.watch(&lanes);
            let lane = lanes.lane("main").unwrap();
            for kind in kinds {
                let answer = lane.run(async |_| kind.await).await;
                let answer = answer.map_err(|error| matches!(error, TaskError::Stalled { .. }));
                all.borrow_mut()
                    .push((answer, sim.below(1000), sim.chance(0.5)));
            }
        });
        all.into_inner()
    };
    assert_eq!(drawn(), drawn());
}

#[track_caller]
fn finds(problem: &str, body: impl AsyncFn(Sim)) {
    let failure = Sim::try_check(50, body).unwrap_err();
    let text = failure.to_string();
    assert!(failure.problem.contains(problem), "{text}");
    let seed = format!("replay: LANEWAY_SEED={:#x} ", failure.seed);
    let replay = text
        .lines()
        .last()
        .and_then(|last| last.strip_prefix(&seed));
    let thread = std::thread::current();
    let test = thread.name().filter(|name| *name != "main");
    let replays = |replay: &str| {
        test.map_or_else(
            || replay == "in the environment of this test",
            |test| {
                let exact = format!(" --all-features --test hostile -- --exact {test}");
                replay.starts_with("cargo test") && replay.ends_with(&exact)
            },
        )
    };
    assert!(replay.is_some_and(replays), "{text}");
}

#[test]
fn finds_a_body_that_never_ends() {
    finds("not over", async |sim| {
        if sim.chance(0.2) {
            pending::<()>().await;
        }
    });
}

#[test]
fn finds_a_body_that_panics() {
    finds("on purpose", async |sim| {
        assert!(!sim.chance(0.2), "on purpose")
    });
}

/// What the body still holds is dropped after the report was made, and cannot take
/// it along.
#[test]
fn finds_a_body_that_never_ends_and_panics_when_it_is_dropped() {
    struct Guard;

    impl Drop for Guard {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("the guard's"));
        }
    }

    finds("not over", async |sim| {
        let lanes = lanes(LaneConfig::new(1).no_stall_ceiling());
        sim.watch(&lanes);
        let _guard = Guard;
        drop(tokio::spawn(async {
            let _guard = Guard;
            pending::<()>().await;
        }));
        pending::<()>().await;
    });
}

/// A circle: each holds what the other waits for, and no stall ceiling ends
/// that.
#[test]
fn finds_two_tasks_that_wait_for_each_other() {
    finds("not idle", async |sim| {
        let lanes = Lanes::builder().default_lane(LaneConfig::new(1));
        // Which of them is to be ended is up to somebody.
        let lanes = lanes.on_deadlock(OnDeadlock::Warn).build().unwrap();
        sim.watch(&lanes);
        let (a, b) = (lanes.lane("a").unwrap(), lanes.lane("b").unwrap());
        let nest = |outer: &laneway::Lane, inner: &laneway::Lane, after: Duration| {
            let inner = inner.clone();
            drop(outer.spawn(async move |_| {
                sleep(after).await;
                inner.run(async |_| ()).await
            }));
        };
        nest(&a, &b, Duration::from_millis(1 + sim.below(10)));
        sleep(Duration::from_millis(sim.below(10))).await;
        nest(&b, &a, Duration::from_millis(1 + sim.below(10)));
        sim.run_until_idle(HOUR).await;
    });
}

/// A slot that is kept by hand and never given back, in a lane whose tasks may
/// be silent for ever.
#[test]
fn finds_a_slot_that_is_never_given_back() {
    finds("not over", async |sim| {
        let lanes = lanes(LaneConfig::new(1).no_stall_ceiling());
        sim.watch(&lanes);
        let slot = lanes.lane("main").unwrap().acquire().await.unwrap();
        if sim.chance(0.3) {
            std::mem::forget(slot);
        }
    });
}

#[test]
fn finds_an_orphan_that_is_left() {
    finds("orphans are left", async |sim| {
        let lanes = lanes(LaneConfig::new(1).stall_ceiling(MINUTE));
        sim.watch(&lanes);
        if sim.chance(0.3) {
            let mut lost = Hostile::ForgottenSlot.submit(lanes.lane("main").unwrap().task());
            drop(lost.answer().await);
        }
    });
}

/// The report says why nobody takes the slot.
#[test]
fn s10_says_that_taking_stops_at_the_bound() {
    for all in [false, true] {
        let failure = Sim::try_check(1, async |sim| {
            let (config, bound) = if all { (2, 1) } else { (1, 64) };
            let config = LaneConfig::new(1).stall_ceiling(MINUTE).max_orphans(config);
            let lanes = Lanes::builder().default_lane(config).max_orphans(bound);
            let lanes = lanes.build().unwrap();
            sim.watch(&lanes);
            let main = lanes.lane("main").unwrap();
            for _ in 0..2 {
                std::mem::forget(main.acquire().await.unwrap());
            }
            let _queued = main.spawn(async |_| ());
            sim.run_until_idle(HOUR).await;
        });
        let text = failure.unwrap_err().to_string();
        let (of, stops) = (
            if all { 2 } else { 1 },
            ", the bound at which taking stops\n",
        );
        let lane = format!("1 of 1 active, 1 queued, 1 of {of} orphans");
        assert!(text.contains(&lane), "{text}");
        let line = if all {
            "all lanes: 1 of 1 orphans"
        } else {
            &lane
        };
        assert!(text.contains(&format!("{line}{stops}")), "{text}");
        assert!(text.contains("asked to end: stalled"), "{text}");
    }
}

/// An answer that is lost on the way: the body, which waits for it, says so.
#[test]
fn finds_a_runner_that_forgets_an_answer() {
    finds("an answer", async |sim| {
        let lanes = lanes(LaneConfig::new(1).stall_ceiling(MINUTE));
        sim.watch(&lanes);
        let (tell, told) = tokio::sync::oneshot::channel();
        let (lane, tool) = (lanes.lane("main").unwrap(), sim.hostile());
        drop(tokio::spawn(async move {
            let turn = lane.task().timeout(Timeout::budget(MINUTE));
            if let Ok(answer) = turn.run(async |_| tool.await).await {
                let _ = tell.send(answer);
            }
        }));
        told.await.expect("an answer");
    });
}

/// What is allowed is not taken for a fault: long phases, extensions, waits,
/// tasks that are only observed or detached, limits that are lowered, resets.
#[test]
fn is_silent_about_what_is_well() {
    Sim::check(20, async |sim| {
        let lanes = Lanes::builder()
            .lane("main", LaneConfig::new(3).stall_ceiling(MINUTE))
            .lane(
                "watched",
                LaneConfig::new(1)
                    .stall_ceiling(MINUTE)
                    .on_stall(OnStall::WarnOnly),
            )
            .lane(
                "loose",
                LaneConfig::new(1)
                    .stall_ceiling(MINUTE)
                    .on_stall(OnStall::Detach),
            )
            .build()
            .unwrap();
        sim.watch(&lanes);
        let [main, watched, loose] =
            ["main", "watched", "loose"].map(|name| lanes.lane(name).unwrap());
        let phased = main.spawn(async move |cx| {
            let phase = cx.phase("a long one").silence(HOUR).unwrap();
            sleep(HOUR - SECOND).await;
            drop(phase);
        });
        let extended = main.spawn(async |_| sleep(HOUR).await);
        let observed = watched.spawn(async |_| sleep(HOUR).await);
        let detached = loose.spawn(async |_| sleep(HOUR).await);
        let inner = watched.clone();
        let waits = main.spawn(async move |_| inner.run(async |_| ()).await);
        sleep(SECOND).await;
        lanes.extend(extended.id(), 2 * HOUR).unwrap();
        main.set_max_concurrent(1).unwrap();
        sim.run_until_idle(3 * HOUR).await;
        for task in [phased, extended, observed, detached] {
            task.await.unwrap();
        }
        waits.await.unwrap().unwrap();
    });
}

/// Who waits for somebody uses up neither its budget nor its patience, with its
/// slots or without, and is held to both again afterwards.
#[test]
fn s9_is_silent_about_those_who_are_parked() {
    Sim::check(20, async |sim| {
        let config = || {
            let limits = Timeout::budget(20 * MINUTE).idle(5 * MINUTE);
            LaneConfig::new(1).stall_ceiling(4 * MINUTE).timeout(limits)
        };
        let lanes = Lanes::builder()
            .lane("session", config())
            .lane("main", config());
        let lanes = lanes.build().unwrap();
        sim.watch(&lanes);
        let chain = lanes.chain(["session", "main"]).unwrap();
        let turn = |releases: &'static [&'static str]| {
            chain.spawn(async move |cx| {
                sleep(MINUTE).await;
                let wait = cx.waiting("an approval").limit(2 * HOUR).release(releases);
                wait.on(sleep(HOUR)).await.unwrap();
                for _ in 0..2 {
                    cx.progress();
                    sleep(3 * MINUTE).await;
                }
            })
        };
        let turns = [&[][..], &["main"], &["session", "main"]].map(turn);
        let hung = chain.spawn(async |cx| {
            let wait = cx.waiting("an approval").release(["main"]);
            wait.on(sleep(HOUR)).await.unwrap();
            pending::<()>().await;
        });
        // They come back while others have the slot.
        let main = lanes.lane("main").unwrap();
        for _ in 0..3 {
            sleep(HOUR - MINUTE).await;
            main.run(async |_| sleep(3 * MINUTE).await).await.unwrap();
        }
        for turn in turns {
            turn.await.unwrap();
        }
        hung.await.unwrap_err();
    });
}

/// Whoever came while there were more slots keeps its own (S1).
#[test]
fn s1_is_silent_about_a_limit_that_was_another_for_a_moment() {
    Sim::check(20, async |sim| {
        let limit = Timeout::budget(MINUTE);
        let lanes = lanes(LaneConfig::new(1).timeout(limit));
        sim.watch(&lanes);
        let main = lanes.lane("main").unwrap();
        let tasks = [(); 2].map(|()| main.spawn(async |_| pending::<()>().await));
        sleep(SECOND).await;
        main.set_max_concurrent(2).unwrap();
        main.set_max_concurrent(1).unwrap();
        assert_eq!(main.snapshot().active.len(), 2);
        for task in tasks {
            task.await.unwrap_err();
        }
    });
}

/// A body that moves the clock itself is a machine that slept: what came due
/// has its grace tick (S19), and all that is due to it after that.
#[test]
fn s19_is_silent_about_a_clock_that_the_body_moves() {
    Sim::check(50, async |sim| {
        let config = LaneConfig::new(4).stall_ceiling(MINUTE);
        let lanes = lanes(config);
        sim.watch(&lanes);
        let main = lanes.lane("main").unwrap();
        let silent = main.spawn(async |_| pending::<()>().await);
        let listens = main.spawn(async |cx: TaskContext| {
            cx.cancelled().await;
            sleep(Duration::from_secs(4)).await;
        });
        let hooked = main.spawn(async |cx: TaskContext| {
            cx.defer(async |_| sleep(Duration::from_secs(4)).await);
            pending::<()>().await;
        });
        let slot = main.acquire().await.unwrap();
        let mut unclaimed = Box::pin(main.run(async |_| ()));
        assert!(poll_once(unclaimed.as_mut()).is_pending());
        let waits = main.task().timeout(Timeout::wait(30 * SECOND));
        let waits = waits.spawn(async |_| pending::<()>().await);
        let_run().await;
        drop(slot);
        for _ in 0..1 + sim.below(4) {
            let step = Duration::from_millis(1 + sim.below(180_000));
            tokio::time::advance(step).await;
        }
        sleep(SECOND).await;
        drop(unclaimed);
        sim.run_until_idle(HOUR).await;
        for told in [silent.await, listens.await, hooked.await, waits.await] {
            drop(told);
        }
    });
}

/// A take that the orphan bound refused is tried again within a second.
#[test]
fn s10_is_silent_about_a_bound_that_was_left_a_moment_ago() {
    Sim::check(50, async |sim| {
        let config = LaneConfig::new(1).stall_ceiling(MINUTE).max_orphans(1);
        let lanes = lanes(config);
        sim.watch(&lanes);
        let main = lanes.lane("main").unwrap();
        let mut first = Hostile::Parked.submit(main.task());
        let mut second = Hostile::Parked.submit(main.task());
        assert!(first.answer().await.is_none());
        assert!(second.answer().await.is_none());
        sleep(2 * MINUTE + Duration::from_millis(sim.below(60_000))).await;
        assert_eq!(main.snapshot().active.len(), 1, "at the bound");
        drop(first);
        sim.run_until_idle(2 * SECOND).await;
        drop(second);
    });
}

/// An orphan whose runner has come at last has the time of its hooks.
#[test]
fn is_silent_about_the_hooks_of_an_orphan() {
    Sim::check(1, async |sim| {
        let lanes = lanes(LaneConfig::new(1).stall_ceiling(MINUTE));
        sim.watch(&lanes);
        let main = lanes.lane("main").unwrap();
        let mut parked = Box::pin(main.run(async |cx: TaskContext| {
            cx.defer(async |_| sleep(SECOND).await);
            pending::<()>().await;
        }));
        assert!(poll_once(parked.as_mut()).is_pending());
        sleep(2 * MINUTE).await;
        assert_eq!(main.snapshot().orphans.len(), 1);
        drop(parked);
    });
}

#[test]
fn finds_that_nothing_is_watched() {
    finds("nothing is watched", async |sim| {
        let lanes = lanes(LaneConfig::new(1).no_stall_ceiling());
        let slot = lanes.lane("main").unwrap().acquire().await.unwrap();
        std::mem::forget(slot);
        sim.run_until_idle(HOUR).await;
    });
}

#[test]
#[should_panic(expected = "no cases")]
fn a_simulation_of_no_cases_is_none() {
    drop(Sim::try_check(0, async |_| ()));
}

/// S9: nor of one whose wait was over unseen: it is silent from then on, and
/// not since before.
#[test]
fn s9_is_silent_about_a_wait_that_nobody_polls_to_its_end() {
    Sim::check(1, async |sim| {
        let config = LaneConfig::new(1).stall_ceiling(4 * MINUTE);
        let lanes = Lanes::builder().lane("main", config).build().unwrap();
        sim.watch(&lanes);
        let main = lanes.lane("main").unwrap();
        let hung = main.spawn(async |cx| {
            let wait = cx.waiting("an approval").limit(HOUR).on(pending::<()>());
            let mut wait = std::pin::pin!(wait);
            assert!(poll_once(wait.as_mut()).is_pending());
            pending::<()>().await;
        });
        hung.await.unwrap_err();
    });
}

/// S9: who awaits it is not silent before it is, either.
#[tokio::test(start_paused = true)]
async fn s9_who_awaits_a_wait_that_is_over_unseen_is_not_stalling_yet() {
    let config = LaneConfig::new(1).stall_ceiling(4 * MINUTE);
    let lanes = Lanes::builder()
        .lane("outer", config.clone())
        .lane("inner", config.on_stall(OnStall::WarnOnly));
    let lanes = lanes.build().unwrap();
    let inner = lanes.lane("inner").unwrap();
    let began = now();
    let parent = lanes.lane("outer").unwrap().spawn(async move |_| {
        let child = inner.run(async |cx| {
            let wait = cx.waiting("an approval").limit(HOUR).on(pending::<()>());
            let mut wait = std::pin::pin!(wait);
            assert!(poll_once(wait.as_mut()).is_pending());
            pending::<()>().await;
        });
        child.await
    });
    parent.await.unwrap_err();
    let after = now() - began;
    assert!(after >= HOUR + 4 * MINUTE, "S9: ended after {after:?}");
}

/// What came due while it was parked is due from when it is so no more, and an
/// ask ends that.
#[test]
fn s9_is_silent_about_who_is_asked_while_it_is_parked() {
    for own in [false, true] {
        Sim::check(1, async |sim| {
            let budget = Timeout::budget(if own { HOUR * 24 } else { MINUTE });
            let lanes = lanes(LaneConfig::new(1).timeout(budget));
            sim.watch(&lanes);
            let main = lanes.lane("main").unwrap();
            let task = main.spawn(async move |cx| {
                if own {
                    cx.set_deadline(now() + MINUTE);
                }
                let wait = cx.waiting("an approval").limit(2 * HOUR);
                tokio::select! {
                    biased;
                    _ = wait.on(pending::<()>()) => (),
                    _ = cx.cancelled() => sleep(SECOND).await,
                }
            });
            sleep(HOUR).await;
            task.cancel(Reason::User);
            drop(task.await);
        });
    }
}

/// Where somebody insists, slots are taken past the bound.
#[test]
fn s10_is_silent_about_a_take_past_the_bound() {
    Sim::check(1, async |sim| {
        let lanes = lanes(LaneConfig::new(1).stall_ceiling(MINUTE).strict());
        sim.watch(&lanes);
        let main = lanes.lane("main").unwrap();
        let slot = main.acquire().await.unwrap();
        // It stalls, is asked, and is not taken at the bound.
        sleep(2 * MINUTE).await;
        main.reset();
        let next = main.acquire().await.unwrap();
        sleep(SECOND).await;
        drop(slot);
        lanes.shutdown().await;
        sleep(SECOND).await;
        drop(next);
    });
}

/// S19, S20: nobody slept, and what it had in both lanes is passed on at once.
#[test]
fn s20_is_silent_about_a_chain_that_nobody_comes_for() {
    Sim::check(1, async |sim| {
        let lanes = lanes(LaneConfig::new(1));
        sim.watch(&lanes);
        let chain = lanes.chain(["session", "main"]).unwrap();
        let busy = lanes.lane("main").unwrap().acquire().await.unwrap();
        let mut turn = Box::pin(chain.run(async |_| ()));
        assert!(poll_once(turn.as_mut()).is_pending());
        sleep(MINUTE).await;
        drop(busy);
        sleep(MINUTE).await;
        turn.await.unwrap();
    });
}

/// Who was detached from its slot may take its time, and the case waits for it.
#[test]
fn s10_who_runs_on_without_its_slot_is_waited_for() {
    let detached = async |sim: Sim, ends: bool| {
        let config = LaneConfig::new(1).stall_ceiling(MINUTE);
        let lanes = lanes(config.on_stall(OnStall::Detach));
        sim.watch(&lanes);
        drop(lanes.lane("main").unwrap().spawn(async move |_| {
            sleep(2 * HOUR).await;
            if !ends {
                pending::<()>().await;
            }
        }));
    };
    Sim::check(1, async |sim| detached(sim, true).await);
    finds("not over", async |sim| detached(sim, false).await);
}

/// A limit that is past by the time it is given is due from there.
#[test]
fn s8_is_silent_about_limits_that_come_late() {
    Sim::check(1, async |sim| {
        let lanes = lanes(LaneConfig::new(1));
        sim.watch(&lanes);
        let main = lanes.lane("main").unwrap();
        let deadline = now();
        let told = main.run(async |cx| {
            sleep(MINUTE).await;
            cx.set_deadline(deadline);
            let asked = cx.cancelled().await;
            // It has its grace.
            sleep(SECOND).await;
            asked
        });
        assert_eq!(told.await.unwrap(), Reason::TimedOut);
        let told = main.run(async |cx| {
            let phase = cx.phase("a longer one");
            sleep(MINUTE).await;
            let _phase = phase.silence(20 * SECOND).unwrap();
            sleep(20 * SECOND - Duration::from_millis(1)).await;
        });
        told.await.unwrap();
    });
}

/// Threads go on while a lane is looked at, and then its group.
#[test]
fn s5_is_silent_about_threads_that_share_a_budget() {
    Sim::check(5, async |sim| {
        let config = LaneConfig::new(2).no_stall_ceiling();
        let shared = GroupConfig::new(1).member("a").member("b");
        let lanes = Lanes::builder()
            .lane("a", config.clone())
            .lane("b", config)
            .group("shared", shared);
        let lanes = lanes.build().unwrap();
        sim.watch(&lanes);
        let [a, b] = ["a", "b"].map(|name| lanes.lane(name).unwrap());
        let both = (0..200).flat_map(|_| [&a, &b]);
        let tasks: Vec<_> = both.map(|lane| lane.spawn_blocking(|_| ())).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// A thread sets the lanes anew meanwhile.
#[test]
fn s5_is_silent_about_lanes_that_a_thread_sets_anew() {
    Sim::check(20, async |sim| {
        let mut builder = Lanes::builder();
        for n in 0..60 {
            let config = LaneConfig::new(1).no_stall_ceiling();
            builder = builder.lane(format!("l{n}"), config);
        }
        let lanes = builder.build().unwrap();
        sim.watch(&lanes);
        let [l0, l1] = ["l0", "l1"].map(|name| lanes.lane(name).unwrap());
        let slot = l0.acquire().await.unwrap();
        // The lanes are looked at whenever these have been heard.
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let telling = tokio::task::spawn_blocking(move || {
            for _ in 0..3000 {
                let _ = tell.send(());
                std::thread::yield_now();
            }
        });
        let setting = tokio::task::spawn_blocking(move || {
            for _ in 0..15 {
                let shared = GroupConfig::new(1).member("l0").member("l1");
                lanes.reconfigure(|c| c.group("shared", shared)).unwrap();
                // It waits for the budget that `l0` has used up.
                let waits = l1.spawn_blocking(|_| ());
                lanes.reconfigure(|c| c.remove_group("shared")).unwrap();
                drop(waits);
            }
        });
        while told.recv().await.is_some() {}
        for thread in [telling, setting] {
            thread.await.unwrap();
        }
        drop(slot);
    });
}

/// What was detached from its slot was not taken, in whatever way it ends.
#[test]
fn s10_who_was_detached_is_no_orphan_too_many_once_the_bound_is_lower() {
    Sim::check(1, async |sim| {
        let config = LaneConfig::new(3).stall_ceiling(MINUTE);
        let lanes = lanes(config.on_stall(OnStall::Detach));
        sim.watch(&lanes);
        let main = lanes.lane("main").unwrap();
        let hangs = |_| Box::pin(main.run(async |_| pending::<()>().await));
        let mut tasks: Vec<_> = (0..3).map(hangs).collect();
        for task in &mut tasks {
            assert!(poll_once(task.as_mut()).is_pending());
        }
        sleep(MINUTE + SECOND).await;
        assert_eq!(main.snapshot().orphans.len(), 3);
        main.set_max_concurrent(1).unwrap();
        sleep(SECOND).await;
        main.cancel_all(Reason::User);
        sleep(SECOND).await;
    });
}

/// Who gave its slot back and hangs is detached from nothing: its silence has no end.
#[test]
fn leaves_be_who_hangs_without_a_slot_to_be_detached_from() {
    Sim::check(1, async |sim| {
        let config = LaneConfig::new(1).stall_ceiling(MINUTE);
        let lanes = lanes(config.on_stall(OnStall::Detach));
        sim.watch(&lanes);
        let main = lanes.lane("main").unwrap();
        let mut left = Box::pin(main.run(async |cx| {
            let wait = cx.waiting("x").limit(MINUTE).release(["main"]);
            drop(wait.on(pending::<()>()).await);
        }));
        assert!(futures::poll!(left.as_mut()).is_pending());
        sleep(10 * MINUTE).await;
        main.cancel_all(Reason::User);
        sleep(Duration::from_secs(1)).await;
        drop(left);
    });
}

/// Its caller gives it up while it waits, and its hook takes a while.
#[test]
fn takes_no_time_for_its_own_in_which_its_clocks_stood_still() {
    for release in [&[][..], &["main"]] {
        let ran = Sim::try_check(1, async |sim| {
            let lanes = lanes(LaneConfig::new(1));
            sim.watch(&lanes);
            let main = lanes.lane("main").unwrap();
            let main = main.with_timeout(Timeout::budget(10 * MINUTE));
            let turn = main.run(async |cx| {
                cx.defer(async |_| sleep(3 * SECOND).await);
                let _ = cx.waiting("x").release(release).on(pending::<()>()).await;
            });
            assert!(tokio::time::timeout(HOUR, turn).await.is_err());
            sleep(10 * SECOND).await;
        });
        assert!(ran.is_ok(), "{release:?}: {}", ran.unwrap_err());
    }
}

/// It never comes back.
#[test]
fn waits_for_who_is_parked_without_its_slot() {
    for release in [&[][..], &["main"]] {
        let ran = Sim::try_check(1, async |sim| {
            let lanes = lanes(LaneConfig::new(1));
            sim.watch(&lanes);
            let main = lanes.lane("main").unwrap();
            drop(main.spawn(async move |cx| {
                let wait = cx.waiting("x").limit(100 * HOUR).release(release);
                let _ = wait.on(pending::<()>()).await;
            }));
            let_run().await;
        });
        assert!(
            ran.is_err(),
            "{release:?}: nobody noticed that it never ends"
        );
    }
}

/// Where it could not be detached for a bound, it is asked in the end, and its hook has
/// its time from then on.
#[test]
fn leaves_who_was_at_a_bound_the_time_for_its_hooks() {
    let ran = Sim::try_check(1, async |sim| {
        let config = LaneConfig::new(1).stall_ceiling(10 * MINUTE);
        let lanes = lanes(config.on_stall(OnStall::Detach));
        sim.watch(&lanes);
        let main = lanes.lane("main").unwrap();
        let first = main.acquire().await.unwrap();
        sleep(10 * MINUTE + SECOND).await;
        let second = main.spawn(async |cx| {
            cx.defer(async |_| sleep(3 * SECOND).await);
            pending::<()>().await;
        });
        sleep(20 * MINUTE).await;
        second.cancel(Reason::User);
        drop(first);
        assert!(second.await.is_err());
    });
    assert!(ran.is_ok(), "{}", ran.unwrap_err());
}
