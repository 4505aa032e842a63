//! What was recorded is decided once more, event for event.

#[path = "../common/mod.rs"]
mod common;
mod incident;
#[path = "../trace/requests.rs"]
mod requests;
mod saving;

use common::{CEILING, HOUR, MINUTE, SECOND, let_run, poll_once};
use laneway::replay::{Recording, ReplayError, Replayed, SaveError};
use laneway::{
    ConfigError, Drain, Event, EventKind, GroupConfig, LaneConfig, Lanes, LanesBuilder, OnBusy,
    OnFull, OnStall, Outcome, Priority, QueuedWork, Reason, TaskContext, Timeout,
};
use std::future::pending;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

const MANY: usize = 1 << 20;

fn recorded(builder: LanesBuilder) -> Lanes {
    builder.events(MANY).recording(MANY).build().unwrap()
}

fn saved(lanes: &Lanes) -> Vec<u8> {
    let mut saved = Vec::new();
    lanes.save_recording(&mut saved).unwrap();
    saved
}

#[track_caller]
fn replayed(saved: &[u8]) -> Replayed {
    let recording = Recording::read(saved).unwrap();
    recording.replay().unwrap_or_else(|error| panic!("{error}"))
}

/// What readers of the log were told.
fn told(lanes: &Lanes) -> Vec<Event> {
    let mut all = lanes.subscribe_from(0).unwrap();
    std::iter::from_fn(|| all.try_next())
        .map(|event| event.expect("nothing is missed"))
        .collect()
}

/// The replay tells what the log told, and that was not little.
#[track_caller]
fn reproduces(lanes: &Lanes) -> Replayed {
    let replayed = replayed(&saved(lanes));
    let told = told(lanes);
    assert!(told.len() > 4);
    assert_eq!(replayed.events().len(), told.len());
    for (again, event) in replayed.events().iter().zip(&told) {
        assert_eq!(again, event);
    }
    replayed
}

#[tokio::test(start_paused = true)]
async fn a_recorded_hour_with_a_hang_in_every_hundred() {
    let Some(trace) = requests::load(env!("CARGO_MANIFEST_DIR")) else {
        return;
    };
    let config = LaneConfig::new(32).stall_ceiling(MINUTE);
    let builder = Lanes::builder().lane("main", config);
    let lanes = recorded(builder.default_lane(LaneConfig::new(1)));
    let main = lanes.lane("main").unwrap();
    let local = LocalSet::new();
    let mut hung = 0;
    let requests: Vec<_> = trace
        .into_iter()
        .map(|request| {
            hung += usize::from(request.hangs);
            let session = lanes.lane(&format!("session:{}", request.session)).unwrap();
            let main = main.clone();
            local.spawn_local(async move {
                sleep(request.at).await;
                let body = async |_: TaskContext| match request.hangs {
                    true => pending().await,
                    false => sleep(request.service).await,
                };
                session.run(async |_| main.run(body).await.is_ok()).await
            })
        })
        .collect();
    let all = requests.len();
    let served = local.run_until(async {
        let mut served = 0;
        for request in requests {
            served += usize::from(request.await.unwrap().unwrap());
        }
        served
    });
    let served = timeout(24 * HOUR, served).await.expect("all are answered");
    assert_eq!(served, all - hung);
    assert!(hung > 10 && all > 1_000, "{hung} of {all}");

    let replayed = reproduces(&lanes);
    assert_eq!(replayed.reclaimed().count(), hung);
    assert_eq!(replayed.dispatched().count(), 2 * all);
}

/// A lane of one slot, recorded.
fn one() -> (Lanes, laneway::Lane) {
    let config = LaneConfig::new(1).stall_ceiling(CEILING);
    let lanes = recorded(Lanes::builder().lane("main", config));
    let main = lanes.lane("main").unwrap();
    (lanes, main)
}

