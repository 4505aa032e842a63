//! Setting lanes anew while they run: whole or not at all.

#![expect(
    clippy::disallowed_types,
    reason = "the crate's own locks and atomics are not public"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{MINUTE, SECOND, let_run, now, one_lane};
use futures::FutureExt;
use laneway::{
    ConfigError, LaneConfig, LaneNameError, LaneOrigin, Lanes, Limit, OnStall, TaskError, Timeout,
};

fn lanes() -> Lanes {
    Lanes::builder()
        .lane("main", LaneConfig::new(2))
        .pattern("session:*", LaneConfig::new(1))
        .build()
        .unwrap()
}

fn slots(lanes: &Lanes, name: &str) -> usize {
    lanes.lane(name).unwrap().snapshot().max_concurrent
}

fn origin(lanes: &Lanes, name: &str) -> LaneOrigin {
    lanes.lane(name).unwrap().snapshot().origin
}

fn names(lanes: &Lanes) -> Vec<String> {
    let lanes = lanes.snapshot().lanes;
    lanes.into_iter().map(|lane| lane.name).collect()
}

#[tokio::test(start_paused = true)]
async fn s5_more_slots_are_given_at_once() {
    let lanes = lanes();
    let (main, session) = (
        lanes.lane("main").unwrap(),
        lanes.lane("session:a").unwrap(),
    );
    let _held = [
        main.acquire().await.unwrap(),
        main.acquire().await.unwrap(),
        session.acquire().await.unwrap(),
    ];
    let waiting = [main.spawn(async |_| ()), session.spawn(async |_| ())];
    lanes
        .reconfigure(|change| {
            change.lane("main").max_concurrent(3);
            change.pattern("session:*", LaneConfig::new(2));
        })
        .unwrap();
    for task in waiting {
        task.await.unwrap();
    }
    assert_eq!((slots(&lanes, "main"), slots(&lanes, "session:a")), (3, 2));
    assert_eq!(slots(&lanes, "session:b"), 2, "and it holds for new ones");
}

#[tokio::test(start_paused = true)]
async fn s1_fewer_slots_evict_nobody() {
    let (lanes, main) = one_lane(LaneConfig::new(2));
    let held = [main.acquire().await.unwrap(), main.acquire().await.unwrap()];
    lanes
        .reconfigure(|change| {
            change.lane("main").max_concurrent(1);
        })
        .unwrap();
    assert!(held.iter().all(laneway::Slot::is_current));
    let next = main.spawn(async |_| ());
    let [one, two] = held;
    drop(one);
    let_run().await;
    assert_eq!(main.snapshot().queued.len(), 1);
    drop(two);
    next.await.unwrap();
}

/// S4: what a task was granted is its own, queued or active.
#[tokio::test(start_paused = true)]
async fn s4_tasks_that_are_there_keep_what_they_were_granted() {
    let (lanes, main) = one_lane(LaneConfig::new(1).timeout(Timeout::budget(MINUTE)));
    let began = now();
    let forever = async |_| std::future::pending::<()>().await;
    let (active, queued) = (main.spawn(forever), main.spawn(forever));
    let_run().await;
    lanes
        .reconfigure(|change| {
            let budget = Timeout::budget(SECOND).wait(SECOND);
            change
                .lane("main")
                .timeout(budget)
                .stall_ceiling(SECOND / 2);
        })
        .unwrap();
    assert_eq!(main.snapshot().limits.budget, Some(SECOND));
    assert_eq!(main.snapshot().active[0].limits.budget, Some(MINUTE));
    assert_eq!(main.snapshot().queued[0].limits.wait, None);
    for (task, at) in [(active, MINUTE), (queued, MINUTE * 2)] {
        let told = task.await.unwrap_err();
        let TaskError::TimedOut { limit, allowed, .. } = told else {
            panic!("{told:?}");
        };
        assert_eq!((limit, allowed), (Limit::Budget, MINUTE));
        assert_eq!(now() - began, at);
    }
    let stalled = main.run(forever).await;
    assert!(matches!(stalled, Err(TaskError::Stalled { ceiling, .. }) if ceiling == SECOND / 2));
    // A task's own wishes are resolved against what holds now, too.
    let named = main.task().name("turn").no_stall_ceiling();
    let told = named.run(forever).await.unwrap_err();
    assert!(matches!(told, TaskError::TimedOut { allowed, .. } if allowed == SECOND));
}

