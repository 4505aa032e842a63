//! The numbers are right, and there are no more series than are configured.

use std::future::pending;
use std::time::Duration;

use laneway::{
    GroupConfig, LaneConfig, Lanes, LanesBuilder, OnDeadlock, Reason, TaskStatus, Timeout,
};
use tokio::time::sleep;

use crate::common::{CEILING, HOUR, MINUTE, SECOND, let_run, poll_once};
use crate::seen::Seen;

fn measured() -> LanesBuilder {
    Lanes::builder().metrics()
}

#[tokio::test(start_paused = true)]
async fn a_lane_is_counted_as_it_is() {
    let mut seen = Seen::install();
    let lanes = measured().lane("main", LaneConfig::new(2)).build().unwrap();
    seen.assert_levels("main", [0, 0, 0, 0, 2]);
    let main = lanes.lane("main").unwrap();
    let tasks = [7, 9, 4].map(|n| main.spawn(async move |_| sleep(SECOND * n).await));
    seen.assert_levels("main", [1, 2, 0, 0, 2]);
    main.set_max_concurrent(3).unwrap();
    seen.assert_levels("main", [0, 3, 0, 0, 3]);
    main.set_max_concurrent(1).unwrap();
    let gives_up = main.spawn(async |_| ());
    seen.assert_levels("main", [1, 3, 0, 0, 1]);
    sleep(SECOND).await;
    gives_up.cancel(Reason::User);
    for task in tasks {
        task.await.unwrap();
    }
    let panics = main.spawn(async |_| panic!("on purpose"));
    panics.await.unwrap_err();
    seen.assert_levels("main", [0, 0, 0, 0, 1]);
    assert_eq!(seen.number("laneway_tasks_submitted_total", "main"), 5.0);
    assert_eq!(seen.number("laneway_tasks_dispatched_total", "main"), 4.0);
    assert_eq!(seen.settled("main", "completed"), 3.0);
    assert_eq!(seen.settled("main", "cancelled"), 1.0);
    assert_eq!(seen.settled("main", "panicked"), 1.0);
    let waits = seen.lengths("laneway_tasks_wait_seconds", "main");
    assert_eq!(waits, [0.0; 4]);
    let mut runs = seen.lengths("laneway_tasks_run_seconds", "main");
    runs.sort_by(f64::total_cmp);
    let whole: Vec<f64> = runs.iter().map(|run| run.round()).collect();
    assert_eq!(whole, [0.0, 4.0, 7.0, 9.0], "{runs:?}");
}

#[tokio::test(start_paused = true)]
async fn s17_reclaims_are_counted_with_what_they_came_to() {
    let mut seen = Seen::install();
    let config = LaneConfig::new(1).stall_ceiling(CEILING);
    let lanes = measured().lane("main", config).build().unwrap();
    let main = lanes.lane("main").unwrap();
    let silent = main.spawn(async |_| pending::<()>().await);
    let next = main.spawn(async |_| pending::<()>().await);
    silent.await.unwrap_err();
    seen.assert_levels("main", [0, 1, 0, 0, 1]);
    let waits = main.spawn(async |_| ());
    main.pause();
    next.await.unwrap_err();
    assert_eq!(seen.number("laneway_slots_reclaimed_total", "main"), 2.0);
    assert_eq!(seen.number("laneway_reclaims_recovered_total", "main"), 1.0);
    assert_eq!(
        seen.number("laneway_reclaims_ineffective_total", "main"),
        1.0
    );
    assert_eq!(seen.settled("main", "stalled"), 2.0);
    main.resume();
    waits.await.unwrap();
    for lengths in [
        "laneway_tasks_run_seconds",
        "laneway_reclaimed_idle_seconds",
    ] {
        let silences = seen.lengths(lengths, "main").into_iter();
        let silences: Vec<f64> = silences.filter(|length| *length > 0.0).collect();
        assert_eq!(silences.len(), 2);
        let near = |length: &f64| (length - CEILING.as_secs_f64()).abs() < 1.0;
        assert!(silences.iter().all(near), "{lengths}: {silences:?}");
    }
    let waits = seen.lengths("laneway_tasks_wait_seconds", "main");
    assert_eq!(waits.len(), 3, "{waits:?}");
    assert!(waits[1..].iter().all(|wait| *wait >= CEILING.as_secs_f64()));
}

