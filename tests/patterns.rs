//! Lanes that patterns make on first use, and what becomes of them.

#![expect(
    clippy::disallowed_types,
    reason = "the crate's own locks and atomics are not public"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{MINUTE, SECOND, let_run};
use laneway::{
    ConfigError, Drain, LaneConfig, LaneNameError, LaneOrigin, Lanes, PatternProblem, TaskError,
};

fn sessions(config: LaneConfig) -> Lanes {
    let lanes = Lanes::builder().pattern("session:*", config);
    lanes.build().unwrap()
}

fn names(lanes: &Lanes) -> Vec<String> {
    let lanes = lanes.snapshot().lanes;
    lanes.into_iter().map(|lane| lane.name).collect()
}

#[test]
fn a_lane_is_made_of_what_says_most_of_its_name() {
    let lanes = Lanes::builder()
        .default_lane(LaneConfig::new(9))
        .pattern("session:*", LaneConfig::new(1))
        .pattern("session:team-*", LaneConfig::new(2))
        .pattern("session:team-*:night", LaneConfig::new(3))
        .pattern("*.bak", LaneConfig::new(4))
        .lane("session:team-1:night", LaneConfig::new(5))
        .build();
    // `session:x.bak` is of both, and of neither in particular.
    let Err(ConfigError::OverlappingPatterns { one, other, name }) = lanes else {
        panic!("{lanes:?}");
    };
    assert_eq!((&*one, &*other), ("*.bak", "session:*"));
    assert_eq!(name, "session:.bak");

    let lanes = Lanes::builder()
        .default_lane(LaneConfig::new(9))
        .pattern("session:*", LaneConfig::new(1))
        .pattern("session:team-*", LaneConfig::new(2))
        .pattern("session:team-*:night", LaneConfig::new(3))
        .lane("session:team-1:night", LaneConfig::new(5))
        .build()
        .unwrap();
    for (name, slots, pattern) in [
        ("session:42", 1, Some("session:*")),
        ("session:", 1, Some("session:*")),
        ("session:team-7", 2, Some("session:team-*")),
        ("session:team-7:night", 3, Some("session:team-*:night")),
        ("session:team-1:night", 5, None),
        ("sesion:42", 9, Some("*")),
    ] {
        let lane = lanes.lane(name).unwrap().snapshot();
        let origin = pattern.map_or(LaneOrigin::Named, |p| LaneOrigin::Pattern(p.into()));
        assert_eq!(
            (lane.max_concurrent, lane.origin),
            (slots, origin),
            "{name}"
        );
    }
}

#[test]
fn s18_a_name_that_nothing_is_said_of_is_an_error() {
    let lanes = sessions(LaneConfig::new(1));
    let unknown = LaneNameError::Unknown {
        name: "sesion:42".into(),
    };
    assert_eq!(lanes.lane("sesion:42").unwrap_err(), unknown);
    lanes.close();
    let closed = LaneNameError::Closed {
        name: "session:42".into(),
    };
    assert_eq!(lanes.lane("session:42").unwrap_err(), closed);
    assert!(names(&lanes).is_empty());
}

