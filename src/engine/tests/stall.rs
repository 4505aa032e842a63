//! A stall ends in time (S8), and not on the first look after a sleep (S19).

use std::time::Duration;

use super::sim::{DETACHED, Event, Sim, ceiling, millis, plain, secs};
use crate::engine::{Ceiling, End, Notice, Reason, Reclaim, Recovery, Spec, State, TICK, Verdict};

const CEILING: Duration = secs(60);

fn stalled(elapsed: Duration) -> End {
    End::Stalled {
        elapsed,
        idle: elapsed,
        ceiling: CEILING,
    }
}

/// One holder that never comes by itself, and one who waits for its slot.
fn wedged(spec: Spec) -> (Sim, u32, u32) {
    let mut sim = Sim::new(1);
    let holder = sim.submit(spec);
    let waiter = sim.submit(plain());
    sim.task(holder).comes = false;
    sim.events();
    (sim, holder, waiter)
}

/// When the waiter had the slot.
fn granted_at(sim: &mut Sim, waiter: u32) -> Option<Duration> {
    let events = sim.timed().into_iter();
    events
        .filter(|(_, event)| *event == Event::Granted(waiter))
        .map(|(at, _)| at)
        .next()
}

#[test]
fn s8_asked_at_the_ceiling_and_taken_one_tick_later() {
    let (mut sim, holder, waiter) = wedged(ceiling(CEILING));
    sim.run_for(CEILING - millis(1));
    assert_eq!(sim.events(), []);
    sim.run_for(millis(1));
    assert_eq!(
        sim.timed(),
        [(CEILING, Event::ToldToDrop(holder, Reason::Stalled))]
    );
    sim.run_for(TICK - millis(1));
    assert_eq!(sim.events(), []);
    sim.run_for(millis(1));
    let end = stalled(CEILING);
    let expected = [
        Event::Lost(holder),
        Event::ToldToDrop(holder, Reason::Stalled),
        Event::Settled(holder, end),
        Event::Granted(waiter),
        Event::Notice(Notice::Reclaimed {
            task: holder,
            end,
            how: Reclaim::Taken,
            orphans: 1,
            recovery: Recovery::Dispatched(waiter),
        }),
    ];
    let at = CEILING + TICK;
    assert_eq!(sim.timed(), expected.map(|event| (at, event)));
}

#[test]
fn s8_a_runner_that_comes_leaves_no_orphan() {
    let (mut sim, holder, waiter) = wedged(ceiling(CEILING));
    sim.task(holder).comes = true;
    sim.run_for(CEILING);
    let end = stalled(CEILING);
    assert_eq!(
        sim.events(),
        [
            Event::ToldToDrop(holder, Reason::Stalled),
            Event::Granted(waiter),
            Event::Notice(Notice::Reclaimed {
                task: holder,
                end,
                how: Reclaim::Dropped,
                orphans: 0,
                recovery: Recovery::Dispatched(waiter),
            }),
            Event::Settled(holder, end),
        ]
    );
    assert_eq!((sim.lane.orphans(), sim.lane.tally().reclaimed), (0, 1));
}

#[test]
fn s8_who_listens_has_its_grace_first() {
    let (mut sim, holder, waiter) = wedged(ceiling(CEILING));
    sim.facts(holder).listens = true;
    sim.run_for(CEILING);
    assert_eq!(sim.events(), [Event::Asked(holder, Reason::Stalled)]);
    sim.run_for(secs(5) - millis(1));
    assert_eq!(sim.events(), []);
    sim.run_for(millis(1));
    assert_eq!(sim.events(), [Event::ToldToDrop(holder, Reason::Stalled)]);
    sim.run_for(TICK);
    assert_eq!(granted_at(&mut sim, waiter), Some(CEILING + secs(5) + TICK));
}

#[test]
fn s17_who_listens_and_ends_in_its_grace_has_its_value_and_is_reported() {
    let (mut sim, holder, waiter) = wedged(ceiling(CEILING));
    sim.facts(holder).listens = true;
    sim.run_for(CEILING + secs(2));
    sim.events();
    sim.complete(holder);
    assert_eq!(
        sim.events(),
        [
            Event::Granted(waiter),
            Event::Notice(Notice::Reclaimed {
                task: holder,
                end: End::Stalled {
                    elapsed: CEILING,
                    idle: CEILING,
                    ceiling: CEILING,
                },
                how: Reclaim::Finished,
                orphans: 0,
                recovery: Recovery::Dispatched(waiter),
            }),
            Event::Settled(holder, End::Completed)
        ]
    );
    assert_eq!(sim.lane.tally().reclaimed, 1);
}

