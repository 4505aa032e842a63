//! A place before a full queue: coming to it, being given it, leaving.

use super::explore::{explore, thread};
use super::world::{CLAIM, Hand, World};
use crate::{AcquireError, LaneConfig, OnFull, Reason};

fn world(places: usize) -> World {
    let config = LaneConfig::new(1).no_stall_ceiling();
    let config = config.queue_capacity(places).on_full(OnFull::Wait);
    World::with(config, |more| more)
}

/// Waits for a slot, and gives it back.
fn comer(world: &World) -> Hand<Result<(), AcquireError>> {
    let lane = world.lane.clone();
    Hand::new(async move { lane.acquire().await.map(drop) })
}

/// Waits for a place, and gives it back.
fn keeper(world: &World) -> Hand<Result<(), AcquireError>> {
    let lane = world.lane.clone();
    Hand::new(async move { lane.reserve().await.map(drop) })
}

/// S12, S20: who goes as it is given a place passes it on.
#[test]
fn s12_place_against_drop() {
    explore("place_against_drop", || {
        let world = world(1);
        let slot = world.lane.try_acquire().expect("free");
        let (mut queued, mut first, mut second) = (comer(&world), keeper(&world), keeper(&world));
        for hand in [&mut queued, &mut first, &mut second] {
            assert!(!hand.poll(), "it was to wait");
        }
        let leave = thread::spawn(move || drop(queued));
        drop(first);
        leave.join().expect("no panic");
        world.quiesce(&mut [&mut second]);
        second.answer().expect("S12: nobody is in its way");
        drop(slot);
        world.wind_up();
    });
}

/// S5: who comes to the door as a place comes free does not sleep there.
#[test]
fn s5_door_against_release() {
    explore("door_against_release", || {
        let world = world(0);
        let slot = world.lane.try_acquire().expect("free");
        let mut waiter = comer(&world);
        let release = thread::spawn(move || drop(slot));
        waiter.poll();
        release.join().expect("no panic");
        world.quiesce(&mut [&mut waiter]);
        waiter.answer().expect("S5: the slot is free");
        world.wind_up();
    });
}

/// S5: a task at the door that goes as the slot is free leaves it to the next.
#[test]
fn s12_door_against_drop() {
    explore("door_against_drop", || {
        let world = world(0);
        let slot = world.lane.try_acquire().expect("free");
        let (mut first, mut second) = (comer(&world), comer(&world));
        assert!(!first.poll() && !second.poll(), "they were to wait");
        let release = thread::spawn(move || drop(slot));
        drop(first);
        release.join().expect("no panic");
        world.quiesce(&mut [&mut second]);
        second.answer().expect("S12: nobody is in its way");
        world.wind_up();
    });
}

/// S20: a place that is passed on as its comer polls for it is kept for one of
/// them, and for the other one after that.
#[test]
fn s20_place_against_unclaim() {
    explore("place_against_unclaim", || {
        let world = world(1);
        let slot = world.lane.try_acquire().expect("free");
        let (mut queued, mut first, mut second) = (comer(&world), keeper(&world), keeper(&world));
        for hand in [&mut queued, &mut first, &mut second] {
            assert!(!hand.poll(), "it was to wait");
        }
        drop(queued);
        let polls = thread::spawn(move || {
            first.poll();
            first
        });
        world.pass(CLAIM);
        let mut first = polls.join().expect("no panic");
        world.quiesce(&mut [&mut first, &mut second]);
        first.answer().expect("S20");
        second.answer().expect("S20");
        drop(slot);
        world.wind_up();
    });
}

/// S7: a cancel that meets a place answers its comer, and the place is whole.
#[test]
fn s7_place_against_cancel() {
    explore("place_against_cancel", || {
        let world = world(1);
        let slot = world.lane.try_acquire().expect("free");
        let (mut queued, mut first, mut second) = (comer(&world), keeper(&world), keeper(&world));
        for hand in [&mut queued, &mut first, &mut second] {
            assert!(!hand.poll(), "it was to wait");
        }
        let id = world.lane.snapshot().at_door[0].id;
        let leave = thread::spawn(move || drop(queued));
        world
            .lanes
            .cancel(id, Reason::User)
            .expect("nobody came for it");
        leave.join().expect("no panic");
        world.quiesce(&mut [&mut first, &mut second]);
        let told = first.answer().expect_err("it was cancelled");
        assert!(matches!(told, AcquireError::Cancelled { .. }), "{told}");
        second.answer().expect("S12: nobody is in its way");
        drop(slot);
        world.wind_up();
    });
}

/// S1, S12: a place that is used as another is given back.
#[test]
fn s5_spend_against_release() {
    explore("spend_against_release", || {
        let world = world(1);
        let slot = world.lane.try_acquire().expect("free");
        let lane = world.lane.clone();
        let mut used = Hand::new(async move {
            let place = lane.reserve().await?;
            place.acquire().await.map(drop)
        });
        let release = thread::spawn(move || drop(slot));
        used.poll();
        release.join().expect("no panic");
        world.quiesce(&mut [&mut used]);
        used.answer().expect("S5: the slot is free");
        assert_eq!(world.lane.snapshot().reserved, 0);
        world.wind_up();
    });
}
