//! Every kind alone in a lane of one, with a healthy task behind it.

use std::future::Future;
use std::time::Duration;

use laneway::testing::{Expected, Hostile, Trial};
use laneway::{Finding, Lane, LaneConfig, Lanes, Problem, Standing, Timeout};
use tokio::runtime::{Builder, Runtime};

use crate::common::{
    MINUTE, SECOND, TICK, assert_clean, let_run, now, orphans_gone, poll_once, until,
};

/// The limits of these tests, short enough to be walked through tick by tick.
pub(crate) const CEILING: Duration = Duration::from_millis(200);
pub(crate) const GRACE: Duration = Duration::from_millis(50);
pub(crate) const BUDGET: Duration = Duration::from_millis(500);

pub(crate) fn config(slots: usize) -> LaneConfig {
    LaneConfig::new(slots)
        .stall_ceiling(CEILING)
        .timeout(Timeout::grace(GRACE))
        .teardown(GRACE)
        .max_orphans(1000)
}

/// One thread, whose clock moves only in [`pass`] where a thread is blocked.
pub(crate) fn paused() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

/// Lets time go on, tick by tick, each as long as the threads of the trials
/// need for it.
pub(crate) async fn pass(time: Duration, trials: &[Trial]) {
    let end = now() + time;
    while now() < end {
        settle(trials).await;
        tokio::time::advance(TICK).await;
        let_run().await;
    }
    settle(trials).await;
}

/// Until nobody moves; time stands still.
pub(crate) async fn settle(trials: &[Trial]) {
    loop {
        if trials.iter().all(Trial::is_still) {
            return;
        }
        until(|| trials.iter().all(Trial::is_still)).await;
        let_run().await;
    }
}

/// What one test of a kind wants to know after it: nothing is left of it, and
/// there are as many slots as ever.
pub(crate) async fn assert_as_before(lanes: &Lanes, lane: &Lane, forgotten: bool) {
    if forgotten {
        for orphan in lane.snapshot().orphans {
            lanes.forget_orphan(orphan.id).unwrap();
        }
    }
    orphans_gone(lane).await;
    assert_clean(lane);
    // Orphans of other lanes may be yet to be forgotten, and a machine be starved.
    let others = |finding: &Finding| match &finding.problem {
        Problem::Orphans { lane: of, .. } => of != lane.name(),
        Problem::NotDriven { .. } => true,
        _ => false,
    };
    let diagnosis = lanes.diagnose();
    assert!(diagnosis.findings.iter().all(others), "{diagnosis}");
    let slots = lane.snapshot().max_concurrent;
    let all: Vec<_> = (0..slots).map(|_| lane.try_acquire().unwrap()).collect();
    assert!(lane.try_acquire().is_err());
    drop(all);
    assert_eq!(lane.run(async |_| 7).await.unwrap(), 7);
}

/// How long a kind may hold its slot (S8).
fn longest(kind: Hostile) -> Duration {
    match kind {
        Hostile::Ready | Hostile::PanicsWhenPolled => Duration::ZERO,
        Hostile::Sleeps => TICK * 5,
        Hostile::Streams => TICK * 10,
        Hostile::ReportsForever => BUDGET + TICK,
        Hostile::IgnoresCancel => CEILING + GRACE + TICK,
        Hostile::EndlessHook => CEILING + GRACE * 2 + TICK,
        _ => CEILING + TICK,
    }
}

fn one<F: Future<Output = ()>>(test: impl FnOnce(Lanes, Lane) -> F) {
    paused().block_on(async {
        let lanes = Lanes::builder().lane("main", config(1)).build().unwrap();
        let main = lanes.lane("main").unwrap();
        test(lanes, main).await;
    });
}

#[test]
fn s8_each_kind_gives_its_slot_back_in_time_and_is_answered() {
    for &kind in Hostile::ALL {
        one(async |lanes, main| {
            let task = main.task().timeout(Timeout::budget(BUDGET));
            let mut trials = [kind.submit(task)];
            let_run().await;
            let began = now();
            let next = main.spawn(async |_| now());
            pass(SECOND, &trials).await;
            // Its thread is still blocked, if it blocks one.
            assert_eq!(trials[0].is_blocked(), kind.blocks_a_thread(), "{kind:?}");
            let next = next.await.unwrap() - began;
            // Two ticks: one of the clock, which moves in ticks here.
            assert!(next <= longest(kind) + TICK, "{kind:?}: {next:?}");
            let orphans = main.snapshot().orphans.len();
            assert_eq!(orphans, usize::from(kind.leaves_an_orphan()), "{kind:?}");
            let [trial] = &mut trials;
            trial.release();
            let answer = trial.answer().await;
            assert!(
                kind.expected().admits(answer.as_ref()),
                "{kind:?}: {answer:?}"
            );
            drop(trials);
            let forgotten = matches!(kind, Hostile::Leaked | Hostile::ForgottenSlot);
            assert_as_before(&lanes, &main, forgotten).await;
        });
    }
}