/// One that stalls, with somebody behind it.
async fn a_stall() -> Lanes {
    let (lanes, main) = one();
    let stuck = main.task().name("stuck");
    let stuck = stuck.spawn(async |_| pending::<()>().await);
    main.task().name("next").run(async |_| ()).await.unwrap();
    assert!(stuck.await.is_err());
    lanes
}

#[tokio::test(start_paused = true)]
async fn a_stall_is_asked_about() {
    let lanes = a_stall().await;
    let replayed = reproduces(&lanes);
    let names: Vec<_> = replayed
        .dispatched()
        .map(|event| event.name.as_deref().unwrap())
        .collect();
    assert_eq!(names, ["stuck", "next"]);
    let blocked: Vec<&Event> = replayed.blocked().collect();
    assert!(blocked.len() > 1, "S16: and it says so again");
    assert_eq!(&*blocked[0].lane, "main");
    let reclaimed: Vec<&Event> = replayed.reclaimed().collect();
    let next = replayed.dispatched().last().unwrap();
    assert!(matches!(
        reclaimed[0].kind,
        EventKind::Recovered { dispatched, .. } if dispatched == next.task
    ));
    let story: Vec<_> = replayed.of(next.task.unwrap()).collect();
    assert!(matches!(
        (&story[0].kind, &story.last().unwrap().kind),
        (
            EventKind::Queued { .. },
            EventKind::Settled {
                outcome: Outcome::Completed,
                ..
            }
        )
    ));
}

#[tokio::test(start_paused = true)]
async fn ends_of_all_kinds() {
    let config = LaneConfig::new(2).stall_ceiling(CEILING).max_orphans(4);
    let detaching = LaneConfig::new(1).stall_ceiling(CEILING);
    let builder = Lanes::builder()
        .lane("main", config)
        .lane("long", detaching.on_stall(OnStall::Detach));
    let lanes = recorded(builder);
    let (main, long) = (lanes.lane("main").unwrap(), lanes.lane("long").unwrap());

    assert!(main.spawn(async |_| panic!("on purpose")).await.is_err());
    let listens = main.task().timeout(Timeout::budget(MINUTE));
    let listens = listens.spawn(async |cx| {
        cx.progress_note("reading");
        let phase = cx.phase("bash");
        cx.defer(|_| sleep(SECOND));
        sleep(SECOND).await;
        drop(phase);
        pending::<()>().await
    });
    assert!(listens.await.is_err());
    // Nobody polls it: it is taken, and comes too late.
    let mut run = Box::pin(main.run(async |_| pending::<()>().await));
    assert!(poll_once(run.as_mut()).is_pending());
    sleep(CEILING + SECOND).await;
    drop(run);
    for forget in [true, false] {
        let slot = main.acquire().await.unwrap();
        main.reset();
        if forget {
            lanes.forget_orphan(slot.id()).unwrap();
        }
        drop(slot);
    }
    let detached = long.spawn(async |_| sleep(HOUR).await);
    let moving = long.spawn(async |cx| {
        for _ in 0..5 {
            sleep(CEILING - SECOND).await;
            cx.progress();
        }
    });
    detached.await.unwrap();
    moving.await.unwrap();

    let slots = [main.acquire().await.unwrap(), main.acquire().await.unwrap()];
    let patient = main.task().timeout(Timeout::wait(SECOND));
    assert!(patient.spawn(async |_| ()).await.is_err());
    let cancelled = main.spawn(async |_| ());
    lanes.cancel(cancelled.id(), Reason::User).unwrap();
    let cleared = main.spawn(async |_| ());
    assert_eq!(main.clear(), 1);
    let urgent = main.task().priority(Priority::Foreground);
    let (last, first) = (main.spawn(async |_| ()), urgent.spawn(async |_| ()));
    drop(slots);
    first.await.unwrap();
    last.await.unwrap();
    drop((cancelled, cleared));

    let running = main.spawn(async |_| pending::<()>().await);
    let_run().await;
    main.pause_for(SECOND).unwrap();
    let waiting = main.spawn(async |_| ());
    assert!(main.set_max_concurrent(0).is_ok());
    drop(main.drain(Drain::within(MINUTE).queued(QueuedWork::Return)));
    sleep(2 * MINUTE).await;
    assert!(running.await.is_err());
    assert!(waiting.await.is_err());
    drop(long.shutdown());
    let replayed = reproduces(&lanes);
    let settled = |event: &&Event| matches!(event.kind, EventKind::Settled { .. });
    assert!(replayed.events().iter().filter(settled).count() > 12);
}

