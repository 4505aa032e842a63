//! Before a full queue: who waits for a place, and for whom one is kept.

mod common;

use std::future::{Future, pending};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use common::{HOUR, MINUTE, SECOND, TICK, assert_clean, let_run, now, one_lane, poll_once};
use laneway::{
    AcquireError, Drain, Lane, LaneConfig, LaneState, Lanes, Limit, OnBusy, OnFull, Priority,
    QueuedWork, Reason, TaskError, TaskStatus, Timeout,
};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{sleep, timeout};

const CLAIM: Duration = Duration::from_secs(5);

/// A lane whose comers wait before a queue of so many places.
fn waiting(slots: usize, places: usize) -> (Lanes, Lane) {
    let config = LaneConfig::new(slots).no_stall_ceiling();
    one_lane(config.queue_capacity(places).on_full(OnFull::Wait))
}

fn is_full<T: std::fmt::Debug>(result: Result<T, TaskError>) -> bool {
    matches!(result, Err(TaskError::QueueFull { .. }))
}

#[tokio::test(start_paused = true)]
async fn s5_s6_whoever_waits_at_the_door_comes_in_by_arrival() {
    let (_lanes, main) = waiting(1, 1);
    let slot = main.acquire().await.unwrap();
    let (say, mut said) = unbounded_channel();
    let comer = |n: u32, priority| {
        let say = say.clone();
        let task = main.task().name(n.to_string()).priority(priority);
        Box::pin(task.run(async move |_| say.send(n).unwrap()))
    };
    let mut comers = [
        comer(0, Priority::Normal),
        comer(1, Priority::Background),
        // The most urgent of them comes last, and overtakes nobody out there.
        comer(2, Priority::Foreground),
    ];
    for comer in &mut comers {
        assert!(poll_once(comer.as_mut()).is_pending());
    }
    let snapshot = main.snapshot();
    let names = |tasks: &[laneway::TaskSnapshot]| -> Vec<String> {
        tasks.iter().filter_map(|task| task.name.clone()).collect()
    };
    assert_eq!(names(&snapshot.queued), ["0"]);
    assert_eq!(names(&snapshot.at_door), ["1", "2"]);
    assert_eq!(snapshot.counters.submitted, 4);
    // Who cannot wait is refused, and overtakes nobody either.
    let spawned = main
        .task()
        .priority(Priority::Foreground)
        .spawn(async |_| ());
    assert_eq!(spawned.status(), TaskStatus::Settled);
    assert!(is_full(spawned.await));
    assert!(is_full(main.spawn_blocking(|_| ()).await));
    drop(slot);
    for (comer, n) in comers.into_iter().zip(0..) {
        comer.await.unwrap();
        assert_eq!(said.recv().await, Some(n));
    }
    assert_clean(&main);
}

#[tokio::test(start_paused = true)]
async fn s5_before_a_queue_of_no_places_one_slot_serves_one_comer() {
    let (_lanes, main) = waiting(1, 0);
    let (say, mut said) = unbounded_channel();
    let comer = |n: u32| {
        let (main, say) = (main.clone(), say.clone());
        async move {
            let task = main.run(async move |_| {
                sleep(SECOND).await;
                say.send(n).unwrap();
            });
            task.await.unwrap();
        }
    };
    let began = now();
    tokio::join!(comer(0), comer(1), comer(2));
    for n in 0..3 {
        assert_eq!(said.recv().await, Some(n));
    }
    assert_eq!(began.elapsed(), 3 * SECOND);
    // Nobody keeps a place where there is none.
    let refused = main.reserve().await.unwrap_err();
    assert!(matches!(
        refused,
        AcquireError::QueueFull { capacity: 0, .. }
    ));
    assert_clean(&main);
}

