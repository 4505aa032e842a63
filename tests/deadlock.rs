//! A wait that closes a circle of tasks that wait for each other is refused, and
//! no other is.

#![expect(
    clippy::async_yields_async,
    reason = "tasks give out handles that outlive them"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{HOUR, MINUTE, SECOND, lanes_of_one, let_run, now};
use laneway::{
    AcquireError, Cycle, GroupConfig, Lane, LaneConfig, Lanes, LanesBuilder, OnDeadlock, Reason,
    TaskContext, TaskError, TaskHandle, TaskId, WaitsFor,
};
use tokio::sync::{Barrier, oneshot};
use tokio::time::sleep;

fn builder(slots: &[(&str, usize)]) -> LanesBuilder {
    slots.iter().fold(Lanes::builder(), |lanes, (name, slots)| {
        lanes.lane(*name, LaneConfig::new(*slots).no_stall_ceiling())
    })
}

fn lanes<const N: usize>(slots: [(&str, usize); N]) -> (Lanes, [Lane; N]) {
    let lanes = builder(&slots).build().unwrap();
    let each = slots.map(|(name, _)| lanes.lane(name).unwrap());
    (lanes, each)
}

/// What was refused, and the circle.
#[track_caller]
fn refused<T: std::fmt::Debug>(told: Result<T, TaskError>) -> (TaskId, Cycle, bool) {
    match told {
        Err(TaskError::WouldDeadlock {
            id,
            cycle,
            withdrawn,
            ..
        }) => (id, cycle, withdrawn),
        other => panic!("not refused: {other:?}"),
    }
}

/// The lanes of the tasks of a circle, and what each of them waits for.
fn told(cycle: &Cycle) -> Vec<(String, String)> {
    let each = |task: &laneway::CycleTask| {
        let what = match &task.waits_for {
            WaitsFor::Lane { lane, group } => match group {
                Some(group) => format!("{lane} of {group}"),
                None => lane.to_string(),
            },
            WaitsFor::Task { .. } => "a task".to_owned(),
            _ => unreachable!("there is no more to wait for"),
        };
        (task.lane.to_string(), what)
    };
    cycle.tasks().iter().map(each).collect()
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs
        .map(|(lane, what)| (lane.to_owned(), what.to_owned()))
        .into()
}

/// Nobody is left in any lane, and each has all its slots.
fn assert_whole(lanes: &Lanes) {
    for lane in lanes.snapshot().lanes {
        assert!(lane.active.is_empty() && lane.queued.is_empty(), "{lane:?}");
        let handle = lanes.lane(&lane.name).unwrap();
        let all: Vec<_> = (0..lane.max_concurrent)
            .map(|_| handle.try_acquire())
            .collect();
        assert!(all.iter().all(Result::is_ok), "{}", lane.name);
    }
}

/// The incident: a task waits for a lane that its own ancestor is filling.
#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_its_ancestor_is_refused_at_once() {
    let (lanes, [session, main]) = lanes([("session", 1), ("main", 4)]);
    let began = now();
    let again = session.clone();
    let (id, answer) = session
        .task()
        .name("turn 17")
        .run(async |cx| {
            let inner = main
                .run(async |_| main.run(async |_| again.run(async |_| "never").await).await)
                .await;
            (cx.id(), inner)
        })
        .await
        .unwrap();
    let (_, cycle, withdrawn) = refused(answer.unwrap().unwrap());
    assert!(withdrawn);
    assert_eq!(now(), began, "no time has passed");
    let lanes_of: Vec<_> = cycle.tasks().iter().map(|task| &*task.lane).collect();
    assert_eq!(lanes_of, ["main", "session", "main"], "{cycle}");
    let outer = &cycle.tasks()[1];
    assert_eq!((outer.id, outer.name.as_deref()), (id, Some("turn 17")));
    let first = &cycle.tasks()[0].waits_for;
    assert!(matches!(first, WaitsFor::Lane { lane, group: None } if &**lane == "session"));
    assert!(matches!(outer.waits_for, WaitsFor::Task { id } if id == cycle.tasks()[2].id));
    assert_eq!(session.snapshot().counters.deadlocks, 1);
    assert_whole(&lanes);
}

