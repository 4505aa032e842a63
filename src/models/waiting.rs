//! Handles, signals, idle: whoever waits is woken.

use std::future::pending;

use super::explore::{explore, thread};
use super::world::{Hand, Tally, World};
use crate::{Reason, TaskContext, TaskError};

/// S7: whoever awaits a handle as its task ends has its value.
#[test]
fn s7_join_against_done() {
    explore("join_against_done", || {
        let world = World::new(1);
        let mut handle = Hand::new(world.lane.spawn(async |_| 7));
        let host = world.host.clone();
        let work = thread::spawn(move || host.poll_all());
        handle.poll();
        work.join().expect("no panic");
        world.quiesce(&mut [&mut handle]);
        assert_eq!(handle.answer().expect("it returned"), 7);
        world.wind_up();
    });
}

/// S7: whoever awaits a handle as its task ends and its slot is taken has its
/// value, or is told, and never finds that its value is not there yet.
#[test]
fn s7_take_against_a_value_on_its_way() {
    explore("take_against_value", || {
        let world = World::new(1);
        let mut handle = Hand::new(world.lane.spawn(async |_| 7));
        let host = world.host.clone();
        let work = thread::spawn(move || host.poll_all());
        world.lane.reset();
        handle.poll();
        work.join().expect("no panic");
        world.quiesce(&mut [&mut handle]);
        match handle.answer() {
            Ok(value) => assert_eq!(value, 7),
            Err(error) => assert!(
                matches!(
                    error,
                    TaskError::Cancelled { .. } | TaskError::CancelledQueued { .. }
                ),
                "{error}"
            ),
        }
        world.wind_up();
    });
}

/// S2: a handle that is dropped as its task ends detaches it; the value is
/// dropped once.
#[test]
fn s2_detach_against_done() {
    struct Value(Tally);
    impl Drop for Value {
        fn drop(&mut self) {
            self.0.note();
        }
    }

    explore("detach_against_done", || {
        let world = World::new(1);
        let dropped = Tally::new();
        let value = Value(dropped.clone());
        let handle = world.lane.spawn(async move |_| value);
        let host = world.host.clone();
        let work = thread::spawn(move || host.poll_all());
        drop(handle);
        work.join().expect("no panic");
        world.host.poll_all();
        assert_eq!(dropped.count(), 1, "S15: the value leaks");
        world.wind_up();
    });
}

/// S2: `abort_on_drop` against the task's own end: one of them, and a free slot.
#[test]
fn s2_abort_against_done() {
    explore("abort_against_done", || {
        let world = World::new(1);
        let handle = world.lane.spawn(async |_| 7).abort_on_drop();
        let host = world.host.clone();
        let work = thread::spawn(move || host.poll_all());
        drop(handle);
        work.join().expect("no panic");
        world.wind_up();
    });
}

/// A task that begins to listen as it is asked hears of it.
#[test]
fn the_signal_is_not_missed() {
    explore("listen_against_ask", || {
        let world = World::new(1);
        let lane = world.lane.clone();
        let mut run =
            Hand::new(async move { lane.run(async |cx: TaskContext| cx.cancelled().await).await });
        let (lane, first) = (world.lane.clone(), run.poll());
        assert!(!first);
        let ask = thread::spawn(move || lane.cancel_all(Reason::User));
        run.poll();
        ask.join().expect("no panic");
        world.quiesce(&mut [&mut run]);
        match run.answer() {
            Ok(reason) => assert_eq!(reason, Reason::User),
            Err(error) => assert!(matches!(error, TaskError::Cancelled { .. }), "{error}"),
        }
        world.wind_up();
    });
}

/// S7: whoever waits for the lane to be idle as its last task ends is woken.
#[test]
fn s7_idle_against_release() {
    explore("idle_against_release", || {
        let world = World::new(1);
        let slot = world.lane.try_acquire().expect("free");
        let lane = world.lane.clone();
        let mut idle = Hand::new(async move { lane.idle().await });
        let release = thread::spawn(move || drop(slot));
        idle.poll();
        release.join().expect("no panic");
        world.quiesce(&mut [&mut idle]);
        idle.answer();
        world.wind_up();
    });
}

/// S7: and so is whoever waits for those who are active now, also by a take.
#[test]
fn s7_wait_active_against_take() {
    use std::time::Duration;

    explore("wait_active_against_take", || {
        let world = World::new(1);
        let slot = world.lane.try_acquire().expect("free");
        let lane = world.lane.clone();
        let mut waiting = Hand::new(async move { lane.wait_active(Duration::from_secs(60)).await });
        let lane = world.lane.clone();
        let take = thread::spawn(move || lane.reset());
        waiting.poll();
        take.join().expect("no panic");
        world.quiesce(&mut [&mut waiting]);
        waiting
            .answer()
            .expect("S7: its slot is not its own any more");
        drop(slot);
        world.wind_up();
    });
}

/// A child that ends as its task does is waited for, and holds nothing back.
#[test]
fn teardown_against_the_end_of_a_child() {
    explore("teardown_against_child", || {
        let world = World::new(1);
        let lane = world.lane.clone();
        let work = async |cx: TaskContext| {
            drop(cx.spawn(pending::<()>()));
        };
        let mut run = Hand::new(async move { lane.run(work).await });
        run.poll();
        let host = world.host.clone();
        let children = thread::spawn(move || host.poll_all());
        run.poll();
        children.join().expect("no panic");
        world.quiesce(&mut [&mut run]);
        run.answer().expect("it returned");
        world.wind_up();
    });
}

/// S7: a task is spoken of by its key as it ends.
#[test]
fn s7_cancel_key_against_done() {
    explore("cancel_key_against_done", || {
        let world = World::new(1);
        let mut handle = Hand::new(world.lane.task().key("turn").spawn(async |_| 7));
        let host = world.host.clone();
        let work = thread::spawn(move || host.poll_all());
        world.lanes.cancel_key("turn", Reason::User);
        work.join().expect("no panic");
        handle.poll();
        world.quiesce(&mut [&mut handle]);
        match handle.answer() {
            Ok(value) => assert_eq!(value, 7),
            Err(error) => assert!(
                matches!(
                    error,
                    TaskError::Cancelled { .. } | TaskError::CancelledQueued { .. }
                ),
                "{error}"
            ),
        }
        assert_eq!(world.lanes.cancel_key("turn", Reason::User), 0, "S15");
        world.wind_up();
    });
}
