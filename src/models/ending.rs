//! Done, asked, taken, dropped: whoever moves the word first decides.

use std::future::{pending, poll_fn};
use std::task::Poll;

use super::explore::{both_came_first, explore, thread};
use super::world::{Hand, Tally, World};
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::{Reason, TaskContext, TaskError};

/// Ready once somebody says so, and polled whenever its runner is.
fn once_told(told: &Arc<AtomicBool>) -> impl Future<Output = u32> + Send + use<> {
    let told = Arc::clone(told);
    poll_fn(move |_| match told.load(Ordering::Acquire) {
        true => Poll::Ready(7),
        false => Poll::Pending,
    })
}

/// A successor is served, unless the reset came when it had its slot already.
fn served_or_reset(next: Result<u32, TaskError>) {
    match next {
        Ok(value) => assert_eq!(value, 8),
        Err(error) => assert!(
            matches!(
                error,
                TaskError::Cancelled { .. } | TaskError::CancelledQueued { .. }
            ),
            "{error}"
        ),
    }
}

/// S2, S3: a task that returns as it is asked has one answer, and a value that
/// was there at its last poll is it.
#[test]
fn s3_ask_against_done() {
    explore("ask_against_done", || {
        let world = World::new(1);
        let told = Arc::new(AtomicBool::new(false));
        let (lane, work) = (world.lane.clone(), once_told(&told));
        let mut run = Hand::pending(async move { lane.run(async move |_| work.await).await });
        let id = world.lane.snapshot().active[0].id;
        let lanes = world.lanes.clone();
        let ask = thread::spawn(move || lanes.cancel(id, Reason::User).is_ok());
        told.store(true, Ordering::Release);
        run.poll();
        let asked = ask.join().expect("no panic");
        world.quiesce(&mut [&mut run]);
        assert_eq!(run.answer().expect("S3: its last poll was ready"), 7);
        let _ = asked;
        world.wind_up();
    });
}

/// S2: a task that is pending when it is asked is dropped once, told once, and
/// its successor runs.
#[test]
fn s2_ask_against_poll() {
    explore("ask_against_poll", || {
        let world = World::new(1);
        let lane = world.lane.clone();
        let mut run = Hand::pending(async move { lane.run(async |_| pending::<()>().await).await });
        let id = world.lane.snapshot().active[0].id;
        let lanes = world.lanes.clone();
        let ask = thread::spawn(move || lanes.cancel(id, Reason::User).expect("it is known"));
        run.poll();
        ask.join().expect("no panic");
        world.quiesce(&mut [&mut run]);
        assert!(matches!(run.answer(), Err(TaskError::Cancelled { .. })));
        world.wind_up();
    });
}

/// S2, S3: a value that is there before its slot is taken is delivered; else
/// the caller is told. A reset takes one slot at most.
#[test]
fn s3_take_against_done() {
    let (delivered, taken_first) = (Tally::new(), Tally::new());
    let seen = (delivered.clone(), taken_first.clone());
    explore("take_against_done", move || {
        let world = World::new(1);
        let flag = || Arc::new(AtomicBool::new(false));
        let (told, begun, over) = (flag(), flag(), flag());
        let (lane, work) = (world.lane.clone(), once_told(&told));
        let mut run = Hand::pending(async move { lane.run(async move |_| work.await).await });
        let lane = world.lane.clone();
        let mut next = Hand::pending(async move { lane.run(async |_| 8).await });
        let lane = world.lane.clone();
        let (begins, ends) = (Arc::clone(&begun), Arc::clone(&over));
        let take = thread::spawn(move || {
            begins.store(true, Ordering::Release);
            let taken = lane.reset();
            ends.store(true, Ordering::Release);
            taken
        });
        let too_late = over.load(Ordering::Acquire);
        told.store(true, Ordering::Release);
        run.poll();
        let in_time = !begun.load(Ordering::Acquire);
        let taken = take.join().expect("no panic");
        world.quiesce(&mut [&mut run, &mut next]);
        let (run, next) = (run.answer(), next.answer());
        // A grant that nobody came for is withdrawn, and no slot is taken. A
        // slot may be taken whose runner has the value: that is delivered.
        let is_lost = |told| matches!(told, &Err(TaskError::Cancelled { .. }));
        let lost = [&run, &next].into_iter().filter(|told| is_lost(*told));
        assert!(taken <= 1 && lost.count() <= taken, "S2: {run:?} {next:?}");
        match run {
            Ok(value) => {
                assert_eq!(value, 7);
                assert!(!too_late, "S2: its slot had been taken");
                delivered.note();
            }
            Err(error) => {
                assert!(matches!(error, TaskError::Cancelled { .. }), "{error}");
                assert!(!in_time, "S3: its value was there before");
                taken_first.note();
            }
        }
        served_or_reset(next);
        world.wind_up();
    });
    both_came_first(&seen.0, &seen.1);
}