#[tokio::test(start_paused = true)]
async fn lines_of_all_kinds() {
    let config = LaneConfig::new(1).queue_capacity(1).on_full(OnFull::Wait);
    let builder = Lanes::builder().lane("main", config.clone());
    let lanes = recorded(
        builder
            .lane("other", LaneConfig::new(1))
            .lane("free", config),
    );
    let (main, other) = (lanes.lane("main").unwrap(), lanes.lane("other").unwrap());
    let slot = main.acquire().await.unwrap();
    let queued = main.spawn(async |_| ());
    let mut at_door = Box::pin(main.run(async |_| ()));
    assert!(poll_once(at_door.as_mut()).is_pending());
    drop(slot);
    queued.await.unwrap();
    // It is granted, and its runner does not come for it (S20).
    sleep(10 * SECOND).await;
    at_door.await.unwrap();
    let free = lanes.lane("free").unwrap();
    let merge = |old: u32, new: u32| old + new;
    let put_off = || {
        let task = free.task().key("k");
        task.debounce(SECOND, 1, merge, async |_, n| n)
    };
    put_off().await.unwrap();
    let slot = free.acquire().await.unwrap();
    let first = put_off();
    sleep(2 * SECOND).await;
    let again = put_off();
    drop(slot);
    assert_eq!((*first.await.unwrap(), *again.await.unwrap()), (2, 2));

    // Whoever waits is superseded, and whoever holds.
    let held = other.task().key("k").spawn(async |_| pending::<()>().await);
    let_run().await;
    let instead = || other.task().key("k").on_busy(OnBusy::Supersede);
    let second = instead().spawn(async |_| ());
    instead().spawn(async |_| ()).await.unwrap();
    drop((held, second));

    // Slots in two lanes, and one that is given back meanwhile.
    let chain = lanes.chain(["main", "other"]).unwrap();
    let slot = other.acquire().await.unwrap();
    let both = chain.task().name("both").spawn(async |cx: TaskContext| {
        let wait = cx.waiting("leave").limit(HOUR).release(["other"]);
        wait.on(sleep(MINUTE)).await.unwrap();
    });
    sleep(SECOND).await;
    drop(slot);
    sleep(SECOND).await;
    let meanwhile = other.spawn(async |_| sleep(2 * MINUTE).await);
    both.await.unwrap();
    meanwhile.await.unwrap();

    let inner = main.clone();
    let circle = main.run(async move |_| inner.run(async |_| ()).await);
    assert!(circle.await.unwrap().is_err());
    let replayed = reproduces(&lanes);
    type Is = fn(&EventKind) -> bool;
    let kinds: [Is; 8] = [
        |kind| matches!(kind, EventKind::AtDoor { .. }),
        |kind| matches!(kind, EventKind::Rejoined),
        |kind| matches!(kind, EventKind::PutOff { .. }),
        |kind| matches!(kind, EventKind::PutOffAgain { .. }),
        |kind| matches!(kind, EventKind::Gathered),
        |kind| matches!(kind, EventKind::Parked { what: Some(what), .. } if &**what == "leave"),
        |kind| matches!(kind, EventKind::Regained),
        |kind| matches!(kind, EventKind::Deadlock { .. }),
    ];
    for (n, is) in kinds.into_iter().enumerate() {
        assert!(replayed.events().iter().any(|e| is(&e.kind)), "kind {n}");
    }
}

