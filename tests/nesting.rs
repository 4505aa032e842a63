//! Tasks whose children move, or go silent, while they hold a slot (S9).

mod common;

use common::{
    CEILING, HOUR, MINUTE, Nest, SECOND, SHORT, TICK, assert_clean, now, orphans_gone, stalled_in,
    stream, until,
};
use futures::future::join_all;
use laneway::LaneConfig;
use tokio::sync::oneshot;
use tokio::time::sleep;

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

/// What was granted to a child on purpose, those who await it have, too: when
/// it goes silent for longer, it is the child that is reclaimed.
#[tokio::test(start_paused = true)]
async fn s9_the_phase_and_the_extension_of_a_child_are_its_parents_too() {
    let nest = Nest::ceilinged();
    for extended in [false, true] {
        let began = now();
        let session = nest.session.run(async |_| {
            let turn = nest.main.run(async |_| {
                let call = nest.provider.run(async |cx| {
                    let phase = cx.phase("bash: cargo test");
                    let _phase = if extended {
                        nest.lanes.extend(cx.id(), HOUR).unwrap();
                        phase
                    } else {
                        phase.silence(HOUR).unwrap()
                    };
                    std::future::pending::<()>().await;
                });
                call.await
            });
            turn.await
        });
        stalled_in(session.await.unwrap().unwrap(), "provider");
        let took = now() - began;
        assert!(took >= HOUR && took <= HOUR + TICK, "{took:?}");
        assert_eq!(assert_clean(&nest.session).reclaimed, 0);
        assert_eq!(assert_clean(&nest.main).reclaimed, 0);
    }
}

/// On real time and many threads, with what comes of it and not when: parents
/// in line keep their slots, and those of a silent child are told.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s9_parents_are_not_reclaimed_for_their_children_on_many_threads() {
    let nest = Nest::new(&LaneConfig::new(1).no_stall_ceiling());
    let (end, ended) = oneshot::channel::<()>();
    let holder = nest.provider.spawn(async |_| ended.await.unwrap());
    let (main, provider) = (nest.main.clone(), nest.provider.clone());
    let parent = nest.session.task().stall_ceiling(SHORT);
    let parent = parent.spawn(async move |_| {
        let turn = main.task().stall_ceiling(SHORT);
        let turn = turn.spawn(async move |_| {
            let answer = provider.run(async |_| "answer").await.unwrap();
            let silent = provider.task().stall_ceiling(SHORT);
            let silent = silent.run(async |_| std::future::pending::<()>().await);
            (answer, silent.await)
        });
        turn.await
    });
    until(|| !nest.provider.snapshot().queued.is_empty()).await;
    // Long enough for three stalls of the same ceiling.
    let other = Nest::new(&LaneConfig::new(1).stall_ceiling(SHORT));
    for _ in 0..3 {
        let phantom = other
            .main
            .spawn(async |_| std::future::pending::<()>().await);
        stalled_in(phantom.await, "main");
    }
    for lane in [&nest.session, &nest.main] {
        let task = &lane.snapshot().active[0];
        assert!(task.waiting && task.asked.is_none(), "{task:?}");
        // From here on it would be a matter of time.
        nest.lanes.extend(task.id, HOUR).unwrap();
    }
    end.send(()).unwrap();
    holder.await.unwrap();
    let (answer, silent) = parent.await.unwrap().unwrap();
    assert_eq!(answer, "answer");
    stalled_in(silent, "provider");
    orphans_gone(&nest.provider).await;
    for lane in [&nest.session, &nest.main] {
        assert_eq!(assert_clean(lane).completed, 1);
    }
}
