//! Resize, pause, close, drain, shutdown, against whatever goes on.

use std::future::pending;

use super::chains::{Two, second_poll};
use super::explore::{both_came_first, explore, thread};
use super::world::{Hand, Tally, World};
use crate::{AcquireError, Descendants, Drain, LaneConfig, TaskError, TaskStatus};

/// S5: a lane that grows as a slot comes free serves both who wait.
#[test]
fn s5_resize_against_release() {
    explore("resize_against_release", || {
        let world = World::new(1);
        let slot = world.lane.try_acquire().expect("free");
        let acquire = || {
            let lane = world.lane.clone();
            Hand::pending(async move { lane.acquire().await })
        };
        let (mut first, mut second) = (acquire(), acquire());
        let release = thread::spawn(move || drop(slot));
        world.lane.set_max_concurrent(2).expect("a sound number");
        release.join().expect("no panic");
        world.quiesce(&mut [&mut first, &mut second]);
        drop((first.answer().expect("S5"), second.answer().expect("S5")));
        world.wind_up();
    });
}

/// S1: a lane that shrinks as somebody comes is not overfull.
#[test]
fn s1_shrink_against_acquire() {
    explore("shrink_against_acquire", || {
        let world = World::new(2);
        let one = world.lane.try_acquire().expect("free");
        let lane = world.lane.clone();
        let come = thread::spawn(move || lane.try_acquire().ok());
        world.lane.set_max_concurrent(1).expect("a sound number");
        let other = come.join().expect("no panic");
        drop(one);
        let third = world.lane.try_acquire().ok();
        assert!(other.is_none() || third.is_none(), "S1");
        assert!(other.is_some() || third.is_some(), "S5");
        drop((other, third));
        world.wind_up();
    });
}

/// S5: whoever joins as the lane resumes is served.
#[test]
fn s5_resume_against_join() {
    explore("resume_against_join", || {
        let world = World::new(1);
        world.lane.pause();
        let lane = world.lane.clone();
        let mut waiter = Hand::new(async move { lane.acquire().await.map(drop) });
        let lane = world.lane.clone();
        let resume = thread::spawn(move || lane.resume());
        waiter.poll();
        resume.join().expect("no panic");
        world.quiesce(&mut [&mut waiter]);
        waiter.answer().expect("S5");
        world.wind_up();
    });
}

/// S7: whoever comes as the lane closes is served or refused, and not left.
#[test]
fn s7_close_against_submit() {
    explore("close_against_submit", || {
        let world = World::new(1);
        let lane = world.lane.clone();
        let mut waiter = Hand::new(async move { lane.acquire().await.map(drop) });
        let lane = world.lane.clone();
        let close = thread::spawn(move || lane.close());
        waiter.poll();
        close.join().expect("no panic");
        world.quiesce(&mut [&mut waiter]);
        match waiter.answer() {
            Ok(()) => {}
            Err(error) => assert!(matches!(error, AcquireError::Closed { .. }), "{error}"),
        }
        world.wind_up();
    });
}

/// S7: a shutdown that meets a release answers the waiter one way or another.
#[test]
fn s7_shutdown_against_release() {
    explore("shutdown_against_release", || {
        let world = World::new(1);
        let slot = world.lane.try_acquire().expect("free");
        let lane = world.lane.clone();
        let mut waiter = Hand::pending(async move { lane.acquire().await.map(drop) });
        let release = thread::spawn(move || drop(slot));
        let mut over = Hand::new(world.lane.shutdown());
        over.poll();
        release.join().expect("no panic");
        world.quiesce(&mut [&mut waiter, &mut over]);
        match waiter.answer() {
            Ok(()) => {}
            Err(error) => assert!(
                matches!(
                    error,
                    AcquireError::Shutdown { .. } | AcquireError::Cancelled { .. }
                ),
                "{error}"
            ),
        }
        over.answer();
        world.wind_up();
    });
}

