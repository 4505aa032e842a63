//! What happens to a task whose slot is taken: the bound on orphans, and the
//! choices of what a stall comes to (S10).

mod common;

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;

use common::{
    CEILING, HOUR, MINUTE, SECOND, TICK, assert_clean, ceilinged, let_run, now, one_lane, poll_once,
};
use laneway::{
    ControlError, Lane, LaneConfig, Lanes, OnStall, Reason, TaskError, TaskId, TaskStatus, Timeout,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

type Parked<'a> = Pin<Box<dyn Future<Output = Result<(), TaskError>> + 'a>>;

/// A task that nobody polls: its slot can only be taken.
fn parked(lane: &Lane) -> Parked<'_> {
    let mut parked: Parked<'_> = Box::pin(lane.run(async |_| pending::<()>().await));
    assert!(poll_once(parked.as_mut()).is_pending());
    parked
}

fn config(slots: usize) -> LaneConfig {
    LaneConfig::new(slots).stall_ceiling(CEILING)
}

#[track_caller]
fn assert_about(began: Instant, expected: std::time::Duration) {
    let took = now() - began;
    assert!(took >= expected && took <= expected + 2 * TICK, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn s10_at_the_bound_nothing_is_taken_until_an_orphan_is_let_go_of() {
    let (_lanes, main) = one_lane(config(2).max_orphans(1));
    let (first, second) = (parked(&main), parked(&main));
    let waiter = main.spawn(async |_| now());
    sleep(CEILING + MINUTE).await;
    let snapshot = main.snapshot();
    // One was taken, and its slot was used and is free again.
    assert_eq!((snapshot.active.len(), snapshot.orphans.len()), (1, 1));
    waiter.await.unwrap();
    let third = parked(&main);
    sleep(HOUR).await;
    let snapshot = main.snapshot();
    assert_eq!((snapshot.active.len(), snapshot.orphans.len()), (2, 1));
    assert_eq!(snapshot.counters.taken, 1);

    // The runner of the orphan lets go, and makes room for the next take.
    let waiter = main.spawn(async |_| ());
    drop(first);
    waiter.await.unwrap();
    drop((second, third));
    assert_clean(&main);
}

#[tokio::test(start_paused = true)]
async fn s10_reset_and_forget_orphan_work_at_the_bound() {
    let (lanes, main) = one_lane(config(1).max_orphans(1));
    let first = parked(&main);
    sleep(CEILING + MINUTE).await;
    let first_id = main.snapshot().orphans[0].id;
    let second = parked(&main);
    let waiter = main.spawn(async |_| ());
    sleep(HOUR).await;
    assert_eq!(main.snapshot().queued.len(), 1);

    // Vouched for, the first is not counted any more.
    let second_id = main.snapshot().active[0].id;
    assert_eq!(
        lanes.forget_orphan(second_id),
        Err(ControlError::NotAnOrphan { id: second_id })
    );
    lanes.forget_orphan(first_id).unwrap();
    assert!(lanes.forget_orphan(first_id).is_err());
    let began = now();
    waiter.await.unwrap();
    // A take that was refused is tried again within a second.
    assert!(now() - began <= SECOND + TICK);

    let third = parked(&main);
    let waiter = main.spawn(async |_| ());
    assert_eq!(main.reset(), 1);
    waiter.await.unwrap();
    let snapshot = main.snapshot();
    assert_eq!(snapshot.orphans.len(), 2, "past the bound");

    // The forgotten one still knows that it lost.
    assert!(matches!(first.await, Err(TaskError::Stalled { .. })));
    assert!(matches!(second.await, Err(TaskError::Stalled { .. })));
    assert!(matches!(
        third.await,
        Err(TaskError::Cancelled {
            reason: Reason::Reset,
            ..
        })
    ));
    assert_clean(&main);
}

#[tokio::test(start_paused = true)]
async fn s10_the_bound_over_all_lanes_holds_too() {
    let lanes = Lanes::builder()
        .default_lane(config(1))
        .max_orphans(2)
        .build()
        .unwrap();
    let (a, b, c) = (
        lanes.lane("a").unwrap(),
        lanes.lane("b").unwrap(),
        lanes.lane("c").unwrap(),
    );
    let held = [parked(&a), parked(&b), parked(&c)];
    sleep(HOUR).await;
    let count = || {
        let snapshot = lanes.snapshot();
        let orphans = snapshot.lanes.iter().map(|lane| lane.orphans.len());
        let active = snapshot.lanes.iter().map(|lane| lane.active.len());
        (orphans.sum::<usize>(), active.sum::<usize>())
    };
    assert_eq!(count(), (2, 1));
    let [first, ..] = held;
    drop(first);
    sleep(2 * SECOND).await;
    // What was an orphan made room for another, or the holder went.
    let (orphans, active) = count();
    assert!(orphans <= 2 && orphans + active == 2, "{orphans} {active}");
}

/// S10: a strict lane never runs two where one is allowed.
#[tokio::test(start_paused = true)]
async fn s10_a_strict_lane_takes_no_slot_and_still_reclaims() {
    let (_lanes, main) = one_lane(config(1).strict());
    // Whoever is polled is dropped and reclaimed as ever.
    let began = now();
    let phantom = main.spawn(async |_| pending::<()>().await);
    main.run(async |_| ()).await.unwrap();
    assert_about(began, CEILING);
    assert!(phantom.await.is_err());

    let stuck = parked(&main);
    let waiter = main.spawn(async |_| ());
    sleep(2 * HOUR).await;
    assert_eq!(main.snapshot().counters.taken, 0);
    assert_eq!(waiter.status(), TaskStatus::Queued);
    // Its runner comes back: it is told, and the waiter runs.
    assert!(matches!(stuck.await, Err(TaskError::Stalled { .. })));
    waiter.await.unwrap();
    assert_clean(&main);
}

fn detaching() -> LaneConfig {
    config(1).on_stall(OnStall::Detach)
}

#[tokio::test(start_paused = true)]
async fn detached_it_runs_on_and_its_late_result_is_delivered() {
    let (_lanes, main) = one_lane(detaching());
    let began = now();
    let late = main.spawn(async |cx| {
        sleep(HOUR).await;
        (cx.is_current(), "late")
    });
    let next = main.spawn(async |_| now());
    assert_eq!(next.await.unwrap() - began, CEILING);
    assert_eq!(late.status(), TaskStatus::Detached);
    assert_eq!(main.snapshot().orphans.len(), 1);
    // It is not waited for.
    main.idle().await;
    assert_eq!(now() - began, CEILING);
    assert_eq!(late.await.unwrap(), (false, "late"));
    assert_eq!(now() - began, HOUR);
    assert_clean(&main);

    // And so for what its caller polls.
    let (late, next) = tokio::join!(
        main.run(async |_| {
            sleep(HOUR).await;
            "late"
        }),
        main.run(async |_| "next")
    );
    assert_eq!((late.unwrap(), next.unwrap()), ("late", "next"));
    assert_clean(&main);
}

#[tokio::test(start_paused = true)]
async fn s7_a_detached_task_ends_as_stalled_with_its_budget_a_cancel_or_a_shutdown() {
    let (lanes, main) = one_lane(detaching());
    let stalled = |result: Result<(), TaskError>| {
        assert!(
            matches!(result, Err(TaskError::Stalled { .. })),
            "{result:?}"
        );
    };
    let began = now();
    let bounded = main.task().timeout(Timeout::budget(HOUR));
    stalled(bounded.spawn(async |_| pending().await).await);
    assert_about(began, HOUR);
    let_run().await;
    assert_clean(&main);

    let began = now();
    let task = main.spawn(async |_| pending().await);
    sleep(HOUR).await;
    lanes.cancel(task.id(), Reason::User).unwrap();
    stalled(task.await);
    assert_about(began, HOUR);

    let task = main.spawn(async |_| pending().await);
    sleep(HOUR).await;
    assert_eq!(main.snapshot().orphans.len(), 1);
    main.shutdown().await;
    stalled(task.await);
    let_run().await;
    assert_clean(&main);
}

/// One that panics late is told so; and progress does not bring it back.
#[tokio::test(start_paused = true)]
async fn s14_a_detached_task_that_panics_is_told_so() {
    let (_lanes, main) = one_lane(detaching());
    let late = main.spawn(async |cx| {
        sleep(HOUR).await;
        cx.progress();
        assert!(!cx.is_current());
        panic!("late");
    });
    let result: Result<(), _> = late.await;
    assert!(matches!(result, Err(TaskError::Panicked { .. })));
    assert_clean(&main);
}

#[tokio::test(start_paused = true)]
async fn s10_at_the_bound_nothing_is_detached_either() {
    let (_lanes, main) = one_lane(detaching().max_orphans(1));
    let (finish, finished) = oneshot::channel::<()>();
    let first = main.spawn(async |_| finished.await.unwrap());
    let second = main.spawn(async |_| sleep(3 * HOUR).await);
    let third = main.spawn(async |_| now());
    sleep(HOUR).await;
    assert_eq!(first.status(), TaskStatus::Detached);
    assert_eq!(second.status(), TaskStatus::Active);
    finish.send(()).unwrap();
    first.await.unwrap();
    let began = now();
    let third = third.await.unwrap();
    assert!(third - began <= SECOND + TICK, "{:?}", third - began);
    second.await.unwrap();
    assert_clean(&main);
}

#[tokio::test(start_paused = true)]
async fn a_stall_that_is_only_to_be_reported_ends_nothing() {
    let warned = one_lane(config(1).on_stall(OnStall::WarnOnly));
    let observed = {
        let builder = Lanes::builder().lane("main", config(1)).observe_only();
        let lanes = builder.build().unwrap();
        let main = lanes.lane("main").unwrap();
        (lanes, main)
    };
    for (_lanes, main) in [warned, observed] {
        let began = now();
        let slow = main.spawn(async |cx| {
            sleep(3 * HOUR).await;
            cx.is_current()
        });
        let next = main.spawn(async |_| now());
        assert!(slow.await.unwrap());
        assert_eq!(next.await.unwrap() - began, 3 * HOUR);
        // Lane timeouts hold as ever, since somebody set them.
        for limit in [Timeout::idle(MINUTE), Timeout::budget(MINUTE)] {
            let bounded = main.task().timeout(limit);
            let ended = bounded.run(async |_| pending::<()>().await).await;
            assert!(matches!(ended, Err(TaskError::TimedOut { .. })));
        }
        let counters = assert_clean(&main);
        assert_eq!((counters.taken, counters.reclaimed), (0, 2));
    }
}

/// S2: reset settles those it takes, and what they come to frees nothing.
#[tokio::test(start_paused = true)]
async fn s2_a_reset_takes_every_slot_at_once_and_keeps_the_places() {
    let (_lanes, main) = ceilinged(2);
    let (end, ended) = oneshot::channel::<()>();
    let first = main.spawn(async |_| ended.await.unwrap());
    let second = main.spawn(async |_| sleep(HOUR).await);
    let_run().await;
    let waiters: Vec<_> = (0..3)
        .map(|n| main.spawn(async move |cx| (n, cx.fence(), cx.is_current())))
        .collect();
    assert_eq!(main.reset(), 2);
    end.send(()).unwrap();
    for first in [first, second] {
        assert!(matches!(
            first.await,
            Err(TaskError::Cancelled {
                reason: Reason::Reset,
                ..
            })
        ));
    }
    let mut last = 0;
    for (n, waiter) in waiters.into_iter().enumerate() {
        let (got, fence, current) = waiter.await.unwrap();
        assert_eq!((got, current), (n, true));
        assert!(fence > last, "fences grow");
        last = fence;
    }
    let_run().await;
    let counters = assert_clean(&main);
    assert_eq!((counters.completed, counters.granted), (3, 5));
}

/// One that somebody vouches for makes room in all lanes.
#[tokio::test(start_paused = true)]
async fn s10_what_is_forgotten_counts_over_all_lanes_no_more() {
    let lanes = Lanes::builder().max_orphans(1);
    let lanes = lanes.lane("a", config(1)).lane("b", config(1));
    let lanes = lanes.build().unwrap();
    let [a, b] = ["a", "b"].map(|name| lanes.lane(name).unwrap());
    let _first = parked(&a);
    sleep(CEILING + MINUTE).await;
    lanes.forget_orphan(a.snapshot().orphans[0].id).unwrap();
    let _second = parked(&b);
    sleep(CEILING + MINUTE).await;
    assert_eq!(b.snapshot().orphans.len(), 1);
    assert!(b.snapshot().active.is_empty());
}

/// A slot by hand is lost with that, and whoever waits for it to be is told.
#[tokio::test(start_paused = true)]
async fn s7_whoever_waits_for_a_slot_to_be_lost_is_told_of_a_detach() {
    let (_lanes, main) = one_lane(config(1).on_stall(OnStall::Detach));
    let slot = main.acquire().await.unwrap();
    let lost = tokio::spawn(slot.lost());
    sleep(CEILING + SECOND).await;
    assert!(!slot.is_current());
    assert!(lost.is_finished());
    assert_eq!(lost.await.unwrap(), Reason::Stalled);
}

/// S2: what its caller was told stands, so it is polled no more.
#[tokio::test(start_paused = true)]
async fn s2_a_detached_task_whose_end_was_told_does_not_go_on() {
    let ends: [fn(&Lanes, TaskId); 2] = [
        |_, _| (),
        |lanes, id| lanes.cancel(id, Reason::User).unwrap(),
    ];
    for end in ends {
        let (lanes, main) = one_lane(detaching());
        let (answer, mut asked) = tokio::sync::oneshot::channel::<()>();
        let mut polls = 0;
        let counted = &mut polls;
        let task = main.task().timeout(Timeout::budget(HOUR));
        let mut run = Box::pin(task.run(async move |_| {
            poll_fn(|cx| {
                *counted += 1;
                Pin::new(&mut asked).poll(cx).map(|_| "late")
            })
            .await
        }));
        assert!(poll_once(run.as_mut()).is_pending());
        let id = main.snapshot().active[0].id;
        sleep(CEILING + SECOND).await;
        end(&lanes, id);
        sleep(HOUR).await;
        answer.send(()).unwrap();
        let told = run.await;
        assert!(matches!(told, Err(TaskError::Stalled { .. })), "{told:?}");
        assert_eq!(polls, 1);
        assert_eq!(main.snapshot().counters.late, 0);
    }
}

/// Whoever runs on without its slot has a caller who waits for it, and is not forgotten:
/// no advice says so, neither while it runs nor while its hooks do.
#[tokio::test(start_paused = true)]
async fn what_is_said_to_help_against_a_detached_task_helps() {
    let (lanes, main) = one_lane(config(1).on_stall(OnStall::Detach));
    let (go, gone) = oneshot::channel::<()>();
    let task = main.spawn(async move |cx| {
        cx.defer(|_| pending());
        let _ = gone.await;
    });
    let_run().await;
    sleep(CEILING + SECOND).await;
    let said = lanes.diagnose().to_string();
    assert!(said.contains("lanes.cancel("), "{said}");
    go.send(()).unwrap();
    let_run().await;
    for said in [
        lanes.explain(task.id()).unwrap().to_string(),
        lanes.diagnose().to_string(),
    ] {
        assert!(!said.contains("forget_orphan"), "{said}");
        assert!(!said.contains("never"), "{said}");
    }
}

/// S10: nor is one that is not detached, for a bound, said to be so at any moment.
#[tokio::test(start_paused = true)]
async fn s10_at_the_bound_no_detaching_is_foretold() {
    let (lanes, main) = one_lane(config(1).max_orphans(1).on_stall(OnStall::Detach));
    let first = main.spawn(async |_| pending::<()>().await);
    let second = main.spawn(async |_| pending::<()>().await);
    sleep(3 * CEILING).await;
    let behind = main.spawn(async |_| ());
    let said = lanes.explain(behind.id()).unwrap().to_string();
    assert!(said.contains("by itself: never"), "{said}");
    assert!(
        said.contains(&format!("lanes.cancel({}", first.id())),
        "{said}"
    );
    first.cancel(Reason::User);
    sleep(2 * SECOND).await;
    assert_eq!(second.status(), TaskStatus::Detached);
}