#[test]
fn s8_hooks_have_their_teardown_even_if_their_runner_never_comes() {
    let (mut sim, holder, waiter) = wedged(ceiling(CEILING));
    sim.facts(holder).listens = true;
    sim.facts(holder).hooks = true;
    sim.run_for(secs(600));
    let at = CEILING + secs(5) + secs(5) + TICK;
    assert_eq!(granted_at(&mut sim, waiter), Some(at));
}

#[test]
fn s8_hooks_that_do_not_end_are_dropped_and_then_the_slot_is_taken() {
    let (mut sim, holder, waiter) = wedged(Spec {
        grace: Duration::ZERO,
        ..ceiling(CEILING)
    });
    sim.facts(holder).listens = true;
    sim.facts(holder).hooks = true;
    sim.run_for(CEILING);
    let (key, spec) = (sim.key(holder), sim.task(holder).spec.clone());
    sim.say(|lane, now, _| assert!(lane.begin_teardown(now, key, &spec)));
    sim.events();
    sim.run_for(secs(5));
    assert_eq!(sim.events(), [Event::EndTeardown(holder)]);
    sim.run_for(TICK);
    assert_eq!(granted_at(&mut sim, waiter), Some(CEILING + secs(5) + TICK));
}

#[test]
fn s8_a_runner_that_comes_late_gets_what_is_left_of_the_teardown() {
    let (mut sim, holder, waiter) = wedged(ceiling(CEILING));
    sim.facts(holder).hooks = true;
    sim.run_for(CEILING + secs(4));
    let (key, spec) = (sim.key(holder), sim.task(holder).spec.clone());
    sim.say(|lane, now, _| assert!(lane.begin_teardown(now, key, &spec)));
    sim.run_for(secs(600));
    assert_eq!(granted_at(&mut sim, waiter), Some(CEILING + secs(5) + TICK));
}

#[test]
fn s8_hooks_that_nobody_knew_of_have_their_time_nonetheless() {
    let (mut sim, holder, _) = wedged(ceiling(CEILING));
    sim.run_for(CEILING + millis(5));
    let (key, spec) = (sim.key(holder), sim.task(holder).spec.clone());
    sim.say(|lane, now, _| assert!(lane.begin_teardown(now, key, &spec)));
    let until = sim.now + secs(5);
    assert_eq!(sim.state(holder), Some(State::Teardown { until }));
}

#[test]
fn s8_hooks_of_a_task_that_was_dropped_end_in_time_and_say_so() {
    let (mut sim, holder, _) = wedged(plain());
    let (key, spec) = (sim.key(holder), sim.task(holder).spec.clone());
    sim.say(|lane, now, _| assert!(lane.begin_teardown(now, key, &spec)));
    sim.run_for(secs(5) + TICK);
    let end = sim.task(holder).settled;
    assert_eq!(end.map(|end| end.reason()), Some(Reason::Dropped));
}

#[test]
fn s8_nothing_waits_for_traffic_on_the_lane() {
    // No waiter, no arrival, no completion: the driver alone.
    let mut sim = Sim::new(4);
    let tasks = sim.submit_many(3, &ceiling(CEILING));
    for task in &tasks {
        sim.task(*task).comes = false;
    }
    sim.run_for(CEILING + TICK);
    assert_eq!((sim.lane.active(), sim.lane.orphans()), (0, 3));
}

#[test]
fn s8_a_ceiling_shorter_than_the_claim_holds_for_a_grant_that_was_claimed_late() {
    let mut sim = Sim::new(1);
    let holder = sim.enter(ceiling(secs(1)), DETACHED).expect("open");
    sim.task(holder).comes = false;
    sim.run_for(millis(1_500));
    sim.poll(holder);
    sim.run_for(secs(1) + TICK * 2);
    assert_eq!(sim.state(holder), Some(State::Orphan));
    let end = sim.task(holder).settled;
    assert!(
        matches!(end, Some(End::Stalled { idle, .. }) if idle == secs(1)),
        "a full ceiling from its first poll on: {end:?}"
    );
}

#[test]
fn s8_a_look_that_was_meant_for_the_waiter_does_not_delay_the_holder() {
    // Its time to wait is looked at, and it is granted before the verdict.
    let mut sim = Sim::new(1);
    let first = sim.submit(plain());
    let next = sim.submit(Spec {
        warn_wait: Some(secs(3)),
        ..ceiling(secs(1))
    });
    sim.task(next).claims = false;
    sim.run_for(secs(2));
    sim.complete(first);
    let (key, spec) = (sim.key(next), sim.task(next).spec.clone());
    let facts = sim.facts(next).clone();
    sim.say(|lane, now, effects| {
        assert_eq!(
            lane.judge(now, key, &spec, &facts, effects),
            Verdict::Nothing
        );
    });
    let look = sim.lane.moment(key);
    assert_eq!(look, Some(sim.now + secs(1)));
}

