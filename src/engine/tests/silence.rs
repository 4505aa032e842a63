//! What counts as silence, and for how long it may last (S9).

use std::time::Duration;

use super::sim::{Event, Sim, ceiling, millis, plain, secs};
use crate::engine::task::CEILING;
use crate::engine::{Ceiling, End, Notice, Reason, Spec, State, TICK};

const MINUTE: Duration = secs(60);

fn by_default() -> Spec {
    Spec {
        ceiling: Ceiling::Default,
        ..plain()
    }
}

fn asked(sim: &mut Sim) -> Option<Duration> {
    let events = sim.timed().into_iter();
    events
        .filter(|(_, event)| matches!(event, Event::ToldToDrop(..)))
        .map(|(at, _)| at)
        .next()
}

#[test]
fn s9_who_progresses_more_often_than_its_ceiling_is_never_reclaimed() {
    let mut sim = Sim::new(1);
    let task = sim.submit(ceiling(MINUTE));
    sim.events();
    for _ in 0..500 {
        sim.run_for(MINUTE - millis(1));
        sim.progress(task);
    }
    assert_eq!(sim.events(), []);
    assert_eq!(sim.state(task), Some(State::Running));
    sim.run_for(MINUTE - millis(1));
    assert_eq!(sim.events(), []);
    sim.run_for(millis(1));
    assert!(matches!(
        sim.task(task).settled,
        Some(End::Stalled { idle: MINUTE, .. })
    ));
}

#[test]
fn s9_who_waits_for_a_lane_does_not_stall_and_starts_afresh_after_it() {
    let mut sim = Sim::new(1);
    let task = sim.submit(ceiling(MINUTE));
    sim.events();
    sim.facts(task).waiting = true;
    sim.run_for(MINUTE * 500 + secs(30));
    assert_eq!(sim.events(), []);
    // The wait is over, and the end of it is a sign of life.
    sim.facts(task).waiting = false;
    sim.facts(task).active_at = sim.now;
    let over = sim.now;
    sim.run_for(MINUTE * 2);
    let taken = sim.task(task).settled;
    assert!(matches!(taken, Some(End::Stalled { idle: MINUTE, .. })));
    let at = asked(&mut sim).expect("asked");
    assert_eq!(at, MINUTE * 501 + secs(30));
    assert!(sim.now > over);
}

#[test]
fn s9_a_parent_is_held_until_its_child_has_been_dealt_with() {
    let mut sim = Sim::new(1);
    let task = sim.submit(ceiling(MINUTE));
    sim.facts(task).hold_until = Some(sim.now + MINUTE + secs(5));
    sim.run_for(MINUTE * 2);
    assert_eq!(asked(&mut sim), Some(MINUTE + secs(5)));
}

#[test]
fn s9_an_extension_holds_even_if_it_is_silent() {
    let mut sim = Sim::new(1);
    let task = sim.submit(ceiling(MINUTE));
    sim.facts(task).extended_until = Some(sim.now + MINUTE * 30);
    sim.run_for(MINUTE * 60);
    assert_eq!(asked(&mut sim), Some(MINUTE * 30));
    // One that ends before the ceiling takes nothing away.
    let mut sim = Sim::new(1);
    let task = sim.submit(ceiling(MINUTE));
    sim.facts(task).extended_until = Some(sim.now + secs(1));
    sim.run_for(MINUTE * 60);
    assert_eq!(asked(&mut sim), Some(MINUTE));
}

#[test]
fn s9_a_phase_has_a_ceiling_of_its_own() {
    for (phase, expected) in [(MINUTE * 20, MINUTE * 20), (secs(10), MINUTE)] {
        let mut sim = Sim::new(1);
        let task = sim.submit(ceiling(MINUTE));
        sim.facts(task).phase = Some(phase);
        sim.run_for(MINUTE * 60);
        // A tighter one is not heard of before the next look, unless told so.
        let at = asked(&mut sim).expect("asked");
        assert!(at >= expected && at <= expected + TICK, "{phase:?}: {at:?}");
    }
}

#[test]
fn s8_a_tighter_phase_holds_at_once_where_the_lane_is_told_of_it() {
    let mut sim = Sim::new(1);
    let task = sim.submit(ceiling(MINUTE));
    sim.run_for(secs(3));
    sim.facts(task).phase = Some(secs(10));
    sim.facts(task).active_at = sim.now;
    let (key, by) = (sim.key(task), sim.now + secs(10));
    sim.say(|lane, _, _| lane.look_by(key, by));
    sim.run_for(MINUTE);
    assert_eq!(asked(&mut sim), Some(secs(13)));
}

