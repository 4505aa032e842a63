//! S18: bad input is a typed error at the call that gave it, and nothing is
//! half done.

#![expect(
    clippy::disallowed_methods,
    reason = "a deadline is given as an instant"
)]

use std::future::pending;
use std::time::Duration;

use laneway::{
    AcquireError, ConfigError, ControlError, InvalidOption, Lane, LaneConfig, LaneNameError, Lanes,
    NameProblem, Reason, TaskBuilder, TaskError, TaskStatus, Timeout, TryAcquireError,
};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
/// About 73 years: the longest that the clock can hold.
const LONGEST: Duration = Duration::from_nanos(1 << 61);
const TOO_LONG: Duration = Duration::from_nanos((1 << 61) + 1);

fn lane() -> (Lanes, Lane) {
    let config = LaneConfig::new(1);
    let lanes = Lanes::builder().lane("main", config).build().unwrap();
    let main = lanes.lane("main").unwrap();
    (lanes, main)
}

fn bad_names() -> [(String, NameProblem); 4] {
    let control = |at| NameProblem::ControlCharacter { at };
    [
        (String::new(), NameProblem::Empty),
        ("x".repeat(257), NameProblem::TooLong { len: 257, max: 256 }),
        ("a\nb".into(), control(1)),
        ("ü\u{7f}".into(), control(2)),
    ]
}

#[test]
fn s18_lane_names_are_checked_where_they_are_given() {
    let fine = ["x".repeat(256), "session:тикет 42".into(), " ".into()];
    for name in fine {
        let lanes = Lanes::builder().lane(&*name, LaneConfig::new(1));
        lanes.build().unwrap().lane(&name).unwrap();
    }
    let lanes = Lanes::builder().default_lane(LaneConfig::new(1));
    let lanes = lanes.build().unwrap();
    for (name, problem) in bad_names() {
        let built = Lanes::builder().lane(&*name, LaneConfig::new(1)).build();
        match built {
            Err(ConfigError::Name {
                lane,
                problem: source,
            }) => {
                assert_eq!((lane, source.problem), (name.clone(), problem));
            }
            other => panic!("{other:?}"),
        }
        match lanes.lane(&name) {
            Err(LaneNameError::Invalid(invalid)) => assert_eq!(invalid.problem, problem),
            other => panic!("{other:?}"),
        }
    }
    assert!(lanes.snapshot().lanes.is_empty());
}

#[test]
fn s18_an_unknown_lane_is_an_error_without_a_default() {
    let (lanes, _) = lane();
    assert_eq!(
        lanes.lane("mian").unwrap_err(),
        LaneNameError::Unknown {
            name: "mian".into()
        }
    );
    assert_eq!(lanes.snapshot().lanes.len(), 1);
}

#[test]
fn s18_a_lane_is_configured_once() {
    let twice = Lanes::builder()
        .lane("a", LaneConfig::new(1))
        .lane("b", LaneConfig::new(1))
        .lane("a", LaneConfig::new(2));
    assert_eq!(
        twice.build().unwrap_err(),
        ConfigError::DuplicateLane { lane: "a".into() }
    );
}

#[test]
fn s18_fences_do_not_run_out() {
    for given in [u64::MAX, (1 << 62) + 1] {
        let max = 1 << 62;
        assert_eq!(
            Lanes::builder().fence_start(given).build().unwrap_err(),
            ConfigError::FenceStart { given, max }
        );
    }
}

#[test]
fn s18_every_duration_of_a_lane_is_checked() {
    type Set = fn(LaneConfig, Duration) -> LaneConfig;
    let limits: [(&str, Set); 5] = [
        ("the stall ceiling", |lane, d| lane.stall_ceiling(d)),
        ("warn_after", |lane, d| lane.warn_after(d)),
        ("the idle timeout", |lane, d| lane.timeout(Timeout::idle(d))),
        ("the budget", |lane, d| lane.timeout(Timeout::budget(d))),
        ("the wait timeout", |lane, d| lane.timeout(Timeout::wait(d))),
    ];
    let spans: [(&str, Set); 3] = [
        ("the teardown", |lane, d| lane.teardown(d)),
        ("aging", |lane, d| lane.aging(d)),
        ("the grace", |lane, d| lane.timeout(Timeout::grace(d))),
    ];
    let build = |set: Set, d| {
        let config = set(LaneConfig::new(1), d);
        let named = Lanes::builder().lane("main", config.clone()).build();
        let default = Lanes::builder().default_lane(config).build();
        assert_eq!(named.is_ok(), default.is_ok());
        named.map(drop)
    };
    for (what, set) in limits.into_iter().chain(spans) {
        let bad = match what {
            "the teardown" | "aging" | "the grace" => vec![TOO_LONG, Duration::MAX],
            _ => vec![Duration::ZERO, TOO_LONG, Duration::MAX],
        };
        for given in bad {
            match build(set, given) {
                Err(ConfigError::Duration {
                    lane,
                    problem: source,
                }) => {
                    assert_eq!((&*lane, source.what, source.given), ("main", what, given));
                }
                other => panic!("{what} of {given:?}: {other:?}"),
            }
        }
        build(set, LONGEST).unwrap();
    }
    for (_, set) in spans {
        build(set, Duration::ZERO).unwrap();
    }
}