#[tokio::test(start_paused = true)]
async fn groups_that_are_divided_anew_and_lanes_that_come_and_go() {
    let group = |budget| GroupConfig::new(budget).member("a").member("plugin:*");
    let builder = Lanes::builder()
        .lane("a", LaneConfig::new(2).stall_ceiling(CEILING))
        .pattern("plugin:*", LaneConfig::new(2).stall_ceiling(CEILING))
        .group("models", group(2));
    let lanes = recorded(builder);
    let a = lanes.lane("a").unwrap();
    let round = async || {
        let held = a.spawn(async |_| pending::<()>().await);
        let_run().await;
        let others: Vec<_> = (0..9)
            .map(|n| {
                let plugin = lanes.lane(&format!("plugin:{}", n % 3)).unwrap();
                let priority = match n % 2 {
                    0 => Priority::Normal,
                    _ => Priority::Background,
                };
                let task = plugin.task().priority(priority);
                task.spawn(async move |_| sleep(n * SECOND + MINUTE).await)
            })
            .collect();
        let hang = lanes.lane("plugin:0").unwrap();
        let hang = hang.spawn(async |_| pending::<()>().await);
        for other in others {
            other.await.unwrap();
        }
        assert!(held.await.is_err());
        assert!(hang.await.is_err());
    };
    round().await;
    lanes
        .reconfigure(|change| change.group("models", group(3).reserve("a", 1)))
        .unwrap();
    round().await;
    lanes
        .reconfigure(|change| change.group("models", group(1)))
        .unwrap();
    round().await;
    lanes
        .reconfigure(|change| change.remove_group("models"))
        .unwrap();
    round().await;
    let replayed = reproduces(&lanes);
    assert_eq!(replayed.reclaimed().count(), 8);
    let retired = |event: &&Event| event.kind == EventKind::Retired;
    assert!(replayed.events().iter().filter(retired).count() >= 12);
}

/// Whoever is given the slot of a reclaimed task may have another one of its own.
#[tokio::test(start_paused = true)]
async fn a_reclaim_helps_a_task_in_another_lane() {
    let config = LaneConfig::new(1).stall_ceiling(MINUTE);
    let builder = Lanes::builder().lane("a", LaneConfig::new(1));
    let lanes = recorded(builder.lane("b", config));
    let b = lanes.lane("b").unwrap();
    let stuck = b.spawn(async |_| pending::<()>().await);
    let chain = lanes.chain(["a", "b"]).unwrap();
    chain.run(async |_| ()).await.unwrap();
    assert!(stuck.await.is_err());
    // And one that comes back to its own.
    let back = b.spawn(async |cx| {
        let wait = cx.waiting("for somebody").release(["b"]);
        wait.on(sleep(SECOND)).await.is_ok()
    });
    let stuck = b.spawn(async |_| pending::<()>().await);
    assert!(back.await.unwrap());
    assert!(stuck.await.is_err());
    let replayed = reproduces(&lanes);
    assert_eq!(replayed.reclaimed().count(), 2);
}

/// Which is not recorded, and is not to change what comes after.
#[tokio::test(start_paused = true)]
async fn lanes_of_a_group_are_read() {
    let group = GroupConfig::new(2).member("a").member("b");
    let builder = Lanes::builder()
        .lane("a", LaneConfig::new(1))
        .lane("b", LaneConfig::new(1));
    let lanes = recorded(builder.group("g", group));
    let (a, b) = (lanes.lane("a").unwrap(), lanes.lane("b").unwrap());
    b.run(async |_| ()).await.unwrap();
    let held = b.try_acquire().unwrap();
    drop((lanes.snapshot(), lanes.diagnose(), a.explain()));
    lanes
        .reconfigure(|change| change.remove_group("g"))
        .unwrap();
    drop(lanes.snapshot());
    drop(held);
    a.run(async |_| ()).await.unwrap();
    reproduces(&lanes);
}

