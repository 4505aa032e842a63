//! A place that is kept, and a lane that is over by the time at which somebody
//! should have come for it.

use super::sim::{DETACHED, Event, PRESENT, Sim, plain, secs, settings};
use crate::engine::{End, Entry, IfFull, Leftover, Reason, Settings, State};

/// A queue of one place, whose waiter goes, so that somebody is given it who
/// does not come.
fn placed() -> (Sim, u32) {
    let mut sim = Sim::with(Settings {
        queue_capacity: 1,
        ..settings(1)
    });
    sim.submit(plain());
    let queued = sim.submit(plain());
    let if_full = IfFull::Wait;
    let comes = Entry {
        if_full,
        ..DETACHED
    };
    let keeper = sim.reserve(plain(), comes).expect("it waits");
    assert_eq!(sim.state(keeper), Some(State::AtDoor));
    let record = sim.lane.record(sim.key(keeper)).expect("it waits");
    assert_eq!((record.queued_ahead, record.active_ahead), (1, 1));
    sim.drop_it(queued);
    assert_eq!(sim.state(keeper), Some(State::Placed));
    sim.events();
    (sim, keeper)
}

#[test]
fn s7_whoever_does_not_come_for_its_place_in_time_is_told_of_a_shutdown() {
    let (mut sim, keeper) = placed();
    sim.say(|lane, now, effects| lane.shutdown(now, effects));
    sim.run_for(secs(5));
    let waited = secs(5);
    assert_eq!(sim.task(keeper).settled, Some(End::Shutdown { waited }));
    assert_eq!((sim.lane.kept(), sim.lane.records().count()), (0, 0));
    assert!(sim.lane.door.is_none(), "S15: nobody is at it");
}

#[test]
fn whoever_is_at_the_door_wants_a_place_too() {
    let mut sim = Sim::with(Settings {
        queue_capacity: 1,
        ..settings(1)
    });
    sim.submit_many(2, &plain());
    assert_eq!(sim.lane.places_wanted(), 1);
    let if_full = IfFull::Wait;
    let comes = Entry {
        if_full,
        ..DETACHED
    };
    sim.reserve(plain(), comes).expect("it waits");
    sim.enter(plain(), comes).expect("it waits");
    assert_eq!((sim.lane.places_taken(), sim.lane.places_wanted()), (1, 3));
}

#[test]
fn s7_a_place_is_no_task_that_a_drain_could_hand_back() {
    let (mut sim, keeper) = placed();
    let deadline = sim.now + secs(1);
    sim.say(|lane, _, _| lane.start_draining(deadline, false, Leftover::Return));
    sim.run_for(secs(5));
    let told = End::CancelledQueued {
        reason: Reason::Draining,
        waited: secs(5),
    };
    assert_eq!(sim.task(keeper).settled, Some(told));
}

#[test]
fn s2_a_place_that_lapsed_is_given_back_once() {
    let (mut sim, keeper) = placed();
    sim.poll(keeper);
    sim.run_for(secs(59));
    assert_eq!(sim.lane.kept(), 1);
    sim.run_for(secs(1));
    assert_eq!(sim.lane.kept(), 0);
    let tally = sim.lane.tally();
    sim.drop_it(keeper);
    assert_eq!(
        sim.lane.tally(),
        tally,
        "it is no task, and counted nowhere"
    );
    // Its task is taken all the same, beyond the capacity.
    sim.submit(plain());
    let late = sim.spend(keeper, plain(), PRESENT).expect("a promise");
    assert_eq!(sim.state(late), Some(State::Queued));
    assert_eq!(sim.lane.queued(), 2);
    assert!(!sim.events().contains(&Event::Settled(late, End::Completed)));
}

#[test]
fn s7_whoever_wants_a_place_is_told_that_there_will_be_none() {
    let (mut sim, placed) = placed();
    let if_full = IfFull::Wait;
    let comes = Entry {
        if_full,
        ..DETACHED
    };
    let task = sim.enter(plain(), comes).expect("it waits");
    let keeper = sim.reserve(plain(), comes).expect("it waits");
    sim.run_for(secs(2));
    let anew = Settings {
        queue_capacity: 0,
        ..settings(1)
    };
    sim.say(|lane, now, effects| lane.set_anew(now, anew, effects));
    let waited = secs(2);
    assert_eq!(sim.task(keeper).settled, Some(End::Cleared { waited }));
    assert_eq!(sim.state(placed), Some(State::Placed), "a promise");
    assert_eq!(sim.state(task), Some(State::AtDoor), "it wants a slot");
}

#[test]
fn s20_whoever_comes_for_its_place_in_the_nick_of_time_keeps_it() {
    let (mut sim, keeper) = placed();
    sim.task(keeper).just_in_time = true;
    sim.run_for(secs(59));
    assert_eq!(sim.state(keeper), Some(State::Placed));
    assert_eq!(sim.lane.active(), 1, "a place is no slot");
    sim.run_for(secs(1));
    assert_eq!(sim.lane.kept(), 0);
}
