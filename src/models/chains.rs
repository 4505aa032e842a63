//! A task in several lanes, against whatever ends it or comes beside it.

use std::future::Future;
use std::task::Poll;

use super::explore::{both_came_first, explore, explore_at_most, thread};
use super::world::{CEILING, CLAIM, Hand, Tally, World};
use crate::runtime::{Domain, TaskCell};
use crate::sync::{Arc, Weak};
use crate::{Chain, Lane, LaneConfig, LaneState, OnStall, Reason, TaskError};

/// `main`, a lane behind it, and the chain of both.
pub(super) struct Two {
    pub(super) world: World,
    pub(super) behind: Lane,
    pub(super) chain: Chain,
}

impl Two {
    pub(super) fn new() -> Self {
        Self::of(1, 1)
    }

    pub(super) fn of(first: usize, second: usize) -> Self {
        let config = |slots| LaneConfig::new(slots).no_stall_ceiling();
        Self::with(config(first), config(second))
    }

    /// Whose tasks run on without their slots.
    pub(super) fn detaching() -> Self {
        let config = LaneConfig::new(1).stall_ceiling(CEILING);
        let config = config.on_stall(OnStall::Detach);
        Self::with(config.clone(), config)
    }

    fn with(first: LaneConfig, second: LaneConfig) -> Self {
        let world = World::with(first, |more| more.lane("behind", second));
        let behind = world.lanes.lane("behind").expect("configured");
        let chain = world.lanes.chain(["main", "behind"]).expect("configured");
        Self {
            world,
            behind,
            chain,
        }
    }

    /// As [`World::wind_up`], in both lanes.
    pub(super) fn wind_up(self) {
        self.world.host.poll_all();
        for lane in [&self.world.lane, &self.behind] {
            let snapshot = lane.snapshot();
            assert!(snapshot.parked.is_empty(), "S2: {snapshot:?}");
            assert!(snapshot.active.is_empty(), "S2: {snapshot:?}");
            assert!(snapshot.queued.is_empty(), "S5: {snapshot:?}");
            assert!(snapshot.orphans.is_empty(), "S10: {snapshot:?}");
            let away = lane.domain.read(|engine| engine.parked());
            assert_eq!(away, 0, "S15: {snapshot:?}");
        }
        let most = self.behind.snapshot().max_concurrent;
        if self.behind.snapshot().state == LaneState::Open {
            let all: Vec<_> = (0..most)
                .map(|_| self.behind.try_acquire().expect("S2: a slot was lost"))
                .collect();
            assert!(self.behind.try_acquire().is_err(), "S1: a slot too many");
            drop(all);
        }
        let domain: Weak<Domain> = Arc::downgrade(&self.behind.domain);
        drop((self.behind, self.chain));
        self.world.wind_up();
        assert_eq!(domain.strong_count(), 0, "S15: the lane behind leaks");
    }
}

pub(super) fn is_cancelled(error: &TaskError) -> bool {
    matches!(
        error,
        TaskError::Cancelled { .. } | TaskError::CancelledQueued { .. }
    )
}

