//! Joining, being granted, leaving the queue.

use super::explore::{explore, thread};
use super::world::{Hand, World};
use crate::{AcquireError, Reason, TaskError};

/// S2, S5: a cancel that meets a grant costs nobody the slot.
#[test]
fn s5_grant_against_cancel() {
    explore("grant_against_cancel", || {
        let world = World::new(1);
        let slot = world.lane.try_acquire().expect("free");
        let lane = world.lane.clone();
        let mut first = Hand::pending(async move { lane.run(async |_| ()).await });
        let id = world.lane.snapshot().queued[0].id;
        let lane = world.lane.clone();
        let mut second = Hand::pending(async move { lane.run(async |_| ()).await });
        let release = thread::spawn(move || drop(slot));
        let known = world.lanes.cancel(id, Reason::User).is_ok();
        release.join().expect("no panic");
        world.quiesce(&mut [&mut first, &mut second]);
        assert!(known, "it was in line or had a slot that it did not use");
        let cancelled = first.answer().expect_err("it was cancelled");
        assert!(is_cancelled(&cancelled), "{cancelled}");
        second.answer().expect("S5: the slot is free");
        world.wind_up();
    });
}

/// S12, S20: a waiter that goes as it is granted passes the slot on.
#[test]
fn s12_grant_against_drop() {
    explore("grant_against_drop", || {
        let world = World::new(1);
        let slot = world.lane.try_acquire().expect("free");
        let lane = world.lane.clone();
        let first = Hand::pending(async move { lane.acquire().await.map(drop) });
        let lane = world.lane.clone();
        let mut second = Hand::pending(async move { lane.acquire().await.map(drop) });
        let release = thread::spawn(move || drop(slot));
        drop(first);
        release.join().expect("no panic");
        world.quiesce(&mut [&mut second]);
        second.answer().expect("S12: nobody is in its way");
        world.wind_up();
    });
}

/// S5: a waiter that registers as the slot comes free is woken for it.
#[test]
fn s5_join_against_release() {
    explore("join_against_release", || {
        let world = World::new(1);
        let slot = world.lane.try_acquire().expect("free");
        let lane = world.lane.clone();
        let mut waiter = Hand::new(async move { lane.acquire().await.map(drop) });
        let release = thread::spawn(move || drop(slot));
        waiter.poll();
        release.join().expect("no panic");
        world.quiesce(&mut [&mut waiter]);
        waiter.answer().expect("S5: the slot is free");
        world.wind_up();
    });
}

/// S1: two who come at once for one slot do not both have it.
#[test]
fn s1_two_come_for_one_slot() {
    explore("two_come_for_one_slot", || {
        let world = World::new(1);
        let lane = world.lane.clone();
        let other = thread::spawn(move || lane.try_acquire().ok());
        let ours = world.lane.try_acquire().ok();
        let theirs = other.join().expect("no panic");
        assert!(ours.is_some() || theirs.is_some(), "S5: nobody has it");
        assert!(ours.is_none() || theirs.is_none(), "S1: both have it");
        drop((ours, theirs));
        world.wind_up();
    });
}

/// S6, S5: two releases at once serve two waiters, each its own.
#[test]
fn s5_two_releases_serve_two() {
    explore("two_releases_serve_two", || {
        let world = World::new(2);
        let slots = (world.lane.try_acquire(), world.lane.try_acquire());
        let (Ok(one), Ok(other)) = slots else {
            panic!("free")
        };
        let acquire = || {
            let lane = world.lane.clone();
            Hand::pending(async move { lane.acquire().await })
        };
        let (mut first, mut second) = (acquire(), acquire());
        let release = thread::spawn(move || drop(one));
        drop(other);
        release.join().expect("no panic");
        world.quiesce(&mut [&mut first, &mut second]);
        let (first, second) = (first.answer().expect("S5"), second.answer().expect("S5"));
        assert_ne!(first.fence(), second.fence(), "S11");
        assert!(first.is_current() && second.is_current());
        drop((first, second));
        world.wind_up();
    });
}

/// S12: a spawned task that is cancelled as it is launched is over, and its
/// slot free.
#[test]
fn s2_launch_against_cancel() {
    explore("launch_against_cancel", || {
        let world = World::new(1);
        let slot = world.lane.try_acquire().expect("free");
        let handle = world.lane.spawn(async |_| 7);
        let id = handle.id();
        let host = world.host.clone();
        let release = thread::spawn(move || {
            drop(slot);
            host.poll_all();
        });
        let _ = world.lanes.cancel(id, Reason::User);
        release.join().expect("no panic");
        let mut handle = Hand::new(handle);
        handle.poll();
        world.quiesce(&mut [&mut handle]);
        match handle.answer() {
            Ok(value) => assert_eq!(value, 7),
            Err(error) => assert!(is_cancelled(&error), "{error}"),
        }
        world.wind_up();
    });
}

/// S7: a wait that is over as the slot comes free ends one way, and the slot
/// is whole.
#[test]
fn s7_wait_timeout_against_grant() {
    use crate::Timeout;
    use std::time::Duration;

    explore("wait_timeout_against_grant", || {
        let world = World::new(1);
        let slot = world.lane.try_acquire().expect("free");
        let lane = world
            .lane
            .with_timeout(Timeout::wait(Duration::from_secs(1)));
        let mut waiter = Hand::pending(async move { lane.acquire().await.map(drop) });
        let release = thread::spawn(move || drop(slot));
        world.pass(Duration::from_secs(2));
        release.join().expect("no panic");
        world.quiesce(&mut [&mut waiter]);
        match waiter.answer() {
            Ok(()) => {}
            Err(error) => assert!(matches!(error, AcquireError::TimedOut { .. }), "{error}"),
        }
        world.wind_up();
    });
}

fn is_cancelled(error: &TaskError) -> bool {
    matches!(
        error,
        TaskError::Cancelled { .. } | TaskError::CancelledQueued { .. }
    )
}
