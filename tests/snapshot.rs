//! The scheduler as it is at one moment.

use std::future::pending;
use std::time::Duration;

use futures::FutureExt;
use laneway::{
    BlockedBy, Lane, LaneConfig, LaneState, Lanes, OnStall, Priority, Reason, TaskHandle,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn forever(lane: &Lane) -> TaskHandle<()> {
    lane.spawn(async |_| pending().await)
}

/// A lane with a holder that asks for approval, one more urgent waiter and one
/// less, and an orphan; ten seconds in.
async fn scene() -> (Lanes, Lane, Vec<TaskHandle<()>>, laneway::Slot) {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1).max_orphans(2))
        .lane("quiet", LaneConfig::new(3))
        .fence_start(500)
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let orphan = main.task().name("lost").acquire().await.unwrap();
    main.reset();
    let active = main.task().name("turn 17").key("ticket-42/17");
    let active = active.spawn(async |cx| {
        tokio::time::sleep(SECOND * 4).await;
        cx.progress_note("reading the ticket");
        let _phase = cx.phase("bash: cargo test");
        pending().await
    });
    tokio::time::sleep(SECOND * 3).await;
    let background = main.task().priority(Priority::Background);
    let background = background.spawn(async |_| ());
    tokio::time::sleep(SECOND * 5).await;
    let foreground = main.task().priority(Priority::Foreground).key("k");
    let foreground = foreground.spawn(async |_| ());
    tokio::time::sleep(SECOND * 2).await;
    (lanes, main, vec![active, background, foreground], orphan)
}

#[tokio::test(start_paused = true)]
async fn it_shows_every_lane_and_every_task() {
    let (lanes, main, tasks, orphan) = scene().await;
    let snapshot = lanes.snapshot();
    let names: Vec<_> = snapshot.lanes.iter().map(|lane| &*lane.name).collect();
    assert_eq!(names, ["main", "quiet"]);
    let quiet = &snapshot.lanes[1];
    assert_eq!((quiet.max_concurrent, quiet.max_orphans), (3, 3));
    assert_eq!(quiet.blocked_by, None);
    assert!(quiet.active.is_empty() && quiet.queued.is_empty());

    let lane = &snapshot.lanes[0];
    assert_eq!((lane.max_concurrent, lane.max_orphans), (1, 2));
    assert_eq!((lane.paused, lane.state), (false, LaneState::Open));
    assert_eq!(lane.blocked_by, Some(BlockedBy::MaxConcurrent));
    let counters = lane.counters;
    assert_eq!((counters.submitted, counters.granted), (4, 2));
    assert_eq!((counters.taken, counters.completed), (1, 0));

    let [active] = &lane.active[..] else {
        panic!("{lane:?}");
    };
    assert_eq!(active.id, tasks[0].id());
    assert_eq!(active.name.as_deref(), Some("turn 17"));
    assert_eq!(active.key.as_deref(), Some("ticket-42/17"));
    assert_eq!(active.priority, Priority::Normal);
    assert_eq!(active.age, Some(SECOND * 10));
    assert_eq!(active.idle, Some(SECOND * 6));
    assert_eq!(active.waited, Duration::ZERO);
    assert_eq!(active.fence, Some(501));
    assert_eq!(active.note.as_deref(), Some("bash: cargo test"));
    assert_eq!(active.phase.as_deref(), Some("bash: cargo test"));
    assert!(active.reported && !active.waiting);
    assert_eq!(active.asked, None);

    let [foreground, background] = &lane.queued[..] else {
        panic!("{lane:?}");
    };
    assert_eq!(foreground.id, tasks[2].id());
    assert_eq!(foreground.priority, Priority::Foreground);
    assert_eq!(foreground.waited, SECOND * 2);
    assert_eq!((foreground.age, foreground.idle), (None, None));
    assert_eq!(foreground.fence, None);
    assert_eq!(background.id, tasks[1].id());
    assert_eq!(background.waited, SECOND * 7);

    let [lost] = &lane.orphans[..] else {
        panic!("{lane:?}");
    };
    assert_eq!(lost.id, orphan.id());
    assert_eq!(lost.name.as_deref(), Some("lost"));
    assert_eq!(lost.asked, Some(Reason::Reset));
    assert_eq!(main.snapshot().active[0].id, active.id);
}