/// As all lanes are by then.
#[tokio::test(start_paused = true)]
async fn lanes_that_are_made_paused_or_draining() {
    let builder = Lanes::builder().default_lane(LaneConfig::new(1));
    let lanes = recorded(builder);
    lanes.pause();
    let first = lanes.lane("first").unwrap();
    let waits = first.spawn(async |_| ());
    sleep(SECOND).await;
    lanes.resume();
    waits.await.unwrap();
    drop(lanes.drain(Drain::within(MINUTE)));
    let second = lanes.lane("second").unwrap();
    assert!(second.run(async |_| ()).await.is_err());
    reproduces(&lanes);
}

/// On real time, with threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s1_in_the_order_in_which_they_came_to_the_lock() {
    let group = GroupConfig::new(3).member("a").member("b").reserve("b", 1);
    let builder = Lanes::builder()
        .lane("a", LaneConfig::new(2))
        .lane("b", LaneConfig::new(2))
        .lane("alone", LaneConfig::new(1))
        .group("both", group);
    let lanes = recorded(builder);
    let all: Vec<_> = ["a", "b", "alone", "a", "b"]
        .into_iter()
        .map(|name| {
            let lane = lanes.lane(name).unwrap();
            tokio::spawn(async move {
                for n in 0..100 {
                    let run = lane.run(async |cx| {
                        cx.progress_note("here");
                        tokio::task::yield_now().await;
                    });
                    match n % 10 {
                        0 => drop(run),
                        _ => run.await.unwrap(),
                    }
                }
            })
        })
        .collect();
    for one in all {
        one.await.unwrap();
    }
    let replayed = reproduces(&lanes);
    assert!(replayed.dispatched().count() >= 450);
}

