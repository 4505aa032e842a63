//! A busy lane: who takes whose place, and whose a message is.

use std::task::Poll;

use super::explore::{explore, thread};
use super::world::{Hand, Tally, World};
use crate::{LaneConfig, Offered, OnBusy, Reason, TaskError};

/// S3, S5: a holder that is done as it is superseded is done or superseded, and
/// the newer task runs either way.
#[test]
fn s5_supersede_against_done() {
    explore("supersede_against_done", || {
        let world = World::new(1);
        let lane = world.lane.clone();
        let mut elder = Hand::pending(async move {
            let task = lane.task().key("a");
            task.run(async |_| ready_the_second_time().await).await
        });
        let polls = thread::spawn(move || {
            elder.poll();
            elder
        });
        let newer = world.lane.task().key("a").on_busy(OnBusy::Supersede);
        let mut newer = Hand::new(newer.spawn(async |_| 7));
        newer.poll();
        let mut elder = polls.join().expect("no panic");
        world.quiesce(&mut [&mut elder, &mut newer]);
        assert_eq!(newer.answer().expect("S5: its slot is free"), 7);
        match elder.answer() {
            Ok(()) => {}
            Err(error) => assert!(is_superseded(&error), "{error}"),
        }
        world.wind_up();
    });
}

/// S2, S7: of two that supersede each other at once, the later one runs, and
/// the other one is told.
#[test]
fn s7_two_supersede_each_other() {
    explore("two_supersede_each_other", || {
        let world = World::new(1);
        let slot = world.lane.try_acquire().expect("free");
        let newer = |lane: crate::Lane| async move {
            let task = lane.task().key("a").on_busy(OnBusy::Supersede);
            task.run(async |_| ()).await
        };
        let mut first = Hand::new(newer(world.lane.clone()));
        let mut second = Hand::new(newer(world.lane.clone()));
        let comes = thread::spawn(move || {
            first.poll();
            first
        });
        second.poll();
        let mut first = comes.join().expect("no panic");
        drop(slot);
        world.quiesce(&mut [&mut first, &mut second]);
        let told = [first.answer(), second.answer()];
        let ran = told.iter().filter(|told| told.is_ok()).count();
        assert_eq!(ran, 1, "S7: {told:?}");
        let superseded = told.iter().filter_map(|told| told.as_ref().err());
        assert!(superseded.clone().all(is_superseded), "{told:?}");
        world.wind_up();
    });
}

/// A message that comes as a turn ends is taken by it or is the next turn, and
/// never both or neither.
#[test]
fn s7_offer_against_the_end_of_the_turn() {
    explore("offer_against_the_end_of_the_turn", || {
        let world = World::new(1);
        let seen = Tally::new();
        let (lane, takes) = (world.lane.clone(), seen.clone());
        let mut turn = Hand::new(async move {
            let turn = lane.run(async |cx| {
                let taken = cx.inbox::<u32>().try_recv();
                taken.iter().for_each(|_| takes.note());
                taken
            });
            turn.await
        });
        let ends = thread::spawn(move || {
            turn.poll();
            turn
        });
        let runs = seen.clone();
        let offer = world.lane.task().offer(7_u32, async move |_, n| {
            runs.note();
            n
        });
        let mut offer = Hand::new(offer);
        offer.poll();
        let mut turn = ends.join().expect("no panic");
        world.quiesce(&mut [&mut turn, &mut offer]);
        let taken = turn.answer().expect("it ends by itself");
        match offer.answer().expect("S7") {
            Offered::Taken { .. } => assert_eq!(taken, Some(7)),
            Offered::Ran(n) => assert_eq!((n, taken), (7, None)),
        }
        assert_eq!(seen.count(), 1, "S2: exactly once");
        world.wind_up();
    });
}

/// S7: whoever waits for a message as it comes does not sleep on.
#[test]
fn s7_offer_against_recv() {
    explore("offer_against_recv", || {
        let world = World::new(1);
        let lane = world.lane.clone();
        let mut turn = Hand::new(async move {
            let turn = lane.run(async |cx| cx.inbox::<u32>().recv().await);
            turn.await
        });
        // It has its slot, and is about to look.
        turn.poll();
        let lane = world.lane.clone();
        let offers = thread::spawn(move || {
            let mut offer = Hand::new(lane.task().offer(7_u32, async |_, n| n));
            offer.poll();
            offer
        });
        turn.poll();
        let mut offer = offers.join().expect("no panic");
        world.quiesce(&mut [&mut turn, &mut offer]);
        assert_eq!(turn.answer().expect("it ends by itself"), Some(7));
        assert!(matches!(offer.answer(), Ok(Offered::Taken { .. })));
        world.wind_up();
    });
}

/// S4, S7: a reader that is asked to end as a message comes takes it whole or
/// leaves it to the next turn.
#[test]
fn s7_offer_against_ask() {
    explore("offer_against_ask", || {
        let config = LaneConfig::new(1).no_stall_ceiling();
        let world = World::with(config, |more| more);
        let seen = Tally::new();
        let (lane, takes) = (world.lane.clone(), seen.clone());
        let mut turn = Hand::pending(async move {
            let turn = lane.run(async |cx| {
                let taken = cx.inbox::<u32>().recv().await;
                taken.iter().for_each(|_| takes.note());
            });
            turn.await
        });
        let id = world.lane.snapshot().active[0].id;
        let (lane, runs) = (world.lane.clone(), seen.clone());
        let offers = thread::spawn(move || {
            let offer = lane.task().offer(7_u32, async move |_, _| runs.note());
            let mut offer = Hand::new(offer);
            offer.poll();
            offer
        });
        let _ = world.lanes.cancel(id, Reason::User);
        turn.poll();
        let mut offer = offers.join().expect("no panic");
        world.quiesce(&mut [&mut turn, &mut offer]);
        // It was not dropped, but ended by itself: there was nothing to wait for.
        turn.answer().expect("S3");
        offer.answer().expect("S7");
        assert_eq!(seen.count(), 1, "S2: exactly once");
        world.wind_up();
    });
}

async fn ready_the_second_time() {
    let mut polled = false;
    std::future::poll_fn(move |_| {
        if std::mem::replace(&mut polled, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// S2, S7: an input that comes as the task begins is in it or in the next one,
/// and whoever gave it has the outcome of that.
#[test]
fn s7_coalesce_against_the_start() {
    explore("coalesce_against_the_start", || {
        let world = World::new(1);
        let slot = world.lane.try_acquire().expect("free");
        let sum = |lane: &crate::Lane, n: u32| {
            let task = lane.task().key("a");
            Hand::new(task.coalesce(n, |a, b| a + b, async |_, sum| sum))
        };
        let mut first = sum(&world.lane, 1);
        let host = world.host.clone();
        let begins = thread::spawn(move || {
            drop(slot);
            host.poll_all();
        });
        let mut second = sum(&world.lane, 2);
        second.poll();
        begins.join().expect("no panic");
        first.poll();
        world.quiesce(&mut [&mut first, &mut second]);
        let told = (first.answer().expect("S7"), second.answer().expect("S7"));
        assert!(
            matches!((*told.0, *told.1), (3, 3) | (1, 2)),
            "S2: {told:?}"
        );
        world.wind_up();
    });
}

fn is_superseded(error: &TaskError) -> bool {
    matches!(
        error,
        TaskError::Cancelled { reason, .. } | TaskError::CancelledQueued { reason, .. }
            if *reason == Reason::Superseded
    )
}
