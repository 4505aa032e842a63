//! Lanes that are set anew while they are made, used and let go of.

use super::explore::{explore, thread};
use super::world::{Hand, World};
use crate::{GroupConfig, LaneConfig, LaneOrigin};

const SESSIONS: &str = "session:*";

fn patient(slots: usize) -> LaneConfig {
    LaneConfig::new(slots).no_stall_ceiling()
}

fn world() -> World {
    World::with(patient(1), |more| more.pattern(SESSIONS, patient(1)))
}

/// S18, S15: a lane is made before its pattern goes, and runs out, or it is
/// not made at all.
#[test]
fn s15_a_pattern_goes_against_first_use() {
    explore("a_pattern_goes_against_first_use", || {
        let world = world();
        let lanes = world.lanes.clone();
        let remove = move || {
            lanes
                .reconfigure(|change| change.remove_pattern(SESSIONS))
                .expect("it is there");
        };
        let other = thread::spawn(remove);
        let made = world.lanes.lane("session:a");
        let slot = made.as_ref().ok().and_then(|lane| lane.try_acquire().ok());
        other.join().expect("no panic");
        assert!(world.lanes.lane("session:a").is_err(), "S18: it is unknown");
        if let Ok(lane) = &made {
            assert!(slot.is_some(), "S7: whoever has it uses it");
            assert_eq!(lane.snapshot().origin, LaneOrigin::Removed);
        }
        drop((made, slot));
        assert_eq!(world.lanes.snapshot().lanes.len(), 1, "S15");
        world.wind_up();
    });
}

/// A lane that is made as its pattern changes is as the pattern says in the
/// end.
#[test]
fn a_pattern_changes_against_first_use() {
    explore("a_pattern_changes_against_first_use", || {
        let world = world();
        let lanes = world.lanes.clone();
        let change = move || {
            lanes
                .reconfigure(|change| change.pattern(SESSIONS, patient(2)))
                .expect("it is sound");
        };
        let other = thread::spawn(change);
        let lane = world.lanes.lane("session:a").expect("a pattern matches");
        let slot = lane.try_acquire().expect("free");
        other.join().expect("no panic");
        assert_eq!(lane.snapshot().max_concurrent, 2);
        drop((lane, slot));
        assert_eq!(world.lanes.snapshot().lanes.len(), 1, "S15");
        world.wind_up();
    });
}

/// Two changes take effect one after the other, in all lanes alike.
#[test]
fn two_changes_at_once() {
    explore("two_changes_at_once", || {
        let world = world();
        let old = world.lanes.lane("session:a").expect("a pattern matches");
        let lanes = world.lanes.clone();
        let change = move |slots| {
            lanes
                .reconfigure(|change| {
                    change.pattern(SESSIONS, patient(slots));
                    change.lane("main").max_concurrent(slots);
                })
                .expect("it is sound");
        };
        let theirs = change.clone();
        let other = thread::spawn(move || theirs(2));
        change(3);
        drop(change);
        other.join().expect("no panic");
        let new = world.lanes.lane("session:b").expect("a pattern matches");
        let slots = [&old, &new, &world.lane].map(|lane| lane.snapshot().max_concurrent);
        assert!(slots == [2; 3] || slots == [3; 3], "{slots:?}");
        drop((old, new));
        world.wind_up();
    });
}

/// S1, S11: a removed lane whose last user lets go of it as it is configured
/// again is there once, and its fences go on.
#[test]
fn s1_removed_and_let_go_of_against_added() {
    explore("removed_and_let_go_of_against_added", || {
        let world = world();
        let lanes = &world.lanes;
        let add = || lanes.reconfigure(|change| change.add_lane("night", patient(1)));
        add().expect("it is sound");
        let slot = lanes.lane("night").expect("it was added").try_acquire();
        let slot = slot.expect("free");
        let fence = slot.fence();
        lanes
            .reconfigure(|change| change.remove_lane("night"))
            .expect("it is there");
        let other = thread::spawn(move || drop(slot));
        add().expect("it is sound");
        let new = lanes.lane("night").expect("it was added");
        let early = new.try_acquire().ok();
        other.join().expect("no panic");
        let slot = early.or_else(|| new.try_acquire().ok());
        let slot = slot.expect("S7: its slot is free by now");
        assert!(slot.fence() > fence, "S11");
        assert!(new.try_acquire().is_err(), "S1");
        drop((slot, new));
        assert_eq!(lanes.snapshot().lanes.len(), 2, "it is kept");
        world.wind_up();
    });
}