#[tokio::test(start_paused = true)]
async fn it_says_how_fast_waiters_come_and_are_served() {
    let lanes = Lanes::builder().lane("main", LaneConfig::new(2));
    let lanes = lanes.build().unwrap();
    let main = lanes.lane("main").unwrap();
    let pace = || {
        let pace = main.snapshot().pace;
        let rates = (pace.arrivals_per_second, pace.dispatches_per_second);
        (rates, pace.waited)
    };
    for _ in 0..20 {
        main.run(async |_| ()).await.unwrap();
    }
    assert_eq!(pace(), ((None, None), None), "nobody waited");
    // Four seconds of work a second, for two slots.
    for _ in 0..10 {
        drop(main.spawn(async |_| tokio::time::sleep(SECOND * 4).await));
        tokio::time::sleep(SECOND).await;
    }
    let ((arrivals, dispatches), _) = pace();
    assert_eq!(arrivals, Some(1.0));
    let served = dispatches.unwrap();
    assert!((0.3..0.7).contains(&served), "{served}");
    tokio::time::sleep(SECOND * 9).await;
    let ((arrivals, dispatches), waited) = pace();
    assert_eq!(arrivals, Some(0.1), "nobody came for ten seconds");
    let dispatches = dispatches.unwrap();
    assert!((0.4..0.7).contains(&dispatches), "{dispatches}");
    assert!(waited > Some(SECOND * 4), "{waited:?}");
    let expected = main.snapshot().pace.expected_wait;
    assert!(expected >= Some(SECOND * 2), "{expected:?}");
}

#[tokio::test(start_paused = true)]
async fn it_says_why_waiters_wait_and_what_a_lane_takes() {
    let lanes = Lanes::builder().lane("main", LaneConfig::new(1));
    let lanes = lanes.build().unwrap();
    let main = lanes.lane("main").unwrap();
    assert_eq!(main.snapshot().blocked_by, None);
    main.pause();
    assert_eq!(main.snapshot().blocked_by, None, "nobody waits");
    let waiter = forever(&main);
    assert_eq!(main.snapshot().blocked_by, Some(BlockedBy::Paused));
    main.set_max_concurrent(0).unwrap();
    main.resume();
    assert_eq!(main.snapshot().blocked_by, Some(BlockedBy::Paused));
    main.set_max_concurrent(1).unwrap();
    assert_eq!(main.snapshot().blocked_by, None);
    tokio::task::yield_now().await;
    waiter.cancel(Reason::User);
    assert_eq!(main.snapshot().active[0].asked, Some(Reason::User));
    waiter.await.unwrap_err();
    assert_eq!(main.snapshot().counters.ended, 1);
    drop(main.drain(laneway::Drain::within(MINUTE)));
    assert_eq!(main.snapshot().state, LaneState::Draining);
    main.close();
    assert_eq!(main.snapshot().state, LaneState::Closed);
    drop(main.shutdown());
    assert_eq!(main.snapshot().state, LaneState::Shutdown);
}

#[tokio::test(start_paused = true)]
async fn it_tells_who_waits_for_another_lane() {
    let lanes = Lanes::builder().default_lane(LaneConfig::new(1));
    let lanes = lanes.build().unwrap();
    let [session, main] = ["session", "main"].map(|name| lanes.lane(name).unwrap());
    let held = main.acquire().await.unwrap();
    let task = session.spawn({
        let main = main.clone();
        async move |_| main.run(async |_| pending::<()>().await).await
    });
    tokio::time::sleep(MINUTE).await;
    assert!(session.snapshot().active[0].waiting);
    drop(held);
    tokio::time::sleep(MINUTE).await;
    let holder = &session.snapshot().active[0];
    assert!(!holder.waiting);
    assert_eq!(holder.idle, Some(MINUTE));
    // Its future is polled by whoever awaits it, which is the task beside it.
    let inner = &main.snapshot().active[0];
    assert_eq!((holder.spawned, inner.spawned), (true, false));
    task.cancel(Reason::User);
}