#[tokio::test(start_paused = true)]
async fn s10_orphans_and_late_completions_are_counted() {
    let mut seen = Seen::install();
    let config = LaneConfig::new(1).stall_ceiling(CEILING);
    let lanes = measured().lane("main", config).build().unwrap();
    let main = lanes.lane("main").unwrap();
    let slot = main.acquire().await.unwrap();
    main.task().run(async |_| ()).await.expect("after the take");
    seen.assert_levels("main", [0, 0, 0, 1, 1]);
    assert_eq!(seen.number("laneway_slots_taken_total", "main"), 1.0);
    drop(slot);
    seen.assert_levels("main", [0, 0, 0, 0, 1]);
    assert_eq!(seen.settled("main", "stalled"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn s16_warnings_are_counted_and_healthy_lanes_have_none() {
    let mut seen = Seen::install();
    let config = LaneConfig::new(1).stall_ceiling(HOUR);
    let lanes = measured().lane("main", config).build().unwrap();
    let main = lanes.lane("main").unwrap();
    let moves = main.spawn(async |cx| {
        for _ in 0..60 {
            sleep(SECOND * 5).await;
            cx.progress();
        }
        pending::<()>().await;
    });
    let waits = main.spawn(async |_| ());
    sleep(MINUTE * 5).await;
    assert_eq!(seen.number("laneway_blocked_warnings_total", "main"), 0.0);
    sleep(MINUTE * 5).await;
    assert!(seen.number("laneway_blocked_warnings_total", "main") >= 1.0);
    drop(moves);
    main.reset();
    drop(waits);
}

#[tokio::test(start_paused = true)]
async fn who_parks_is_parked() {
    let mut seen = Seen::install();
    let lanes = measured().lane("main", LaneConfig::new(1)).build().unwrap();
    let main = lanes.lane("main").unwrap();
    let parks = main.spawn(async |cx| {
        let wait = cx.waiting("an approval").release(["main"]);
        wait.on(sleep(MINUTE)).await.unwrap();
    });
    let_run().await;
    seen.assert_levels("main", [0, 0, 1, 0, 1]);
    main.run(async |_| ()).await.unwrap();
    parks.await.unwrap();
    seen.assert_levels("main", [0, 0, 0, 0, 1]);
    assert_eq!(seen.settled("main", "completed"), 2.0);
}

#[tokio::test]
async fn s15_many_names_are_one_series_and_leave_nothing_in_it() {
    let mut seen = Seen::install();
    let lanes = measured()
        .pattern("session:*", LaneConfig::new(2))
        .default_lane(LaneConfig::new(1))
        .build()
        .unwrap();
    assert!(seen.lanes().is_empty(), "nothing is made yet");
    let sessions: Vec<_> = (0..100)
        .map(|n| lanes.lane(&format!("session:{n}")).unwrap())
        .collect();
    let slots: Vec<_> = sessions.iter().map(|s| s.try_acquire().unwrap()).collect();
    let other = lanes.lane("other").unwrap();
    other.run(async |_| ()).await.unwrap();
    seen.assert_levels("session:*", [0, 100, 0, 0, 200]);
    seen.assert_levels("*", [0, 0, 0, 0, 1]);
    drop(slots);
    seen.assert_levels("session:*", [0, 0, 0, 0, 200]);
    drop(sessions);
    drop(other);
    seen.assert_levels("session:*", [0, 0, 0, 0, 0]);
    seen.assert_levels("*", [0, 0, 0, 0, 0]);
    let dispatched = seen.number("laneway_tasks_dispatched_total", "session:*");
    assert_eq!(dispatched, 100.0, "counters stay");
    assert_eq!(seen.lanes(), ["*", "session:*"]);
}

#[tokio::test]
async fn a_lane_that_gets_a_name_of_its_own_takes_its_tasks_there() {
    let mut seen = Seen::install();
    let pattern = LaneConfig::new(2);
    let lanes = measured().pattern("session:*", pattern).build().unwrap();
    let [one, two] = ["session:1", "session:2"].map(|name| lanes.lane(name).unwrap());
    let held = (one.try_acquire().unwrap(), two.try_acquire().unwrap());
    lanes
        .reconfigure(|change| change.add_lane("session:1", LaneConfig::new(3)))
        .unwrap();
    seen.assert_levels("session:*", [0, 1, 0, 0, 2]);
    seen.assert_levels("session:1", [0, 1, 0, 0, 3]);
    drop(held);
    lanes
        .reconfigure(|change| {
            change.remove_lane("session:1");
            change.add_lane("night", LaneConfig::new(5));
        })
        .unwrap();
    seen.assert_levels("session:*", [0, 0, 0, 0, 4]);
    seen.assert_levels("session:1", [0, 0, 0, 0, 0]);
    seen.assert_levels("night", [0, 0, 0, 0, 5]);
    drop((one, two));
    drop(lanes);
    seen.assert_levels("session:*", [0, 0, 0, 0, 0]);
    seen.assert_levels("night", [0, 0, 0, 0, 0]);
}

/// Whatever becomes of tasks, each is settled once (S2), and the numbers are those of
/// the snapshot.
#[tokio::test(start_paused = true)]
async fn s2_metrics_agree_with_snapshots() {
    let mut seen = Seen::install();
    let short = Timeout::wait(SECOND * 30).grace(SECOND);
    let config = |slots| {
        let config = LaneConfig::new(slots).stall_ceiling(MINUTE);
        config.timeout(short)
    };
    let lanes = measured()
        .lane("a", config(1))
        .lane("b", config(2))
        .lane("c", config(3).queue_capacity(5))
        .group("tools", GroupConfig::new(2).member("a").member("b"))
        .build()
        .unwrap();
    let names = ["a", "b", "c"];
    let by_name = names.map(|name| lanes.lane(name).unwrap());
    let mut submitted = [0.0; 3];
    for round in 0..60_u64 {
        for (lane, submitted) in by_name.iter().zip(&mut submitted) {
            let task = lane.spawn(async move |cx| match round % 6 {
                0 => pending().await,
                1 => panic!("on purpose"),
                2 => cx.cancelled().await.eq(&Reason::Stalled),
                3 => cx
                    .waiting("nobody")
                    .limit(SECOND)
                    .on(pending::<()>())
                    .await
                    .is_ok(),
                _ => {
                    sleep(Duration::from_millis(700 * round)).await;
                    true
                }
            });
            // One that is refused was never there.
            *submitted += f64::from(u8::from(task.status() != TaskStatus::Settled));
            match round % 7 {
                0 => task.cancel(Reason::User),
                1 => drop(task.abort_on_drop()),
                _ => {}
            }
        }
        sleep(SECOND * 4).await;
        if round == 30 {
            by_name[0].reset();
            by_name[1].clear();
        }
    }
    sleep(HOUR).await;
    lanes.idle().await;
    let outcomes = [
        "completed",
        "panicked",
        "stalled",
        "timed_out",
        "cancelled",
        "cleared",
        "returned",
        "refused",
        "shutdown",
        "runtime_shutdown",
    ];
    for (name, lane) in names.into_iter().zip(&by_name) {
        let now = lane.snapshot();
        let slots = u32::try_from(now.max_concurrent).unwrap();
        seen.assert_levels(name, [0, 0, 0, 0, slots]);
        let counted = now.counters;
        let pairs = [
            ("laneway_tasks_submitted_total", counted.submitted),
            ("laneway_tasks_dispatched_total", counted.granted),
            ("laneway_slots_reclaimed_total", counted.reclaimed),
            ("laneway_reclaims_recovered_total", counted.recovered),
            ("laneway_reclaims_ineffective_total", counted.ineffective),
            ("laneway_slots_taken_total", counted.taken),
            ("laneway_late_completions_total", counted.late),
            ("laneway_deadlocks_total", counted.deadlocks),
            ("laneway_repairs_total", counted.repaired),
        ];
        for (metric, counted) in pairs {
            let counted = f64::from(u32::try_from(counted).unwrap());
            assert_eq!(seen.number(metric, name), counted, "{metric} of {name}");
        }
        let settled = outcomes.map(|outcome| seen.settled(name, outcome));
        let settled: f64 = settled.iter().sum();
        assert_eq!(settled, seen.number(pairs[0].0, name), "{name}");
        let waits = seen.lengths("laneway_tasks_wait_seconds", name).len();
        assert_eq!(waits, usize::try_from(counted.granted).unwrap(), "{name}");
        for outcome in ["completed", "panicked", "stalled", "timed_out", "cancelled"] {
            assert!(seen.settled(name, outcome) > 0.0, "{outcome} in {name}");
        }
    }
    assert!(seen.settled("b", "cleared") > 0.0);
}

#[tokio::test]
async fn deadlocks_are_counted_as_they_are_found() {
    let mut seen = Seen::install();
    let lanes = measured().lane("main", LaneConfig::new(1));
    let lanes = lanes.on_deadlock(OnDeadlock::Warn).build().unwrap();
    let main = lanes.lane("main").unwrap();
    let inner = main.clone();
    let outer = main.spawn(async move |_| inner.run(async |_| ()).await);
    let_run().await;
    assert_eq!(seen.number("laneway_deadlocks_total", "main"), 1.0);
    drop(outer.abort_on_drop());
}

#[tokio::test(start_paused = true)]
async fn s2_a_chain_is_one_task_with_several_slots() {
    let mut seen = Seen::install();
    let lanes = measured()
        .lane("session", LaneConfig::new(1))
        .lane("main", LaneConfig::new(1))
        .build()
        .unwrap();
    let slot = lanes.lane("main").unwrap().try_acquire().unwrap();
    let chain = lanes.chain(["session", "main"]).unwrap();
    let task = chain.spawn(async |_| sleep(SECOND).await);
    let_run().await;
    seen.assert_levels("session", [0, 1, 0, 0, 1]);
    seen.assert_levels("main", [1, 1, 0, 0, 1]);
    drop(slot);
    task.await.unwrap();
    for lane in ["session", "main"] {
        seen.assert_levels(lane, [0, 0, 0, 0, 1]);
    }
    assert_eq!(seen.settled("session", "completed"), 1.0);
    assert_eq!(
        seen.lengths("laneway_tasks_run_seconds", "session").len(),
        1
    );
    assert_eq!(seen.settled("main", "completed"), 1.0, "the slot by hand");
    assert_eq!(seen.number("laneway_tasks_dispatched_total", "main"), 2.0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_was_in_vain_is_no_run() {
    let mut seen = Seen::install();
    let lanes = measured().lane("main", LaneConfig::new(1)).build().unwrap();
    let main = lanes.lane("main").unwrap();
    let slot = main.try_acquire().unwrap();
    let limited = main.task().timeout(Timeout::wait(SECOND));
    limited.run(async |_| ()).await.unwrap_err();
    let mut dropped = Box::pin(main.run(async |_| ()));
    assert!(poll_once(dropped.as_mut()).is_pending());
    drop(dropped);
    assert_eq!(seen.settled("main", "timed_out"), 1.0);
    assert_eq!(seen.settled("main", "cancelled"), 1.0);
    assert!(seen.lengths("laneway_tasks_run_seconds", "main").is_empty());
    sleep(MINUTE).await;
    drop(slot);
    let runs = seen.lengths("laneway_tasks_run_seconds", "main");
    assert_eq!(runs.len(), 1);
    assert!(runs[0] > 60.0, "of the slot by hand: {runs:?}");
}

#[tokio::test]
async fn what_became_of_events_is_counted() {
    let mut seen = Seen::install();
    let lane = ("main", LaneConfig::new(1));
    let lanes = measured().lane(lane.0, lane.1).events(4).build().unwrap();
    let main = lanes.lane("main").unwrap();
    let mut events = lanes.events().unwrap();
    main.run(async |_| ()).await.unwrap();
    assert!(events.try_next().unwrap().is_ok());
    for _ in 0..5 {
        main.run(async |_| ()).await.unwrap();
    }
    // Some were fetched before the rest was overwritten.
    let overflow = std::iter::from_fn(|| events.try_next()).find_map(Result::err);
    let overflow = overflow.unwrap();
    let dropped = seen.total("laneway_events_dropped_total");
    assert_eq!(dropped, f64::from(u32::try_from(overflow.missed).unwrap()));
    while let Some(event) = events.try_next() {
        drop(event.unwrap());
    }
    let counters = lanes.snapshot().events.unwrap();
    for (name, count) in [
        ("laneway_events_published_total", counters.published),
        ("laneway_events_streamed_total", counters.streamed),
        ("laneway_events_dropped_total", counters.dropped),
    ] {
        assert_eq!(seen.total(name), f64::from(u32::try_from(count).unwrap()));
    }
}

#[tokio::test]
async fn they_are_to_be_turned_on() {
    let mut seen = Seen::install();
    let lane = ("main", LaneConfig::new(1));
    let lanes = Lanes::builder().lane(lane.0, lane.1).events(8).build();
    let main = lanes.unwrap().lane("main").unwrap();
    drop(main.run(async |_| ()).await);
    assert!(seen.all().is_empty());
}