#[tokio::test(start_paused = true)]
async fn everything_that_a_lane_is_set_to_can_be_changed() {
    let (lanes, main) = one_lane(LaneConfig::new(1));
    lanes
        .reconfigure(|change| {
            change
                .lane("main")
                .max_concurrent(3)
                .stall_ceiling(SECOND)
                .on_stall(OnStall::Detach)
                .timeout(Timeout::idle(MINUTE))
                .teardown(SECOND * 2)
                .warn_after(SECOND * 3)
                .aging(SECOND * 4)
                .max_orphans(5);
        })
        .unwrap();
    let set = main.snapshot();
    assert_eq!((set.max_concurrent, set.max_orphans), (3, 5));
    assert_eq!(set.limits.stall_ceiling, Some(SECOND));
    assert_eq!(set.limits.idle, Some(MINUTE));
    assert_eq!(set.limits.teardown, SECOND * 2);
    let task = main.spawn(async |_| tokio::time::sleep(MINUTE).await);
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(task.status(), laneway::TaskStatus::Detached);
    lanes
        .reconfigure(|change| {
            change.lane("main").no_stall_ceiling().strict();
        })
        .unwrap();
    let set = main.snapshot();
    assert_eq!((set.max_concurrent, set.max_orphans), (3, 0));
    assert_eq!(set.limits.stall_ceiling, None);
    assert_eq!(set.limits.idle, Some(MINUTE), "what is not named stays");
    task.await.unwrap();
}

/// S18: whatever is wrong with any part of it, nothing is changed.
#[tokio::test(start_paused = true)]
async fn s18_a_refused_change_changes_nothing() {
    let lanes = lanes();
    let session = lanes.lane("session:a").unwrap();
    let before = format!("{:?}", lanes.snapshot());
    type Record = fn(&mut laneway::Reconfigure);
    let one = || LaneConfig::new(1);
    let zero = Duration::ZERO;
    let (main, mian) = (|| "main".to_owned(), || "mian".to_owned());
    let cases: [(Record, ConfigError); 6] = [
        (
            |change| {
                change.lane("mian").max_concurrent(1);
            },
            ConfigError::UnknownLane { lane: mian() },
        ),
        (
            |change| change.remove_lane("mian"),
            ConfigError::UnknownLane { lane: mian() },
        ),
        (
            |change| {
                change.lane("session:a").max_concurrent(2);
            },
            ConfigError::UnknownLane {
                lane: "session:a".into(),
            },
        ),
        (
            |change| change.add_lane("main", LaneConfig::new(7)),
            ConfigError::DuplicateLane { lane: main() },
        ),
        (
            |change| change.remove_pattern("*"),
            ConfigError::UnknownPattern {
                pattern: "*".into(),
            },
        ),
        (
            |change| change.pattern("*:a", LaneConfig::new(1)),
            ConfigError::OverlappingPatterns {
                one: "*:a".into(),
                other: "session:*".into(),
                name: "session::a".into(),
            },
        ),
    ];
    for (bad, error) in cases {
        let told = lanes.reconfigure(|change| {
            change.lane("main").max_concurrent(9);
            change.pattern("session:*", one().max_orphans(9).pinned());
            change.add_lane("new", one());
            bad(change);
            change.remove_lane("new");
        });
        assert_eq!(told.unwrap_err(), error);
        assert_eq!(format!("{:?}", lanes.snapshot()), before);
    }
    let told = lanes.reconfigure(|change| {
        change.lane("main").warn_after(zero);
    });
    assert!(matches!(told, Err(ConfigError::Duration { lane, .. }) if lane == "main"));
    let told = lanes.reconfigure(|change| change.add_lane("a\nb", one()));
    assert!(matches!(told, Err(ConfigError::Name { .. })));
    let told = lanes.reconfigure(|change| change.pattern("main", one()));
    assert!(matches!(told, Err(ConfigError::Pattern { .. })));
    assert_eq!(format!("{:?}", lanes.snapshot()), before);
    assert_eq!(slots(&lanes, "session:b"), 1);
    drop(session);
    assert_eq!(names(&lanes), ["main"], "it is not pinned");
}