#[tokio::test(start_paused = true)]
async fn the_counters_tell_how_tasks_ended() {
    let config = LaneConfig::new(2).stall_ceiling(MINUTE);
    let lanes = Lanes::builder()
        .lane("main", config.clone())
        .lane("detach", config.on_stall(OnStall::Detach))
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    main.run(async |_| ()).await.unwrap();
    let panics = main.run(async |_| std::panic::resume_unwind(Box::new("boom")));
    let _: Result<(), _> = panics.await;
    forever(&main).await.unwrap_err();
    let slot = main.acquire().await.unwrap();
    tokio::time::sleep(MINUTE * 2).await;
    drop(slot);
    drop(Box::pin(main.acquire()).now_or_never());
    let counters = main.snapshot().counters;
    assert_eq!((counters.submitted, counters.granted), (5, 5));
    assert_eq!((counters.reclaimed, counters.taken), (1, 1));
    assert_eq!(counters.late, 1);
    // A value, a panic and a slot given back; the stalled one.
    assert_eq!((counters.completed, counters.ended), (3, 1));

    let detach = lanes.lane("detach").unwrap();
    let long = detach.spawn(async |_| tokio::time::sleep(MINUTE * 3).await);
    tokio::time::sleep(MINUTE * 2).await;
    assert_eq!(detach.snapshot().orphans[0].id, long.id());
    long.await.unwrap();
    let counters = detach.snapshot().counters;
    assert_eq!((counters.completed, counters.taken), (1, 1));
    assert_eq!(counters.late, 0, "its result counts");
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn it_serializes_with_durations_in_milliseconds() {
    use serde_json::json;
    let (lanes, _, tasks, orphan) = scene().await;
    let id = |id: laneway::TaskId| serde_json::to_value(id).unwrap();
    let value = serde_json::to_value(lanes.snapshot()).unwrap();
    let [main, quiet] = &value["lanes"].as_array().unwrap()[..] else {
        panic!("{value}");
    };
    assert_eq!(
        *quiet,
        json!({
            "name": "quiet",
            "origin": "named",
            "max_concurrent": 3,
            "queue_capacity": null,
            "max_orphans": 3,
            "limits": {
                "stall_ceiling": 3_600_000, "idle": null, "budget": null, "wait": null,
                "grace": 5_000, "teardown": 5_000,
            },
            "group": null,
            "paused": false,
            "state": "open",
            "blocked_by": null,
            "queued": [],
            "at_door": [],
            "reserved": 0,
            "active": [],
            "parked": [],
            "orphans": [],
            "pace": {
                "arrivals_per_second": null, "dispatches_per_second": null,
                "waited": null, "expected_wait": null,
            },
            "counters": {
                "submitted": 0, "granted": 0, "completed": 0, "ended": 0,
                "reclaimed": 0, "recovered": 0, "ineffective": 0, "taken": 0,
                "late": 0, "repaired": 0, "deadlocks": 0,
            },
        })
    );
    assert_eq!(main["blocked_by"], "max_concurrent");
    assert_eq!(
        main["active"],
        json!([{
            "id": id(tasks[0].id()),
            "name": "turn 17",
            "key": "ticket-42/17",
            "priority": "normal",
            "limits": {
                "stall_ceiling": 600_000, "idle": null, "budget": null, "wait": null,
                "grace": 5_000, "teardown": 5_000,
            },
            "waited": 0,
            "age": 10_000,
            "idle": 6_000,
            "reported": true,
            "waiting": false,
            "runtime": tokio::runtime::Handle::current().id().to_string(),
            "spawned": true,
            "standing": "pending",
            "fence": 501,
            "note": "bash: cargo test",
            "phase": "bash: cargo test",
            "asked": null,
            "parked": null,
        }])
    );
    assert_eq!(main["queued"][0]["priority"], "foreground");
    assert_eq!(main["queued"][0]["waited"], 2_000);
    assert_eq!(main["queued"][0]["age"], json!(null));
    assert_eq!(main["orphans"][0]["id"], id(orphan.id()));
    assert_eq!(main["orphans"][0]["asked"], "reset");
    // An id is the text that logs and errors show.
    assert_eq!(id(orphan.id()), json!(orphan.id().to_string()));
}