#[test]
fn s8_after_a_long_phase_the_ceiling_holds_where_the_lane_is_told_of_its_end() {
    let mut sim = Sim::new(1);
    let task = sim.submit(ceiling(MINUTE));
    sim.facts(task).phase = Some(MINUTE * 20);
    sim.run_for(MINUTE * 5);
    sim.facts(task).phase = None;
    sim.facts(task).active_at = sim.now;
    let key = sim.key(task);
    sim.say(|lane, now, _| lane.look_by(key, now));
    sim.run_for(MINUTE * 20);
    assert_eq!(asked(&mut sim), Some(MINUTE * 6));
}

#[test]
fn look_by_moves_a_look_forward_and_never_back() {
    let mut sim = Sim::new(2);
    let task = sim.submit(ceiling(MINUTE));
    let key = sim.key(task);
    let due = sim.now + MINUTE;
    sim.say(|lane, _, _| lane.look_by(key, due + secs(1)));
    assert_eq!(sim.lane.moment(key), Some(due));
    sim.say(|lane, _, _| lane.look_by(key, due.before(secs(1))));
    assert_eq!(sim.lane.moment(key), Some(due.before(secs(1))));
    // A task without limits has no look at all until it is given one.
    let free = sim.submit(plain());
    let key = sim.key(free);
    assert_eq!(sim.lane.moment(key), None);
    sim.say(|lane, _, _| lane.look_by(key, due));
    assert_eq!(sim.lane.moment(key), Some(due));
}

#[test]
fn the_default_ceiling_is_an_hour_for_who_never_reports_with_a_word_at_ten_minutes() {
    let mut sim = Sim::new(1);
    let task = sim.submit(by_default());
    sim.events();
    sim.run_for(MINUTE * 10);
    assert_eq!(
        sim.timed(),
        [(
            CEILING,
            Event::Notice(Notice::NeverReports {
                task,
                elapsed: CEILING
            })
        )]
    );
    sim.run_for(MINUTE * 50 - millis(1));
    assert_eq!(sim.events(), [], "said once");
    sim.run_for(millis(1));
    assert_eq!(sim.events()[0], Event::ToldToDrop(task, Reason::Stalled));
}

#[test]
fn the_default_ceiling_is_ten_minutes_for_who_has_reported() {
    let mut sim = Sim::new(1);
    let task = sim.submit(by_default());
    sim.run_for(secs(1));
    sim.progress(task);
    sim.events();
    sim.run_for(MINUTE * 60);
    assert_eq!(asked(&mut sim), Some(CEILING + secs(1)));
}

#[test]
fn s8_a_first_report_after_the_first_look_brings_the_tighter_ceiling() {
    for reported_at in [11, 19, 20, 21, 49, 51, 59] {
        let mut sim = Sim::new(1);
        let task = sim.submit(by_default());
        sim.run_for(MINUTE * reported_at);
        sim.progress(task);
        sim.run_for(MINUTE * 60);
        assert_eq!(
            asked(&mut sim),
            Some(MINUTE * reported_at + CEILING),
            "reported after {reported_at} min"
        );
    }
}

#[test]
fn s8_the_tighter_ceiling_after_a_first_report_holds_after_a_wait_as_well() {
    let mut sim = Sim::new(1);
    let task = sim.submit(by_default());
    sim.facts(task).waiting = true;
    sim.run_for(MINUTE * 11);
    sim.facts(task).waiting = false;
    sim.progress(task);
    sim.run_for(MINUTE * 60);
    assert_eq!(asked(&mut sim), Some(MINUTE * 21));
}

#[test]
fn a_task_that_waits_is_not_said_never_to_report() {
    let mut sim = Sim::new(1);
    let task = sim.submit(by_default());
    sim.facts(task).waiting = true;
    sim.events();
    sim.run_for(MINUTE * 30);
    assert_eq!(sim.events(), []);
}

#[test]
fn a_ceiling_set_by_hand_holds_from_the_start_and_is_said_nothing_about() {
    let mut sim = Sim::new(1);
    let task = sim.submit(ceiling(MINUTE * 30));
    sim.events();
    sim.run_for(MINUTE * 30 - millis(1));
    assert_eq!(sim.events(), []);
    sim.run_for(millis(1));
    assert_eq!(sim.lane.active(), 0);
    assert!(sim.task(task).settled.is_some());
}

#[test]
fn without_a_ceiling_a_task_may_be_silent_for_ever() {
    let mut sim = Sim::new(1);
    let task = sim.submit(plain());
    sim.events();
    sim.run_for(MINUTE * 60 * 24 * 365);
    assert_eq!(sim.events(), []);
    assert_eq!(sim.state(task), Some(State::Running));
}
