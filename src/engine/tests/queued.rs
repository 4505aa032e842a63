//! The queue as a lane uses it: order (S6), and grants that nobody claims
//! (S20).

use super::sim::{DETACHED, Event, PRESENT, Sim, millis, plain, secs};
use crate::engine::Priority::{Background, Foreground, Normal};
use crate::engine::{End, Entry, Leftover, Limit, Priority, Reason, Spec, State};

fn of(priority: Priority) -> Spec {
    Spec {
        priority,
        ..plain()
    }
}

/// Completes whoever holds the one slot until nobody is left, and says in
/// which order they held it.
fn served(sim: &mut Sim) -> Vec<u32> {
    let mut order = Vec::new();
    while let [holder] = sim.holders()[..] {
        order.push(holder);
        sim.complete(holder);
    }
    order
}

#[test]
fn s6_urgent_first_and_in_order_of_arrival_within() {
    let mut sim = Sim::new(1);
    for priority in [
        Normal, Background, Normal, Foreground, Background, Foreground,
    ] {
        sim.submit(of(priority));
    }
    assert_eq!(served(&mut sim), [0, 3, 5, 2, 1, 4]);
}

#[test]
fn s6_background_that_waited_for_longer_than_aging_competes_as_normal() {
    let mut sim = Sim::new(1);
    sim.submit(plain());
    sim.submit(of(Background));
    sim.run_for(secs(15));
    sim.submit(of(Normal));
    sim.submit(of(Foreground));
    sim.run_for(secs(15));
    assert_eq!(served(&mut sim), [0, 3, 1, 2]);
}

#[test]
fn s6_every_eighth_dispatch_serves_the_oldest() {
    let mut sim = Sim::new(1);
    sim.submit(plain());
    sim.submit(of(Background));
    for _ in 0..12 {
        sim.submit(of(Foreground));
    }
    let order = served(&mut sim);
    // The first held its slot without waiting, which is no dispatch.
    assert_eq!(order.iter().position(|task| *task == 1), Some(8));
}

#[test]
fn s6_time_waited_elsewhere_counts() {
    let mut sim = Sim::new(1);
    let waited = |waited| Entry { waited, ..PRESENT };
    sim.submit(plain());
    sim.run_for(secs(10));
    sim.submit(plain());
    sim.enter(plain(), waited(secs(5))).expect("open");
    sim.enter(plain(), waited(secs(8))).expect("open");
    sim.enter(plain(), waited(secs(5))).expect("open");
    assert_eq!(served(&mut sim), [0, 3, 2, 4, 1]);
}

#[test]
fn s6_who_gives_up_leaves_no_hole() {
    let mut sim = Sim::new(1);
    let tasks = sim.submit_many(5, &plain());
    for gone in [1, 4, 2] {
        assert!(sim.cancel(tasks[gone], Reason::User));
    }
    let last = sim.submit(plain());
    assert_eq!(served(&mut sim), [tasks[0], tasks[3], last]);
}

#[test]
fn s20_a_grant_that_nobody_claims_is_passed_on_after_five_seconds() {
    let mut sim = Sim::new(1);
    let first = sim.submit(plain());
    let absent = sim.submit(plain());
    let next = sim.submit(plain());
    sim.task(absent).claims = false;
    sim.complete(first);
    sim.events();
    sim.run_for(millis(4_999));
    assert_eq!(sim.events(), []);
    sim.run_for(millis(1));
    assert_eq!(
        sim.events(),
        [Event::Unclaimed(absent), Event::Granted(next)]
    );
    assert_eq!(sim.state(absent), Some(State::Asleep));
    assert_eq!((sim.lane.active(), sim.lane.queued()), (1, 0));
}

/// It never began, and is no more lost than whoever waits at that moment.
#[test]
fn s7_a_grant_that_nobody_claims_is_handed_back_when_a_drain_is_over() {
    for (queued, told) in [
        (Leftover::Return, End::Returned { waited: secs(2) }),
        (
            Leftover::Cancel,
            End::CancelledQueued {
                reason: Reason::Draining,
                waited: secs(2),
            },
        ),
    ] {
        let mut sim = Sim::new(1);
        let first = sim.submit(plain());
        let absent = sim.submit(plain());
        sim.task(absent).claims = false;
        let deadline = sim.now + secs(2);
        sim.say(|lane, _, _| lane.start_draining(deadline, false, queued));
        sim.complete(first);
        assert_eq!(sim.state(absent), Some(State::Granted));
        sim.run_for(secs(2));
        assert_eq!(sim.task(absent).settled, Some(told));
    }
}

#[test]
fn s7_a_grant_that_nobody_claims_is_told_of_a_shutdown() {
    let mut sim = Sim::new(1);
    let first = sim.submit(plain());
    let absent = sim.submit(plain());
    sim.task(absent).claims = false;
    sim.complete(first);
    sim.run_for(secs(1));
    sim.say(|lane, now, effects| lane.shutdown(now, effects));
    let waited = secs(1);
    assert_eq!(sim.task(absent).settled, Some(End::Shutdown { waited }));
}

