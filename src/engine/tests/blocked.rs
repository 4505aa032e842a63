//! Blocked is never silent, and healthy is never noisy (S16).

use std::time::Duration;

use super::sim::{DETACHED, Sim, millis, plain, secs, settings};
use crate::engine::{Blocked, BlockedBy, Reason, Settings, Spec, TICK};

const WARN_AFTER: Duration = secs(30);
const MINUTE: Duration = secs(60);

/// A silent holder and one who waits for it.
fn stuck() -> (Sim, u32, u32) {
    let mut sim = Sim::new(1);
    let holder = sim.submit(plain());
    let waiter = sim.submit(plain());
    sim.events();
    (sim, holder, waiter)
}

fn looks(sim: &mut Sim) -> Vec<(Duration, Blocked)> {
    std::mem::take(&mut sim.looks)
}

fn warnings(sim: &mut Sim) -> Vec<(Duration, Blocked)> {
    let mut looks = looks(sim);
    looks.retain(|(_, blocked)| !blocked.healthy);
    looks
}

fn moments(warnings: &[(Duration, Blocked)]) -> Vec<u64> {
    warnings.iter().map(|(at, _)| at.as_secs()).collect()
}

#[test]
fn s16_a_blocked_lane_warns_from_the_timer_and_backs_off_to_ten_minutes() {
    let (mut sim, _, _) = stuck();
    sim.run_for(WARN_AFTER - millis(1));
    assert_eq!(sim.looks, []);
    sim.run_for(MINUTE * 60);
    let warnings = warnings(&mut sim);
    assert_eq!(
        moments(&warnings)[..8],
        [30, 60, 120, 240, 480, 960, 1_560, 2_160]
    );
    assert_eq!(
        warnings[0].1,
        Blocked {
            by: BlockedBy::MaxConcurrent,
            healthy: false,
            blocked_for: WARN_AFTER,
            active: 1,
            max_concurrent: 1,
            queued: 1,
            suppressed: 0,
        }
    );
}

#[test]
#[cfg_attr(miri, ignore = "its minutes take minutes there")]
fn s16_new_arrivals_do_not_reset_the_clock_and_are_counted() {
    let (mut sim, _, _) = stuck();
    // Twenty a minute, for eleven minutes.
    for _ in 0..220 {
        sim.run_for(secs(3));
        sim.submit(plain());
    }
    let warnings = warnings(&mut sim);
    assert_eq!(moments(&warnings), [30, 60, 120, 240, 480]);
    let suppressed: Vec<u64> = warnings.iter().map(|(_, w)| w.suppressed).collect();
    assert_eq!(suppressed, [0, 10, 20, 40, 80]);
}

