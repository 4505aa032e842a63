//! Waits that close a circle, as other things happen to it.

use std::future::poll_fn;
use std::task::Poll;

use super::explore::{both_came_first, explore, thread};
use super::world::{Hand, Tally, World};
use crate::{Lane, LaneConfig, TaskError};

type Told = Result<Result<(), TaskError>, TaskError>;

/// `main` with this many slots, `other` and `third` with one.
fn world(slots: usize) -> (World, Lane) {
    let one = LaneConfig::new(1).no_stall_ceiling();
    let main = LaneConfig::new(slots).no_stall_ceiling();
    let world = World::with(main, |more| {
        more.lane("other", one.clone()).lane("third", one)
    });
    let other = world.lanes.lane("other").expect("configured");
    (world, other)
}

/// Holds a slot of one lane, and waits for another from its second poll on.
fn crossing(outer: &Lane, inner: &Lane) -> Hand<Told> {
    let (outer, inner) = (outer.clone(), inner.clone());
    Hand::pending(async move {
        let nested = async |_| {
            let mut polled = false;
            let once = poll_fn(|_| match std::mem::replace(&mut polled, true) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            });
            once.await;
            inner.run(async |_| ()).await
        };
        outer.run(nested).await
    })
}

fn is_refused(told: Told) -> bool {
    match told.expect("the outer task runs") {
        Ok(()) => false,
        Err(TaskError::WouldDeadlock { cycle, .. }) => {
            assert_eq!(cycle.tasks().len(), 2, "{cycle}");
            true
        }
        Err(error) => panic!("{error}"),
    }
}

/// Two waits close a circle at the same moment: one of them sees it, and one of
/// them is refused.
#[test]
fn two_waits_close_a_circle() {
    let (first, second) = (Tally::new(), Tally::new());
    let came = (first.clone(), second.clone());
    explore("two_waits_close_a_circle", move || {
        let (world, other) = world(1);
        let mut ours = crossing(&world.lane, &other);
        let mut theirs = crossing(&other, &world.lane);
        let thread = thread::spawn(move || {
            theirs.poll();
            theirs
        });
        ours.poll();
        let mut theirs = thread.join().expect("no panic");
        world.quiesce(&mut [&mut ours, &mut theirs]);
        let told = (is_refused(ours.answer()), is_refused(theirs.answer()));
        assert_ne!(told.0, told.1, "one of them is refused");
        if told.0 { &first } else { &second }.note();
        drop(other);
        world.wind_up();
    });
    both_came_first(&came.0, &came.1);
}

/// One of the two is dropped as the other closes the circle: that is refused, or
/// served, and waits for nobody.
#[test]
fn s12_a_wait_closes_a_circle_against_a_drop() {
    explore("circle_against_drop", || {
        let (world, other) = world(1);
        let mut ours = crossing(&world.lane, &other);
        let mut theirs = crossing(&other, &world.lane);
        theirs.poll();
        let thread = thread::spawn(move || drop(theirs));
        ours.poll();
        thread.join().expect("no panic");
        world.quiesce(&mut [&mut ours]);
        is_refused(ours.answer());
        drop(other);
        world.wind_up();
    });
}

/// The lane has a slot less as a task begins to wait for it: whichever is later
/// sees what that comes to.
#[test]
fn a_wait_against_fewer_slots() {
    explore("wait_against_fewer_slots", || {
        let (world, other) = world(2);
        let slot = world.lane.try_acquire().expect("free");
        let mut ours = crossing(&world.lane, &other);
        let mut theirs = crossing(&other, &world.lane);
        ours.poll();
        let lane = world.lane.clone();
        let thread = thread::spawn(move || lane.set_max_concurrent(1));
        theirs.poll();
        thread.join().expect("no panic").expect("it is open");
        world.quiesce(&mut [&mut ours, &mut theirs]);
        assert!(is_refused(theirs.answer()), "its wait is the newer one");
        world.quiesce(&mut [&mut ours]);
        assert!(!is_refused(ours.answer()));
        drop((slot, other));
        world.wind_up();
    });
}

/// A task stops waiting for something beside, as another begins to wait for it.
#[test]
fn a_wait_against_the_end_of_one_beside() {
    explore("wait_against_one_beside", || {
        let (world, other) = world(1);
        let third = world.lanes.lane("third").expect("configured");
        let beside = third.try_acquire().expect("free");
        let mut theirs = crossing(&other, &world.lane);
        let mut ours = {
            let (main, other, third) = (world.lane.clone(), other.clone(), third.clone());
            Hand::pending(async move {
                let both = async |_| {
                    let beside = third.run(async |_| ());
                    let (beside, told) = tokio::join!(beside, other.run(async |_| ()));
                    beside.expect("somebody moves in there");
                    told
                };
                main.run(both).await
            })
        };
        let thread = thread::spawn(move || {
            drop(beside);
            ours.poll();
            ours
        });
        theirs.poll();
        let mut ours = thread.join().expect("no panic");
        world.quiesce(&mut [&mut ours, &mut theirs]);
        let told = (is_refused(ours.answer()), is_refused(theirs.answer()));
        assert_ne!(told.0, told.1, "one of them is refused");
        drop((other, third));
        world.wind_up();
    });
}
