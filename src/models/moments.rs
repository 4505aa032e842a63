//! The driver, progress, ceilings, claims. The clock moves where a model says
//! so; what races is who comes first.

use std::future::{pending, poll_fn};
use std::task::Poll;
use std::time::Duration;

use super::explore::{both_came_first, explore, thread};
use super::world::{CEILING, CLAIM, Hand, Tally, World};
use crate::config::GRACE;
use crate::engine::TICK;
use crate::runtime::Engine;
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::{LaneConfig, Reason, TaskContext, TaskError};

/// S8: a ceiling that is set as the driver goes to sleep is not slept past.
#[test]
fn s8_timer_hand_over() {
    explore("timer_hand_over", || {
        let world = World::ceilinged(1);
        // The submission brings the driver, which is polled for the first time
        // before its moment is set, or after, or in the middle of it.
        let host = world.host.clone();
        let driver = thread::spawn(move || host.poll_all());
        let slot = world.lane.try_acquire().expect("free");
        driver.join().expect("no panic");
        world.host.poll_all();
        world.stall();
        assert!(!slot.is_current(), "S8: the driver slept past it");
        drop(slot);
        world.wind_up();
    });
}

/// S8: the same while it sleeps until a later moment.
#[test]
fn s8_an_earlier_moment_wakes_the_driver() {
    explore("earlier_moment", || {
        let long = LaneConfig::new(1).stall_ceiling(CEILING * 10);
        let world = World::with(LaneConfig::new(1).stall_ceiling(CEILING), |more| {
            more.lane("long", long)
        });
        let long = world.lanes.lane("long").expect("it was declared");
        let patient = long.try_acquire().expect("free");
        let host = world.host.clone();
        let driver = thread::spawn(move || host.poll_all());
        let slot = world.lane.try_acquire().expect("free");
        driver.join().expect("no panic");
        world.host.poll_all();
        world.stall();
        assert!(!slot.is_current(), "S8: the driver slept past it");
        assert!(patient.is_current(), "S4");
        drop((slot, patient, long));
        world.wind_up();
    });
}

/// S9: progress that was reported before the last moment is never overlooked,
/// and counts in full; S8: it counts for no longer.
#[test]
fn s9_progress_against_the_last_moment() {
    let (kept, lost) = (Tally::new(), Tally::new());
    let seen = (kept.clone(), lost.clone());
    explore("progress_against_last_moment", move || {
        let world = World::ceilinged(1);
        let slot = Arc::new(world.lane.try_acquire().expect("free"));
        let reported = Arc::new(AtomicBool::new(false));
        world.pass(CEILING - TICK);
        let (holder, said) = (Arc::clone(&slot), Arc::clone(&reported));
        let progress = thread::spawn(move || {
            holder.progress();
            said.store(true, Ordering::Release);
        });
        let in_time = reported.load(Ordering::Acquire);
        world.pass(TICK);
        for _ in 0..4 {
            world.pass(TICK);
        }
        progress.join().expect("no panic");
        if slot.is_current() {
            // It was reported within the last five ticks.
            world.pass(CEILING - TICK * 6);
            assert!(slot.is_current(), "S9: it did not count in full");
            for _ in 0..10 {
                world.pass(TICK);
            }
            assert!(!slot.is_current(), "S8: it counts for ever");
            kept.note();
        } else {
            assert!(!in_time, "S9: it was reclaimed all the same");
            lost.note();
        }
        let next = world.lane.try_acquire();
        drop(next.expect("S8: its slot is free"));
        drop(slot);
        world.wind_up();
    });
    both_came_first(&seen.0, &seen.1);
}

/// S2, S3: a task that returns as it is reclaimed has its value, or is told
/// that it stalled; its slot is freed once, and its sibling keeps its own (S4).
#[test]
fn s4_settle_against_reclaim() {
    let (returned, stalled) = (Tally::new(), Tally::new());
    let seen = (returned.clone(), stalled.clone());
    explore("settle_against_reclaim", move || {
        let world = World::ceilinged(2);
        let done = Arc::new(AtomicBool::new(false));
        let (lane, ready) = (world.lane.clone(), Arc::clone(&done));
        let mut task = Hand::pending(async move {
            let body = async move |_: TaskContext| {
                poll_fn(|_| match ready.load(Ordering::Acquire) {
                    true => Poll::Ready(8),
                    false => Poll::Pending,
                })
                .await
            };
            lane.run(body).await
        });
        world.host.advance(CEILING - TICK);
        let sibling = world.lane.try_acquire().expect("free");
        let host = world.host.clone();
        let driver = thread::spawn(move || {
            for _ in 0..2 {
                host.advance(TICK);
                host.poll_all();
            }
        });
        done.store(true, Ordering::Release);
        task.poll();
        driver.join().expect("no panic");
        for _ in 0..4 {
            world.pass(TICK);
        }
        world.quiesce(&mut [&mut task]);
        match task.answer() {
            Ok(value) => {
                assert_eq!(value, 8);
                returned.note();
            }
            Err(problem) => {
                assert!(
                    matches!(problem, TaskError::Stalled { .. }),
                    "S2: {problem}"
                );
                stalled.note();
            }
        }
        assert!(sibling.is_current(), "S4");
        assert_eq!(
            world.lane.snapshot().active.len(),
            1,
            "S2: its slot is free"
        );
        drop(sibling);
        world.wind_up();
    });
    both_came_first(&seen.0, &seen.1);
}