#[tokio::test(start_paused = true)]
async fn the_first_event_that_differs_is_named() {
    let lanes = a_stall().await;
    let saved = String::from_utf8(saved(&lanes)).unwrap();
    let replay = |text: &str| {
        let recording = Recording::read(text.as_bytes()).unwrap();
        match recording.replay() {
            Err(ReplayError::Diverged(divergence)) => *divergence,
            other => panic!("{other:?}"),
        }
    };
    let lines: Vec<&str> = saved.lines().collect();
    let find = |what: &str| {
        let found = lines.iter().position(|line| line.contains(what));
        found.unwrap_or_else(|| panic!("no {what}"))
    };
    let without = |gone: usize| {
        let kept = lines.iter().enumerate().filter(|(n, _)| *n != gone);
        kept.map(|(_, line)| format!("{line}\n"))
            .collect::<String>()
    };

    // One that the engine comes to, and was not recorded.
    let settled = find(r#""outcome":"stalled""#);
    let missing = replay(&without(settled));
    let replayed = missing.replayed.clone().unwrap();
    assert!(matches!(replayed.kind, EventKind::Settled { .. }));
    assert_eq!(missing.recorded, None);
    assert_eq!(missing.line, settled + 1);
    assert!(missing.to_string().contains("stalled"), "{missing}");

    // One that was recorded, and to which it does not come: the release is missing.
    let release = find(r#"{"release""#);
    let missing = replay(&without(release));
    assert_eq!(missing.line, settled, "it is a line up");
    assert!(missing.recorded.unwrap().contains("stalled"));

    // One that was otherwise by a nanosecond.
    let at = lines[settled].find(r#""at":"#).unwrap() + 5;
    let mut other: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
    other[settled].replace_range(at..at + 1, "3");
    assert_eq!(replay(&other.concat()).line, settled + 1);

    // And one at the end.
    let last = lines.len() - 1;
    assert!(lines[last].contains(r#""event""#), "{}", lines[last]);
    let missing = replay(&without(last));
    assert_eq!((missing.line, missing.recorded), (last + 1, None));
}

/// Numbers that no scheduler would have written.
#[tokio::test(start_paused = true)]
async fn s18_a_recording_that_was_spoiled_is_an_error() {
    let config = || LaneConfig::new(1);
    let builder = Lanes::builder().lane("a", config()).lane("b", config());
    let shared = GroupConfig::new(2).member("a").member("b").reserve("a", 1);
    let lanes = recorded(builder.fence_start(17).group("shared", shared));
    let a = lanes.lane("a").unwrap();
    a.run(async |_| ()).await.unwrap();
    let saved = String::from_utf8(saved(&lanes)).unwrap();
    let max = u64::MAX;
    for (sound, spoiled) in [
        (r#""fence":17,"stood""#, format!(r#""fence":{max},"stood""#)),
        (r#""reserved":[1,0]"#, format!(r#""reserved":[{max},1]"#)),
    ] {
        let at = saved.lines().position(|line| line.contains(sound));
        let spoiled = saved.replacen(sound, &spoiled, 1);
        let replayed = Recording::read(spoiled.as_bytes()).unwrap().replay();
        assert!(
            matches!(replayed, Err(ReplayError::Line { line, .. }) if Some(line - 1) == at),
            "{replayed:?}"
        );
    }
}

#[test]
fn s18_what_is_no_recording_is_an_error() {
    let read = |text: &str| Recording::read(text.as_bytes());
    let begins = r#"{"recording":{"version":1,"built":5,"unix_micros":5}}"#;
    assert!(read(begins).unwrap().replay().unwrap().events().is_empty());
    assert!(matches!(read(""), Err(ReplayError::NoRecording)));
    assert!(matches!(read("lanes"), Err(ReplayError::NoRecording)));
    assert!(matches!(
        read(r#"{"missed":1}"#),
        Err(ReplayError::NoRecording)
    ));
    assert!(matches!(
        read(&begins.replace('1', "2")),
        Err(ReplayError::Version {
            found: 2,
            expected: 1
        })
    ));
    let another = begins.replace("\"built\":5", "\"built\":6");
    for (other, problem) in [
        ("lanes", "expected"),
        (&*another, "another scheduler"),
        (r#"{"told":{"lane":7,"#, "ends in the middle"),
    ] {
        let line = read(&format!("{begins}\n{other}")).unwrap_err();
        assert!(matches!(line, ReplayError::Line { line: 2, .. }));
        assert!(line.to_string().contains(problem), "{line}");
        assert!(!line.to_string().contains("column"), "{line}");
    }
    // What is left of a part that was not written, and what is none.
    let half = format!("{begins}\nlan\n{begins}\n{}", r#"{"part":1}"#);
    assert!(matches!(
        read(&half),
        Err(ReplayError::Line { line: 2, .. })
    ));
    let half = read(&format!("{half}\n{}", r#"{"missed":7}"#)).unwrap();
    assert!(matches!(
        half.replay(),
        Err(ReplayError::Overflowed { missed: 7 })
    ));
    let part = read(&format!("{begins}\n\n{}", r#"{"part":2}"#)).unwrap();
    assert!(matches!(
        part.replay(),
        Err(ReplayError::Line { line: 3, problem }) if problem.contains("part 2")
    ));
    for input in [
        r#"{"settled_all":{}}"#,
        r#"{"in_group":"enter"}"#,
        r#"{"in_group":{"join":{"group":1,"budget":1,"reserved":[],"share":0}}}"#,
    ] {
        let told = format!(r#"{begins}{}{{"told":{{"lane":7,"input":{input}}}}}"#, "\n");
        let replayed = read(&told).unwrap().replay();
        assert!(
            matches!(replayed, Err(ReplayError::Line { line: 2, .. })),
            "{replayed:?}"
        );
    }

    let lanes = Lanes::builder().events(1).build().unwrap();
    let off = lanes.save_recording(Vec::new());
    assert!(matches!(off, Err(SaveError::Off)));
    let build = |builder: LanesBuilder| builder.build().unwrap_err();
    assert!(matches!(
        build(Lanes::builder().recording(1)),
        ConfigError::RecordingWithoutEvents
    ));
    assert!(matches!(
        build(Lanes::builder().events(1).recording(0)),
        ConfigError::RecordsNothing
    ));
}
