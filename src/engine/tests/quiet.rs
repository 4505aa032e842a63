//! A task that is put off for a while, and once more whenever it is asked for.

use super::sim::{PRESENT, Sim, plain, secs};
use crate::engine::State;

/// When it starts that is asked for so often, 10 s apart.
fn starts_after_asking(times: u64) -> u64 {
    let mut sim = Sim::new(1);
    let window = secs(20);
    let task = sim.put_off(plain(), PRESENT, window).expect("open");
    let key = sim.key(task);
    let mut waited = 0;
    while sim.holders() != [task] {
        waited += 1;
        assert!(waited < 1_000, "S7: it is never served");
        sim.run_for(secs(1));
        if waited % 10 == 0 && waited / 10 <= times {
            sim.say(|lane, now, effects| lane.prolong(now, key, window, effects));
        }
    }
    waited
}

#[test]
fn a_task_that_is_put_off_starts_a_window_after_it_was_last_asked_for() {
    assert_eq!(starts_after_asking(0), 20);
    assert_eq!(starts_after_asking(1), 30);
    assert_eq!(starts_after_asking(4), 60);
}

#[test]
fn s7_a_task_is_put_off_for_ten_windows_at_the_most() {
    assert_eq!(starts_after_asking(1_000), 200);
}

#[test]
fn s6_a_task_that_is_put_off_again_keeps_its_place_in_line() {
    let mut sim = Sim::new(1);
    let window = secs(20);
    let holder = sim.submit(plain());
    let first = sim.put_off(plain(), PRESENT, window).expect("open");
    let second = sim.submit(plain());
    sim.run_for(secs(30));
    assert_eq!(sim.lane.queued(), 2);
    let key = sim.key(first);
    sim.say(|lane, now, effects| lane.prolong(now, key, window, effects));
    assert_eq!(sim.lane.queued(), 1);
    sim.run_for(secs(30));
    sim.complete(holder);
    assert_eq!(sim.holders(), [first]);
    sim.complete(first);
    assert_eq!(sim.holders(), [second]);
}

#[test]
fn s7_who_has_been_put_off_for_ten_windows_stays_in_line() {
    let mut sim = Sim::new(1);
    let window = secs(20);
    sim.submit(plain());
    let late = sim.put_off(plain(), PRESENT, window).expect("open");
    sim.run_for(10 * window);
    let key = sim.key(late);
    sim.say(|lane, now, effects| lane.prolong(now, key, window, effects));
    assert_eq!(sim.state(late), Some(State::Queued));
}