/// Ready when it is polled a second time.
pub(super) fn second_poll() -> impl Future<Output = ()> + Send {
    let mut polled = false;
    std::future::poll_fn(move |_| {
        if std::mem::replace(&mut polled, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
}

/// Whoever has the slot of the lane, claimed or not.
fn first_holder(lane: &Lane) -> Arc<TaskCell> {
    let cell = lane.domain.read(|engine| {
        let record = engine.record(*engine.holders().first()?)?;
        Some(Arc::clone(&record.payload))
    });
    cell.expect("it has a holder")
}

/// As the driver does once its moment has come.
fn inspect(cell: &Arc<TaskCell>) {
    cell.domain().inspect(cell.slot_key(), cell);
}

/// S2, S7: a task that is cancelled as its last slot is granted has run or was
/// told, and gives both slots back.
#[test]
fn s2_link_grant_against_cancel() {
    explore("link_grant_against_cancel", || {
        let two = Two::new();
        let busy = two.behind.try_acquire().expect("free");
        let chain = two.chain.clone();
        let mut task = Hand::pending(async move { chain.run(async |_| 7).await });
        let id = two.world.lane.snapshot().active[0].id;
        let lanes = two.world.lanes.clone();
        let cancel = thread::spawn(move || drop(lanes.cancel(id, Reason::User)));
        drop(busy);
        cancel.join().expect("no panic");
        two.world.quiesce(&mut [&mut task]);
        match task.answer() {
            Ok(value) => assert_eq!(value, 7),
            Err(error) => assert!(is_cancelled(&error), "{error}"),
        }
        two.wind_up();
    });
}

/// The same for one that nobody polls before it has them.
#[test]
fn s2_link_grant_against_cancel_of_a_spawned_task() {
    explore("link_grant_against_cancel_spawned", || {
        let two = Two::new();
        let busy = two.behind.try_acquire().expect("free");
        let mut task = Hand::new(two.chain.spawn(async |_| 7));
        let id = two.world.lane.snapshot().active[0].id;
        let lanes = two.world.lanes.clone();
        let cancel = thread::spawn(move || drop(lanes.cancel(id, Reason::User)));
        drop(busy);
        cancel.join().expect("no panic");
        task.poll();
        two.world.quiesce(&mut [&mut task]);
        match task.answer() {
            Ok(value) => assert_eq!(value, 7),
            Err(error) => assert!(is_cancelled(&error), "{error}"),
        }
        two.wind_up();
    });
}

/// S12, S20: one that is dropped as its last slot is granted passes both on.
#[test]
fn s12_link_grant_against_drop() {
    explore("link_grant_against_drop", || {
        let two = Two::new();
        let busy = two.behind.try_acquire().expect("free");
        let chain = two.chain.clone();
        let task = Hand::pending(async move { chain.run(async |_| 7).await });
        let lane = two.behind.clone();
        let mut next = Hand::pending(async move { lane.acquire().await.map(drop) });
        let release = thread::spawn(move || drop(busy));
        drop(task);
        release.join().expect("no panic");
        two.world.quiesce(&mut [&mut next]);
        next.answer().expect("S12: nobody is in its way");
        two.wind_up();
    });
}

/// S5: two chains over the same lanes in opposite order wait for each other's
/// slots where they must, and never for each other's locks.
#[test]
fn s5_chains_in_opposite_order() {
    explore("chains_in_opposite_order", || {
        let two = Two::of(2, 1);
        let back = two.world.lanes.chain(["behind", "main"]);
        let back = back.expect("configured");
        let chain = two.chain.clone();
        let mut forth = Hand::new(async move { chain.run(async |_| 7).await });
        let other = thread::spawn(move || {
            let mut back = Hand::new(async move { back.run(async |_| 8).await });
            back.poll();
            back
        });
        forth.poll();
        let mut back = other.join().expect("no panic");
        two.world.quiesce(&mut [&mut forth, &mut back]);
        assert_eq!(forth.answer().expect("S5"), 7);
        assert_eq!(back.answer().expect("S5"), 8);
        two.wind_up();
    });
}

/// S5: both slots of a chain serve whoever comes as they come free.
#[test]
fn s5_chain_release_against_submits() {
    explore("chain_release_against_submits", || {
        let two = Two::new();
        let slot = two.chain.try_acquire().expect("free");
        let acquire = |lane: &Lane| {
            let lane = lane.clone();
            Hand::new(async move { lane.acquire().await.map(drop) })
        };
        let (mut first, mut second) = (acquire(&two.world.lane), acquire(&two.behind));
        let release = thread::spawn(move || drop(slot));
        first.poll();
        second.poll();
        release.join().expect("no panic");
        two.world.quiesce(&mut [&mut first, &mut second]);
        first.answer().expect("S5: the slot is free");
        second.answer().expect("S5: the slot is free");
        two.wind_up();
    });
}

/// S11: by the time that another has a slot of a chain, the task that had it knows
/// that it has not.
#[test]
fn s11_chain_release_against_the_next_holder() {
    let (got, refused) = (Tally::new(), Tally::new());
    let seen = (got.clone(), refused.clone());
    explore("chain_release_against_next_holder", move || {
        let two = Two::new();
        let slot = two.chain.try_acquire().expect("free");
        let old = slot.context().clone();
        let release = thread::spawn(move || drop(slot));
        match two.behind.try_acquire() {
            Ok(next) => {
                assert!(!old.is_current(), "S11: two think that it is theirs");
                drop(next);
                got.note();
            }
            Err(_) => refused.note(),
        }
        release.join().expect("no panic");
        drop(old);
        two.wind_up();
    });
    both_came_first(&seen.0, &seen.1);
}

/// S2, S3: a reset of the lane behind as the task returns: it has its value or
/// was told, and the slot of the other lane is whole either way.
#[test]
fn s2_reset_behind_against_the_runner() {
    explore("reset_behind_against_runner", || {
        let two = Two::new();
        let chain = two.chain.clone();
        let mut task = Hand::pending(async move { chain.run(async |_| second_poll().await).await });
        let behind = two.behind.clone();
        let reset = thread::spawn(move || behind.reset());
        task.poll();
        let taken = reset.join().expect("no panic");
        two.world.quiesce(&mut [&mut task]);
        if let Err(error) = task.answer() {
            assert!(is_cancelled(&error), "{error}");
            assert_eq!(taken, 1, "S4: nobody else ended it");
        }
        two.wind_up();
    });
}

/// S1, S20: a task whose grant is passed on as it comes for it at last gives back
/// the slots that it had gathered by then, and none that it has gathered since.
#[test]
fn s20_gathered_again_against_unclaim() {
    explore_at_most(3, "gathered_again_against_unclaim", || {
        let two = Two::new();
        let busy = two.behind.try_acquire().expect("free");
        let (chain, runs) = (two.chain.clone(), Tally::new());
        let began = runs.clone();
        let mut task = Hand::pending(async move {
            let body = async |_| {
                began.note();
                second_poll().await;
            };
            chain.run(body).await
        });
        drop(busy);
        let link = first_holder(&two.behind);
        two.world.host.advance(CLAIM);
        let driver = thread::spawn(move || inspect(&link));
        task.poll();
        driver.join().expect("no panic");
        if runs.count() == 1 {
            for lane in [&two.world.lane, &two.behind] {
                assert!(lane.try_acquire().is_err(), "S1: it runs without its slot");
            }
        }
        two.world.quiesce(&mut [&mut task]);
        while !task.poll() {}
        task.answer().expect("S20");
        two.wind_up();
    });
}

/// S20: a task that comes for its grant as that is passed on, and has to wait
/// again, gathers nothing: the next grant that it does not come for is passed
/// on, too.
#[test]
fn s20_stood_up_against_unclaim() {
    let (claimed, slept) = (Tally::new(), Tally::new());
    let seen = (claimed.clone(), slept.clone());
    explore_at_most(2, "stood_up_against_unclaim", move || {
        let two = Two::new();
        let slot = two.world.lane.try_acquire().expect("free");
        let chain = two.chain.clone();
        let mut task = Hand::pending(async move { chain.run(async |_| 7).await });
        let lane = two.world.lane.clone();
        let mut next = Hand::pending(async move { lane.acquire().await });
        drop(slot);
        let granted = first_holder(&two.world.lane);
        two.world.host.advance(CLAIM);
        let driver = thread::spawn(move || inspect(&granted));
        let came = task.poll();
        driver.join().expect("no panic");
        if came {
            claimed.note();
        } else if next.poll() {
            // The task is back in line, or still asleep, and has no more turns.
            drop(next.answer().expect("S20"));
            two.world.pass(CLAIM);
            assert!(two.world.lane.try_acquire().is_ok(), "S20: it is kept");
            slept.note();
            next = Hand::new(std::future::pending());
        }
        drop((task, next));
        two.wind_up();
    });
    both_came_first(&seen.0, &seen.1);
}

/// S7, S20: whoever grants a spawned task its slot is late to go on to its other
/// lanes. That costs the task nothing: nobody polls it, to be in line again.
#[test]
fn s20_grant_of_a_spawned_task_against_unclaim() {
    spawned_against_unclaim("grant_of_a_spawned_task_against_unclaim", |two| {
        &two.world.lane
    });
}

/// The same of the slot behind.
#[test]
fn s20_link_grant_of_a_spawned_task_against_unclaim() {
    spawned_against_unclaim("link_grant_of_a_spawned_task_against_unclaim", |two| {
        &two.behind
    });
}

fn spawned_against_unclaim(name: &'static str, waits_for: fn(&Two) -> &Lane) {
    explore_at_most(2, name, move || {
        let two = Two::new();
        let busy = waits_for(&two).try_acquire().expect("free");
        let mut task = Hand::new(two.chain.spawn(async |_| 7));
        let host = two.world.host.clone();
        let driver = thread::spawn(move || {
            host.advance(CLAIM);
            host.poll_all();
        });
        drop(busy);
        driver.join().expect("no panic");
        two.world.quiesce(&mut [&mut task]);
        task.poll();
        assert_eq!(task.answer().expect("S20"), 7);
        two.wind_up();
    });
}

/// S1, S7: the slot behind comes free as a spawned task joins the line for
/// it: whoever grants it goes on with the task, and who joined leaves that be.
#[test]
fn s1_link_grant_against_join() {
    explore("link_grant_against_join", || {
        let two = Two::new();
        let busy = two.behind.try_acquire().expect("free");
        let release = thread::spawn(move || drop(busy));
        let behind = two.behind.clone();
        let mut task = Hand::new(
            two.chain
                .spawn(async move |cx| (cx.is_current(), behind.try_acquire().is_err())),
        );
        release.join().expect("no panic");
        two.world.quiesce(&mut [&mut task]);
        task.poll();
        two.world.quiesce(&mut [&mut task]);
        let (current, held) = task.answer().expect("S7");
        assert!(current, "S1: it runs, and its slot is gone");
        assert!(held, "S1: another has its slot, too");
        two.wind_up();
    });
}

/// S4: what a grant that was passed on had gathered is the task's no more, so that
/// who clears the lane behind ends nobody who runs.
#[test]
fn s4_clear_against_what_is_given_back() {
    explore_at_most(3, "clear_against_what_is_given_back", || {
        let two = Two::of(1, 2);
        let busy = [two.behind.try_acquire(), two.behind.try_acquire()];
        let (chain, runs) = (two.chain.clone(), Tally::new());
        let began = runs.clone();
        let mut task = Hand::pending(async move {
            let body = async |cx: crate::TaskContext| {
                began.note();
                second_poll().await;
                cx.cancel_reason()
            };
            chain.run(body).await
        });
        drop(busy);
        let link = first_holder(&two.behind);
        two.world.host.advance(CLAIM);
        let driver = thread::spawn(move || inspect(&link));
        task.poll();
        let ran = runs.count() == 1;
        if ran {
            let _ = two.behind.clear();
        }
        driver.join().expect("no panic");
        two.world.quiesce(&mut [&mut task]);
        while !task.poll() {}
        let end = task.answer();
        if ran {
            assert!(matches!(end, Ok(None)), "S4: it was ended: {end:?}");
        }
        two.wind_up();
    });
}

/// S15: whoever tries for both slots, and is so late for the second that the first
/// is passed on, leaves nothing behind.
#[test]
fn s15_try_acquire_against_unclaim() {
    let (got, lost) = (Tally::new(), Tally::new());
    let seen = (got.clone(), lost.clone());
    explore_at_most(2, "chain_try_acquire_against_unclaim", move || {
        let two = Two::new();
        let (host, domain) = (two.world.host.clone(), Arc::clone(&two.world.lane.domain));
        let driver = thread::spawn(move || {
            host.advance(CLAIM);
            domain.fire();
        });
        let tried = two.chain.try_acquire();
        driver.join().expect("no panic");
        if tried.is_ok() { &got } else { &lost }.note();
        drop(tried);
        two.wind_up();
    });
    both_came_first(&seen.0, &seen.1);
}

/// S5: the slot behind comes free as its task is polled: it has it, or is woken.
#[test]
fn s5_link_grant_against_poll() {
    explore("link_grant_against_poll", || {
        let two = Two::new();
        let busy = two.behind.try_acquire().expect("free");
        let chain = two.chain.clone();
        let mut task = Hand::new(async move { chain.run(async |_| 7).await });
        let release = thread::spawn(move || drop(busy));
        task.poll();
        release.join().expect("no panic");
        two.world.quiesce(&mut [&mut task]);
        assert_eq!(task.answer().expect("S5"), 7);
        two.wind_up();
    });
}

/// S7, S15: a task that is cancelled as it joins the line for its second slot is
/// told, and is in no line.
#[test]
fn s7_join_behind_against_cancel() {
    explore("join_behind_against_cancel", || {
        let two = Two::new();
        let first = two.world.lane.try_acquire().expect("free");
        let busy = two.behind.try_acquire().expect("free");
        let chain = two.chain.clone();
        let mut task = Hand::pending(async move { chain.run(async |_| 7).await });
        let cancel = cancel_the_first(&two.world);
        drop(first);
        task.poll();
        cancel.join().expect("no panic");
        two.world.quiesce(&mut [&mut task]);
        assert!(is_cancelled(&task.answer().expect_err("S7")));
        drop(busy);
        two.wind_up();
    });
}

/// The same for one that joins it where its first slot is granted.
#[test]
fn s7_join_behind_against_cancel_of_a_spawned_task() {
    explore("join_behind_against_cancel_spawned", || {
        let two = Two::new();
        let first = two.world.lane.try_acquire().expect("free");
        let busy = two.behind.try_acquire().expect("free");
        let task = two.chain.spawn(async |_| 7);
        let cancel = cancel_the_first(&two.world);
        drop(first);
        cancel.join().expect("no panic");
        assert!(two.behind.snapshot().queued.is_empty(), "S15");
        let mut task = Hand::new(task);
        task.poll();
        assert!(is_cancelled(&task.answer().expect_err("S7")));
        drop(busy);
        two.wind_up();
    });
}

/// Whoever is the first in line.
fn cancel_the_first(world: &World) -> thread::JoinHandle<()> {
    let id = world.lane.snapshot().queued[0].id;
    let lanes = world.lanes.clone();
    thread::spawn(move || lanes.cancel(id, Reason::User).expect("it is known"))
}