/// S1: whoever asks for a name that is configured again has the lane that
/// others still hold, or is told that there is none.
#[test]
fn s1_added_again_against_asked_for() {
    explore("added_again_against_asked_for", || {
        let world = world();
        let lanes = world.lanes.clone();
        lanes
            .reconfigure(|change| change.add_lane("night", patient(1)))
            .expect("it is sound");
        let held = lanes.lane("night").expect("it was added").try_acquire();
        let held = held.expect("free");
        lanes
            .reconfigure(|change| change.remove_lane("night"))
            .expect("it is there");
        let add = move || lanes.reconfigure(|change| change.add_lane("night", patient(1)));
        let other = thread::spawn(add);
        if let Ok(lane) = world.lanes.lane("night") {
            assert!(lane.try_acquire().is_err(), "S1: it exists twice");
        }
        other.join().expect("no panic").expect("it is sound");
        let again = world.lanes.lane("night").expect("it was added");
        assert!(again.try_acquire().is_err(), "S1: it exists twice");
        drop((again, held));
        assert_eq!(world.lanes.snapshot().lanes.len(), 2, "S15");
        world.wind_up();
    });
}

/// S5: a waiter is served by the slot that is added, or by the one that is
/// given back, and is woken.
#[test]
fn s5_more_slots_against_a_release() {
    explore("more_slots_against_a_release", || {
        let world = world();
        let slot = world.lane.try_acquire().expect("free");
        let lane = world.lane.clone();
        let mut waiter = Hand::pending(async move { lane.acquire().await });
        let other = thread::spawn(move || drop(slot));
        world
            .lanes
            .reconfigure(|change| {
                change.lane("main").max_concurrent(2);
            })
            .expect("it is there");
        other.join().expect("no panic");
        world.quiesce(&mut [&mut waiter]);
        let slot = waiter.answer().expect("S7");
        let second = world.lane.try_acquire().expect("S5: there are two");
        drop((slot, second));
        world.wind_up();
    });
}

/// S5: a lane that leaves a group whose budget kept its waiter waiting owes that
/// a slot for a moment. Whoever looks then finds nothing wrong.
#[test]
fn s5_nothing_is_wrong_of_a_lane_that_leaves_its_group() {
    let finds = |look: fn(&crate::Lanes, &crate::Lane)| {
        move || {
            let budget = GroupConfig::new(1).member("main").member("other");
            let world = World::with(patient(1), |more| {
                more.lane("other", patient(1)).group("shared", budget)
            });
            let other = world.lanes.lane("other").expect("it was declared");
            let held = other.try_acquire().expect("free");
            let lane = world.lane.clone();
            let mut waiter = Hand::pending(async move { lane.acquire().await });
            let (lanes, lane) = (world.lanes.clone(), world.lane.clone());
            let beside = thread::spawn(move || look(&lanes, &lane));
            world
                .lanes
                .reconfigure(|change| change.remove_group("shared"))
                .expect("it is there");
            beside.join().expect("no panic");
            world.quiesce(&mut [&mut waiter]);
            let slot = waiter.answer().expect("S7");
            for lane in world.lanes.snapshot().lanes {
                assert_eq!(lane.counters.repaired, 0, "S5");
            }
            drop((slot, held, other));
            world.wind_up();
        }
    };
    let repair = finds(|lanes, _| assert!(lanes.repair().is_empty(), "S5"));
    explore("a_repair_of_a_lane_that_leaves_its_group", repair);
    let tick = finds(|_, lane| lane.domain.fire());
    explore("a_tick_of_a_lane_that_leaves_its_group", tick);
}