/// S10: a slot that is taken before its new holder has looked once leaves no
/// orphan behind.
#[test]
fn s10_take_against_the_first_poll() {
    explore("take_against_first_poll", || {
        let world = World::new(1);
        let lane = world.lane.clone();
        let mut run = Hand::new(async move { lane.run(async |_| 8).await });
        let lane = world.lane.clone();
        let take = thread::spawn(move || lane.reset());
        run.poll();
        take.join().expect("no panic");
        world.quiesce(&mut [&mut run]);
        served_or_reset(run.answer());
        world.wind_up();
    });
}

/// S12: an active task that is dropped as its slot is taken frees one slot,
/// once, and its successor runs.
#[test]
fn s12_drop_against_take() {
    explore("drop_against_take", || {
        let world = World::new(1);
        let lane = world.lane.clone();
        let run = Hand::pending(async move { lane.run(async |_| pending::<()>().await).await });
        let lane = world.lane.clone();
        let mut next = Hand::pending(async move { lane.run(async |_| 8).await });
        let lane = world.lane.clone();
        let take = thread::spawn(move || lane.reset());
        drop(run);
        take.join().expect("no panic");
        world.quiesce(&mut [&mut next]);
        served_or_reset(next.answer());
        world.wind_up();
    });
}

/// S2: a guard frees its own slot and nobody else's: the slot of its successor
/// stays that one's when the old guard goes.
#[test]
fn s2_a_late_guard_frees_nobody_elses_slot() {
    explore("late_guard", || {
        let world = World::new(1);
        let old = world.lane.try_acquire().expect("free");
        let lane = world.lane.clone();
        let mut next = Hand::pending(async move { lane.acquire().await });
        let lane = world.lane.clone();
        let mut third = Hand::pending(async move { lane.acquire().await });
        let lane = world.lane.clone();
        let take = thread::spawn(move || lane.reset());
        drop(old);
        take.join().expect("no panic");
        world.quiesce(&mut [&mut next]);
        let held = next.answer();
        // The reset may have come after the guard, and have met the successor.
        if let Ok(held) = &held
            && held.is_current()
        {
            assert!(!third.poll(), "S1: its slot was given away");
        }
        drop(held);
        world.quiesce(&mut [&mut third]);
        drop(third.answer().expect("S5"));
        world.wind_up();
    });
}

/// S11: the old holder is not current any more by the time the next one starts.
#[test]
fn s11_the_old_holder_knows_before_the_next_starts() {
    explore("fence_before_grant", || {
        let world = World::new(1);
        let old = Arc::new(world.lane.try_acquire().expect("free"));
        let fence = old.fence();
        let (lane, watched) = (world.lane.clone(), Arc::clone(&old));
        let work = async move |cx: TaskContext| {
            assert!(!watched.is_current(), "S11: two are current");
            assert!(cx.fence() > fence, "S11");
        };
        let mut next = Hand::pending(async move { lane.run(work).await });
        let lane = world.lane.clone();
        let take = thread::spawn(move || lane.reset());
        next.poll();
        take.join().expect("no panic");
        world.quiesce(&mut [&mut next]);
        next.answer().expect("S5");
        drop(old);
        world.wind_up();
    });
}

/// S2: hooks run once, whoever ends their task.
#[test]
fn s2_hooks_run_once() {
    explore("hooks_run_once", || {
        let world = World::new(1);
        let (told, ran) = (Arc::new(AtomicBool::new(false)), Tally::new());
        let (lane, work, counted) = (world.lane.clone(), once_told(&told), ran.clone());
        let task = async move |cx: TaskContext| {
            cx.defer(async move |_| counted.note());
            work.await
        };
        let mut run = Hand::pending(async move { lane.run(task).await });
        let lane = world.lane.clone();
        let ask = thread::spawn(move || lane.cancel_all(Reason::User));
        told.store(true, Ordering::Release);
        run.poll();
        ask.join().expect("no panic");
        world.quiesce(&mut [&mut run]);
        assert_eq!(run.answer().expect("S3: its last poll was ready"), 7);
        assert_eq!(ran.count(), 1, "S2");
        world.wind_up();
    });
}

/// S10: the bound over all lanes holds when two lanes take at once.
#[test]
fn s10_two_takes_for_one_orphan() {
    use super::world::CEILING;
    use crate::LaneConfig;
    use crate::engine::TICK;

    explore("two_takes_for_one_orphan", || {
        let config = || LaneConfig::new(1).stall_ceiling(CEILING);
        let world = World::with(config(), |more| more.lane("other", config()).max_orphans(1));
        let other = world.lanes.lane("other").expect("it was declared");
        let held = (
            world.lane.try_acquire().expect("free"),
            other.try_acquire().expect("free"),
        );
        // Both are asked, and nobody comes.
        world.pass(CEILING);
        world.host.advance(TICK * 2);
        let domain = other.domain.clone();
        let fire = thread::spawn(move || domain.fire());
        world.lane.domain.fire();
        fire.join().expect("no panic");
        let orphans = world.lane.snapshot().orphans.len() + other.snapshot().orphans.len();
        assert_eq!(orphans, 1, "S10");
        drop(held);
        drop(other);
        world.wind_up();
    });
}