#[test]
fn s20_who_is_polled_again_has_its_old_place() {
    let mut sim = Sim::new(1);
    let first = sim.submit(plain());
    let absent = sim.submit(plain());
    let others = sim.submit_many(3, &plain());
    sim.task(absent).claims = false;
    sim.complete(first);
    sim.run_for(secs(5));
    assert_eq!(sim.holders(), [others[0]]);
    sim.poll(absent);
    assert_eq!(sim.state(absent), Some(State::Queued));
    assert_eq!(served(&mut sim), [others[0], absent, others[1], others[2]]);
    sim.poll(absent);
    assert_eq!(sim.lane.queued(), 0, "polled once more, it is long gone");
}

#[test]
fn s20_two_that_came_at_the_same_moment_and_lost_their_slots_both_come_back() {
    let mut sim = Sim::new(2);
    let sleepers = [0, 1].map(|_| sim.enter(plain(), DETACHED).expect("open"));
    let others = sim.submit_many(3, &plain());
    sim.run_for(secs(5));
    for sleeper in sleepers {
        assert_eq!(sim.state(sleeper), Some(State::Asleep));
        sim.poll(sleeper);
    }
    assert_eq!(sim.lane.queued(), 3);
    sim.complete(others[0]);
    sim.complete(others[1]);
    assert_eq!(sim.holders(), sleepers, "each in a place of its own");
}

#[test]
fn s20_a_free_slot_is_had_at_once_on_coming_back() {
    let mut sim = Sim::new(1);
    let absent = sim.enter(plain(), DETACHED).expect("open");
    sim.run_for(secs(6));
    assert_eq!(sim.lane.active(), 0);
    sim.poll(absent);
    assert_eq!(sim.state(absent), Some(State::Granted));
    assert!(sim.facts(absent).claimed);
}

#[test]
fn s20_a_runner_that_comes_in_the_nick_of_time_keeps_its_slot() {
    let mut sim = Sim::new(1);
    let late = sim
        .enter(super::sim::ceiling(secs(60)), DETACHED)
        .expect("open");
    sim.task(late).just_in_time = true;
    sim.run_for(secs(5));
    assert_eq!(sim.state(late), Some(State::Running));
    assert_eq!(sim.holders(), [late]);
    sim.task(late).comes = false;
    sim.run_for(millis(60_010));
    assert_eq!(sim.state(late), Some(State::Orphan), "and its ceiling (S8)");
}

#[test]
fn s20_a_waiter_dropped_with_its_slot_unclaimed_passes_it_on() {
    let mut sim = Sim::new(1);
    let dropped = sim.enter(plain(), DETACHED).expect("open");
    let next = sim.submit(plain());
    sim.drop_it(dropped);
    assert_eq!(sim.holders(), [next]);
}

#[test]
fn s7_who_sleeps_outside_the_queue_is_still_told_that_its_wait_is_over() {
    let mut sim = Sim::new(1);
    let absent = sim
        .enter(
            Spec {
                wait: Some(secs(20)),
                ..plain()
            },
            DETACHED,
        )
        .expect("open");
    sim.run_for(millis(19_999));
    assert_eq!(sim.state(absent), Some(State::Asleep));
    sim.run_for(millis(1));
    let end = sim.task(absent).settled;
    assert!(
        matches!(
            end,
            Some(End::TimedOut {
                limit: Limit::Wait,
                ..
            })
        ),
        "{end:?}"
    );
    assert_eq!(sim.lane.records().count(), 0);
}

#[test]
fn s7_a_grant_that_lapses_after_a_shutdown_or_a_drain_is_settled_and_never_starts() {
    type Verb = fn(&mut Sim);
    let verbs: [(Verb, Reason); 2] = [
        (
            |sim| sim.say(|lane, now, effects| lane.shutdown(now, effects)),
            Reason::Shutdown,
        ),
        (
            |sim| {
                use crate::engine::Leftover;
                sim.say(|lane, now, effects| {
                    lane.start_draining(now, false, Leftover::Run);
                    lane.settle_drain(now, &[], effects);
                });
                sim.run_for(millis(1));
            },
            Reason::Draining,
        ),
    ];
    for (verb, reason) in verbs {
        let mut sim = Sim::new(1);
        let absent = sim.enter(plain(), DETACHED).expect("open");
        // The driver withdraws the grant after everybody who waited was
        // settled, and before the holders are asked.
        sim.hold_asks = true;
        verb(&mut sim);
        sim.run_for(secs(5));
        assert_eq!(
            sim.task(absent).settled.map(|end| end.reason()),
            Some(reason)
        );
        sim.poll(absent);
        assert_eq!(sim.lane.active(), 0);
        assert_eq!(sim.lane.records().count(), 0);
    }
}