/// S7: a wait timeout is for all of the wait, at the door and in the queue.
#[tokio::test(start_paused = true)]
async fn s7_the_wait_at_the_door_counts() {
    let (_lanes, main) = waiting(1, 1);
    let slot = main.acquire().await.unwrap();
    let first = async {
        let first = main.run(async |_| ()).await;
        first.unwrap();
    };
    let second = async {
        tokio::task::yield_now().await;
        let task = main.task().timeout(Timeout::wait(10 * SECOND));
        task.run(async |_| ()).await.unwrap_err()
    };
    let third = async {
        let_run().await;
        let place = main.task().timeout(Timeout::wait(20 * SECOND)).reserve();
        place.await.unwrap_err()
    };
    let began = now();
    let (second, third) = tokio::select! {
        () = first => unreachable!("the slot is held"),
        both = async { tokio::join!(second, third) } => both,
    };
    assert!(began.elapsed() <= 20 * SECOND + 2 * TICK);
    match second {
        TaskError::TimedOut { limit, allowed, .. } => {
            assert_eq!((limit, allowed), (Limit::Wait, 10 * SECOND));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(third, AcquireError::TimedOut { .. }), "{third:?}");
    drop(slot);
    assert_clean(&main);
}

/// S7: every verb answers those at the door as it answers the queued.
#[tokio::test(start_paused = true)]
async fn s7_every_verb_is_heard_at_the_door() {
    type Verb = fn(&Lane);
    type Right = fn(&TaskError) -> bool;
    let verbs: [(Verb, Right); 6] = [
        (
            |lane| assert_eq!(lane.clear(), 3),
            |e| matches!(e, TaskError::Cleared { .. }),
        ),
        (
            |lane| assert_eq!(lane.cancel_all(Reason::User), 4),
            |e| {
                matches!(
                    e,
                    TaskError::CancelledQueued {
                        reason: Reason::User,
                        ..
                    }
                )
            },
        ),
        (
            |lane| drop(lane.shutdown()),
            |e| matches!(e, TaskError::Shutdown { .. }),
        ),
        (
            |lane| drop(lane.drain(Drain::within(MINUTE).queued(QueuedWork::Return))),
            |e| matches!(e, TaskError::Draining { .. }),
        ),
        (
            |lane| drop(lane.drain(Drain::within(MINUTE).queued(QueuedWork::Cancel))),
            |e| {
                let reason = Reason::Draining;
                matches!(e, TaskError::CancelledQueued { reason: r, .. } if *r == reason)
            },
        ),
        // What is left at the deadline.
        (
            |lane| drop(lane.drain(Drain::within(SECOND).queued(QueuedWork::Run))),
            |e| matches!(e, TaskError::Draining { .. }),
        ),
    ];
    for (verb, right) in verbs {
        let (_lanes, main) = waiting(1, 1);
        let slot = main.acquire().await.unwrap();
        let mut queued = Box::pin(main.run(async |_| ()));
        let mut at_door = Box::pin(main.run(async |_| ()));
        let mut keeper = Box::pin(main.reserve());
        assert!(poll_once(queued.as_mut()).is_pending());
        assert!(poll_once(at_door.as_mut()).is_pending());
        assert!(poll_once(keeper.as_mut()).is_pending());
        assert_eq!(main.snapshot().at_door.len(), 2);
        verb(&main);
        for told in [queued.await, at_door.await] {
            let told = told.unwrap_err();
            assert!(right(&told), "{told:?}");
        }
        let told = keeper.await.unwrap_err();
        let drains = matches!(told, AcquireError::Draining { .. });
        assert_eq!(
            drains,
            main.snapshot().state == LaneState::Draining,
            "{told:?}"
        );
        drop(slot);
        assert_clean(&main);
    }
}

/// A lane that is closed runs whoever waits, and lets nobody else to the door.
#[tokio::test(start_paused = true)]
async fn s7_a_closed_lane_serves_its_door() {
    let (lanes, main) = waiting(1, 1);
    let slot = main.acquire().await.unwrap();
    let mut queued = Box::pin(main.run(async |_| 1));
    let mut at_door = Box::pin(main.run(async |_| 2));
    assert!(poll_once(queued.as_mut()).is_pending());
    assert!(poll_once(at_door.as_mut()).is_pending());
    main.close();
    let late = main.run(async |_| ()).await.unwrap_err();
    assert!(matches!(late, TaskError::Closed { .. }));
    let late = main.reserve().await.unwrap_err();
    assert!(matches!(late, AcquireError::Closed { .. }));
    drop(slot);
    assert_eq!((queued.await.unwrap(), at_door.await.unwrap()), (1, 2));
    assert_clean(&main);
    drop(lanes);
}

/// The scheduler goes, and everybody at its doors is told.
#[tokio::test(start_paused = true)]
async fn s7_nobody_waits_at_the_door_of_nothing() {
    let (lanes, main) = waiting(1, 1);
    let slot = main.acquire().await.unwrap();
    let mut queued = Box::pin(main.acquire());
    let mut at_door = Box::pin(main.acquire());
    assert!(poll_once(queued.as_mut()).is_pending());
    assert!(poll_once(at_door.as_mut()).is_pending());
    drop(lanes);
    for told in [queued.await, at_door.await] {
        assert!(
            matches!(told, Err(AcquireError::Shutdown { .. })),
            "{told:?}"
        );
    }
    drop(slot);
}

/// One comer at every point of its life, dropped: the next one has what it
/// had.
#[tokio::test(start_paused = true)]
async fn s12_a_comer_that_is_dropped_passes_its_place_on() {
    type Comer<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;
    let kinds: [for<'a> fn(&'a Lane) -> Comer<'a>; 3] = [
        |lane| Box::pin(async { drop(lane.run(async |_| pending::<()>().await).await) }),
        |lane| {
            Box::pin(async {
                let _slot = lane.acquire().await.unwrap();
                pending::<()>().await;
            })
        },
        |lane| {
            Box::pin(async {
                let _place = lane.reserve().await.unwrap();
                pending::<()>().await;
            })
        },
    ];
    for kind in kinds {
        // Nobody yet; at the door; in the queue or with a place; and so on.
        for point in 0..6 {
            let (_lanes, main) = waiting(1, 1);
            let mut slot = Some(main.acquire().await.unwrap());
            let mut queued = Some(Box::pin(main.run(async |_| ())));
            assert!(poll_once(queued.as_mut().unwrap().as_mut()).is_pending());
            let mut comer = kind(&main);
            let mut next = Box::pin(main.run(async |_| ()));
            if point > 0 {
                assert!(poll_once(comer.as_mut()).is_pending());
            }
            assert!(poll_once(next.as_mut()).is_pending());
            if point > 1 {
                drop(queued.take());
            }
            if point > 2 {
                assert!(poll_once(comer.as_mut()).is_pending());
            }
            if point > 3 {
                drop(slot.take());
            }
            if point > 4 {
                assert!(poll_once(comer.as_mut()).is_pending());
            }
            drop(comer);
            drop((queued, slot));
            next.await.unwrap();
            let snapshot = main.snapshot();
            assert_eq!(
                (snapshot.reserved, snapshot.at_door.len()),
                (0, 0),
                "{point}"
            );
            assert_clean(&main);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reservation_is_a_place_and_a_place_is_given_back() {
    let (_lanes, main) = waiting(1, 2);
    let slot = main.acquire().await.unwrap();
    let (one, other) = (main.reserve().await.unwrap(), main.reserve().await.unwrap());
    assert_eq!(main.snapshot().reserved, 2);
    let told = main.spawn(async |_| ()).await.unwrap_err();
    assert!(
        matches!(
            told,
            TaskError::QueueFull {
                capacity: 2,
                queued: 2,
                ..
            }
        ),
        "{told:?}"
    );
    let mut comer = Box::pin(main.run(async |_| "came in"));
    assert!(poll_once(comer.as_mut()).is_pending());
    assert_eq!(main.snapshot().at_door.len(), 1);
    drop(one);
    let snapshot = main.snapshot();
    assert_eq!((snapshot.queued.len(), snapshot.at_door.len()), (1, 0));
    let used = other.spawn(async |_| "used");
    assert_eq!(used.status(), TaskStatus::Queued);
    assert_eq!(main.snapshot().reserved, 0);
    drop(slot);
    assert_eq!(
        (comer.await.unwrap(), used.await.unwrap()),
        ("came in", "used")
    );
    // Each way of running uses it, and none of them keeps it.
    assert_eq!(
        main.reserve()
            .await
            .unwrap()
            .run(async |_| 1)
            .await
            .unwrap(),
        1
    );
    let blocking = main.reserve().await.unwrap().spawn_blocking(|_| 2);
    assert_eq!(blocking.await.unwrap(), 2);
    drop(main.reserve().await.unwrap().acquire().await.unwrap());
    drop(main.reserve().await.unwrap().run(async |_| ()));
    let described = main.task().name("turn").key("k").meta(7_u8).reserve();
    let described = described
        .await
        .unwrap()
        .into_task()
        .priority(Priority::Foreground);
    let seen = described.run(async |cx| {
        let meta = cx.meta::<u8>().map(|meta| *meta);
        (cx.name().map(str::to_owned), meta)
    });
    assert_eq!(seen.await.unwrap(), (Some("turn".to_owned()), Some(7)));
    assert_eq!(main.snapshot().reserved, 0);
    // A reservation is no task.
    let counters = assert_clean(&main);
    assert_eq!(
        (counters.submitted, counters.completed, counters.ended),
        (7, 7, 0)
    );
}

/// A slot goes to whoever can use it, and not to whoever only wants a place.
#[tokio::test(start_paused = true)]
async fn s5_who_waits_for_a_place_is_in_nobodys_way_to_a_slot() {
    let (_lanes, main) = waiting(1, 1);
    let slot = main.acquire().await.unwrap();
    let kept = main.reserve().await.unwrap();
    let mut keeper = Box::pin(main.reserve());
    let mut comer = Box::pin(main.run(async |_| ()));
    assert!(poll_once(keeper.as_mut()).is_pending());
    assert!(poll_once(comer.as_mut()).is_pending());
    drop(slot);
    comer.await.unwrap();
    assert!(
        poll_once(keeper.as_mut()).is_pending(),
        "its place is another's"
    );
    // Who finds a slot free needs no place either.
    main.run(async |_| ()).await.unwrap();
    drop(kept);
    drop(keeper.await.unwrap());
    assert_clean(&main);
}

/// S20: a place that nobody polls for is passed on, and whoever lost it is back
/// where it was.
#[tokio::test(start_paused = true)]
async fn s20_a_place_is_come_for_or_passed_on() {
    let (_lanes, main) = waiting(1, 1);
    let slot = main.acquire().await.unwrap();
    let kept = main.reserve().await.unwrap();
    let mut sleeper = Box::pin(main.reserve());
    assert!(poll_once(sleeper.as_mut()).is_pending());
    let behind = async {
        let place = main.reserve().await.unwrap();
        (now(), place)
    };
    let mut behind = Box::pin(behind);
    assert!(poll_once(behind.as_mut()).is_pending());
    let began = now();
    drop(kept);
    let (at, place) = behind.as_mut().await;
    assert_eq!(at - began, CLAIM);
    // Back before whoever came later.
    let mut last = Box::pin(main.run(async |_| ()));
    assert!(poll_once(last.as_mut()).is_pending());
    assert!(poll_once(sleeper.as_mut()).is_pending());
    drop(place);
    let place = sleeper.await.unwrap();
    assert_eq!(main.snapshot().at_door.len(), 1);
    drop(place);
    drop(slot);
    last.await.unwrap();
    assert_clean(&main);
}

/// A reservation that somebody forgot wedges nobody, and still does what it
/// promised.
#[tokio::test(start_paused = true)]
async fn s7_a_place_is_not_kept_for_ever() {
    let (_lanes, main) = waiting(1, 1);
    let slot = main.acquire().await.unwrap();
    let kept = main.reserve().await.unwrap();
    let began = now();
    let next = main.reserve().await.unwrap();
    assert_eq!(began.elapsed(), MINUTE);
    // Both of them have a place, and one is beyond the capacity.
    let (late, used) = (kept.spawn(async |_| 1), next.spawn(async |_| 2));
    assert_eq!(main.snapshot().queued.len(), 2);
    assert!(is_full(main.spawn(async |_| 3).await));
    drop(slot);
    assert_eq!((late.await.unwrap(), used.await.unwrap()), (1, 2));
    assert_clean(&main);
}

/// A lane that is closed meanwhile refuses the task, and the place is free.
#[tokio::test(start_paused = true)]
async fn s18_a_place_in_a_closed_lane_is_no_place() {
    let (_lanes, main) = waiting(1, 1);
    let kept = main.reserve().await.unwrap();
    main.close();
    let refused = kept.run(async |_| ()).await.unwrap_err();
    assert!(matches!(refused, TaskError::Closed { .. }));
    assert_eq!(main.snapshot().reserved, 0);
    // Without a bound there is a place at any time, and it is counted.
    let (_lanes, main) = one_lane(LaneConfig::new(0));
    let kept = main.reserve().await.unwrap();
    assert_eq!(main.snapshot().reserved, 1);
    drop(kept);
    assert_eq!(main.snapshot().reserved, 0);
}

/// Cancelled by id or key: at the door, and with a place that nobody came for.
#[tokio::test(start_paused = true)]
async fn s12_who_waits_for_a_place_can_be_cancelled() {
    let (lanes, main) = waiting(1, 1);
    let slot = main.acquire().await.unwrap();
    for granted in [false, true] {
        let kept = main.reserve().await.unwrap();
        let mut comer = Box::pin(main.task().key("turn").reserve());
        assert!(poll_once(comer.as_mut()).is_pending());
        let mut next = Box::pin(main.reserve());
        assert!(poll_once(next.as_mut()).is_pending());
        let kept = if granted { None } else { Some(kept) };
        assert_eq!(lanes.cancel_key("turn", Reason::User), 1);
        assert_eq!(lanes.cancel_key("turn", Reason::User), 0);
        let told = comer.await.unwrap_err();
        assert!(
            matches!(
                told,
                AcquireError::Cancelled {
                    reason: Reason::User,
                    ..
                }
            ),
            "{told:?}"
        );
        drop(kept);
        drop(next.await.unwrap());
    }
    // What somebody has in its hands is its own.
    let kept = main.task().key("turn").reserve().await.unwrap();
    assert_eq!(lanes.cancel_key("turn", Reason::User), 0);
    assert_eq!(main.cancel_all(Reason::User), 1);
    drop(slot);
    kept.run(async |_| ()).await.unwrap();
    assert_clean(&main);
}

/// S9: whoever waits at the door of another lane is not stalling.
#[tokio::test(start_paused = true)]
async fn s9_a_wait_at_the_door_is_a_wait() {
    let provider = LaneConfig::new(1).queue_capacity(0).on_full(OnFull::Wait);
    let lanes = Lanes::builder()
        .lane("provider", provider.no_stall_ceiling())
        .lane("main", LaneConfig::new(2).stall_ceiling(MINUTE))
        .build()
        .unwrap();
    let (main, provider) = (lanes.lane("main").unwrap(), lanes.lane("provider").unwrap());
    let slot = provider.acquire().await.unwrap();
    let waits = main.run(async |_| provider.run(async |_| "an answer").await);
    let holds = async {
        sleep(10 * MINUTE).await;
        drop(slot);
    };
    let (answer, ()) = tokio::join!(waits, holds);
    assert_eq!(answer.unwrap().unwrap(), "an answer");
    assert_clean(&main);
    assert_clean(&provider);
}

/// On threads: nobody at the door is forgotten, whatever leaves by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s5_s7_a_crowd_before_a_small_queue_is_served_to_the_last() {
    let (_lanes, main) = waiting(2, 2);
    let mut comers = Vec::new();
    for n in 0..64_u32 {
        let main = main.clone();
        comers.push(tokio::spawn(async move {
            let mut ran = 0_u64;
            for round in 0..100 {
                match (n + round) % 4 {
                    0 => main.run(async |_| ()).await.unwrap(),
                    1 => drop(main.acquire().await.unwrap()),
                    2 => main
                        .reserve()
                        .await
                        .unwrap()
                        .spawn(async |_| ())
                        .await
                        .unwrap(),
                    // Given up in the middle, wherever that was.
                    _ => {
                        let given_up = async {
                            tokio::task::yield_now().await;
                        };
                        tokio::select! {
                            biased;
                            ran = main.run(async |_| ()) => ran.unwrap(),
                            place = main.reserve() => drop(place.unwrap()),
                            () = given_up => {}
                        }
                        continue;
                    }
                }
                ran += 1;
            }
            ran
        }));
    }
    let mut ran = 0;
    for comer in comers {
        ran += comer.await.unwrap();
    }
    assert_eq!(ran, 64 * 75);
    let snapshot = main.snapshot();
    assert_eq!((snapshot.at_door.len(), snapshot.reserved), (0, 0));
    assert_clean(&main);
}

/// Where there will never be a place, whoever waits for one is told so.
#[tokio::test(start_paused = true)]
async fn s7_whoever_waits_for_a_place_is_told_when_there_will_be_none() {
    let config = LaneConfig::new(1).queue_capacity(1).on_full(OnFull::Wait);
    let lanes = Lanes::builder().lane("main", config).build().unwrap();
    let main = lanes.lane("main").unwrap();
    let held = main.try_acquire().unwrap();
    let queued = main.spawn(async |_| ());
    let mut place = Box::pin(main.reserve());
    assert!(poll_once(place.as_mut()).is_pending());
    lanes
        .reconfigure(|change| {
            change.lane("main").queue_capacity(0);
        })
        .unwrap();
    assert!(matches!(
        poll_once(place.as_mut()),
        Poll::Ready(Err(AcquireError::Cleared { .. }))
    ));
    drop(held);
    queued.await.unwrap();
}

/// A place that was kept is one for a task with a quiet window, too.
#[tokio::test(start_paused = true)]
async fn s12_a_kept_place_is_one_for_who_is_put_off_too() {
    let config = LaneConfig::new(1).queue_capacity(1);
    let (_lanes, main) = one_lane(config);
    let slot = main.try_acquire().unwrap();
    let place = main.reserve().await.unwrap();
    let full = main.task().key("k");
    let full = full.debounce(SECOND, 1, |a, b| a + b, async |_, n: u32| n);
    assert!(matches!(full.await, Err(TaskError::QueueFull { .. })));
    let task = place.into_task().key("k");
    let task = task.debounce(SECOND, 2, |a, b| a + b, async |_, n: u32| n);
    drop(slot);
    assert_eq!(*task.await.unwrap(), 2);
}

/// However a task comes with its place, that is no reason to refuse it.
#[tokio::test(start_paused = true)]
async fn a_task_that_would_supersede_is_not_refused_for_its_own_place() {
    let (_lanes, main) = waiting(1, 1);
    let slot = main.try_acquire().unwrap();
    let place = main.reserve().await.unwrap();
    let task = place.into_task().key("k").on_busy(OnBusy::Supersede);
    let task = task.spawn(async |_| "ran");
    assert_eq!(main.snapshot().reserved, 0);
    drop(slot);
    assert_eq!(task.await.unwrap(), "ran");
}

#[tokio::test(start_paused = true)]
async fn s7_who_comes_back_for_a_place_where_there_is_none_any_more_is_told() {
    let config = LaneConfig::new(1).queue_capacity(1).on_full(OnFull::Wait);
    let (lanes, main) = one_lane(config);
    let _slot = main.acquire().await.unwrap();
    let queued = main.spawn(async |_| ());
    let mut place = Box::pin(main.reserve());
    assert!(poll_once(place.as_mut()).is_pending());
    queued.cancel(Reason::User);
    // It has a place now, and nobody polls it.
    let change = lanes.reconfigure(|change| {
        change.lane("main").queue_capacity(0);
    });
    change.unwrap();
    sleep(6 * SECOND).await;
    assert!(timeout(HOUR, place).await.is_ok(), "S7");
}
