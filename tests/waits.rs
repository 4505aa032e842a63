//! Tasks that wait for our lanes while they hold a slot, and how such a wait
//! ends (S9, S12, S20).

mod common;

use std::future::pending;
use std::pin::{Pin, pin};

use common::{
    CEILING, HOUR, MINUTE, Nest, SECOND, TICK, assert_clean, ceilinged, let_run, now, poll_once,
    stalled_in,
};
use laneway::{LaneConfig, Lanes, Limit, OnStall, Reason, TaskError, Timeout};
use tokio::time::{sleep, timeout};

#[tokio::test(start_paused = true)]
async fn s9_a_wait_that_ends_in_a_refusal_is_a_wait_all_the_same() {
    let nest = Nest::ceilinged();
    nest.occupy_provider(HOUR);
    let fallback = nest.main.run(async |_| {
        // As long as the ceiling: both moments come at once.
        let bounded = nest.provider.task().timeout(Timeout::wait(CEILING));
        let refused = bounded.run(async |_| ()).await;
        assert!(
            matches!(
                refused,
                Err(TaskError::TimedOut {
                    limit: Limit::Wait,
                    ..
                })
            ),
            "{refused:?}"
        );
        sleep(CEILING - TICK).await;
        "fell back"
    });
    assert_eq!(fallback.await.unwrap(), "fell back");

    let cleared = nest.main.run(async |_| {
        let waiter = nest.provider.spawn(async |_| ());
        let clear = async {
            sleep(CEILING).await;
            nest.provider.clear()
        };
        let (cleared, n) = tokio::join!(waiter, clear);
        assert!(matches!(cleared, Err(TaskError::Cleared { .. })));
        assert_eq!(n, 1);
        sleep(CEILING - TICK).await;
        "fell back"
    });
    assert_eq!(cleared.await.unwrap(), "fell back");
}

/// A child in line that its parent does not poll any more: a wait as long as
/// it is queued, and not for ever, since its grant goes unclaimed (S20).
#[tokio::test(start_paused = true)]
async fn s20_a_child_that_was_abandoned_in_line_does_not_shield_its_parent_for_ever() {
    let nest = Nest::ceilinged();
    nest.occupy_provider(HOUR);
    let began = now();
    let parent = nest.main.spawn({
        let provider = nest.provider.clone();
        async move |_| {
            let mut child = pin!(provider.run(async |_| ()));
            tokio::select! {
                biased;
                _ = &mut child => unreachable!(),
                () = sleep(MINUTE) => {}
            }
            std::future::pending::<()>().await;
        }
    });
    let_run().await;
    let next = nest.provider.task().no_stall_ceiling();
    let next = next.spawn(async |_| now());
    // The child was first in line; five seconds later its slot is passed on.
    let next_at = next.await.unwrap() - began;
    assert!(next_at >= HOUR + 5 * SECOND, "{next_at:?}");
    assert!(next_at <= HOUR + 5 * SECOND + TICK, "{next_at:?}");
    stalled_in(parent.await, "main");
    let stalled_at = now() - began;
    assert!(stalled_at >= next_at, "{stalled_at:?}");
    assert!(stalled_at <= next_at + CEILING + TICK, "{stalled_at:?}");
    assert_clean(&nest.main);
    assert_clean(&nest.provider);
}