/// Every way of submitting a task refuses it, and none leaves a trace.
async fn assert_refused(
    lanes: &Lanes,
    main: &Lane,
    set: &dyn for<'a> Fn(TaskBuilder<'a>) -> TaskBuilder<'a>,
) -> InvalidOption {
    let before = main.snapshot().counters;
    let task = || set(main.task().key("a key"));
    let told = match task().run(async |_| ()).await {
        Err(TaskError::Invalid(told)) => told,
        other => panic!("{other:?}"),
    };
    let spawned = task().spawn(async |_| ());
    assert_eq!(spawned.status(), TaskStatus::Settled);
    assert!(matches!(spawned.await, Err(TaskError::Invalid(t)) if t == told));
    let blocking = task().spawn_blocking(|_| ()).await;
    assert!(matches!(blocking, Err(TaskError::Invalid(t)) if t == told));
    let acquired = task().acquire().await;
    assert!(matches!(acquired, Err(AcquireError::Invalid(t)) if t == told));
    let tried = task().try_acquire();
    assert!(matches!(tried, Err(TryAcquireError::Invalid(t)) if t == told));
    let after = main.snapshot();
    assert_eq!(after.counters, before);
    assert!(after.queued.is_empty());
    assert_eq!(lanes.cancel_key("a key", Reason::User), 0);
    told
}

