//! The log of events: writers, and readers that come, wait and fall behind.

use super::explore::{explore, thread};
use super::world::{Hand, World};
use crate::{EventKind, LaneConfig, Overflow};

fn world(kept: usize) -> World {
    let config = LaneConfig::new(1).no_stall_ceiling();
    World::with(config, |more| {
        let other = LaneConfig::new(1).no_stall_ceiling();
        more.lane("other", other).events(kept)
    })
}

/// S7: a reader that begins to wait as something happens is woken for it.
#[test]
fn s7_wait_against_event() {
    explore("wait_against_event", || {
        let world = world(8);
        let slot = world.lane.try_acquire().expect("free");
        let mut events = world.lanes.events().expect("they are on");
        let mut reader = Hand::new(async move { events.next().await });
        let release = thread::spawn(move || drop(slot));
        reader.poll();
        release.join().expect("no panic");
        world.quiesce(&mut [&mut reader]);
        let event = reader
            .answer()
            .expect("it is not over")
            .expect("it is kept");
        assert!(matches!(event.kind, EventKind::Settled { .. }), "{event:?}");
        world.wind_up();
    });
}

/// S7: whoever follows a task is told its end, or that it missed something, and then it is
/// over, however little is kept.
#[test]
fn s7_follow_a_task_whose_end_is_overwritten() {
    explore("follow_a_task", || {
        let world = world(1);
        let slot = world.lane.try_acquire().expect("free");
        let mut events = world.lanes.task_events(slot.id()).expect("they are on");
        let mut reader = Hand::new(async move {
            let (mut ended, mut missed) = (false, false);
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => ended |= matches!(event.kind, EventKind::Settled { .. }),
                    Err(Overflow { .. }) => missed = true,
                }
            }
            (ended, missed)
        });
        let lane = world.lane.clone();
        let writer = thread::spawn(move || {
            drop(slot);
            drop(lane.try_acquire());
        });
        reader.poll();
        writer.join().expect("no panic");
        world.quiesce(&mut [&mut reader]);
        let (ended, missed) = reader.answer();
        assert!(ended || missed, "S2: a task without an end");
        world.wind_up();
    });
}

/// Two lanes write at once: every number is there once, and each lane's are in its order.
#[test]
fn two_lanes_write_at_once() {
    explore("two_lanes_write_at_once", || {
        let world = world(16);
        let other = world.lanes.lane("other").expect("it was declared");
        let mut events = world.lanes.events().expect("they are on");
        let work = thread::spawn(move || drop(other.try_acquire()));
        drop(world.lane.try_acquire());
        work.join().expect("no panic");
        let all: Vec<_> = std::iter::from_fn(|| events.try_next())
            .map(|event| event.expect("all are kept"))
            .collect();
        let first = all[0].seq;
        assert!(all.iter().map(|event| event.seq).eq(first..first + 4));
        for lane in ["main", "other"] {
            let mut own = all.iter().filter(|event| &*event.lane == lane);
            let (first, last) = (own.next().expect("it ran"), own.next().expect("it ended"));
            assert!(matches!(first.kind, EventKind::Dispatched { .. }));
            assert!(matches!(last.kind, EventKind::Settled { .. }));
        }
        drop(events);
        world.wind_up();
    });
}

/// S7: a stream ends with the last task, whoever of the two is first.
#[test]
fn s7_shutdown_against_the_last_end() {
    explore("shutdown_against_the_last_end", || {
        let world = world(16);
        let slot = world.lane.try_acquire().expect("free");
        let mut events = world.lanes.events().expect("they are on");
        let mut reader = Hand::pending(async move {
            let mut ended = false;
            while let Some(event) = events.next().await {
                let event = event.expect("all are kept");
                ended |= matches!(event.kind, EventKind::Settled { .. });
            }
            ended
        });
        let release = thread::spawn(move || drop(slot));
        drop(world.lanes.shutdown());
        release.join().expect("no panic");
        world.quiesce(&mut [&mut reader]);
        assert!(reader.answer(), "S2: its end is there");
        world.wind_up();
    });
}
