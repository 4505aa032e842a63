//! What is in the log of events, and in which order.

mod common;

use std::future::{Future, pending, poll_fn};
use std::task::Poll;
use std::time::Duration;

use common::{CEILING, HOUR, MINUTE, SECOND, TICK, let_run, poll_once};
use laneway::{
    BlockedBy, Chain, ControlError, Drain, Event, EventKind, EventStream, Lane, LaneConfig, Lanes,
    OnBusy, OnFull, OnStall, Outcome, Priority, QueuedWork, Reason, Reclaimed, TaskContext,
    TaskHandle, TaskId, Timeout,
};
use tokio::time::sleep;

const MANY: usize = 1_000;

fn with(config: LaneConfig) -> (Lanes, Lane) {
    let lanes = Lanes::builder()
        .lane("main", config)
        .events(MANY)
        .fence_start(500)
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    (lanes, main)
}

fn one() -> (Lanes, Lane) {
    with(LaneConfig::new(1).stall_ceiling(CEILING))
}

/// A chain of `session` and `main`, of one slot each.
fn chained() -> (Lanes, Chain) {
    let lanes = Lanes::builder()
        .lane("session", LaneConfig::new(1))
        .lane("main", LaneConfig::new(1));
    let lanes = lanes.events(MANY).build().unwrap();
    let chain = lanes.chain(["session", "main"]).unwrap();
    (lanes, chain)
}

fn forever(lane: &Lane) -> TaskHandle<()> {
    lane.spawn(async |_| pending().await)
}

/// What is there by now.
#[track_caller]
fn read(stream: &mut EventStream) -> Vec<Event> {
    std::iter::from_fn(|| stream.try_next())
        .map(|event| event.expect("nothing is missed"))
        .collect()
}

fn kinds(events: &[Event]) -> Vec<EventKind> {
    events.iter().map(|event| event.kind.clone()).collect()
}

/// What happened to one task, from its beginning.
#[track_caller]
fn told(lanes: &Lanes, id: TaskId) -> Vec<EventKind> {
    kinds(&read(&mut lanes.task_events(id).unwrap()))
}

/// The last word of a task, which is said once.
#[track_caller]
fn outcome(events: &[EventKind]) -> Outcome {
    let settled = |kind: &EventKind| match kind {
        EventKind::Settled { outcome, .. } => Some(outcome.clone()),
        _ => None,
    };
    let all: Vec<Outcome> = events.iter().filter_map(settled).collect();
    assert_eq!(all.len(), 1, "S2: {events:?}");
    assert!(settled(events.last().unwrap()).is_some(), "{events:?}");
    all[0].clone()
}