/// What was limited by hand stays so, unless the lane itself is named.
#[tokio::test(start_paused = true)]
async fn a_limit_set_by_hand_outlives_changes_of_its_pattern() {
    let lanes = lanes();
    let by_hand = lanes.lane("session:hand").unwrap();
    by_hand.set_max_concurrent(3).unwrap();
    let pattern = |slots| {
        let config = LaneConfig::new(slots).teardown(SECOND);
        lanes
            .reconfigure(|change| change.pattern("session:*", config))
            .unwrap();
    };
    pattern(2);
    assert_eq!(
        (slots(&lanes, "session:hand"), slots(&lanes, "session:b")),
        (3, 2)
    );
    assert_eq!(by_hand.snapshot().limits.teardown, SECOND, "the rest holds");
    // Set to what is configured, it is not limited by hand any more.
    by_hand.set_max_concurrent(2).unwrap();
    pattern(4);
    assert_eq!(slots(&lanes, "session:hand"), 4);

    let main = lanes.lane("main").unwrap();
    main.set_max_concurrent(0).unwrap();
    lanes
        .reconfigure(|change| {
            change.lane("main").teardown(SECOND);
        })
        .unwrap();
    assert_eq!(slots(&lanes, "main"), 0, "its slots were not named");
    lanes
        .reconfigure(|change| {
            change.lane("main").max_concurrent(2);
        })
        .unwrap();
    assert_eq!(slots(&lanes, "main"), 2, "now they were");
    main.set_max_concurrent(0).unwrap();
    lanes
        .reconfigure(|change| {
            change.remove_lane("main");
            change.add_lane("main", LaneConfig::new(5));
        })
        .unwrap();
    assert_eq!(slots(&lanes, "main"), 5);
}