#[test]
fn s3_a_value_in_hand_gets_one_tick_more_and_is_delivered() {
    let (mut sim, holder, _) = wedged(ceiling(CEILING));
    sim.run_for(CEILING);
    sim.facts(holder).done = true;
    sim.events();
    sim.run_for(TICK);
    assert_eq!(sim.events(), [], "its runner is on the way to the lock");
    sim.run_for(TICK);
    assert_eq!(sim.task(holder).settled, Some(End::Completed));
    assert_eq!(sim.state(holder), Some(State::Orphan));
    sim.complete(holder);
    let tally = sim.lane.tally();
    assert_eq!((tally.completed, tally.late), (1, 0));
}

#[test]
fn s19_after_a_sleep_a_stalled_task_has_one_tick_to_show_itself() {
    let mut sim = Sim::new(2);
    let moving = sim.submit(ceiling(CEILING));
    let stuck = sim.submit(ceiling(CEILING));
    sim.events();
    sim.oversleep(secs(3_600));
    assert_eq!(sim.events(), [], "no mass reclaim");
    sim.run_for(TICK - millis(1));
    sim.progress(moving);
    sim.run_for(millis(1));
    assert_eq!(sim.events()[0], Event::ToldToDrop(stuck, Reason::Stalled));
    assert_eq!(sim.holders(), [moving]);
    // Once a stall, and this is a new one.
    sim.oversleep(secs(3_600));
    assert_eq!(sim.events(), []);
    assert_eq!(sim.holders(), [moving]);
    sim.run_for(TICK);
    assert_eq!(sim.lane.active(), 0);
}

#[test]
fn s19_a_timer_within_a_tick_is_not_late() {
    let mut sim = Sim::new(1);
    sim.submit(ceiling(CEILING));
    sim.oversleep(CEILING + TICK);
    assert_eq!(sim.lane.active(), 0);
}

#[test]
fn s19_the_grace_tick_is_granted_once_a_stall() {
    let mut sim = Sim::new(1);
    sim.submit(ceiling(CEILING));
    sim.oversleep(secs(3_600));
    // Late again, by as much: the executor is starved for good.
    sim.oversleep(secs(3_600));
    assert_eq!(sim.lane.active(), 0);
}

#[test]
fn s19_a_take_that_comes_late_waits_a_tick_for_the_runner() {
    let (mut sim, holder, waiter) = wedged(plain());
    sim.cancel(holder, Reason::User);
    sim.oversleep(secs(10));
    assert_eq!(sim.state(holder).map(State::holds_slot), Some(true));
    sim.drop_it(holder);
    assert_eq!(sim.holders(), [waiter]);
    assert_eq!(sim.lane.orphans(), 0);
}

#[test]
fn s19_a_stall_that_had_its_grace_tick_has_no_second_one_at_the_take() {
    let (mut sim, holder, waiter) = wedged(ceiling(CEILING));
    sim.oversleep(secs(3_600));
    sim.run_for(TICK);
    assert_eq!(sim.events(), [Event::ToldToDrop(holder, Reason::Stalled)]);
    sim.oversleep(secs(10));
    assert_eq!(sim.state(holder), Some(State::Orphan));
    assert_eq!(sim.holders(), [waiter]);
}

#[test]
fn s19_an_unclaimed_grant_has_its_tick_too_each_time() {
    let mut sim = Sim::new(1);
    let absent = sim.enter(plain(), DETACHED).expect("open");
    for _ in 0..2 {
        sim.oversleep(secs(60));
        assert_eq!(sim.state(absent), Some(State::Granted));
        sim.run_for(TICK);
        assert_eq!(sim.state(absent), Some(State::Asleep));
        let (key, spec) = (sim.key(absent), plain());
        sim.say(|lane, now, effects| lane.rejoin(now, key, &spec, effects));
        assert_eq!(sim.state(absent), Some(State::Granted));
    }
    // And so has the take of what it is granted in the end.
    sim.poll(absent);
    sim.task(absent).comes = false;
    sim.cancel(absent, Reason::User);
    sim.oversleep(secs(10));
    assert_eq!(sim.holders(), [absent]);
}

#[test]
fn a_clock_that_goes_back_moves_nothing_back() {
    let mut sim = Sim::new(1);
    let holder = sim.submit(ceiling(CEILING));
    sim.run_for(secs(30));
    let now = sim.now;
    sim.now = now.before(secs(20));
    sim.complete(holder);
    let next = sim.submit(ceiling(CEILING));
    let started = sim.lane.record(sim.key(next)).map(|r| r.started);
    // No input told the lane that it was later than its own first moment.
    assert!(started >= Some(sim.now));
    sim.say(|lane, _, effects| lane.tick(now, effects));
    sim.complete(next);
    let last = sim.submit(ceiling(CEILING));
    assert_eq!(sim.lane.record(sim.key(last)).map(|r| r.started), Some(now));
    assert_eq!(sim.task(last).spec.ceiling, Ceiling::Set(CEILING));
}
