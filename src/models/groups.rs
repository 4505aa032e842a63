//! Lanes that share a budget, and so a lock.

use super::explore::{explore, thread};
use super::world::{Hand, World};
use crate::{GroupConfig, Lane, LaneConfig};

/// `main` and `other`, of a slot each, and one slot for both.
fn world() -> (World, Lane) {
    let config = LaneConfig::new(1).no_stall_ceiling();
    let world = World::with(config.clone(), |more| {
        let shared = GroupConfig::new(1).member("main").member("other");
        more.lane("other", config).group("shared", shared)
    });
    let other = world.lanes.lane("other").expect("configured");
    (world, other)
}

/// S5: a slot that comes free in one lane as somebody joins another is theirs.
#[test]
fn s5_group_release_against_join() {
    explore("group_release_against_join", || {
        let (world, other) = world();
        let slot = world.lane.try_acquire().expect("free");
        let mut waiter = Hand::new(async move { other.acquire().await.map(drop) });
        let release = thread::spawn(move || drop(slot));
        waiter.poll();
        release.join().expect("no panic");
        world.quiesce(&mut [&mut waiter]);
        waiter.answer().expect("S5: the budget has room");
        world.wind_up();
    });
}

/// S1: two that come to two lanes at once share the one slot there is.
#[test]
fn s1_group_two_come_at_once() {
    explore("group_two_come_at_once", || {
        let (world, other) = world();
        let theirs = thread::spawn(move || other.try_acquire().ok());
        let ours = world.lane.try_acquire().ok();
        let theirs = theirs.join().expect("no panic");
        assert!(ours.is_none() || theirs.is_none(), "S1: over the budget");
        assert!(ours.is_some() || theirs.is_some(), "S5: nobody has it");
        drop((ours, theirs));
        world.wind_up();
    });
}

/// S12, S20: a waiter that goes as it is granted the budget of a sibling passes
/// it on, to whatever lane.
#[test]
fn s12_group_grant_against_drop() {
    explore("group_grant_against_drop", || {
        let (world, other) = world();
        let slot = world.lane.try_acquire().expect("free");
        let leaves = Hand::pending(async move { other.acquire().await.map(drop) });
        let lane = world.lane.clone();
        let mut stays = Hand::pending(async move { lane.acquire().await.map(drop) });
        let release = thread::spawn(move || drop(slot));
        drop(leaves);
        release.join().expect("no panic");
        world.quiesce(&mut [&mut stays]);
        stays.answer().expect("S12: nobody is in its way");
        world.wind_up();
    });
}

/// S1, S5: a lane leaves its group as the slot of a sibling comes free.
#[test]
fn s5_group_removed_against_release() {
    explore("group_removed_against_release", || {
        let (world, other) = world();
        let slot = world.lane.try_acquire().expect("free");
        let mut waiter = Hand::pending(async move { other.acquire().await.map(drop) });
        let release = thread::spawn(move || drop(slot));
        let change = world
            .lanes
            .reconfigure(|change| change.remove_group("shared"));
        release.join().expect("no panic");
        change.expect("it was there");
        world.quiesce(&mut [&mut waiter]);
        waiter.answer().expect("S5: it has a slot of its own");
        world.wind_up();
    });
}

/// S1: a lane that comes to a group as another takes the last of its budget.
#[test]
fn s1_group_joined_against_acquire() {
    explore("group_joined_against_acquire", || {
        let (world, other) = world();
        let held = world.lane.try_acquire().expect("free");
        let theirs = thread::spawn(move || other.try_acquire().ok());
        let divided = GroupConfig::new(1)
            .member("main")
            .member("other")
            .reserve("main", 1);
        let change = world
            .lanes
            .reconfigure(|change| change.group("shared", divided));
        change.expect("it can work");
        let theirs = theirs.join().expect("no panic");
        assert!(theirs.is_none(), "S1: over the old budget, or the new");
        drop(held);
        world.wind_up();
    });
}