#[tokio::test(start_paused = true)]
async fn each_way_to_wait_for_ones_own_lane_is_refused() {
    let (lanes, [a]) = lanes([("a", 1)]);
    let own = a.clone();
    a.run(async |cx: TaskContext| {
        let expected = pairs([("a", "a")]);
        let (_, cycle, left) = refused(own.run(async |_| ()).await);
        assert!(left && told(&cycle) == expected, "{cycle}");
        assert_eq!(cycle.tasks()[0].id, cx.id());

        let error = own.acquire().await.unwrap_err();
        let AcquireError::WouldDeadlock { cycle, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(told(cycle), expected);
        assert!(!error.is_retryable());

        let handle = own.spawn(async |_| unreachable!("it left the queue"));
        let id = handle.id();
        let (of, cycle, left) = refused::<()>(handle.await);
        assert!(left && of == id && told(&cycle) == expected, "{cycle}");

        let handle = own.spawn_blocking(|_| unreachable!("it left the queue"));
        refused::<()>(handle.await);

        let offer = own
            .task()
            .offer((), async |_, ()| unreachable!("it left the queue"));
        assert!(matches!(offer.await, Err(TaskError::WouldDeadlock { .. })));

        // In a part of the task, however it is polled.
        let lane = own.clone();
        let part = cx.spawn(async move { lane.run(async |_| ()).await });
        refused(part.await.unwrap());
        let lane = own.clone();
        let part = tokio::spawn(cx.scope(async move { lane.run(async |_| ()).await }));
        refused(part.await.unwrap());
    })
    .await
    .unwrap();
    assert_whole(&lanes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_blocks_in_a_wait_is_refused() {
    let (lanes, [a]) = lanes([("a", 1)]);
    let own = a.clone();
    let runtime = tokio::runtime::Handle::current();
    let task = a.spawn_blocking(move |_| runtime.block_on(own.run(async |_| ())));
    refused(task.await.unwrap());
    assert_whole(&lanes);
}

/// Holds a slot of one lane, and then waits for another.
fn crossing(outer: &Lane, inner: &Lane, pause: Duration) -> TaskHandle<Result<(), TaskError>> {
    let inner = inner.clone();
    outer.spawn(async move |_| {
        sleep(pause).await;
        inner.run(async |_| ()).await
    })
}

#[tokio::test(start_paused = true)]
async fn of_two_that_take_two_lanes_in_different_order_the_later_is_refused() {
    let (lanes, [a, b]) = lanes([("a", 1), ("b", 1)]);
    let began = now();
    let first = crossing(&a, &b, SECOND);
    let second = crossing(&b, &a, 2 * SECOND);
    let ids = (first.id(), second.id());
    let (_, cycle, _) = refused(second.await.unwrap());
    assert_eq!(told(&cycle), pairs([("b", "a"), ("a", "b")]));
    assert_eq!((cycle.tasks()[1].id, cycle.tasks()[0].id), ids);
    first.await.unwrap().unwrap();
    assert_eq!(began.elapsed(), 2 * SECOND);
    assert_whole(&lanes);
}

#[tokio::test(start_paused = true)]
async fn three_lanes_in_a_ring_are_a_circle_of_three() {
    let (lanes, [a, b, c]) = lanes([("a", 1), ("b", 1), ("c", 1)]);
    let tasks = [
        crossing(&a, &b, SECOND),
        crossing(&b, &c, 2 * SECOND),
        crossing(&c, &a, 3 * SECOND),
    ];
    let [first, second, third] = tasks;
    let (_, cycle, _) = refused(third.await.unwrap());
    assert_eq!(told(&cycle), pairs([("c", "a"), ("a", "b"), ("b", "c")]));
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_whole(&lanes);
}

#[tokio::test(start_paused = true)]
async fn of_several_slots_all_must_be_stuck() {
    let (lanes, [a, b, c]) = lanes([("a", 3), ("b", 1), ("c", 1)]);
    // Waits, too, but for somebody who moves.
    let free = a.spawn(async move |_| c.run(async |_| sleep(10 * SECOND).await).await);
    let stuck = crossing(&a, &b, SECOND);
    let also = crossing(&a, &b, SECOND);
    // There is somebody in `a` who can move, so this waits, and is served.
    let patient = crossing(&b, &a, 2 * SECOND);
    free.await.unwrap().unwrap();
    patient.await.unwrap().unwrap();
    stuck.await.unwrap().unwrap();
    also.await.unwrap().unwrap();

    // All three are stuck once the third waits for `b`, too.
    let waits: Vec<_> = (1..=3).map(|n| crossing(&a, &b, n * SECOND)).collect();
    let closes = crossing(&b, &a, 5 * SECOND);
    let (_, cycle, _) = refused(closes.await.unwrap());
    assert_eq!(told(&cycle), pairs([("b", "a"), ("a", "b")]));
    for wait in waits {
        wait.await.unwrap().unwrap();
    }
    assert_whole(&lanes);
}

#[tokio::test(start_paused = true)]
async fn the_last_holder_that_could_move_closes_the_circle() {
    let (lanes, [a, b]) = lanes([("a", 2), ("b", 1)]);
    let first = crossing(&a, &b, SECOND);
    let second = crossing(&b, &a, 2 * SECOND);
    let third = crossing(&a, &b, 3 * SECOND);
    let (_, cycle, _) = refused(third.await.unwrap());
    assert_eq!(told(&cycle), pairs([("a", "b"), ("b", "a")]));
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_whole(&lanes);
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_waited_for_as_a_lane_is() {
    let group = GroupConfig::new(2)
        .member("a")
        .member("b")
        .member("c")
        .reserve("c", 1);
    let lanes = builder(&[("a", 2), ("b", 2), ("c", 1)])
        .group("g", group)
        .build()
        .unwrap();
    let (a, b, c) = (
        lanes.lane("a").unwrap(),
        lanes.lane("b").unwrap(),
        lanes.lane("c").unwrap(),
    );
    a.task()
        .name("outer")
        .run(async |_| {
            let (_, cycle, _) = refused(b.run(async |_| ()).await);
            assert_eq!(told(&cycle), pairs([("a", "b of g")]));
            // What is kept for another lane is there for that lane.
            c.run(async |_| ()).await.unwrap();
        })
        .await
        .unwrap();
    lanes.idle().await;

    // Both at once: a lane of its own in between.
    let first = crossing(&a, &c, SECOND);
    let second = crossing(&c, &b, 2 * SECOND);
    let (_, cycle, _) = refused(second.await.unwrap());
    assert_eq!(told(&cycle), pairs([("c", "b of g"), ("a", "c")]));
    first.await.unwrap().unwrap();
    lanes.idle().await;
}

#[tokio::test(start_paused = true)]
async fn two_that_await_each_other_are_a_circle_and_go_on() {
    type Told = Result<u8, TaskError>;

    let (lanes, [a]) = lanes([("a", 2)]);
    let (give, given) = oneshot::channel::<TaskHandle<Told>>();
    let first = a.spawn(async move |_| {
        let mut other = given.await.unwrap();
        let (id, cycle, withdrawn) = refused((&mut other).await);
        assert!(!withdrawn && id == other.id());
        assert_eq!(told(&cycle), pairs([("a", "a task"), ("a", "a task")]));
        drop(other);
        7
    });
    let second = a.spawn(async move |_| first.await);
    tokio::task::yield_now().await;
    let id = second.id();
    // The first task awaits the second, which awaits it already.
    sleep(SECOND).await;
    give.send(second).map_err(drop).unwrap();
    lanes.idle().await;
    assert!(lanes.cancel(id, Reason::User).is_err(), "it is through");
    assert_eq!(a.snapshot().counters.completed, 2);
    assert_whole(&lanes);
}

/// Gives a task the handle of itself.
fn given_to_itself<Fut>(
    lane: &Lane,
    body: impl FnOnce(TaskContext, TaskHandle<()>) -> Fut + Send + 'static,
) -> TaskId
where
    Fut: Future<Output = ()> + Send,
{
    let (give, given) = oneshot::channel();
    let task = lane.spawn(async move |cx| body(cx, given.await.unwrap()).await);
    let id = task.id();
    give.send(task).map_err(drop).unwrap();
    id
}

#[tokio::test(start_paused = true)]
async fn whoever_awaits_itself_is_a_circle_of_one_and_goes_on() {
    let (lanes, [a]) = lanes([("a", 1)]);
    given_to_itself(&a, async |_, mut own| {
        let (id, cycle, withdrawn) = refused((&mut own).await);
        assert!(!withdrawn && id == own.id());
        assert_eq!(told(&cycle), pairs([("a", "a task")]));
    });
    lanes.idle().await;
    // In a part of the task.
    given_to_itself(&a, async |cx, own| {
        refused(cx.spawn(own).await.unwrap());
    });
    lanes.idle().await;
    // One of several who were merged into it.
    let (give, given) = oneshot::channel();
    let merged = a.task().key("one").coalesce(
        (),
        |(), ()| (),
        async move |_, ()| {
            let own: laneway::SharedHandle<()> = given.await.unwrap();
            assert!(matches!(own.await, Err(TaskError::WouldDeadlock { .. })));
        },
    );
    give.send(merged).map_err(drop).unwrap();
    lanes.idle().await;
    let counters = a.snapshot().counters;
    assert_eq!((counters.deadlocks, counters.completed), (3, 3));
    assert_whole(&lanes);
}

/// It gives no sign of life by that.
#[tokio::test(start_paused = true)]
async fn s8_a_wait_for_itself_that_may_be_given_up_holds_no_slot() {
    let config = LaneConfig::new(1).stall_ceiling(MINUTE);
    let lanes = Lanes::builder().lane("a", config).build().unwrap();
    let a = lanes.lane("a").unwrap();
    let id = given_to_itself(&a, async |_, own| own.may_abandon().await.unwrap());
    sleep(MINUTE / 2).await;
    assert_eq!(a.snapshot().counters.deadlocks, 0);
    let told = lanes.explain(id).unwrap().to_string();
    let waits = format!("waits for, but need not: task {id}");
    assert!(told.contains(&waits), "{told}");
    sleep(MINUTE).await;
    assert_eq!(a.snapshot().counters.reclaimed, 1);
    assert_whole(&lanes);
}

/// Whoever polls a `run` moves it, also in its own scope.
#[tokio::test(start_paused = true)]
async fn a_run_in_the_scope_of_its_own_task_is_no_circle() {
    let (lanes, [a]) = lanes([("a", 1)]);
    let (give, mut given) = oneshot::channel();
    let run = a.run(async |cx| {
        give.send(cx).map_err(drop).unwrap();
        sleep(HOUR).await;
        7
    });
    let mut run = std::pin::pin!(run);
    let cx: TaskContext = tokio::select! {
        biased;
        cx = &mut given => cx.unwrap(),
        _ = &mut run => unreachable!("it sleeps"),
    };
    assert_eq!(cx.scope(run).await.unwrap(), 7);
    assert_eq!(a.snapshot().counters.deadlocks, 0);
    assert_whole(&lanes);
}

/// A handle whose wait was refused is good for another one.
#[tokio::test(start_paused = true)]
async fn a_child_that_is_active_goes_on_without_its_parents_wait() {
    let (lanes, [a, b]) = lanes([("a", 1), ("b", 1)]);
    let (inner, own) = (b.clone(), a.clone());
    let (told_of, mut child) = a
        .run(async |_| {
            let mut child = inner.spawn(async move |_| own.run(async |_| 7).await);
            sleep(SECOND).await;
            // It waits for our own lane by now.
            let refused = refused((&mut child).await);
            (refused, child)
        })
        .await
        .unwrap();
    assert!(!told_of.2);
    assert_eq!(told(&told_of.1), pairs([("a", "a task"), ("b", "a")]));
    assert_eq!((&mut child).await.unwrap().unwrap(), 7);
    assert_whole(&lanes);
}

#[tokio::test(start_paused = true)]
async fn of_a_task_that_is_shared_only_the_wait_is_refused() {
    let (lanes, [a]) = lanes([("a", 1)]);
    let merged = |a: &Lane| {
        a.task()
            .key("k")
            .coalesce(1, |all, more| all + more, async |_, n| n)
    };
    let (own, outside) = (a.clone(), a.clone());
    let waits = a
        .run(async move |_| {
            let other = merged(&outside);
            let (_, cycle, withdrawn) = refused(merged(&own).await);
            assert!(!withdrawn && told(&cycle) == pairs([("a", "a")]));
            other
        })
        .await
        .unwrap();
    assert_eq!(*waits.await.unwrap(), 2, "whoever was merged is served");
    assert_whole(&lanes);
}

#[tokio::test(start_paused = true)]
async fn to_spawn_is_not_to_wait() {
    let (lanes, [a, b]) = lanes([("a", 1), ("b", 1)]);
    let (own, other) = (a.clone(), b.clone());
    let next = a
        .run(async move |_| {
            let next = own.spawn(async move |_| other.run(async |_| "next").await);
            sleep(SECOND).await;
            next
        })
        .await
        .unwrap();
    assert_eq!(next.await.unwrap().unwrap(), "next");
    let handles: Vec<_> = (0..3).map(|_| crossing(&a, &b, SECOND)).collect();
    for handle in handles {
        handle.await.unwrap().unwrap();
    }
    assert_whole(&lanes);
}

#[tokio::test(start_paused = true)]
async fn a_task_can_move_while_anything_that_it_awaits_can() {
    let (lanes, [a, b]) = lanes([("a", 1), ("b", 1)]);
    // Whichever of the two it begins with.
    for own_first in [true, false] {
        let began = now();
        a.run(async |_| {
            let beside = async { b.run(async |_| sleep(HOUR).await).await.unwrap() };
            let own = async { refused(a.run(async |_| ()).await) };
            if own_first {
                tokio::join!(own, beside);
            } else {
                tokio::join!(beside, own);
            }
        })
        .await
        .unwrap();
        assert_eq!(began.elapsed(), HOUR, "as soon as it could not");
    }
    assert_whole(&lanes);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_aborted_waits_for_nothing() {
    let (lanes, [a, b]) = lanes([("a", 1), ("b", 1)]);
    for scoped in [true, false] {
        let began = now();
        a.run(async |cx: TaskContext| {
            let lane = b.clone();
            let part = async move { lane.run(async |_| sleep(9 * HOUR).await).await };
            let part = if scoped {
                tokio::spawn(cx.scope(part))
            } else {
                cx.spawn(part)
            };
            tokio::spawn(async move {
                sleep(HOUR).await;
                part.abort();
            });
            // So that the part is the first to wait.
            sleep(SECOND).await;
            refused(a.run(async |_| ()).await);
        })
        .await
        .unwrap();
        assert_eq!(began.elapsed(), HOUR);
    }
    assert_whole(&lanes);
}

/// A task that is about to wait for something else is not looked at in between.
#[tokio::test(start_paused = true)]
async fn between_two_waits_nothing_is_refused() {
    let (lanes, [a, b]) = lanes([("a", 1), ("b", 1)]);
    let began = now();
    a.run(async |_| {
        let several = async {
            for _ in 0..3 {
                b.run(async |_| sleep(HOUR).await).await.unwrap();
            }
        };
        tokio::join!(several, async { refused(a.run(async |_| ()).await) });
    })
    .await
    .unwrap();
    assert_eq!(began.elapsed(), 3 * HOUR);
    assert_whole(&lanes);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_may_be_given_up_is_none() {
    let (lanes, [a, b]) = lanes([("a", 1), ("b", 1)]);
    let (own, other) = (a.clone(), b.clone());
    a.run(async |_| {
        macro_rules! gives_up {
            ($wait:expr) => {
                tokio::select! {
                    told = $wait => panic!("{:?}", told.map(drop)),
                    () = sleep(SECOND) => {}
                }
            };
        }
        gives_up!(own.run(async |_| ()).may_abandon());
        gives_up!(own.task().may_abandon().run(async |_| ()));
        gives_up!(own.task().may_abandon().acquire());
        gives_up!(own.spawn(async |_| ()).abort_on_drop().may_abandon());
        gives_up!(own.task().may_abandon().spawn(async |_| ()).abort_on_drop());
        gives_up!(own.task().offer((), async |_, ()| ()).may_abandon());
        let merge = |(): (), (): ()| ();
        gives_up!(
            own.task()
                .coalesce((), merge, async |_, ()| ())
                .may_abandon()
        );
        gives_up!(
            own.task()
                .may_abandon()
                .coalesce((), merge, async |_, ()| ())
        );
        own.clear();

        // Others may wait for it meanwhile.
        let waits = other.spawn({
            let own = own.clone();
            async move |_| own.run(async |_| "served").await
        });
        gives_up!(other.run(async |_| ()).may_abandon());
        waits
    })
    .await
    .unwrap()
    .await
    .unwrap()
    .unwrap();
    assert_whole(&lanes);
}

/// A slot by hand may be anywhere, and so it is not its acquirer that holds it,
/// unless it says so.
#[tokio::test(start_paused = true)]
async fn a_slot_by_hand_can_move_unless_somebody_waits_in_its_scope() {
    let (lanes, [a, pool]) = lanes([("a", 1), ("pool", 2)]);
    a.run(async |_| {
        for _ in 0..6 {
            let slot = pool.acquire().await.unwrap();
            tokio::spawn(async move {
                sleep(SECOND).await;
                drop(slot);
            });
        }
        let slots = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
        let scope = slots.0.context().clone();
        let beside = slots.1.context().clone();
        let waits = |cx: TaskContext| {
            let pool = pool.clone();
            tokio::spawn(cx.scope(async move { pool.acquire().await.map(drop) }))
        };
        let first = waits(scope);
        sleep(SECOND).await;
        let error = waits(beside).await.unwrap().unwrap_err();
        assert!(
            matches!(error, AcquireError::WouldDeadlock { .. }),
            "{error}"
        );
        drop(slots);
        first.await.unwrap().unwrap();
    })
    .await
    .unwrap();
    assert_whole(&lanes);
}

#[tokio::test(start_paused = true)]
async fn a_pause_and_a_lane_without_slots_are_no_circles() {
    let (lanes, [a, b]) = lanes([("a", 1), ("b", 0)]);
    let waits = crossing(&a, &b, SECOND);
    sleep(2 * SECOND).await;
    b.set_max_concurrent(1).unwrap();
    waits.await.unwrap().unwrap();

    b.pause();
    let waits = crossing(&a, &b, SECOND);
    sleep(HOUR).await;
    b.resume();
    waits.await.unwrap().unwrap();

    // Also for a task of the lane itself, which is looked at when that is over.
    for (slots, served) in [(2, true), (1, false)] {
        b.set_max_concurrent(2).unwrap();
        let own = b.clone();
        let inner = b.spawn(async move |_| {
            own.set_max_concurrent(0).unwrap();
            own.run(async |_| ()).await
        });
        sleep(HOUR).await;
        b.set_max_concurrent(slots).unwrap();
        let told = inner.await.unwrap();
        if served {
            told.unwrap();
        } else {
            refused(told);
        }
    }
    assert_whole(&lanes);
}

/// Two that close a circle at the same moment find the same one, and of that the
/// same wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_threads_one_of_two_that_cross_is_served() {
    let (lanes, [a, b]) = lanes([("a", 1), ("b", 1)]);
    for _ in 0..500 {
        let met = Arc::new(Barrier::new(2));
        let nest = |outer: &Lane, inner: &Lane| {
            let (inner, met) = (inner.clone(), Arc::clone(&met));
            outer.spawn(async move |_| {
                met.wait().await;
                inner.run(async |_| ()).await
            })
        };
        let (first, second) = tokio::join!(nest(&a, &b), nest(&b, &a));
        let told = match (first.unwrap(), second.unwrap()) {
            (Ok(()), told) | (told, Ok(())) => told,
            told => panic!("{told:?}"),
        };
        refused(told);
    }
    assert_whole(&lanes);
}

#[tokio::test(start_paused = true)]
async fn a_scheduler_that_warns_counts_it_and_waits() {
    let lanes = builder(&[("a", 1), ("b", 1)])
        .on_deadlock(OnDeadlock::Warn)
        .build()
        .unwrap();
    let (a, b) = (lanes.lane("a").unwrap(), lanes.lane("b").unwrap());
    let first = crossing(&a, &b, SECOND);
    let second = crossing(&b, &a, 2 * SECOND);
    sleep(HOUR).await;
    assert_eq!(
        (a.snapshot().queued.len(), b.snapshot().queued.len()),
        (1, 1)
    );
    assert_eq!(
        (
            a.snapshot().counters.deadlocks,
            b.snapshot().counters.deadlocks
        ),
        (1, 0)
    );
    second.cancel(Reason::User);
    assert!(matches!(second.await, Err(TaskError::Cancelled { .. })));
    first.await.unwrap().unwrap();
    assert_whole(&lanes);
}

#[tokio::test(start_paused = true)]
async fn fewer_slots_that_close_a_circle_refuse_its_newest_wait() {
    let (lanes, [a, b]) = lanes([("a", 2), ("b", 1)]);
    let first = crossing(&a, &b, SECOND);
    let second = crossing(&b, &a, 2 * SECOND);
    // The other slot of `a`, which can move.
    let third = a.spawn(async |_| sleep(HOUR).await);
    sleep(5 * SECOND).await;
    // It takes two to go now.
    let began = now();
    a.set_max_concurrent(1).unwrap();
    let (_, cycle, _) = refused(second.await.unwrap());
    assert_eq!(told(&cycle), pairs([("b", "a"), ("a", "b")]));
    assert_eq!(now(), began);
    first.await.unwrap().unwrap();
    third.await.unwrap();
    assert_whole(&lanes);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_configuration_that_closes_a_circle_refuses_its_newest_wait() {
    let (lanes, [a, b]) = lanes([("a", 2), ("b", 1)]);
    let first = crossing(&a, &b, SECOND);
    let second = crossing(&b, &a, 2 * SECOND);
    let third = a.spawn(async |_| sleep(HOUR).await);
    sleep(5 * SECOND).await;
    let shrink = |change: &mut laneway::Reconfigure| {
        change.lane("a").max_concurrent(1);
    };
    lanes.reconfigure(shrink).unwrap();
    let (_, cycle, _) = refused(second.await.unwrap());
    assert_eq!(told(&cycle), pairs([("b", "a"), ("a", "b")]));
    first.await.unwrap().unwrap();
    third.await.unwrap();
    assert_whole(&lanes);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_comes_refuses_who_can_never_start_in_it() {
    let (lanes, [a, b, c]) = lanes([("a", 1), ("b", 1), ("c", 1)]);
    let holds = crossing(&a, &c, SECOND);
    let fills = b.spawn(async |_| sleep(10 * SECOND).await);
    let waits = crossing(&c, &b, 2 * SECOND);
    sleep(5 * SECOND).await;
    lanes
        .reconfigure(|change| change.group("g", GroupConfig::new(1).member("a").member("b")))
        .unwrap();
    // When `b` is done, `a` still has what there is, and waits for `c`.
    let (_, cycle, _) = refused(waits.await.unwrap());
    assert_eq!(told(&cycle), pairs([("c", "b of g"), ("a", "c")]));
    holds.await.unwrap().unwrap();
    fills.await.unwrap();
    assert_whole(&lanes);
}

/// S12: as if it had never joined.
#[tokio::test(start_paused = true)]
async fn s12_whoever_is_refused_was_never_there() {
    let (lanes, [a]) = lanes([("a", 1)]);
    let own = a.clone();
    let (sender, receiver) = oneshot::channel::<()>();
    let holder = a.spawn(async move |_| {
        receiver.await.unwrap();
        refused(own.task().key("k").run(async |_| ()).await);
        let queued = own.snapshot().queued;
        assert_eq!(
            queued.iter().map(|task| &task.name).collect::<Vec<_>>(),
            [&None]
        );
    });
    let other = a.spawn(async |_| "next");
    sender.send(()).unwrap();
    holder.await.unwrap();
    assert_eq!(other.await.unwrap(), "next");
    assert_eq!(lanes.cancel_key("k", Reason::User), 0);
    assert_whole(&lanes);
}

#[test]
fn a_circle_is_one_line() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let error = runtime.block_on(async {
        let (_lanes, [a]) = lanes([("a", 1)]);
        let own = a.clone();
        let inner = a
            .task()
            .name("outer")
            .run(async |cx| (cx.id(), own.run(async |_| ()).await));
        let (id, told) = inner.await.unwrap();
        let error = told.unwrap_err();
        let lane = format!("task {id} \"outer\" in lane \"a\" waits for lane \"a\"");
        assert!(error.to_string().ends_with(&lane), "{error}");
        error
    });
    assert!(!error.is_retryable());
    assert!(error.id().is_some());
}

/// Its place would come free when its own slot does.
#[tokio::test(start_paused = true)]
async fn a_place_in_the_queue_of_a_lane_that_the_waiter_fills_is_refused() {
    let config = LaneConfig::new(1)
        .queue_capacity(1)
        .on_full(laneway::OnFull::Wait);
    let lanes = Lanes::builder().lane("main", config).build().unwrap();
    let main = lanes.lane("main").unwrap();
    let again = main.clone();
    let holder = main.spawn(async move |_| again.reserve().await.map(|_| ()));
    let queued = main.spawn(async |_| ());
    assert!(matches!(
        holder.await.unwrap(),
        Err(AcquireError::WouldDeadlock { .. })
    ));
    queued.await.unwrap();
    // Unless it need not be waited for.
    let again = main.clone();
    let gives_up = main.spawn(async move |_| {
        let _queued = again.spawn(async |_| ());
        let place = again.task().may_abandon().reserve();
        tokio::time::timeout(SECOND, place).await.is_err()
    });
    assert!(gives_up.await.unwrap());
    // One that is kept for somebody who does not come is had in the end.
    let kept = main.clone();
    let waits = main.clone();
    let holder = main.spawn(async move |_| {
        let idle = kept.reserve().await.unwrap();
        let other = waits.reserve();
        let got = other.await.map(drop);
        drop(idle);
        got
    });
    holder.await.unwrap().unwrap();
    assert_whole(&lanes);
}

/// A wait that was passed on and is polled again is a wait that begins, and may
/// close a circle.
#[tokio::test(start_paused = true)]
async fn s7_a_wait_that_begins_anew_is_looked_at() {
    let (_lanes, [a, b]) = lanes_of_one(["a", "b"]);
    let busy = b.try_acquire().unwrap();
    let inner = b.clone();
    let first = a.spawn(async move |_| {
        let mut waits = Box::pin(inner.run(async |_| ()));
        assert!(futures::poll!(waits.as_mut()).is_pending());
        // Granted meanwhile, it does not come.
        sleep(MINUTE).await;
        waits.await
    });
    tokio::task::yield_now().await;
    let inner = a.clone();
    let second = b.spawn(async move |_| inner.run(async |_| ()).await);
    drop(busy);
    let told = tokio::time::timeout(MINUTE * 2, first).await;
    let told = told.expect("it is refused").unwrap();
    assert!(
        matches!(told, Err(TaskError::WouldDeadlock { .. })),
        "{told:?}"
    );
    second.await.unwrap().unwrap();
}

/// The same of a body that is put back in line: until then it seemed to be about
/// to come for its slot (S20).
#[test]
fn s7_a_wait_for_a_body_that_is_put_back_is_looked_at() {
    let paused = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    let (still, moves) = (paused(), paused());
    let (_lanes, [a, b]) = lanes_of_one(["a", "b"]);
    let entered = still.enter();
    let child = b.spawn(async |_| ());
    drop(entered);
    let (first, second) = moves.block_on(async {
        let first = a.spawn(async move |_| child.await);
        let second = b.spawn(async move |_| a.run(async |_| ()).await);
        // It is passed the slot for which nobody comes.
        sleep(MINUTE).await;
        (first, second)
    });
    still.block_on(let_run());
    let told = moves.block_on(async { tokio::time::timeout(HOUR, second).await });
    refused(told.expect("it is refused").unwrap());
    still.block_on(let_run());
    moves.block_on(first).unwrap().unwrap();
}

/// A wait that is over elsewhere than in the task's own poll may leave it with
/// one that closes a circle.
#[tokio::test(start_paused = true)]
async fn s7_a_wait_that_ends_beside_its_task_leaves_no_circle_unseen() {
    let (_lanes, [a, b, c]) = lanes([("a", 1), ("b", 1), ("c", 1)]);
    let beside = c.spawn(async |_| sleep(MINUTE).await);
    let inner = b.clone();
    let first = a.spawn(async move |cx| {
        drop(tokio::spawn(cx.scope(beside)));
        sleep(SECOND).await;
        inner.run(async |_| ()).await
    });
    let inner = a.clone();
    let second = b.spawn(async move |_| {
        sleep(SECOND).await;
        inner.run(async |_| ()).await
    });
    let both = async { futures::join!(first, second) };
    let (first, second) = tokio::time::timeout(HOUR, both)
        .await
        .expect("one is refused");
    let refused = [first.unwrap(), second.unwrap()].map(|told| told.is_err());
    assert_eq!(refused.iter().filter(|refused| **refused).count(), 1);
}