/// S7: a drain that meets a submit counts it, or it was refused.
#[test]
fn s7_drain_against_submit() {
    use std::time::Duration;

    explore("drain_against_submit", || {
        let world = World::new(1);
        let lane = world.lane.clone();
        let mut run = Hand::new(async move { lane.run(async |_| 7).await });
        let lane = world.lane.clone();
        let drain = thread::spawn(move || {
            let drain = lane.drain(Drain::within(Duration::from_secs(60)));
            Hand::new(drain)
        });
        run.poll();
        let mut drain = drain.join().expect("no panic");
        drain.poll();
        world.quiesce(&mut [&mut run, &mut drain]);
        let report = drain.answer();
        let refused = matches!(run.answer(), Err(TaskError::Draining { .. }));
        assert!(!refused || report.finished == 0, "{report:?}");
        world.wind_up();
    });
}

/// S7: a child of a task whose lane is yet to hear of the drain of all lanes comes to
/// one that has heard, and is admitted.
fn drain_of_all_against_child(name: &'static str, swapped: bool) {
    use std::time::Duration;

    explore(name, move || {
        let two = Two::new();
        let mut lanes = [two.world.lane.clone(), two.behind.clone()];
        if swapped {
            lanes.reverse();
        }
        let [of_parent, of_child] = lanes;
        let mut parent = Hand::pending(async move {
            let child = async move |_| {
                second_poll().await;
                of_child.run(async |_| ()).await
            };
            of_parent.run(child).await
        });
        let lanes = two.world.lanes.clone();
        let drain = thread::spawn(move || {
            let drain = Drain::within(Duration::from_secs(60));
            Hand::new(lanes.drain(drain.descendants(Descendants::Admit)))
        });
        parent.poll();
        let mut drain = drain.join().expect("no panic");
        two.world.quiesce(&mut [&mut parent, &mut drain]);
        assert!(matches!(parent.answer(), Ok(Ok(()))), "S7: it descends");
        drop(drain);
        two.wind_up();
    });
}

#[test]
fn s7_drain_of_all_against_a_child_of_the_first_lane() {
    drain_of_all_against_child("drain_of_all_against_child_of_first", false);
}

#[test]
fn s7_drain_of_all_against_a_child_of_the_last_lane() {
    drain_of_all_against_child("drain_of_all_against_child_of_last", true);
}

/// S4: a drain that is taken back as its time is over asks nobody who comes after.
#[test]
fn s4_resume_against_the_end_of_a_drain() {
    use std::time::Duration;

    let (before, after) = (Tally::new(), Tally::new());
    let seen = (before.clone(), after.clone());
    explore("resume_against_end_of_drain", move || {
        let world = World::new(1);
        let held = world.lane.try_acquire().expect("free");
        let within = Duration::from_secs(60);
        let drain = Hand::pending(world.lane.drain(Drain::within(within)));
        let host = world.host.clone();
        let driver = thread::spawn(move || {
            host.advance(within);
            host.poll_all();
        });
        world.lane.resume();
        let asked = held.context().cancel_reason().is_some();
        drop(held);
        let next = world.lane.try_acquire().expect("it drains no more");
        driver.join().expect("no panic");
        let reason = next.context().cancel_reason();
        assert_eq!(reason, None, "S4: by a drain that it did not see");
        if asked {
            before.note()
        } else {
            after.note()
        }
        drop((drain, next));
        world.wind_up();
    });
    both_came_first(&seen.0, &seen.1);
}

/// S7: the last `Lanes` goes as somebody queues.
#[test]
fn s7_drop_of_the_scheduler_against_submit() {
    explore("scheduler_dropped_against_submit", || {
        let world = World::new(1);
        let slot = world.lane.try_acquire().expect("free");
        let World { host, lanes, lane } = world;
        let submit = lane.clone();
        let mut waiter = Hand::new(async move { submit.run(async |_| 7).await });
        let gone = thread::spawn(move || drop(lanes));
        waiter.poll();
        gone.join().expect("no panic");
        while super::world::Follow::follow(&mut waiter) {}
        assert!(
            matches!(
                waiter.answer(),
                Err(TaskError::SchedulerDropped { .. } | TaskError::Closed { .. })
            ),
            "S7"
        );
        drop(slot);
        host.poll_all();
        let domain = crate::sync::Arc::downgrade(&lane.domain);
        drop(lane);
        host.poll_all();
        host.shut_down();
        crate::host::Handle::leave();
        assert_eq!(domain.strong_count(), 0, "S15: a lane leaks");
    });
}