/// A lane is what would be made now, whichever pattern that is.
#[tokio::test(start_paused = true)]
async fn a_live_lane_goes_from_one_pattern_to_another() {
    let lanes = lanes();
    let team = lanes.lane("session:team-7").unwrap();
    let held = team.acquire().await.unwrap();
    let id = held.id();
    let of = |pattern: &str| LaneOrigin::Pattern(pattern.into());
    lanes
        .reconfigure(|change| change.pattern("session:team-*", LaneConfig::new(4)))
        .unwrap();
    assert_eq!(slots(&lanes, "session:team-7"), 4);
    assert_eq!(origin(&lanes, "session:team-7"), of("session:team-*"));
    assert_eq!(origin(&lanes, "session:a"), of("session:*"));
    // Named, it is the same lane with the same task, and its slots are those
    // that it was named with, also where that is what the pattern said.
    team.set_max_concurrent(1).unwrap();
    lanes
        .reconfigure(|change| change.add_lane("session:team-7", LaneConfig::new(4)))
        .unwrap();
    assert_eq!(slots(&lanes, "session:team-7"), 4);
    assert_eq!(team.snapshot().active[0].id, id);
    assert_eq!(team.snapshot().origin, LaneOrigin::Named);
    drop(held);
    drop(team);
    assert_eq!(names(&lanes), ["main", "session:team-7"], "and it is kept");
    lanes
        .reconfigure(|change| {
            change.remove_lane("session:team-7");
            change.remove_pattern("session:team-*");
        })
        .unwrap();
    assert_eq!(names(&lanes), ["main"], "until it is not named any more");
    assert_eq!(origin(&lanes, "session:team-7"), of("session:*"));
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_is_unpinned_goes() {
    let lanes = Lanes::builder()
        .pattern("provider:*", LaneConfig::new(1).pinned())
        .build()
        .unwrap();
    drop(lanes.lane("provider:a").unwrap());
    assert_eq!(names(&lanes), ["provider:a"]);
    lanes
        .reconfigure(|change| change.pattern("provider:*", LaneConfig::new(1)))
        .unwrap();
    assert!(names(&lanes).is_empty());
}

/// S7: a lane that is removed runs out, and whoever has a handle goes on.
#[tokio::test(start_paused = true)]
async fn s7_a_removed_lane_runs_out() {
    for named_from_the_start in [true, false] {
        let lanes = if named_from_the_start {
            lanes()
        } else {
            let lanes = Lanes::builder().build().unwrap();
            lanes
                .reconfigure(|change| change.add_lane("main", LaneConfig::new(2)))
                .unwrap();
            lanes
        };
        let main = lanes.lane("main").unwrap();
        let held = [main.acquire().await.unwrap(), main.acquire().await.unwrap()];
        let queued = main.spawn(async |_| 1);
        lanes
            .reconfigure(|change| change.remove_lane("main"))
            .unwrap();
        let unknown = LaneNameError::Unknown {
            name: "main".into(),
        };
        assert_eq!(lanes.lane("main").unwrap_err(), unknown);
        assert_eq!(main.snapshot().origin, LaneOrigin::Removed);
        assert_eq!(names(&lanes), ["main"], "it has tasks");
        let late = main.spawn(async |_| 2);
        lanes.cancel(held[0].id(), laneway::Reason::User).unwrap();
        drop(held);
        assert_eq!((queued.await.unwrap(), late.await.unwrap()), (1, 2));
        let_run().await;
        assert!(names(&lanes).is_empty());

        // Configured again, it is the lane that handles still lead to (S1).
        let fence = main.acquire().await.unwrap().fence();
        let held = main.acquire().await.unwrap();
        lanes
            .reconfigure(|change| change.add_lane("main", LaneConfig::new(1)))
            .unwrap();
        let again = lanes.lane("main").unwrap();
        assert!(again.try_acquire().is_err());
        drop(held);
        assert!(again.try_acquire().unwrap().fence() > fence, "S11");

        // And where nobody has a handle, its fences go on, too.
        drop((main, again));
        lanes
            .reconfigure(|change| change.remove_lane("main"))
            .unwrap();
        lanes
            .reconfigure(|change| change.add_lane("main", LaneConfig::new(1)))
            .unwrap();
        let new = lanes.lane("main").unwrap();
        assert!(new.try_acquire().unwrap().fence() > fence + 1, "S11");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_is_added_stands_as_all_lanes_do() {
    let lanes = lanes();
    lanes.pause();
    lanes
        .reconfigure(|change| change.add_lane("night", LaneConfig::new(1)))
        .unwrap();
    let night = lanes.lane("night").unwrap();
    assert!(night.try_acquire().is_err());
    lanes.resume();
    assert!(night.try_acquire().is_ok());
    lanes.close();
    lanes
        .reconfigure(|change| change.add_lane("late", LaneConfig::new(1)))
        .unwrap();
    let late = lanes.lane("late").unwrap().try_acquire();
    assert!(matches!(late, Err(laneway::TryAcquireError::Closed { .. })));
}

/// S13: the closure runs outside every lock.
#[tokio::test(start_paused = true)]
async fn s13_the_closure_may_call_back_into_the_scheduler() {
    let lanes = lanes();
    lanes
        .reconfigure(|change| {
            lanes
                .reconfigure(|inner| {
                    inner.lane("main").max_concurrent(7);
                })
                .unwrap();
            lanes
                .lane("session:a")
                .unwrap()
                .run(async |_| ())
                .now_or_never();
            change.lane("main").teardown(SECOND);
        })
        .unwrap();
    // The outer one is carried out on what the inner one left.
    assert_eq!(slots(&lanes, "main"), 7);
    let main = lanes.lane("main").unwrap().snapshot();
    assert_eq!(main.limits.teardown, SECOND);
}

/// S13: whoever is woken by it may change the configuration in turn.
#[tokio::test(start_paused = true)]
async fn s13_a_waker_may_call_back_into_the_scheduler() {
    struct Changes(Lanes, AtomicBool);

    impl std::task::Wake for Changes {
        fn wake(self: Arc<Self>) {
            let set = |change: &mut laneway::Reconfigure| {
                change.lane("main").teardown(SECOND);
            };
            self.1
                .store(self.0.reconfigure(set).is_ok(), Ordering::SeqCst);
        }
    }

    let (lanes, main) = one_lane(LaneConfig::new(1));
    let _held = main.acquire().await.unwrap();
    let changes = Arc::new(Changes(lanes.clone(), AtomicBool::new(false)));
    let waker = std::task::Waker::from(Arc::clone(&changes));
    let mut waiter = Box::pin(main.acquire());
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(waiter.as_mut().poll(&mut cx).is_pending());
    lanes
        .reconfigure(|change| {
            change.lane("main").max_concurrent(2);
        })
        .unwrap();
    assert!(changes.1.load(Ordering::SeqCst));
    assert_eq!(main.snapshot().limits.teardown, SECOND);
    assert_eq!(main.snapshot().max_concurrent, 2);
    assert!(waiter.as_mut().poll(&mut cx).is_ready());
}

/// What was said to it by hand is of no use any more when nobody can ask for
/// it.
#[tokio::test(start_paused = true)]
async fn s15_a_removed_lane_that_was_paused_by_hand_goes() {
    let lanes = lanes();
    let session = lanes.lane("session:a").unwrap();
    session.pause();
    session.set_max_concurrent(7).unwrap();
    drop(session);
    assert_eq!(names(&lanes), ["main", "session:a"]);
    lanes
        .reconfigure(|change| change.remove_pattern("session:*"))
        .unwrap();
    assert_eq!(names(&lanes), ["main"]);
    lanes
        .reconfigure(|change| change.pattern("session:*", LaneConfig::new(1)))
        .unwrap();
    let again = lanes.lane("session:a").unwrap().snapshot();
    assert_eq!((again.paused, again.max_concurrent), (false, 1));
}

#[tokio::test(start_paused = true)]
async fn s15_lanes_and_patterns_that_come_and_go_leave_nothing() {
    let lanes = lanes();
    for number in 0..200 {
        let (lane, pattern) = (format!("lane {number}"), format!("{number}:*"));
        lanes
            .reconfigure(|change| {
                change.add_lane(&*lane, LaneConfig::new(1));
                change.pattern(&*pattern, LaneConfig::new(1).pinned());
            })
            .unwrap();
        let made = lanes.lane(&format!("{number}:a")).unwrap();
        made.run(async |_| ()).await.unwrap();
        drop(made);
        assert_eq!(lanes.snapshot().lanes.len(), 3);
        lanes
            .reconfigure(|change| {
                change.remove_lane(&*lane);
                change.remove_pattern(&*pattern);
            })
            .unwrap();
        assert_eq!(names(&lanes), ["main"]);
    }
}

/// On four threads: lanes are used, and made and retired, while what is said of
/// them changes. Nobody is lost (S7), what is granted is within the widest that
/// was ever configured (S1), and in the end the last word holds for all.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s1_s7_lanes_are_set_anew_under_load() {
    let strict = |slots| LaneConfig::new(slots).strict();
    let lanes = Lanes::builder()
        .lane("main", strict(1))
        .pattern("session:*", strict(1))
        .build()
        .unwrap();
    let held = lanes.lane("session:0").unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let changers = (0..2_usize).map(|changer| {
        let (lanes, over) = (lanes.clone(), Arc::clone(&over));
        tokio::spawn(async move {
            let mut round = changer;
            while !over.load(Ordering::Relaxed) {
                round += 2;
                let slots = 1 + round % 3;
                let told = lanes.reconfigure(|change| {
                    change.lane("main").max_concurrent(slots);
                    change.pattern("session:*", strict(slots));
                    if changer == 0 {
                        match round % 4 {
                            0 => change.pattern("session:1*", strict(slots)),
                            _ => change.remove_pattern("session:1*"),
                        }
                    }
                });
                assert!(told.is_ok() || round == 2, "{told:?}");
                tokio::task::yield_now().await;
            }
        })
    });
    let changers: Vec<_> = changers.collect();
    let comers = (0..6).map(|comer| {
        let lanes = lanes.clone();
        tokio::spawn(async move {
            for round in 0..500 {
                let name = format!("session:{}", (comer + round) % 3);
                let (session, main) = (lanes.lane(&name).unwrap(), lanes.lane("main").unwrap());
                let work = async move |_| {
                    let inner = async |_| tokio::task::yield_now().await;
                    main.run(inner).await.unwrap();
                };
                match round % 2 {
                    0 => session.run(work).await.unwrap(),
                    _ => session.spawn(work).await.unwrap(),
                }
                let active = session.snapshot().active.len();
                assert!(active <= 3, "S1: {active}");
            }
        })
    });
    for comer in comers.collect::<Vec<_>>() {
        comer.await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    for changer in changers {
        changer.await.unwrap();
    }
    lanes
        .reconfigure(|change| {
            change.lane("main").max_concurrent(5);
            change.pattern("session:*", strict(6));
        })
        .unwrap();
    assert_eq!(
        (slots(&lanes, "main"), held.snapshot().max_concurrent),
        (5, 6)
    );
    drop(held);
    common::until(|| names(&lanes).len() == 1).await;
}