/// S8, S12: a future that is dropped as the driver comes for it.
#[test]
fn s8_drop_against_reclaim() {
    explore("drop_against_reclaim", || {
        let world = World::ceilinged(1);
        let slot = world.lane.try_acquire().expect("free");
        let lane = world.lane.clone();
        let mut next = Hand::pending(async move { lane.run(async |_| 8).await });
        let host = world.host.clone();
        let driver = thread::spawn(move || {
            host.advance(CEILING);
            host.poll_all();
            host.advance(TICK * 2);
            host.poll_all();
        });
        drop(slot);
        driver.join().expect("no panic");
        world.quiesce(&mut [&mut next]);
        assert_eq!(next.answer().expect("S5"), 8);
        world.wind_up();
    });
}

/// S20: a grant is claimed, or passed on, and never both.
#[test]
fn s20_claim_against_unclaim() {
    explore("claim_against_unclaim", || {
        let world = World::new(1);
        let slot = world.lane.try_acquire().expect("free");
        let lane = world.lane.clone();
        let mut first = Hand::pending(async move { lane.acquire().await });
        let lane = world.lane.clone();
        let mut second = Hand::pending(async move { lane.acquire().await });
        drop(slot);
        let host = world.host.clone();
        let driver = thread::spawn(move || {
            host.advance(CLAIM);
            host.poll_all();
        });
        first.poll();
        driver.join().expect("no panic");
        world.quiesce(&mut [&mut second]);
        // Whoever has it lets go of it, and the other comes.
        if first.poll() {
            assert!(!second.poll(), "S1: both have it");
            drop(first.answer().expect("S20"));
            world.quiesce(&mut [&mut second]);
            drop(second.answer().expect("S20"));
        } else {
            drop(second.answer().expect("S20"));
            world.quiesce(&mut [&mut first]);
            drop(first.answer().expect("S20"));
        }
        world.wind_up();
    });
}

/// S8: whoever listens before its task is asked to end has its grace, also where
/// the driver has begun to look at the task by then.
#[test]
fn s8_listening_against_the_ask() {
    let (in_time, too_late) = (Tally::new(), Tally::new());
    let seen = (in_time.clone(), too_late.clone());
    explore("listening_against_ask", move || {
        let world = World::ceilinged(1);
        let slot = world.lane.try_acquire().expect("free");
        let host = world.host.clone();
        let driver = thread::spawn(move || {
            host.advance(CEILING);
            host.poll_all();
        });
        let mut listener = Hand::new(slot.lost());
        listener.poll();
        // Under the lane's lock, as the ask is.
        let key = slot.context().cell().slot_key();
        let end = |engine: &Engine| engine.record(key).and_then(|task| task.end());
        let asked = world.lane.domain.read(end).is_some();
        driver.join().expect("no panic");
        if asked {
            too_late.note();
        } else {
            for _ in 0..4 {
                world.pass(TICK);
            }
            assert!(slot.is_current(), "S8: it had no grace");
            world.pass(GRACE);
            in_time.note();
        }
        world.stall();
        world.quiesce(&mut [&mut listener]);
        listener.answer();
        drop(slot);
        world.wind_up();
    });
    both_came_first(&seen.0, &seen.1);
}

/// A hook that is registered as its task is reclaimed is run, or dropped, and
/// in any case over.
#[test]
fn s8_a_hook_against_the_ask() {
    explore("hook_against_reclaim", || {
        let world = World::ceilinged(1);
        let lane = world.lane.clone();
        let work = async |cx: TaskContext| {
            cx.defer(async |_| pending::<()>().await);
            pending::<()>().await;
        };
        let mut run = Hand::new(async move { lane.run(work).await });
        run.poll();
        let lane = world.lane.clone();
        let mut next = Hand::pending(async move { lane.run(async |_| 8).await });
        world.pass(CEILING);
        let host = world.host.clone();
        let driver = thread::spawn(move || {
            host.advance(Duration::from_secs(5));
            host.poll_all();
        });
        run.poll();
        driver.join().expect("no panic");
        for _ in 0..3 {
            world.pass(Duration::from_secs(5) + TICK);
            world.quiesce(&mut [&mut run, &mut next]);
        }
        assert!(matches!(run.answer(), Err(TaskError::Stalled { .. })));
        assert_eq!(next.answer().expect("S8"), 8);
        world.wind_up();
    });
}

/// S8: whoever comes for its slot as that is about to be passed on, and keeps it,
/// has its ceiling, and loses the slot when that is over.
#[test]
fn s8_a_ceiling_after_a_claim_against_unclaim() {
    explore("ceiling_after_claim_against_unclaim", || {
        let world = World::ceilinged(1);
        let slot = world.lane.try_acquire().expect("free");
        let lane = world.lane.clone();
        let mut next = Hand::pending(async move { lane.acquire().await });
        drop(slot);
        world.host.advance(CLAIM);
        let domain = Arc::clone(&world.lane.domain);
        let driver = thread::spawn(move || domain.fire());
        assert!(next.poll(), "S5: nobody else wants it");
        driver.join().expect("no panic");
        let slot = next.answer().expect("S20");
        world.stall();
        assert!(!slot.is_current(), "S8: nobody looks at it any more");
        drop(slot);
        world.wind_up();
    });
}

/// S15: a body that comes too late for its slot, as its task is cancelled, is gone
/// with that, although somebody has its handle.
#[test]
fn s15_a_body_that_is_put_back_against_cancel() {
    explore("body_put_back_against_cancel", || {
        let world = World::new(1);
        let value = Arc::new(());
        let of_body = Arc::clone(&value);
        let task = world.lane.spawn(async move |_| drop(of_body));
        world.host.advance(CLAIM);
        world.lane.domain.fire();
        let host = world.host.clone();
        let comes = thread::spawn(move || host.poll_all());
        task.cancel(Reason::User);
        comes.join().expect("no panic");
        world.quiesce(&mut []);
        assert_eq!(Arc::strong_count(&value), 1, "S15");
        drop(task);
        world.wind_up();
    });
}
