//! Tasks that wait for our lanes while they hold a slot (S9).

mod common;

use std::pin::pin;
use std::time::Duration;

use common::{
    CEILING, HOUR, MINUTE, SECOND, TICK, assert_clean, let_run, now, one_lane, poll_once,
};
use futures::future::join_all;
use laneway::{Lane, LaneConfig, Lanes, Limit, Reason, TaskError, Timeout};
use tokio::time::sleep;

struct Nest {
    _lanes: Lanes,
    session: Lane,
    main: Lane,
    provider: Lane,
}

impl Nest {
    fn new(config: &LaneConfig) -> Self {
        let lanes = Lanes::builder()
            .lane("session", config.clone())
            .lane("main", config.clone())
            .lane("provider", config.clone())
            .build()
            .unwrap();
        Self {
            session: lanes.lane("session").unwrap(),
            main: lanes.lane("main").unwrap(),
            provider: lanes.lane("provider").unwrap(),
            _lanes: lanes,
        }
    }

    fn ceilinged() -> Self {
        Self::new(&LaneConfig::new(1).stall_ceiling(CEILING))
    }

    /// Somebody healthy holds the innermost lane for so long.
    fn occupy_provider(&self, time: Duration) {
        let holder = self.provider.task().no_stall_ceiling();
        drop(holder.spawn(async move |_| sleep(time).await));
    }

    #[track_caller]
    fn assert_nothing_reclaimed(&self) {
        for lane in [&self.session, &self.main, &self.provider] {
            let counters = assert_clean(lane);
            assert_eq!(
                (counters.reclaimed, counters.taken, counters.ended),
                (0, 0, 0)
            );
        }
    }
}

/// A stream of tokens that is never silent for its ceiling.
async fn stream(cx: laneway::TaskContext) -> &'static str {
    for _ in 0..20 {
        sleep(CEILING - TICK).await;
        cx.progress();
    }
    "streamed"
}

#[tokio::test(start_paused = true)]
async fn s9_queued_for_an_hour_and_then_streaming_is_healthy_all_the_way_up() {
    let nest = Nest::ceilinged();
    nest.occupy_provider(HOUR);
    let began = now();
    let answer = nest
        .session
        .run(async |_| {
            let inner = nest.main.run(async |_| nest.provider.run(stream).await);
            inner.await
        })
        .await;
    assert_eq!(answer.unwrap().unwrap().unwrap(), "streamed");
    assert!(now() - began > 4 * HOUR);
    nest.assert_nothing_reclaimed();
}

#[tokio::test(start_paused = true)]
async fn s9_an_awaited_handle_counts_as_much_as_a_run() {
    let nest = Nest::ceilinged();
    nest.occupy_provider(HOUR);
    let (main, provider) = (nest.main.clone(), nest.provider.clone());
    let session = nest.session.spawn(async move |_| {
        let turn = main.spawn(async move |_| provider.spawn(stream).await);
        turn.await
    });
    assert_eq!(session.await.unwrap().unwrap().unwrap(), "streamed");
    nest.assert_nothing_reclaimed();
}

#[tokio::test(start_paused = true)]
async fn s9_an_acquire_that_waits_is_a_wait_too() {
    let nest = Nest::ceilinged();
    nest.occupy_provider(HOUR);
    let waited = nest.main.run(async |_| {
        let slot = nest.provider.acquire().await?;
        // And the idle clock starts afresh when the wait is over.
        sleep(CEILING - TICK).await;
        drop(slot);
        Ok::<_, laneway::AcquireError>(())
    });
    waited.await.unwrap().unwrap();
    nest.assert_nothing_reclaimed();
}