#[test]
fn s18_a_pattern_has_one_star_and_is_given_once() {
    let one = LaneConfig::new(1);
    let build = |pattern: &str| Lanes::builder().pattern(pattern, one.clone()).build();
    for (pattern, stars) in [("session", 0), ("a*b*", 2), ("**", 2)] {
        let told = build(pattern).unwrap_err();
        let problem = PatternProblem::Stars { stars };
        let pattern = pattern.to_owned();
        assert_eq!(told, ConfigError::Pattern { pattern, problem });
    }
    for pattern in ["", "a\n*", &"x".repeat(257)] {
        let told = build(pattern).unwrap_err();
        assert!(
            matches!(
                &told,
                ConfigError::Pattern {
                    problem: PatternProblem::Name(_),
                    ..
                }
            ),
            "{told:?}"
        );
    }
    let twice = Lanes::builder()
        .pattern("a*", one.clone())
        .pattern("a*", one.clone());
    let pattern = "a*".to_owned();
    assert_eq!(
        twice.build().unwrap_err(),
        ConfigError::DuplicatePattern { pattern }
    );
    let defaults = Lanes::builder()
        .default_lane(one.clone())
        .pattern("*", one.clone());
    let told = defaults.build().unwrap_err();
    assert!(told.to_string().contains("default lane"), "{told}");
    let zero = one.warn_after(std::time::Duration::ZERO);
    let told = Lanes::builder().pattern("a*", zero).build().unwrap_err();
    assert!(
        told.to_string().starts_with("lane \"a*\": warn_after"),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn s15_a_lane_is_gone_when_nobody_uses_it_unless_it_is_pinned() {
    let lanes = Lanes::builder()
        .pattern("session:*", LaneConfig::new(1))
        .pattern("provider:*", LaneConfig::new(1).pinned())
        .build()
        .unwrap();
    for name in ["session:a", "provider:a"] {
        lanes.lane(name).unwrap().run(async |_| ()).await.unwrap();
    }
    assert_eq!(names(&lanes), ["provider:a"]);
    let kept = lanes.lane("provider:a").unwrap().snapshot();
    assert_eq!(kept.counters.completed, 1, "it is the same lane");
}

/// S7, S10: what would be forgotten with it keeps a lane.
#[tokio::test(start_paused = true)]
async fn a_lane_with_something_to_remember_stays() {
    let lanes = sessions(LaneConfig::new(1).stall_ceiling(MINUTE));
    let session = |name: &str| lanes.lane(&format!("session:{name}")).unwrap();

    session("limited").set_max_concurrent(3).unwrap();
    assert_eq!(session("limited").snapshot().max_concurrent, 3);
    session("paused").pause();
    assert!(session("paused").snapshot().paused);
    // An orphan: its slot is taken, and it is not let go of.
    let orphan = session("orphan").acquire().await.unwrap();
    session("orphan").reset();
    // A grant that nobody has come for.
    let slot = session("granted").acquire().await.unwrap();
    let mut granted = Box::pin({
        let lane = session("granted");
        async move { lane.acquire().await }
    });
    assert!(common::poll_once(granted.as_mut()).is_pending());
    drop(slot);
    assert_eq!(
        names(&lanes),
        [
            "session:limited",
            "session:paused",
            "session:orphan",
            "session:granted",
        ]
    );
    assert_eq!(session("orphan").snapshot().orphans.len(), 1);
    assert_eq!(session("granted").snapshot().active.len(), 1);
    assert_eq!(session("granted").snapshot().counters.granted, 2);

    session("limited").set_max_concurrent(1).unwrap();
    session("paused").resume();
    drop(orphan);
    drop(granted.await.unwrap());
    assert!(names(&lanes).is_empty());
}

/// A handle keeps its lane, and one that is asked for meanwhile is the same.
#[tokio::test(start_paused = true)]
async fn s1_two_handles_of_a_name_are_one_lane() {
    let lanes = sessions(LaneConfig::new(1));
    let early = lanes.lane("session:a").unwrap();
    lanes
        .lane("session:b")
        .unwrap()
        .run(async |_| ())
        .await
        .unwrap();
    let late = lanes.lane("session:a").unwrap();
    let held = early.acquire().await.unwrap();
    drop(early);
    assert!(late.try_acquire().is_err());
    drop((late, held));
    assert!(names(&lanes).is_empty());
}

#[tokio::test(start_paused = true)]
async fn s7_a_drain_of_all_reaches_lanes_of_patterns() {
    let lanes = sessions(LaneConfig::new(1));
    let session = lanes.lane("session:a").unwrap();
    let held = session.acquire().await.unwrap();
    let queued = session.spawn(async |_| ());
    drop(session);
    let drain = lanes.drain(Drain::within(SECOND).queued(laneway::QueuedWork::Return));
    let refused = lanes.lane("session:b").unwrap().run(async |_| ()).await;
    assert!(matches!(refused, Err(TaskError::Draining { .. })));
    drop(held);
    let report = drain.await;
    assert_eq!(report.returned.len(), 1);
    assert!(matches!(queued.await, Err(TaskError::Draining { .. })));
    let_run().await;
    assert!(names(&lanes).is_empty());
}

/// Lanes come and go at the same instant on four threads: whoever is active in
/// a lane is alone in it (S1), everybody has an answer (S7), and nothing is
/// left (S15).
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s1_s7_s15_lanes_that_retire_and_revive_at_once() {
    const NAMES: usize = 3;
    // Strict: on a starved machine no slot is taken from a late runner.
    let lanes = sessions(LaneConfig::new(1).strict());
    let inside: Arc<[AtomicUsize; NAMES]> = Arc::default();
    let comers = (0..8).map(|comer| {
        let (lanes, inside) = (lanes.clone(), Arc::clone(&inside));
        tokio::spawn(async move {
            let mut fences = [0; NAMES];
            for round in 0..1000 {
                let which = (comer + round) % NAMES;
                // A handle for this task alone: with the last of them the lane
                // goes.
                let lane = lanes.lane(&format!("session:{which}")).unwrap();
                let (alone, again) = (Arc::clone(&inside), round % 3);
                let work = async move |cx: laneway::TaskContext| {
                    assert_eq!(alone[which].fetch_add(1, Ordering::SeqCst), 0, "S1");
                    if again == 0 {
                        tokio::task::yield_now().await;
                    }
                    assert_eq!(alone[which].fetch_sub(1, Ordering::SeqCst), 1, "S1");
                    cx.fence()
                };
                let fence = match round % 2 {
                    0 => lane.run(work).await.unwrap(),
                    _ => {
                        let task = lane.spawn(work);
                        drop(lane);
                        task.await.unwrap()
                    }
                };
                assert!(fence > fences[which], "S11");
                fences[which] = fence;
            }
        })
    });
    for comer in comers.collect::<Vec<_>>() {
        comer.await.unwrap();
    }
    // The last task's runner lets go of its lane a moment after the answer.
    common::until(|| lanes.snapshot().lanes.is_empty()).await;
}

/// S7: it was paused for a while, and all lanes for good: it is kept, since it
/// goes on by itself.
#[tokio::test(start_paused = true)]
async fn s7_a_lane_that_resumes_by_itself_is_not_taken_for_one_that_does_not() {
    let lanes = sessions(LaneConfig::new(1));
    lanes.pause();
    let session = lanes.lane("session:a").unwrap();
    session.pause_for(MINUTE).unwrap();
    drop(session);
    let session = lanes.lane("session:a").unwrap();
    let task = session.spawn(async |_| ());
    tokio::time::sleep(MINUTE + SECOND).await;
    assert_eq!(task.status(), laneway::TaskStatus::Settled);
}
