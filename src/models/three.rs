//! Three threads at once.

use super::explore::{explore_at_most, thread};
use super::world::{CEILING, Hand, World};
use crate::engine::TICK;
use crate::{Reason, TaskError};

fn went(error: &TaskError) -> bool {
    matches!(
        error,
        TaskError::Cancelled { .. }
            | TaskError::CancelledQueued { .. }
            | TaskError::Cleared { .. }
            | TaskError::Closed { .. }
    )
}

/// S2, S5, S7: a release, a cancel of the next in line, and a reset.
#[test]
fn s5_release_cancel_and_reset() {
    explore_at_most(3, "release_cancel_reset", || {
        let world = World::new(1);
        let slot = world.lane.try_acquire().expect("free");
        let mut first = Hand::new(world.lane.spawn(async |_| 7));
        let mut second = Hand::new(world.lane.spawn(async |_| 8));
        let id = world.lane.snapshot().queued[0].id;
        let release = thread::spawn(move || drop(slot));
        let lanes = world.lanes.clone();
        let cancel = thread::spawn(move || drop(lanes.cancel(id, Reason::User)));
        world.lane.reset();
        release.join().expect("no panic");
        cancel.join().expect("no panic");
        first.poll();
        second.poll();
        world.quiesce(&mut [&mut first, &mut second]);
        for hand in [first, second] {
            if let Err(error) = hand.answer() {
                assert!(went(&error), "{error}");
            }
        }
        world.wind_up();
    });
}

/// S7: a lane that is closed and cleared as one task ends and another comes.
#[test]
fn s7_close_and_clear_against_everything() {
    explore_at_most(3, "close_against_everything", || {
        let world = World::new(1);
        let slot = world.lane.try_acquire().expect("free");
        let mut queued = Hand::new(world.lane.spawn(async |_| 7));
        let release = thread::spawn(move || drop(slot));
        let lane = world.lane.clone();
        let come = thread::spawn(move || Hand::new(lane.spawn(async |_| 8)));
        world.lane.close();
        world.lane.clear();
        release.join().expect("no panic");
        let mut come = come.join().expect("no panic");
        queued.poll();
        come.poll();
        world.quiesce(&mut [&mut queued, &mut come]);
        for hand in [queued, come] {
            if let Err(error) = hand.answer() {
                assert!(went(&error), "{error}");
            }
        }
        world.wind_up();
    });
}

/// S4, S8: the driver takes a slot as its holder lets go and somebody joins.
#[test]
fn s8_take_drop_and_join() {
    explore_at_most(3, "take_drop_join", || {
        let world = World::ceilinged(1);
        let slot = world.lane.try_acquire().expect("free");
        world.host.advance(CEILING);
        world.host.poll_all();
        world.host.advance(TICK * 2);
        let host = world.host.clone();
        let driver = thread::spawn(move || host.poll_all());
        let release = thread::spawn(move || drop(slot));
        let lane = world.lane.clone();
        let mut next = Hand::new(async move { lane.run(async |_| 8).await });
        next.poll();
        driver.join().expect("no panic");
        release.join().expect("no panic");
        world.quiesce(&mut [&mut next]);
        assert_eq!(next.answer().expect("S5"), 8);
        world.wind_up();
    });
}

/// S5: two releases and a lane that shrinks meanwhile: one is served for sure,
/// and the other once that one is through.
#[test]
fn s5_two_releases_and_a_shrink() {
    explore_at_most(3, "two_releases_and_a_shrink", || {
        let world = World::new(2);
        let slots = (world.lane.try_acquire(), world.lane.try_acquire());
        let (Ok(one), Ok(other)) = slots else {
            panic!("free")
        };
        let lane = world.lane.clone();
        let mut first = Hand::pending(async move { lane.acquire().await });
        let lane = world.lane.clone();
        let mut second = Hand::pending(async move { lane.acquire().await });
        let release_one = thread::spawn(move || drop(one));
        let release_other = thread::spawn(move || drop(other));
        world.lane.set_max_concurrent(1).expect("a sound number");
        release_one.join().expect("no panic");
        release_other.join().expect("no panic");
        world.quiesce(&mut [&mut first, &mut second]);
        // Both may have come before the lane shrank; then neither is evicted.
        drop(first.answer().expect("S5"));
        world.quiesce(&mut [&mut second]);
        drop(second.answer().expect("S5"));
        world.wind_up();
    });
}