/// Where a kind stands once it was probed, if it is active then.
const fn stands(kind: Hostile) -> Option<Standing> {
    Some(match kind {
        Hostile::Pending
        | Hostile::IgnoresCancel
        | Hostile::EndlessHook
        | Hostile::PanicsInDrop
        | Hostile::BlocksInDrop => Standing::PolledWhenWoken,
        Hostile::WakesForever => Standing::PolledWithoutEnd,
        // Heard of since.
        Hostile::ReportsForever => Standing::Pending,
        Hostile::Leaked | Hostile::Parked => Standing::NotPolled,
        Hostile::ForgottenSlot => Standing::ByHand,
        Hostile::BlocksInPoll | Hostile::EndsLate => Standing::InPoll,
        Hostile::BlocksInClosure => Standing::OnThread,
        _ => return None,
    })
}

#[test]
fn each_kind_is_seen_to_stand_where_it_does() {
    for &kind in Hostile::ALL {
        one(async |lanes, main| {
            let mut trials = [kind.submit(main.task().no_stall_ceiling())];
            pass(SECOND * 2, &trials).await;
            {
                let mut probe = Box::pin(lanes.probe());
                let _ = poll_once(probe.as_mut());
                pass(TICK * 10, &trials).await;
            }
            let active = main.snapshot().active;
            let standing = active.first().map(|task| task.standing.unwrap());
            assert_eq!(standing, stands(kind), "{kind:?}");
            trials[0].release();
            main.reset();
        });
    }
}

/// A kind is what it says it is.
#[test]
fn what_a_kind_says_of_itself_fits_together() {
    for &kind in Hostile::ALL {
        let unheard = kind.expected() == Expected::Unheard;
        assert_eq!(kind.is_future(), !kind.leaves_an_orphan(), "{kind:?}");
        assert!(!unheard || kind.leaves_an_orphan(), "{kind:?}");
        if kind.is_healthy() {
            paused().block_on(async { assert_eq!(kind.await, kind) });
        }
    }
    let seeds = 0..1000;
    let mut all: Vec<_> = seeds.map(Hostile::from_seed).collect();
    all.sort_by_key(|kind| format!("{kind:?}"));
    all.dedup();
    assert_eq!(all.len(), Hostile::ALL.len());
    assert_eq!(Hostile::from_seed(7), Hostile::from_seed(7));
}

/// Whoever is refused is told so, though nobody would have heard of it later.
#[test]
fn s7_each_kind_is_told_that_it_was_refused() {
    for &kind in Hostile::ALL {
        one(async |_lanes, main| {
            main.close();
            let answer = kind.submit(main.task()).answer().await;
            assert!(
                matches!(answer, Some(Err(laneway::TaskError::Closed { .. }))),
                "{kind:?}: {answer:?}"
            );
            assert!(!kind.expected().admits(answer.as_ref()), "{kind:?}");
        });
        if kind.blocks_a_thread() {
            // Its thread holds up the clock.
            continue;
        }
        one(async |lanes, main| {
            let slot = main.task().no_stall_ceiling().acquire().await.unwrap();
            let wait = main.task().timeout(Timeout::wait(SECOND));
            let answer = kind.submit(wait).answer().await;
            assert!(
                matches!(answer, Some(Err(laneway::TaskError::TimedOut { .. }))),
                "{kind:?}: {answer:?}"
            );
            drop((slot, lanes));
        });
    }
}

/// Asked to end in whatever way, nobody needs its ceiling.
#[test]
fn s7_each_kind_ends_when_it_is_told_to() {
    for &kind in Hostile::ALL {
        for verb in 0..4 {
            one(async |lanes, main| {
                let unlimited = main.task().no_stall_ceiling();
                let mut trials = [kind.submit(unlimited)];
                let_run().await;
                settle(&trials).await;
                let queued = main.spawn(async |_| ());
                match verb {
                    0 => drop(main.cancel_all(laneway::Reason::User)),
                    1 => drop(main.reset()),
                    2 => drop(lanes.drain(laneway::Drain::within(SECOND))),
                    _ => drop(lanes.shutdown()),
                }
                pass(SECOND + GRACE * 2 + TICK * 4, &trials).await;
                let snapshot = main.snapshot();
                assert_eq!(snapshot.active.len(), 0, "{kind:?}, {verb}: {snapshot:#?}");
                // Where it is a control, its own answer may have come first.
                let told = tokio::time::timeout(MINUTE, queued).await;
                told.expect("an answer").ok();
                trials[0].release();
                if kind.expected() != Expected::Unheard {
                    let told = tokio::time::timeout(MINUTE, trials[0].answer()).await;
                    assert!(told.expect("an answer").is_some(), "{kind:?}, {verb}");
                }
            });
        }
    }
}

/// When the runner of a taken task comes back, it drops the future, and does
/// not go on with it: its slot is somebody else's by now.
#[test]
fn s2_an_orphan_is_dropped_and_never_polled_again() {
    one(async |_lanes, main| {
        let mut polls = 0;
        let mut parked = Box::pin(main.run(async |_| {
            std::future::poll_fn(|_| {
                polls += 1;
                std::task::Poll::<()>::Pending
            })
            .await;
        }));
        assert!(poll_once(parked.as_mut()).is_pending());
        tokio::time::sleep(CEILING + TICK * 3).await;
        assert_eq!(main.snapshot().orphans.len(), 1);
        let told = poll_once(parked.as_mut());
        assert!(matches!(
            told,
            std::task::Poll::Ready(Err(laneway::TaskError::Stalled { .. }))
        ));
        drop(parked);
        assert_eq!(polls, 1);
        assert_clean(&main);
    });
}