/// Its idle clock stood still during the wait, and does not jump at its end:
/// neither when a grant goes unclaimed, nor when the child ends in line, nor
/// when the child is through and nobody has looked yet.
#[tokio::test(start_paused = true)]
async fn s9_the_time_in_line_is_not_charged_when_the_wait_is_over() {
    let nest = Nest::ceilinged();
    for cleared in [false, true] {
        nest.occupy_provider(HOUR - SECOND);
        let parent = nest.main.spawn({
            let provider = nest.provider.clone();
            async move |cx| {
                let mut child = Box::pin(provider.run(async |_| ()));
                assert!(poll_once(child.as_mut()).is_pending());
                // It comes back to its child a good while after the wait.
                sleep(HOUR + 5 * MINUTE).await;
                cx.progress();
                child.await
            }
        });
        sleep(HOUR - SECOND * 2).await;
        if cleared {
            assert_eq!(nest.provider.clear(), 1);
        }
        let child = parent.await.unwrap();
        assert_eq!(child.is_err(), cleared);
        assert_eq!(assert_clean(&nest.main).reclaimed, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn s9_the_progress_of_a_child_that_is_through_is_not_forgotten() {
    let nest = Nest::ceilinged();
    let provider = nest.provider.clone();
    let parent = nest.main.spawn(async move |_| {
        let mut child = provider.spawn(async |cx| {
            for _ in 0..65 {
                sleep(MINUTE).await;
                cx.progress();
            }
        });
        assert!(poll_once(Pin::new(&mut child)).is_pending());
        sleep(HOUR + 14 * MINUTE).await;
        child.await
    });
    parent.await.unwrap().unwrap();
    nest.assert_nothing_reclaimed();
}

/// The budget of a task does not stand still.
#[tokio::test(start_paused = true)]
async fn a_budget_runs_on_while_its_task_waits() {
    let nest = Nest::ceilinged();
    nest.occupy_provider(HOUR);
    let began = now();
    let bounded = nest.main.task().timeout(Timeout::budget(20 * MINUTE));
    let result = bounded.run(async |_| nest.provider.run(async |_| ()).await);
    match result.await {
        Err(TaskError::TimedOut { lane, limit, .. }) => {
            assert_eq!((&*lane, limit), ("main", Limit::Budget));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(now() - began, 20 * MINUTE);
    // The waiter went with its parent.
    assert!(nest.provider.snapshot().queued.is_empty());
}

/// A parent that is dropped takes its children's places and slots along.
#[tokio::test(start_paused = true)]
async fn s12_a_dropped_parent_leaves_nothing_behind() {
    let nest = Nest::ceilinged();
    for inner_active in [true, false] {
        if !inner_active {
            nest.occupy_provider(HOUR);
        }
        let parent = nest.session.spawn({
            let (main, provider) = (nest.main.clone(), nest.provider.clone());
            async move |_| {
                let turn = main.run(async |_| {
                    let call = provider.run(async |_| std::future::pending::<()>().await);
                    call.await
                });
                turn.await
            }
        });
        let_run().await;
        parent.cancel(Reason::User);
        assert!(matches!(
            parent.await,
            Err(TaskError::Cancelled {
                reason: Reason::User,
                ..
            })
        ));
        assert_clean(&nest.session);
        assert_clean(&nest.main);
        let provider = nest.provider.snapshot();
        assert_eq!(provider.queued.len(), 0);
        assert_eq!(provider.active.len(), usize::from(!inner_active));
    }
}

/// A lane that is asked for by its own task: a wait on itself is a wait.
#[tokio::test(start_paused = true)]
async fn s9_a_task_in_line_behind_itself_ends_by_its_wait_limit() {
    let (_lanes, main) = ceilinged(1);
    let inner = main.with_timeout(Timeout::wait(HOUR));
    let result = main
        .run(async |_| inner.run(async |_| ()).may_abandon().await)
        .await;
    assert!(matches!(
        result.unwrap(),
        Err(TaskError::TimedOut {
            limit: Limit::Wait,
            ..
        })
    ));
    assert_clean(&main);
}

/// A parent that leaves the reporting to the child that it awaits: from the
/// child's first report on, silence has the ceiling of those who report.
#[tokio::test(start_paused = true)]
async fn s9_the_reports_of_a_child_are_its_parents() {
    let nest = Nest::new(&LaneConfig::new(1));
    let began = now();
    let parent = nest.main.spawn({
        let provider = nest.provider.clone();
        async move |_| {
            let child = provider.task().no_stall_ceiling();
            let child = child.run(async |cx| {
                sleep(MINUTE).await;
                cx.progress();
                pending::<()>().await
            });
            child.await
        }
    });
    let reported = || nest.main.snapshot().active[0].reported;
    sleep(MINUTE - TICK).await;
    assert!(!reported());
    sleep(2 * TICK).await;
    assert!(reported());
    stalled_in(parent.await, "main");
    let took = now() - began;
    // Ten minutes after the report, and not sixty after the start.
    assert!(
        took >= 11 * MINUTE && took <= 11 * MINUTE + 2 * TICK,
        "{took:?}"
    );
}

/// A child that is through lends a parent that nobody polls its last sign of
/// life, and no more.
#[tokio::test(start_paused = true)]
async fn s8_a_child_that_is_through_shields_nobody() {
    let nest = Nest::new(&LaneConfig::new(1));
    let child = nest.provider.spawn(async |cx| {
        sleep(MINUTE).await;
        cx.progress();
    });
    let mut parent = Box::pin(nest.main.run(async move |_| child.await));
    assert!(poll_once(parent.as_mut()).is_pending());
    let orphans = || nest.main.snapshot().orphans.len();
    // Ten minutes after the report of the child, which was its parent's, too.
    sleep(11 * MINUTE - TICK).await;
    assert_eq!(orphans(), 0);
    sleep(4 * TICK).await;
    assert_eq!(orphans(), 1);
    drop(parent);
    assert_clean(&nest.main);
}

/// Nobody ends a child that is only warned of, so it is no reason to wait for
/// its end.
#[tokio::test(start_paused = true)]
async fn s8_a_silent_child_that_is_never_reclaimed_shields_nobody() {
    let config = LaneConfig::new(1).stall_ceiling(CEILING);
    let lanes = Lanes::builder()
        .lane("main", config.clone())
        .lane("provider", config.on_stall(OnStall::WarnOnly))
        .build()
        .unwrap();
    let [main, provider] = ["main", "provider"].map(|name| lanes.lane(name).unwrap());
    let began = now();
    let parent = main.spawn(async move |_| provider.run(async |_| pending::<()>().await).await);
    let ended = timeout(HOUR, parent).await.expect("it is reclaimed");
    stalled_in(ended, "main");
    assert!(now() - began <= CEILING + 2 * TICK);
}