#[test]
#[cfg_attr(miri, ignore = "its minutes take minutes there")]
fn s16_waiters_that_give_up_one_after_the_other_do_not_reset_the_clock() {
    // At no moment has anybody waited for long.
    for (waits, pauses) in [(1, 1), (5, 5), (2, 8), (1, 29), (3, 27)] {
        let mut sim = Sim::new(1);
        sim.submit(plain());
        let mut now = 0;
        while now < 1_200 {
            let waiter = sim.submit(plain());
            sim.run_for(secs(waits));
            sim.cancel(waiter, Reason::User);
            sim.run_for(secs(pauses));
            now += waits + pauses;
        }
        let moments = moments(&warnings(&mut sim));
        let period = waits + pauses;
        let mut due = 30;
        for (at, step) in moments.iter().zip([30, 60, 120, 240, 480, 600]) {
            assert!(
                (due..=due + period).contains(at),
                "{waits} {pauses}: {moments:?}"
            );
            due = at + step;
        }
        assert!(moments.len() >= 6, "{waits} {pauses}: {moments:?}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "its minutes take minutes there")]
fn s16_retries_are_heard_of_even_if_the_driver_comes_between_them() {
    let mut sim = Sim::new(2);
    sim.submit(plain());
    // Its looks bring the driver whenever it likes.
    sim.submit(Spec {
        ceiling: crate::engine::Ceiling::Set(secs(1)),
        on_stall: crate::engine::OnStall::WarnOnly,
        ..plain()
    });
    for _ in 0..120 {
        let waiter = sim.submit(plain());
        sim.run_for(secs(4));
        sim.cancel(waiter, Reason::User);
        let key = sim.key(1);
        sim.say(|lane, now, _| lane.look_by(key, now));
        sim.run_for(secs(6));
    }
    let moments = moments(&warnings(&mut sim));
    assert!(moments.len() >= 6, "{moments:?}");
}

#[test]
fn s16_who_gives_up_between_the_look_and_the_verdict_does_not_silence_the_next() {
    use crate::engine::{Effect, Effects, Holders};
    let (mut sim, _, waiter) = stuck();
    sim.run_for(WARN_AFTER);
    assert_eq!(warnings(&mut sim).len(), 1);
    // The next look is due, and finds the queue empty by the time it counts.
    sim.now = sim.now + WARN_AFTER;
    let mut effects = Effects::new();
    sim.lane.tick(sim.now, &mut effects);
    assert!(effects.iter().any(|e| *e == Effect::InspectHolders));
    sim.cancel(waiter, Reason::User);
    let holders = Holders {
        active_at: None,
        root_speaks: false,
    };
    assert_eq!(sim.lane.judge_blocked(sim.now, holders), None);
    sim.submit(plain());
    sim.run_for(millis(1));
    assert_eq!(warnings(&mut sim).len(), 1);
}

/// So that it can be found out where the holders stand.
#[test]
fn s16_a_lane_that_would_warn_can_be_looked_at_a_tick_later() {
    use crate::engine::{Effects, Holders, TICK};
    let (mut sim, _, _) = stuck();
    let began = sim.now;
    let silent = Holders {
        active_at: Some(began),
        root_speaks: false,
    };
    let due = began + WARN_AFTER;
    assert!(!sim.lane.would_warn(due.before(millis(1)), silent));
    assert!(sim.lane.would_warn(due, silent));
    let moving = Holders {
        active_at: Some(due.before(millis(1))),
        ..silent
    };
    assert!(!sim.lane.would_warn(due, moving));
    let elsewhere = Holders {
        root_speaks: true,
        ..silent
    };
    assert!(!sim.lane.would_warn(due, elsewhere));
    // It is looked at a tick later, and says nothing before.
    sim.lane.tick(due, &mut Effects::new());
    sim.lane.look_again(due);
    assert_eq!(sim.lane.rearm(), Some(due + TICK));
    sim.now = due;
    sim.run_for(TICK - millis(1));
    assert_eq!(warnings(&mut sim).len(), 0);
    sim.run_for(millis(1));
    assert_eq!(warnings(&mut sim).len(), 1);
    // A dispatch since then has set another moment, which stands.
    sim.submit(plain());
    let holder = sim.lane.holders()[0];
    let _ = sim.lane.release(holder, true);
    sim.lane.dispatch(sim.now, &mut Effects::new());
    let dispatched = sim.now;
    sim.lane.look_again(sim.now);
    sim.run_for(WARN_AFTER - millis(1));
    assert_eq!(warnings(&mut sim).len(), 0);
    sim.now = dispatched + WARN_AFTER;
    assert!(sim.lane.would_warn(sim.now, silent));
}

#[test]
fn s16_waiters_behind_a_holder_that_moves_are_no_warning() {
    let (mut sim, holder, _) = stuck();
    for _ in 0..60 {
        sim.run_for(secs(20));
        sim.progress(holder);
    }
    let looks = looks(&mut sim);
    assert!(looks.iter().all(|(_, blocked)| blocked.healthy));
    let count = looks.len();
    assert!((20..=60).contains(&count), "for those who debug: {count}");
    // It falls silent, and is warned of once that has lasted.
    sim.run_for(WARN_AFTER - millis(1));
    assert!(warnings(&mut sim).is_empty());
    sim.run_for(millis(1));
    assert_eq!(warnings(&mut sim).len(), 1);
}

#[test]
#[cfg_attr(miri, ignore = "its minutes take minutes there")]
fn s16_a_dispatch_in_time_keeps_a_full_lane_silent() {
    let mut sim = Sim::new(1);
    for _ in 0..100 {
        sim.submit(plain());
    }
    for task in 0..90 {
        sim.run_for(secs(29));
        sim.complete(task);
    }
    assert_eq!(looks(&mut sim), []);
}

#[test]
fn s16_a_lane_that_moved_and_is_blocked_anew_warns_as_if_for_the_first_time() {
    let (mut sim, holder, waiter) = stuck();
    let third = sim.submit(plain());
    sim.run_for(MINUTE * 17);
    assert_eq!(moments(&warnings(&mut sim)).len(), 6, "backed off by now");
    sim.complete(holder);
    sim.run_for(MINUTE * 2);
    let again = warnings(&mut sim);
    let since = MINUTE * 17;
    assert_eq!(
        again.iter().map(|(at, _)| *at - since).collect::<Vec<_>>(),
        [secs(30), secs(60), secs(120)]
    );
    assert_eq!(again[0].1.blocked_for, WARN_AFTER);
    // And so it does once a slot came free that nobody waited for.
    sim.drop_it(third);
    sim.complete(waiter);
    sim.submit(plain());
    sim.run_for(MINUTE);
    sim.submit(plain());
    sim.run_for(WARN_AFTER - millis(1));
    assert_eq!(looks(&mut sim), []);
    sim.run_for(millis(1));
    assert_eq!(warnings(&mut sim)[0].1.blocked_for, WARN_AFTER);
}

#[test]
fn s16_the_last_dispatch_ends_the_count_for_whoever_comes_later() {
    let (mut sim, holder, _) = stuck();
    sim.run_for(secs(20));
    sim.complete(holder);
    sim.run_for(MINUTE * 60);
    sim.submit(plain());
    sim.run_for(WARN_AFTER - millis(1));
    assert_eq!(looks(&mut sim), []);
    sim.run_for(millis(1));
    assert_eq!(warnings(&mut sim)[0].1.blocked_for, WARN_AFTER);
}

#[test]
fn s16_a_slot_found_free_ends_the_count_of_those_who_gave_up() {
    let (mut sim, _, waiter) = stuck();
    sim.cancel(waiter, Reason::User);
    sim.say(|lane, now, effects| lane.set_max_concurrent(now, 2, effects));
    sim.run_for(MINUTE * 60);
    sim.submit(plain());
    sim.submit(plain());
    sim.run_for(WARN_AFTER - millis(1));
    assert_eq!(looks(&mut sim), []);
    sim.run_for(millis(1));
    assert_eq!(warnings(&mut sim)[0].1.blocked_for, WARN_AFTER);
}

#[test]
fn s16_a_pause_without_end_warns_and_one_with_an_end_does_not() {
    let mut sim = Sim::new(1);
    sim.say(|lane, _, _| lane.pause(None));
    sim.submit(plain());
    sim.run_for(WARN_AFTER);
    let warned = warnings(&mut sim);
    assert_eq!((warned.len(), warned[0].1.by), (1, BlockedBy::Paused));

    let mut sim = Sim::new(1);
    sim.say(|lane, now, _| lane.pause(Some(now + MINUTE * 30)));
    sim.submit(plain());
    sim.run_for(MINUTE * 30);
    let looks = looks(&mut sim);
    assert!(looks.iter().all(|(_, blocked)| blocked.healthy));
    assert_eq!(sim.lane.active(), 1);
}

#[test]
fn s16_a_lane_blocked_by_another_leaves_the_word_to_it() {
    let (mut sim, _, _) = stuck();
    sim.root_speaks = true;
    sim.run_for(MINUTE * 5);
    assert!(warnings(&mut sim).is_empty());
    sim.root_speaks = false;
    sim.run_for(WARN_AFTER);
    assert_eq!(warnings(&mut sim).len(), 1);
}

#[test]
fn s16_a_lane_that_nobody_waits_for_is_looked_at_by_nobody() {
    let mut sim = Sim::new(1);
    sim.submit(plain());
    assert_eq!(sim.lane.rearm(), None);
    let waiter = sim.submit(plain());
    sim.cancel(waiter, Reason::User);
    sim.run_for(MINUTE * 600);
    assert_eq!(sim.looks, []);
}

#[test]
fn s16_a_warn_after_of_nothing_does_not_spin() {
    let mut sim = Sim::with(crate::engine::Settings {
        warn_after: Duration::ZERO,
        ..super::sim::settings(1)
    });
    let holder = sim.submit(plain());
    sim.submit(plain());
    // A driver that spins is noticed by the harness.
    sim.run_for(secs(1));
    sim.progress(holder);
    sim.run_for(secs(1));
}

#[test]
fn s16_a_lane_whose_last_waiter_gave_up_as_it_dispatched_warns_all_the_same() {
    let mut sim = Sim::with(Settings {
        warn_after: secs(1),
        ..settings(1)
    });
    sim.enter(plain(), DETACHED).expect("open");
    sim.submit(plain());
    sim.submit(Spec {
        wait: Some(secs(5) + millis(1)),
        ..plain()
    });
    // The grant is withdrawn, the next is dispatched, the last gives up, and
    // the holders are looked at, in this order and in one tick.
    sim.oversleep(secs(5) + TICK);
    assert_eq!((sim.lane.active(), sim.lane.queued()), (1, 0));
    sim.submit(plain());
    sim.looks.clear();
    sim.run_for(secs(1));
    assert_eq!(sim.looks.len(), 1);
}

#[test]
fn s16_another_time_is_worth_a_word_from_when_the_lane_last_moved() {
    let (mut sim, _, _) = stuck();
    sim.run_for(secs(20));
    let sooner = Settings {
        warn_after: secs(15),
        ..settings(1)
    };
    sim.say(|lane, now, effects| lane.set_anew(now, sooner, effects));
    sim.run_for(secs(60));
    // It has been worth a word for five seconds, and repeats back off anew.
    let sooner = warnings(&mut sim);
    assert_eq!(moments(&sooner), [20, 35, 65]);
    let later = Settings {
        warn_after: secs(100),
        ..settings(1)
    };
    sim.say(|lane, now, effects| lane.set_anew(now, later, effects));
    sim.run_for(secs(60));
    assert_eq!(moments(&warnings(&mut sim)), [100]);
}