#[tokio::test(start_paused = true)]
async fn a_task_that_finds_its_slot_free_is_dispatched_and_settled() {
    let (lanes, main) = one();
    let mut events = lanes.events().unwrap();
    let id = main
        .task()
        .name("turn 17")
        .key("ticket-42")
        .run(async |cx| {
            tokio::time::sleep(SECOND).await;
            cx.id()
        })
        .await
        .unwrap();
    let seen = read(&mut events);
    let [dispatched, settled] = &*seen else {
        panic!("{seen:?}")
    };
    assert_eq!(
        dispatched.kind,
        EventKind::Dispatched {
            at_once: true,
            waited: Duration::ZERO,
            fence: 500,
            queued_ahead: 0,
            active_ahead: 0,
        }
    );
    let outcome = Outcome::Completed;
    let slot_held = false;
    assert_eq!(settled.kind, EventKind::Settled { outcome, slot_held });
    assert_eq!(settled.at - dispatched.at, SECOND);
    assert_eq!(settled.time - SECOND, dispatched.time);
    assert_eq!(settled.seq, dispatched.seq + 1);
    for event in &seen {
        assert_eq!(
            (&*event.lane, event.task, event.part),
            ("main", Some(id), false)
        );
        assert_eq!(event.name.as_deref(), Some("turn 17"));
        assert_eq!(event.key.as_deref(), Some("ticket-42"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_tells_its_story_from_the_beginning() {
    let (lanes, main) = one();
    let slot = main.acquire().await.unwrap();
    let task = main.spawn(async |_| ());
    tokio::time::sleep(SECOND).await;
    drop(slot);
    task.await.unwrap();
    let seen = kinds(&read(&mut lanes.subscribe_from(0).unwrap()));
    let [made, _, queued, first_over, dispatched, over] = &*seen else {
        panic!("{seen:?}")
    };
    assert_eq!(*made, EventKind::LaneMade);
    assert_eq!(
        *queued,
        EventKind::Queued {
            queued_ahead: 0,
            active_ahead: 1
        }
    );
    // The one that goes before the one that comes (S1).
    assert_eq!(first_over, over);
    assert_eq!(
        *dispatched,
        EventKind::Dispatched {
            at_once: false,
            waited: SECOND,
            fence: 501,
            queued_ahead: 0,
            active_ahead: 1,
        }
    );
}

#[tokio::test(start_paused = true)]
async fn s17_a_reclaim_ends_in_recovered() {
    let (lanes, main) = one();
    let stuck = forever(&main);
    let next = main.spawn(async |_| ());
    let next_id = next.id();
    next.await.unwrap();
    let seen = told(&lanes, stuck.id());
    assert_eq!(
        seen[1],
        EventKind::Asked {
            reason: Reason::Stalled,
            grace: Duration::ZERO
        }
    );
    let outcome = outcome(&seen);
    let ceiling = CEILING;
    assert_eq!(
        outcome,
        Outcome::Stalled {
            elapsed: CEILING,
            idle: CEILING,
            ceiling
        }
    );
    let all = kinds(&read(&mut lanes.subscribe_from(0).unwrap()));
    assert!(all.contains(&EventKind::Recovered {
        how: Reclaimed::Dropped,
        dispatched: Some(next_id),
    }));
}

#[tokio::test(start_paused = true)]
async fn s17_a_reclaim_that_helps_nobody_is_ineffective() {
    let (lanes, main) = one();
    let stuck = forever(&main);
    let next = main.spawn(async |_| ());
    tokio::time::sleep(SECOND).await;
    main.pause();
    assert!(stuck.await.is_err());
    let all = kinds(&read(&mut lanes.subscribe_from(0).unwrap()));
    assert!(all.contains(&EventKind::Paused { for_long: None }));
    assert!(
        all.contains(&EventKind::Ineffective {
            how: Reclaimed::Dropped,
            blocked_by: BlockedBy::Paused,
        }),
        "{all:?}"
    );
    main.resume();
    next.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn s17_in_a_group_a_reclaim_is_judged_by_what_the_group_did() {
    let group = laneway::GroupConfig::new(1).member("a").member("b");
    let lanes = Lanes::builder()
        .lane("a", LaneConfig::new(1).stall_ceiling(CEILING))
        .lane("b", LaneConfig::new(1))
        .group("both", group)
        .events(MANY)
        .build()
        .unwrap();
    let (a, b) = (lanes.lane("a").unwrap(), lanes.lane("b").unwrap());
    let stuck = forever(&a);
    let next = b.spawn(async |_| ());
    let next_id = next.id();
    next.await.unwrap();
    let seen = read(&mut lanes.subscribe_from(0).unwrap());
    let recovered: Vec<&Event> = seen
        .iter()
        .filter(|event| matches!(event.kind, EventKind::Recovered { .. }))
        .collect();
    assert_eq!(recovered.len(), 1, "{seen:?}");
    assert_eq!(recovered[0].task, Some(stuck.id()));
    let dispatched = Some(next_id);
    assert!(
        matches!(recovered[0].kind, EventKind::Recovered { dispatched: next, .. } if next == dispatched)
    );
    let place = |of: TaskId, what: fn(&EventKind) -> bool| {
        let is = |event: &Event| event.task == Some(of) && what(&event.kind);
        seen.iter().position(is).expect("it happened")
    };
    let settled = place(stuck.id(), |kind| matches!(kind, EventKind::Settled { .. }));
    let dispatched = place(next_id, |kind| matches!(kind, EventKind::Dispatched { .. }));
    assert!(settled < dispatched, "the order of a group's lanes");
}

/// S2, S7: however a task ends, its story ends with one word about it.
#[tokio::test(start_paused = true)]
async fn s2_every_task_that_waits_has_one_last_word() {
    type End = fn(&Lanes, &Lane, TaskId);
    type Is = fn(&Outcome) -> bool;
    let ends: [(&str, End, Is); 7] = [
        (
            "cancelled",
            |lanes, _, id| lanes.cancel(id, Reason::User).unwrap(),
            |outcome| {
                matches!(
                    outcome,
                    Outcome::CancelledQueued {
                        reason: Reason::User,
                        ..
                    }
                )
            },
        ),
        (
            "cleared",
            |_, main, _| assert_eq!(main.clear(), 1),
            |outcome| matches!(outcome, Outcome::Cleared { .. }),
        ),
        (
            "cancelled with all",
            |_, main, _| assert_eq!(main.cancel_all(Reason::Superseded), 2),
            |outcome| {
                let reason = Reason::Superseded;
                matches!(outcome, Outcome::CancelledQueued { reason: told, .. } if *told == reason)
            },
        ),
        (
            "returned",
            |_, main, _| drop(main.drain(Drain::within(HOUR).queued(QueuedWork::Return))),
            |outcome| matches!(outcome, Outcome::Returned { .. }),
        ),
        (
            "cancelled by a drain",
            |_, main, _| drop(main.drain(Drain::within(HOUR).queued(QueuedWork::Cancel))),
            |outcome| {
                matches!(
                    outcome,
                    Outcome::CancelledQueued {
                        reason: Reason::Draining,
                        ..
                    }
                )
            },
        ),
        (
            "shut down",
            |_, main, _| drop(main.shutdown()),
            |outcome| matches!(outcome, Outcome::Shutdown { .. }),
        ),
        (
            "superseded",
            |_, main, _| {
                let newer = main.task().key("k").on_busy(OnBusy::Supersede);
                drop(newer.spawn(async |_| ()));
            },
            |outcome| {
                matches!(
                    outcome,
                    Outcome::CancelledQueued {
                        reason: Reason::Superseded,
                        ..
                    }
                )
            },
        ),
    ];
    for (what, end, is) in ends {
        let (lanes, main) = one();
        let slot = main.acquire().await.unwrap();
        let task = main.task().key("k").spawn(async |_| ());
        let mut events = task.events().unwrap();
        sleep(SECOND).await;
        end(&lanes, &main, task.id());
        let mut seen = Vec::new();
        while let Some(event) = events.next().await {
            seen.push(event.unwrap());
        }
        let told = outcome(&kinds(&seen));
        assert!(is(&told), "{what}: {told:?}");
        drop((slot, task));
    }
}

#[tokio::test(start_paused = true)]
async fn s7_a_wait_that_is_over_or_given_up_has_one_last_word() {
    let (lanes, main) = one();
    let slot = main.acquire().await.unwrap();
    let patient = main.task().timeout(Timeout::wait(SECOND));
    let timed_out = patient.spawn(async |_| ());
    let id = timed_out.id();
    timed_out.await.unwrap_err();
    let limit = laneway::Limit::Wait;
    let (allowed, elapsed) = (SECOND, SECOND);
    let outcome_of = |id| outcome(&told(&lanes, id));
    assert_eq!(
        outcome_of(id),
        Outcome::TimedOut {
            limit,
            allowed,
            elapsed
        }
    );

    let mut run = Box::pin(main.run(async |_| ()));
    assert!(poll_once(run.as_mut()).is_pending());
    let id = main.snapshot().queued[0].id;
    drop(run);
    let reason = Reason::Dropped;
    let waited = Duration::ZERO;
    assert_eq!(outcome_of(id), Outcome::CancelledQueued { reason, waited });

    let task = main.spawn(async |_| ());
    drop((lanes, slot));
    // The last `Lanes` is gone, and this is how its streams end, too.
    let mut events = task.events().unwrap();
    let mut seen = Vec::new();
    while let Some(event) = events.next().await {
        seen.push(event.unwrap().kind);
    }
    let waited = Duration::ZERO;
    assert_eq!(outcome(&seen), Outcome::SchedulerDropped { waited });
}

#[tokio::test(start_paused = true)]
async fn s2_every_task_that_runs_has_one_last_word() {
    let (lanes, main) = with(LaneConfig::new(4).stall_ceiling(CEILING).max_orphans(4));
    let outcome_of = |id| outcome(&told(&lanes, id));

    let panics = main.spawn(async |_| panic!("on purpose"));
    let id = panics.id();
    assert!(panics.await.is_err());
    assert_eq!(outcome_of(id), Outcome::Panicked);

    let timed_out = main.task().timeout(Timeout::budget(MINUTE));
    let timed_out = timed_out.spawn(async |_| pending::<()>().await);
    let id = timed_out.id();
    assert!(timed_out.await.is_err());
    let limit = laneway::Limit::Budget;
    let (allowed, elapsed) = (MINUTE, MINUTE);
    assert_eq!(
        outcome_of(id),
        Outcome::TimedOut {
            limit,
            allowed,
            elapsed
        }
    );

    let cancelled = forever(&main);
    let_run().await;
    cancelled.cancel(Reason::User);
    let id = cancelled.id();
    assert!(cancelled.await.is_err());
    let reason = Reason::User;
    let elapsed = Duration::ZERO;
    assert_eq!(outcome_of(id), Outcome::Cancelled { reason, elapsed });

    let mut run = Box::pin(main.run(async |_| pending::<()>().await));
    assert!(poll_once(run.as_mut()).is_pending());
    let id = main.snapshot().active[0].id;
    sleep(SECOND).await;
    drop(run);
    let reason = Reason::Dropped;
    let elapsed = SECOND;
    assert_eq!(outcome_of(id), Outcome::Cancelled { reason, elapsed });

    let slot = main.acquire().await.unwrap();
    let id = slot.id();
    drop(slot);
    assert_eq!(outcome_of(id), Outcome::Completed);

    // Nobody polls it: its slot is taken, and its end as an orphan is no end of the task.
    let mut run = Box::pin(main.run(async |_| pending::<()>().await));
    assert!(poll_once(run.as_mut()).is_pending());
    let id = main.snapshot().active[0].id;
    sleep(CEILING + SECOND).await;
    let seen = told(&lanes, id);
    let taken = EventKind::Taken {
        detached: false,
        orphans: 1,
    };
    assert!(seen.contains(&taken), "{seen:?}");
    assert!(matches!(outcome(&seen), Outcome::Stalled { .. }));
    let mut after = lanes.events().unwrap();
    drop(run);
    assert_eq!(kinds(&read(&mut after)), [EventKind::OrphanGone]);

    let slot = main.acquire().await.unwrap();
    main.reset();
    let seen = told(&lanes, slot.id());
    assert!(matches!(
        outcome(&seen),
        Outcome::Cancelled {
            reason: Reason::Reset,
            ..
        }
    ));
    let mut after = lanes.events().unwrap();
    drop(slot);
    // It was dropped on purpose, which is a result.
    assert_eq!(kinds(&read(&mut after)), [EventKind::LateCompletion]);

    let slot = main.acquire().await.unwrap();
    main.reset();
    let mut after = lanes.events().unwrap();
    lanes.forget_orphan(slot.id()).unwrap();
    assert_eq!(kinds(&read(&mut after)), [EventKind::OrphanForgotten]);
    drop(slot);
    assert_eq!(kinds(&read(&mut after)), []);
}

#[tokio::test(start_paused = true)]
async fn a_detached_task_has_its_last_word_when_its_caller_has() {
    let detaching = || {
        with(
            LaneConfig::new(1)
                .stall_ceiling(CEILING)
                .on_stall(OnStall::Detach),
        )
    };
    let (lanes, main) = detaching();
    let long = main.spawn(async |_| sleep(HOUR).await);
    sleep(CEILING + SECOND).await;
    let seen = told(&lanes, long.id());
    let orphans = 1;
    let taken = EventKind::Taken {
        detached: true,
        orphans,
    };
    assert!(seen.contains(&taken), "{seen:?}");
    let settled = |kind: &EventKind| matches!(kind, EventKind::Settled { .. });
    assert!(!seen.iter().any(settled), "{seen:?}");
    let id = long.id();
    let mut events = lanes.events().unwrap();
    long.await.unwrap();
    assert_eq!(outcome(&told(&lanes, id)), Outcome::Completed);
    let after = kinds(&read(&mut events));
    assert_eq!(after.last(), Some(&EventKind::OrphanGone));

    let (lanes, main) = detaching();
    let long = forever(&main);
    sleep(CEILING + SECOND).await;
    let id = long.id();
    long.cancel(Reason::User);
    assert!(long.await.is_err());
    assert!(matches!(
        outcome(&told(&lanes, id)),
        Outcome::Stalled { .. }
    ));
}

#[test]
fn s7_a_thread_whose_runtime_is_gone_keeps_its_slot_and_has_one_last_word() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    };
    let (lanes, main) = with(LaneConfig::new(1));
    let (started, starts) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let first = runtime();
    let id = first.block_on(async {
        let task = main.spawn_blocking(move |_| {
            started.send(()).unwrap();
            released.recv().unwrap();
        });
        task.id()
    });
    starts.recv().unwrap();
    let mut events = lanes.task_events(id).unwrap();
    first.shutdown_background();
    runtime().block_on(async {
        let mut seen = Vec::new();
        while let Some(event) = events.next().await {
            seen.push(event.unwrap().kind);
        }
        let outcome = Outcome::RuntimeShutdown;
        let slot_held = true;
        assert_eq!(
            seen.last(),
            Some(&EventKind::Settled { outcome, slot_held })
        );
        let mut after = lanes.events().unwrap();
        release.send(()).unwrap();
        let last = after.next().await.unwrap().unwrap();
        assert_eq!((last.kind, last.task), (EventKind::Left, Some(id)));
    });
}

#[tokio::test(start_paused = true)]
async fn what_a_task_says_and_that_it_was_seen_to_move() {
    let (lanes, main) = one();
    let mut events = lanes.events().unwrap();
    let task = main.spawn(async |cx| {
        cx.progress_note("reading");
        let phase = cx.phase("bash: cargo test");
        sleep(CEILING - SECOND).await;
        drop(phase);
        cx.progress();
        sleep(CEILING - SECOND).await;
    });
    task.await.unwrap();
    let seen = read(&mut events);
    let at = seen[0].at;
    let seen: Vec<_> = seen
        .into_iter()
        .map(|event| (event.at - at, event.kind))
        .collect();
    let text = |text: &str| std::sync::Arc::from(text);
    assert_eq!(
        seen[1..seen.len() - 1],
        [
            (
                Duration::ZERO,
                EventKind::Note {
                    text: text("reading")
                }
            ),
            (
                Duration::ZERO,
                EventKind::PhaseBegun {
                    phase: text("bash: cargo test")
                }
            ),
            (
                CEILING - SECOND,
                EventKind::PhaseOver {
                    phase: text("bash: cargo test")
                }
            ),
            // Its moment came, and it had moved: a report by itself is no event.
            (CEILING, EventKind::Progress { idle: SECOND }),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_listener_is_asked_has_its_grace_and_runs_its_hooks() {
    let grace = 5 * SECOND;
    let (lanes, main) = with(
        LaneConfig::new(1)
            .stall_ceiling(CEILING)
            .timeout(Timeout::grace(grace)),
    );
    let task = main.spawn(async |cx| {
        cx.defer(|_| sleep(SECOND));
        pending::<()>().await
    });
    let id = task.id();
    assert!(task.await.is_err());
    let reason = Reason::Stalled;
    let seen = told(&lanes, id);
    assert_eq!(
        seen[1..4],
        [
            EventKind::Asked { reason, grace },
            EventKind::GraceOver { reason },
            EventKind::TeardownBegun,
        ]
    );
    assert!(matches!(outcome(&seen), Outcome::Stalled { .. }));
}

#[tokio::test(start_paused = true)]
async fn s10_a_take_that_is_refused_says_so_once() {
    let (lanes, main) = with(LaneConfig::new(1).stall_ceiling(CEILING).strict());
    let mut run = Box::pin(main.run(async |_| pending::<()>().await));
    assert!(poll_once(run.as_mut()).is_pending());
    let id = main.snapshot().active[0].id;
    sleep(2 * CEILING).await;
    let refused = EventKind::TakeRefused {
        orphans: 0,
        max_orphans: 0,
    };
    let seen = told(&lanes, id);
    assert_eq!(
        seen.iter().filter(|kind| **kind == refused).count(),
        1,
        "{seen:?}"
    );
    assert!(run.await.is_err());
    assert!(matches!(
        outcome(&told(&lanes, id)),
        Outcome::Stalled { .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn warnings_are_events_too() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1))
        .events(MANY)
        .observe_only()
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let silent = forever(&main);
    let patient = main.task().warn_after(MINUTE);
    let waits = patient.spawn(async |_| ());
    sleep(2 * HOUR).await;
    let seen = told(&lanes, silent.id());
    let never = 10 * MINUTE;
    assert!(
        seen.contains(&EventKind::NeverReports { elapsed: never }),
        "{seen:?}"
    );
    let (elapsed, idle) = (HOUR, HOUR);
    assert!(
        seen.contains(&EventKind::Stalled { elapsed, idle }),
        "{seen:?}"
    );
    let waited = MINUTE;
    let (queued_ahead, active_ahead) = (0, 1);
    let exceeded = EventKind::WaitExceeded {
        waited,
        queued_ahead,
        active_ahead,
    };
    let seen = told(&lanes, waits.id());
    assert!(seen.contains(&exceeded), "{seen:?}");
    let all = read(&mut lanes.subscribe_from(0).unwrap());
    let blocked = all
        .iter()
        .find(|event| matches!(event.kind, EventKind::Blocked { .. }));
    let blocked = blocked.expect("S16: it does not move");
    assert_eq!((&*blocked.lane, blocked.task), ("main", None));
    assert_eq!(
        blocked.kind,
        EventKind::Blocked {
            by: BlockedBy::MaxConcurrent,
            healthy: false,
            // Whoever could be polled was, and a tick later it was looked at again.
            blocked_for: 30 * SECOND + TICK,
            active: 1,
            max_concurrent: 1,
            queued: 1,
        }
    );
    drop((silent, waits));
}

#[tokio::test(start_paused = true)]
async fn a_task_in_several_lanes_has_its_parts_there_and_its_last_word_in_the_first() {
    let (lanes, chain) = chained();
    let main = lanes.lane("main").unwrap();
    let slot = main.acquire().await.unwrap();
    let mut events = lanes.events().unwrap();
    let task = chain.task().name("turn").spawn(async |_| ());
    let id = task.id();
    sleep(SECOND).await;
    drop(slot);
    task.await.unwrap();
    let seen = read(&mut events);
    let parts: Vec<_> = seen
        .iter()
        .filter(|event| event.task == Some(id))
        .inspect(|event| assert_eq!(event.name.as_deref(), Some("turn")))
        .map(|event| (&*event.lane, event.part, &event.kind))
        .collect();
    use EventKind::{Dispatched, Gathered, Left, Queued, Settled};
    assert!(
        matches!(
            parts[..],
            [
                ("session", false, Dispatched { at_once: true, .. }),
                ("main", true, Queued { .. }),
                ("main", true, Dispatched { at_once: false, .. }),
                ("session", false, Gathered),
                ("main", true, Left),
                (
                    "session",
                    false,
                    Settled {
                        outcome: Outcome::Completed,
                        ..
                    }
                ),
            ]
        ),
        "{parts:?}"
    );

    // Refused further on, it was accepted all the same.
    main.close();
    let refused = chain.task().spawn(async |_| ());
    let id = refused.id();
    assert!(refused.await.is_err());
    assert_eq!(outcome(&told(&lanes, id)), Outcome::Refused);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_somebody_is_parked_and_comes_back() {
    let (lanes, main) = with(LaneConfig::new(1));
    let task = main.spawn(async |cx: TaskContext| {
        let wait = cx.waiting("leave").limit(HOUR).release(["main"]);
        wait.on(sleep(MINUTE)).await.unwrap();
    });
    let_run().await;
    let other = main.spawn(async |_| sleep(2 * MINUTE).await);
    let id = task.id();
    task.await.unwrap();
    other.await.unwrap();
    let seen = read(&mut lanes.task_events(id).unwrap());
    let seen: Vec<_> = seen.iter().map(|event| (event.part, &event.kind)).collect();
    let parked = EventKind::Parked {
        what: Some("leave".into()),
        limit: Some(HOUR),
        released: true,
    };
    use EventKind::{Dispatched, Left, Queued, Regained, Settled, Unparked};
    assert_eq!(seen[1], (false, &parked));
    assert!(
        matches!(
            seen[2..],
            [
                (true, Queued { .. }),
                (true, Dispatched { at_once: false, .. }),
                (true, Left),
                (false, Regained),
                (false, Unparked),
                (
                    false,
                    Settled {
                        outcome: Outcome::Completed,
                        ..
                    }
                ),
            ]
        ),
        "{seen:?}"
    );
}

/// The limit of a wait is looked after in one lane, however many slots are given
/// back meanwhile.
#[tokio::test(start_paused = true)]
async fn a_wait_is_over_once_in_all_lanes_of_its_task() {
    let (lanes, chain) = chained();
    let task = chain.spawn(async |cx: TaskContext| {
        let wait = cx.waiting("leave").limit(HOUR).release(["main"]);
        wait.on(pending::<()>()).await.unwrap_err();
    });
    let id = task.id();
    task.await.unwrap();
    let seen = read(&mut lanes.task_events(id).unwrap());
    let limits: Vec<_> = seen
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::Parked { limit, .. } => Some((&*event.lane, limit)),
            _ => None,
        })
        .collect();
    assert_eq!(limits, [("session", Some(HOUR)), ("main", None)]);
    let outwaited = |event: &&Event| event.kind == EventKind::Outwaited;
    assert_eq!(seen.iter().filter(outwaited).count(), 1);
}

/// It is over, and its clocks do not go on.
#[tokio::test(start_paused = true)]
async fn a_task_that_ends_as_it_waits_is_not_unparked() {
    for release in [&[][..], &["main"]] {
        let (lanes, main) = with(LaneConfig::new(1));
        let task = main.spawn(move |cx: TaskContext| {
            let wait = cx.waiting("leave").release(release);
            let mut wait = Box::pin(wait.on(pending::<()>()));
            // Which has it for as long as it lasts itself.
            poll_fn(move |cx| {
                assert!(wait.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
        });
        let id = task.id();
        task.await.unwrap();
        let seen = told(&lanes, id);
        assert!(
            matches!(
                seen[1..],
                [
                    EventKind::Parked { .. },
                    EventKind::Settled {
                        outcome: Outcome::Completed,
                        ..
                    }
                ]
            ),
            "{seen:?}"
        );
    }
}

/// S2, S7: one whose hooks still run has its value by then, which its caller is yet to
/// have; and so nobody can vouch for it, and have it forgotten, before that.
#[tokio::test(start_paused = true)]
async fn s2_who_was_detached_and_has_its_value_is_not_vouched_for() {
    let config = LaneConfig::new(1).stall_ceiling(CEILING);
    let (lanes, main) = with(config.on_stall(OnStall::Detach));
    let task = main.spawn(async |cx: TaskContext| {
        cx.defer(async |_| sleep(SECOND).await);
        sleep(2 * CEILING).await;
        7
    });
    let id = task.id();
    sleep(2 * CEILING + TICK).await;
    let refused = lanes.forget_orphan(id);
    assert_eq!(refused, Err(ControlError::NotAnOrphan { id }));
    assert_eq!(task.await.unwrap(), 7);
    assert_eq!(outcome(&told(&lanes, id)), Outcome::Completed);
}

#[tokio::test(start_paused = true)]
async fn what_is_done_to_a_lane_is_there() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1))
        .pattern("session:*", LaneConfig::new(1))
        .events(MANY)
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let mut events = lanes.events().unwrap();
    main.pause_for(SECOND).unwrap();
    // Somebody has to be there for the pause to end by itself.
    main.run(async |_| ()).await.unwrap();
    main.set_max_concurrent(2).unwrap();
    lanes
        .reconfigure(|change| {
            change.lane("main").max_concurrent(3);
        })
        .unwrap();
    let session = lanes.lane("session:1").unwrap();
    session.run(async |_| ()).await.unwrap();
    drop(session);
    drop(main.drain(Drain::within(HOUR)));
    main.resume();
    main.close();
    drop(main.shutdown());
    let seen = read(&mut events);
    let of_lane: Vec<_> = seen
        .iter()
        .filter(|event| event.task.is_none())
        .map(|event| (&*event.lane, event.kind.clone()))
        .collect();
    assert_eq!(
        of_lane,
        [
            (
                "main",
                EventKind::Paused {
                    for_long: Some(SECOND)
                }
            ),
            ("main", EventKind::Resumed),
            ("main", EventKind::Limited { max_concurrent: 2 }),
            ("main", EventKind::Reconfigured),
            ("session:1", EventKind::LaneMade),
            ("session:1", EventKind::Retired),
            ("main", EventKind::Draining { within: Some(HOUR) }),
            ("main", EventKind::Resumed),
            ("main", EventKind::Closed),
            ("main", EventKind::Shutdown),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_door_a_quiet_window_and_a_lost_grant() {
    let config = LaneConfig::new(1).queue_capacity(1).on_full(OnFull::Wait);
    let (lanes, main) = with(config);
    let slot = main.acquire().await.unwrap();
    let queued = main.spawn(async |_| ());
    let mut at_door = Box::pin(main.run(async |_| ()));
    assert!(poll_once(at_door.as_mut()).is_pending());
    let id = main.snapshot().at_door[0].id;
    drop(slot);
    queued.await.unwrap();
    // It is granted, and its runner does not come for it.
    sleep(10 * SECOND).await;
    at_door.await.unwrap();
    let seen = told(&lanes, id);
    use EventKind::{AtDoor, Dispatched, LetIn, Rejoined, Settled, Unclaimed};
    assert!(
        matches!(
            seen[..],
            [
                AtDoor {
                    queued_ahead: 1,
                    active_ahead: 1
                },
                LetIn,
                Dispatched { .. },
                Unclaimed,
                Rejoined,
                Dispatched { .. },
                Settled { .. },
            ]
        ),
        "{seen:?}"
    );
    let merge = |old: u32, new: u32| old + new;
    let put_off = main
        .task()
        .key("k")
        .debounce(SECOND, 1, merge, async |_, n| n);
    let id = put_off.id();
    put_off.await.unwrap();
    let seen = told(&lanes, id);
    assert!(
        matches!(
            seen[..],
            [
                EventKind::PutOff { window: SECOND },
                LetIn,
                Dispatched { .. },
                Settled { .. }
            ]
        ),
        "{seen:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_circle_of_waits_is_there() {
    let (lanes, main) = with(LaneConfig::new(1));
    let inner = main.clone();
    let refused = main
        .run(async move |_| inner.run(async |_| ()).await)
        .await
        .unwrap();
    assert!(refused.is_err());
    let all = kinds(&read(&mut lanes.subscribe_from(0).unwrap()));
    let deadlock = |kind: &EventKind| matches!(kind, EventKind::Deadlock { refused: true, .. });
    assert_eq!(
        all.iter().filter(|kind| deadlock(kind)).count(),
        1,
        "{all:?}"
    );
    let reason = Reason::WouldDeadlock;
    let outcome = Outcome::CancelledQueued {
        reason,
        waited: Duration::ZERO,
    };
    assert!(all.contains(&EventKind::Settled {
        outcome,
        slot_held: false
    }));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_behind_raises_whoever_is_ahead() {
    let lanes = Lanes::builder()
        .lane("session", LaneConfig::new(1))
        .lane("main", LaneConfig::new(1))
        .events(MANY)
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let chain = lanes.chain(["session", "main"]).unwrap();
    let slot = main.acquire().await.unwrap();
    let low = chain.task().priority(Priority::Background);
    let low = low.spawn(async |_| ());
    let session = lanes.lane("session").unwrap();
    let high = session.task().priority(Priority::Foreground);
    let high = high.spawn(async |_| ());
    let priority = Priority::Foreground;
    let seen = read(&mut lanes.task_events(low.id()).unwrap());
    let raised = seen
        .iter()
        .find(|event| event.kind == EventKind::Raised { priority });
    let raised = raised.expect("somebody more urgent waits behind it");
    assert_eq!((&*raised.lane, raised.part), ("main", true));
    drop(slot);
    low.await.unwrap();
    high.await.unwrap();
}

/// S1, S7: with many at work on many threads, whoever reads the log sees every task
/// come, have its slot and go, never more of them at once than there are slots.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s1_the_order_in_a_lane_is_that_in_which_it_happened() {
    const TASKS: usize = 2_000;
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(3).no_stall_ceiling())
        .lane("other", LaneConfig::new(1).no_stall_ceiling())
        .events(TASKS * 10)
        .build()
        .unwrap();
    let mut events = lanes.subscribe_from(0).unwrap();
    let reader = tokio::spawn(async move {
        let mut lanes = std::collections::BTreeMap::new();
        let mut next = 0;
        while let Some(event) = events.next().await {
            let event = event.expect("nothing is missed");
            assert_eq!(event.seq, next, "none is left out");
            next += 1;
            let Some(id) = event.task else { continue };
            let (active, told): &mut (Vec<TaskId>, usize) =
                lanes.entry(event.lane.to_string()).or_default();
            let most = if &*event.lane == "main" { 3 } else { 1 };
            match event.kind {
                EventKind::Dispatched { .. } => {
                    active.push(id);
                    assert!(active.len() <= most, "S1: {active:?}");
                }
                EventKind::Settled { .. } => {
                    *told += 1;
                    active.retain(|active| *active != id);
                }
                _ => {}
            }
        }
        lanes
    });
    let tasks: Vec<_> = (0..TASKS)
        .map(|n| {
            let lane = if n % 4 == 0 { "other" } else { "main" };
            let lane = lanes.lane(lane).unwrap();
            tokio::spawn(async move {
                let task = lane.spawn(async |_| tokio::task::yield_now().await);
                if n % 7 == 0 {
                    task.cancel(Reason::User);
                }
                let _ = task.await;
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    drop(lanes);
    let lanes = reader.await.unwrap();
    let told: usize = lanes.values().map(|(_, told)| told).sum();
    assert_eq!(told, TASKS, "S7");
    assert!(lanes.values().all(|(active, _)| active.is_empty()), "S2");
}