#[tokio::test(start_paused = true)]
async fn s18_every_option_of_a_task_is_checked() {
    let (lanes, main) = lane();
    let _held = main.acquire().await.unwrap();
    for (name, problem) in bad_names() {
        let named = assert_refused(&lanes, &main, &|task| task.name(&*name)).await;
        let keyed = assert_refused(&lanes, &main, &|task| task.key(&*name)).await;
        for (told, what) in [(named, "a task name"), (keyed, "a task key")] {
            match told {
                InvalidOption::Name(invalid) => {
                    assert_eq!((invalid.what, invalid.problem), (what, problem));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    type Set = for<'a> fn(TaskBuilder<'a>, Duration) -> TaskBuilder<'a>;
    let limits: [(&str, Set); 6] = [
        ("the stall ceiling", |task, d| task.stall_ceiling(d)),
        ("warn_after", |task, d| task.warn_after(d)),
        ("on_wait", |task, d| task.on_wait(d, |_| panic!("called"))),
        ("the idle timeout", |task, d| task.timeout(Timeout::idle(d))),
        ("the budget", |task, d| task.timeout(Timeout::budget(d))),
        ("the wait timeout", |task, d| task.timeout(Timeout::wait(d))),
    ];
    let spans: [(&str, Set); 2] = [
        ("the grace", |task, d| task.timeout(Timeout::grace(d))),
        ("waited", |task, d| task.waited(d)),
    ];
    let bad = |(what, set)| [(what, set, TOO_LONG), (what, set, Duration::MAX)];
    let mut all: Vec<(&str, Set, Duration)> = Vec::new();
    all.extend(limits.map(|(what, set)| (what, set, Duration::ZERO)));
    all.extend(limits.into_iter().chain(spans).flat_map(bad));
    for (what, set, given) in all {
        let told = assert_refused(&lanes, &main, &|task| set(task, given)).await;
        match told {
            InvalidOption::Duration(d) => assert_eq!((d.what, d.given), (what, given)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn s18_a_handle_with_a_bad_timeout_refuses_every_task() {
    let (lanes, main) = lane();
    for bad in [Timeout::idle(Duration::ZERO), Timeout::budget(TOO_LONG)] {
        let bounded = main.with_timeout(bad);
        let told = assert_refused(&lanes, &bounded, &|task| task).await;
        assert!(matches!(told, InvalidOption::Duration(_)));
        // A good one of the task's own does not hide it.
        let good = Timeout::idle(SECOND).budget(SECOND);
        assert_refused(&lanes, &bounded, &|task| task.timeout(good)).await;
    }
    main.run(async |_| ()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn s18_the_control_verbs_check_what_they_are_given() {
    let (lanes, main) = lane();
    for bad in [Duration::ZERO, TOO_LONG, Duration::MAX] {
        let refused = main.pause_for(bad).unwrap_err();
        assert!(matches!(refused, ControlError::Duration(d) if d.given == bad));
        assert!(!main.snapshot().paused);
    }
    let active = main.spawn(async |_| pending::<()>().await);
    let queued = main.spawn(async |_| pending::<()>().await);
    tokio::task::yield_now().await;
    for bad in [Duration::ZERO, TOO_LONG] {
        let refused = lanes.extend(active.id(), bad).unwrap_err();
        assert!(matches!(refused, ControlError::Duration(d) if d.given == bad));
    }
    lanes.extend(active.id(), LONGEST).unwrap();
    let id = queued.id();
    assert_eq!(
        lanes.extend(id, SECOND),
        Err(ControlError::NotRunning { id })
    );
    assert_eq!(
        lanes.forget_orphan(id),
        Err(ControlError::NotAnOrphan { id })
    );
    queued.cancel(Reason::User);
    for verb in [
        lanes.extend(id, SECOND),
        lanes.forget_orphan(id),
        lanes.cancel(id, Reason::User),
    ] {
        assert_eq!(verb, Err(ControlError::UnknownTask { id }));
    }
}

#[tokio::test(start_paused = true)]
async fn s18_a_phase_with_a_bad_silence_is_over() {
    let (_lanes, main) = lane();
    let ran = main.run(async |cx| {
        let _outer = cx.phase("outer");
        for bad in [Duration::ZERO, TOO_LONG] {
            let refused = cx.phase("bash: cargo test").silence(bad).unwrap_err();
            assert_eq!(refused.given, bad);
            let snapshot = main.snapshot();
            assert_eq!(snapshot.active[0].phase.as_deref(), Some("outer"));
        }
        let _inner = cx.phase("inner").silence(LONGEST).unwrap();
        assert_eq!(main.snapshot().active[0].phase.as_deref(), Some("inner"));
    });
    ran.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn s18_enormous_limits_are_fine() {
    let huge = LaneConfig::new(usize::MAX)
        .max_orphans(usize::MAX)
        .stall_ceiling(LONGEST)
        .warn_after(LONGEST)
        .aging(LONGEST)
        .teardown(LONGEST)
        .timeout(Timeout::idle(LONGEST).budget(LONGEST).wait(LONGEST));
    let lanes = Lanes::builder()
        .lane("main", huge)
        .max_orphans(usize::MAX)
        .fence_start(1 << 62)
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let far = Instant::now() + Duration::from_secs(100 * 365 * 24 * 60 * 60);
    let ran = main.task().waited(LONGEST).run(async |cx| {
        cx.set_deadline(far);
        tokio::time::sleep(SECOND * 3600).await;
    });
    ran.await.unwrap();
    let slot = main.acquire().await.unwrap();
    main.set_max_concurrent(usize::MAX).unwrap();
    main.pause_for(LONGEST).unwrap();
    assert_eq!(main.reset(), 1);
    drop(slot);
    main.resume();
    main.wait_active(Duration::MAX).await.unwrap();
    main.drain(laneway::Drain::within(Duration::MAX)).await;
}

#[tokio::test(start_paused = true)]
async fn s18_ten_million_reports_of_progress_are_fine() {
    let (_lanes, main) = lane();
    let ran = main.spawn(async |cx| {
        for _ in 0..10_000_000u32 {
            cx.progress();
        }
    });
    ran.await.unwrap();
}

#[test]
fn s18_without_a_runtime_nothing_is_queued() {
    use futures::FutureExt;
    let (_lanes, main) = lane();
    let ran = main.run(async |_| ()).now_or_never();
    assert!(matches!(ran, Some(Err(TaskError::NoRuntime))));
    let spawned = main.spawn(async |_| ()).now_or_never();
    assert!(matches!(spawned, Some(Err(TaskError::NoRuntime))));
    let acquired = main.acquire().now_or_never();
    assert!(matches!(acquired, Some(Err(AcquireError::NoRuntime))));
    assert!(matches!(
        main.try_acquire(),
        Err(TryAcquireError::NoRuntime)
    ));
    assert_eq!(main.snapshot().counters.submitted, 0);
}

#[test]
fn s18_a_pattern_is_no_name_of_a_lane() {
    let config = LaneConfig::new(1);
    let built = Lanes::builder().lane("session:*", config).build();
    let refused = built.map(drop).unwrap_err();
    assert_eq!(
        refused,
        ConfigError::PatternAsLane {
            lane: "session:*".into()
        }
    );
}
