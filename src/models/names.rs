//! Lanes that are made on first use, and retire when nobody uses them.

use super::explore::{explore, thread};
use super::world::World;
use crate::LaneConfig;

fn world() -> World {
    World::with(LaneConfig::new(1), |more| {
        more.default_lane(LaneConfig::new(1).no_stall_ceiling())
    })
}

/// S1, S15: a lane that retires as it is asked for again exists once.
#[test]
fn s1_retire_against_revive() {
    explore("retire_against_revive", || {
        let world = world();
        let old = world.lanes.lane("session").expect("made on first use");
        let slot = old.try_acquire().expect("free");
        let fence = slot.fence();
        drop(old);
        let retire = thread::spawn(move || drop(slot));
        let new = world.lanes.lane("session").expect("made on first use");
        let other = world.lanes.lane("session").expect("made on first use");
        let one = new.try_acquire().ok();
        let two = other.try_acquire().ok();
        assert!(one.is_none() || two.is_none(), "S1: it exists twice");
        if let Some(slot) = &one {
            assert!(slot.fence() > fence, "S11");
        }
        retire.join().expect("no panic");
        drop((one, two, new, other));
        assert_eq!(world.lanes.snapshot().lanes.len(), 1, "S15");
        world.wind_up();
    });
}

/// S15: two who let go of it at once leave nothing.
#[test]
fn s15_two_let_go_at_once() {
    explore("two_let_go_at_once", || {
        let world = world();
        let one = world.lanes.lane("session").expect("made on first use");
        let slot = one.try_acquire().expect("free");
        let other = thread::spawn(move || drop(slot));
        drop(one);
        other.join().expect("no panic");
        assert_eq!(world.lanes.snapshot().lanes.len(), 1, "S15");
        world.wind_up();
    });
}

/// S1: two who ask for a new name at once have the same lane.
#[test]
fn s1_two_ask_for_a_new_name() {
    explore("two_ask_for_a_new_name", || {
        let world = world();
        let lanes = world.lanes.clone();
        let ask = move || lanes.lane("session").map(|lane| lane.try_acquire().ok());
        let other = thread::spawn(ask.clone());
        let ours = ask().expect("made on first use");
        drop(ask);
        let theirs = other.join().expect("no panic").expect("made on first use");
        assert!(ours.is_none() || theirs.is_none(), "S1: it exists twice");
        assert!(ours.is_some() || theirs.is_some(), "S5");
        drop((ours, theirs));
        assert_eq!(world.lanes.snapshot().lanes.len(), 1, "S15");
        world.wind_up();
    });
}