/// S7: a runtime that goes as a slot is handed over leaves nobody waiting.
#[test]
fn s7_runtime_gone_against_release() {
    explore("runtime_gone_against_release", || {
        let world = World::new(1);
        let slot = world.lane.try_acquire().expect("free");
        let mut handle = Hand::new(world.lane.spawn(async |_| pending::<()>().await));
        handle.poll();
        world.host.poll_all();
        let release = thread::spawn(move || drop(slot));
        world.host.shut_down();
        release.join().expect("no panic");
        while super::world::Follow::follow(&mut handle) {}
        assert!(
            matches!(handle.answer(), Err(TaskError::RuntimeShutdown { .. })),
            "S7"
        );
        world.wind_up();
    });
}

/// S7: nor does one that goes as somebody submits on it, to a lane that starts nobody.
#[test]
fn s7_runtime_gone_against_submit() {
    explore("runtime_gone_against_submit", || {
        let world = World::new(1);
        world.lane.pause();
        let host = world.host.clone();
        let going = thread::spawn(move || host.shut_down());
        let handle = world.lane.spawn(async |_| ());
        going.join().expect("no panic");
        // Before anybody polls it, which would ask for a driver and so find out.
        assert_eq!(handle.status(), TaskStatus::Settled, "S7");
        let mut handle = Hand::new(handle);
        handle.poll();
        let end = handle.answer();
        assert!(matches!(end, Err(TaskError::RuntimeShutdown { .. })));
        world.lane.resume();
        world.wind_up();
    });
}

/// S7: a queue that is cleared as its head is served.
#[test]
fn s7_clear_against_release() {
    explore("clear_against_release", || {
        let world = World::new(1);
        let slot = world.lane.try_acquire().expect("free");
        let mut handle = Hand::new(world.lane.spawn(async |_| 7));
        handle.poll();
        let release = thread::spawn(move || drop(slot));
        let cleared = world.lane.clear();
        release.join().expect("no panic");
        world.quiesce(&mut [&mut handle]);
        match handle.answer() {
            Ok(value) => assert_eq!((value, cleared), (7, 0)),
            Err(error) => {
                assert!(matches!(error, TaskError::Cleared { .. }), "{error}");
                assert_eq!(cleared, 1);
            }
        }
        world.wind_up();
    });
}

/// S7: a runtime goes as the last `Lanes` does: the caller of a closure that
/// runs on there is told all the same.
#[test]
fn s7_runtime_gone_against_the_end_of_the_scheduler() {
    let missed = Tally::new();
    let seen = missed.clone();
    explore("runtime_gone_against_the_end_of_the_scheduler", move || {
        let World { host, lanes, lane } = World::new(1);
        let (going, missed) = (host.clone(), missed.clone());
        let handle = lane.spawn_blocking(move |cx| {
            let end = thread::spawn(move || going.shut_down());
            drop(lanes);
            end.join().expect("no panic");
            if cx.cell().settled().is_none() {
                missed.note();
            }
        });
        host.poll_all();
        drop((handle, lane));
        crate::host::Handle::leave();
    });
    assert_eq!(seen.count(), 0, "S7: its caller was not told");
}

/// S7: work that moves on to a lane that is made for it is not missed.
#[test]
fn s7_idle_against_a_lane_that_is_made() {
    explore("idle_against_made", || {
        let config = LaneConfig::new(1).no_stall_ceiling();
        let world = World::with(config.clone(), |more| more.pattern("session:*", config));
        let slot = world.lane.try_acquire().expect("free");
        let lanes = world.lanes.clone();
        let moves = thread::spawn(move || {
            let session = lanes.lane("session:a").expect("of the pattern");
            let next = session.try_acquire().expect("free");
            drop(slot);
            next
        });
        let lanes = world.lanes.clone();
        let mut idle = Hand::new(async move { lanes.idle().await });
        let told = idle.poll();
        let next = moves.join().expect("no panic");
        assert!(!told, "S7: at no moment was all idle");
        drop(next);
        world.quiesce(&mut [&mut idle]);
        idle.answer();
        world.wind_up();
    });
}