#[track_caller]
fn stalled_in<T: std::fmt::Debug>(result: Result<T, TaskError>, expected: &str) -> laneway::TaskId {
    match result {
        Err(TaskError::Stalled { lane, id, .. }) => {
            assert_eq!(&*lane, expected);
            id
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn s9_when_the_innermost_goes_silent_it_alone_is_reclaimed() {
    let nest = Nest::ceilinged();
    nest.occupy_provider(HOUR);
    let began = now();
    let after = nest
        .session
        .run(async |_| {
            let turn = nest.main.run(async |_| {
                let ids = tokio::sync::OnceCell::new();
                let silent = nest.provider.run(async |cx| {
                    ids.set(cx.id()).unwrap();
                    sleep(5 * MINUTE).await;
                    cx.progress();
                    std::future::pending::<()>().await;
                });
                let id = stalled_in(silent.await, "provider");
                assert_eq!(ids.get(), Some(&id));
                // Its parent runs on, with a clock that starts afresh.
                sleep(CEILING - TICK).await;
                "fell back"
            });
            let answer = turn.await.unwrap();
            sleep(CEILING - TICK).await;
            answer
        })
        .await;
    assert_eq!(after.unwrap(), "fell back");
    let took = now() - began;
    let exact = HOUR + 5 * MINUTE + CEILING + 2 * (CEILING - TICK);
    assert!(took >= exact && took <= exact + TICK, "{took:?}");
    assert_eq!(assert_clean(&nest.provider).reclaimed, 1);
    for lane in [&nest.session, &nest.main] {
        let counters = assert_clean(lane);
        assert_eq!((counters.reclaimed, counters.taken), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn s9_a_silent_child_that_was_spawned_is_reclaimed_and_its_parents_are_told() {
    let nest = Nest::ceilinged();
    let (main, provider) = (nest.main.clone(), nest.provider.clone());
    let session = nest.session.spawn(async move |_| {
        let turn = main.spawn(async move |_| {
            let silent = provider.spawn(async |_| std::future::pending::<()>().await);
            let id = silent.id();
            (silent.await, id)
        });
        turn.await
    });
    let (error, id) = session.await.unwrap().unwrap();
    assert_eq!(stalled_in(error, "provider"), id);
    assert_eq!(nest.provider.snapshot().counters.reclaimed, 1);
    assert_eq!(nest.session.snapshot().counters.reclaimed, 0);
    assert_eq!(nest.main.snapshot().counters.reclaimed, 0);
}

/// Grace and teardown of the child are time that its parents have, too.
#[tokio::test(start_paused = true)]
async fn s9_parents_wait_for_the_grace_and_the_hooks_of_a_silent_child() {
    let nest = Nest::ceilinged();
    let began = now();
    let answer = nest
        .session
        .run(async |_| {
            let silent = nest.provider.run(async |cx| {
                cx.defer(async |_| sleep(4 * SECOND).await);
                cx.cancelled().await;
                std::future::pending::<()>().await;
            });
            stalled_in(silent.await, "provider");
            "told"
        })
        .await;
    assert_eq!(answer.unwrap(), "told");
    let took = now() - began;
    assert!(took >= CEILING + 9 * SECOND, "{took:?}");
    assert!(took <= CEILING + 9 * SECOND + TICK, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn s9_of_several_children_one_that_moves_or_waits_is_enough() {
    let nest = Nest::ceilinged();
    nest.occupy_provider(MINUTE);
    let answers = nest.main.run(async |_| {
        let call = |n: u32| {
            nest.provider.run(async move |cx| {
                for _ in 0..6 {
                    sleep(9 * MINUTE).await;
                    cx.progress();
                }
                n
            })
        };
        join_all([call(0), call(1), call(2)]).await
    });
    let answers = answers.await.unwrap();
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, [0, 1, 2]);
    nest.assert_nothing_reclaimed();
}

#[tokio::test(start_paused = true)]
async fn s9_of_several_children_the_silent_one_is_reclaimed_beside_the_others() {
    let nest = Nest::new(&LaneConfig::new(3).stall_ceiling(CEILING));
    let answers = nest.main.run(async |_| {
        let silent = nest
            .provider
            .run(async |_| std::future::pending::<()>().await);
        tokio::join!(nest.provider.run(stream), silent, nest.session.run(stream))
    });
    let (first, silent, third) = answers.await.unwrap();
    assert_eq!((first.unwrap(), third.unwrap()), ("streamed", "streamed"));
    stalled_in(silent, "provider");
    assert_eq!(assert_clean(&nest.provider).reclaimed, 1);
    assert_eq!(assert_clean(&nest.main).reclaimed, 0);
}

/// Nobody set a ceiling: ten minutes after the last progress, sixty for those
/// that never reported any, and a wait counts for neither.
#[tokio::test(start_paused = true)]
async fn s9_the_default_ceilings_stand_still_while_a_child_waits() {
    let nest = Nest::new(&LaneConfig::new(1));
    nest.occupy_provider(3 * HOUR);
    let quiet = nest.session.run(async |_| {
        let main = nest.main.run(async |_| {
            let child = nest.provider.run(async |_| sleep(59 * MINUTE).await);
            child.await.unwrap();
            sleep(59 * MINUTE).await;
        });
        main.await.unwrap();
        sleep(59 * MINUTE).await;
    });
    quiet.await.unwrap();

    // A child's report puts its parents under the tighter ceiling, too.
    nest.occupy_provider(3 * HOUR);
    let reporting = nest.main.run(async |_| {
        let child = nest.provider.run(async |cx| {
            sleep(59 * MINUTE).await;
            cx.progress();
            sleep(9 * MINUTE).await;
        });
        child.await.unwrap();
        sleep(9 * MINUTE).await;
        std::future::pending::<()>().await;
    });
    let began = now();
    stalled_in(reporting.await, "main");
    let took = now() - began;
    assert!(took >= 3 * HOUR + 78 * MINUTE, "{took:?}");
    assert!(took <= 3 * HOUR + 78 * MINUTE + TICK, "{took:?}");
}

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
        assert!(poll_once(std::pin::Pin::new(&mut child)).is_pending());
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
    let (_lanes, main) = one_lane(LaneConfig::new(1).stall_ceiling(CEILING));
    let inner = main.with_timeout(Timeout::wait(HOUR));
    let result = main.run(async |_| inner.run(async |_| ()).await).await;
    assert!(matches!(
        result.unwrap(),
        Err(TaskError::TimedOut {
            limit: Limit::Wait,
            ..
        })
    ));
    assert_clean(&main);
}
