//! Many tasks and many threads, under schedules drawn at random.

use std::future::{pending, poll_fn};
use std::task::Poll;
use std::time::Duration;

use shuttle::rand::Rng;

use super::explore::{explore, thread};
use super::world::{CEILING, Follow, Hand, Tally, World};
use crate::engine::TICK;
use crate::host::Handle;
use crate::sync::{Arc, AtomicUsize, Ordering};
use crate::{Lane, LaneConfig, Lanes, Priority, Reason, TaskContext, TaskError};

/// How many tasks are inside at once, of those whose slot is their own.
#[derive(Clone)]
struct Room(Arc<AtomicUsize>);

impl Room {
    fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(0)))
    }

    /// Work of three polls that nobody else may overlap with, past `limit`.
    async fn work(self, limit: usize) -> u32 {
        let inside = self.0.fetch_add(1, Ordering::SeqCst);
        assert!(inside < limit, "S1: {inside} are inside, of {limit}");
        let _leaves = Leaves(self);
        yield_once().await;
        yield_once().await;
        7
    }
}

struct Leaves(Room);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn dice(sides: usize) -> usize {
    shuttle::rand::thread_rng().gen_range(0..sides)
}

fn priority() -> Priority {
    [Priority::Foreground, Priority::Normal, Priority::Background][dice(3)]
}

/// Polls a hand until it is ready, or gives it up after some polls.
fn drive(mut hand: Hand<Result<u32, TaskError>>, host: &Handle) -> Option<Result<u32, TaskError>> {
    let patience = dice(12);
    for _ in 0..patience {
        if hand.poll() {
            return Some(hand.answer());
        }
        host.poll_one();
        thread::yield_now();
    }
    None
}

/// S1, S2, S5, S7, S12: runs that are polled, dropped and cancelled at random,
/// spawned tasks, a lane that is resized meanwhile.
#[test]
fn s1_a_crowd_in_one_lane() {
    explore("crowd_in_one_lane", || {
        const SLOTS: usize = 2;
        let world = World::new(SLOTS);
        let (room, dropped) = (Room::new(), Tally::new());
        let mut threads = Vec::new();
        for _ in 0..3 {
            let (host, lane, room) = (world.host.clone(), world.lane.clone(), room.clone());
            threads.push(thread::spawn(move || {
                for _ in 0..2 {
                    let (lane, room) = (lane.clone(), room.clone());
                    let work = async move |_: TaskContext| room.work(SLOTS).await;
                    let run = async move { lane.task().priority(priority()).run(work).await };
                    match drive(Hand::new(run), &host) {
                        Some(Ok(value)) => assert_eq!(value, 7),
                        Some(Err(error)) => assert!(was_cancelled(&error), "{error}"),
                        None => {}
                    }
                }
            }));
        }
        let mut handles: Vec<_> = (0..3)
            .map(|_| {
                let (room, counted) = (room.clone(), Dropped(dropped.clone()));
                let work = async move |_: TaskContext| {
                    let _counted = counted;
                    room.work(SLOTS).await
                };
                Hand::new(world.lane.task().priority(priority()).spawn(work))
            })
            .collect();
        let lane = world.lane.clone();
        threads.push(thread::spawn(move || {
            lane.set_max_concurrent(dice(SLOTS + 1)).expect("sound");
            if dice(4) == 0 {
                lane.cancel_all(Reason::User);
            }
            lane.set_max_concurrent(SLOTS).expect("sound");
        }));
        world.host.poll_all();
        for thread in threads {
            thread.join().expect("no panic");
        }
        let mut follow: Vec<&mut dyn Follow> = Vec::new();
        for handle in &mut handles {
            handle.poll();
            follow.push(handle);
        }
        world.quiesce(&mut follow);
        for handle in handles {
            match handle.answer() {
                Ok(value) => assert_eq!(value, 7),
                Err(error) => assert!(was_cancelled(&error), "{error}"),
            }
        }
        assert_eq!(dropped.count(), 3, "S2: every body is dropped once");
        world.wind_up();
    });
}

struct Dropped(Tally);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.note();
    }
}

/// S4, S8, S10: some tasks hang; the driver comes again and again; everybody
/// gets an answer, and whoever is healthy gets its value.
#[test]
fn s8_a_crowd_that_hangs() {
    explore("crowd_that_hangs", || {
        let world = World::ceilinged(2);
        let hang = |world: &World| {
            Hand::new(world.lane.spawn(async |_| {
                pending::<()>().await;
                0
            }))
        };
        let healthy = |world: &World| {
            Hand::new(world.lane.spawn(async |cx: TaskContext| {
                yield_once().await;
                cx.progress();
                yield_once().await;
                7
            }))
        };
        let mut stuck = vec![hang(&world), hang(&world)];
        let mut well = vec![healthy(&world), healthy(&world), healthy(&world)];
        let host = world.host.clone();
        let worker = thread::spawn(move || {
            for _ in 0..10 {
                host.poll_one();
                thread::yield_now();
            }
        });
        let host = world.host.clone();
        let clock = thread::spawn(move || {
            host.advance(CEILING);
            host.poll_one();
            host.advance(TICK * 2);
            host.poll_one();
        });
        // Somebody waits in line meanwhile, and goes again.
        let lane = world.lane.clone();
        let waiter = Hand::new(async move { lane.run(async |_| 7).await });
        let given_up = drive(waiter, &world.host);
        assert!(given_up.is_none_or(|answer| answer.is_ok()), "S4");
        worker.join().expect("no panic");
        clock.join().expect("no panic");
        for _ in 0..3 {
            world.pass(CEILING);
            for _ in 0..3 {
                world.pass(TICK);
            }
        }
        let mut follow: Vec<&mut dyn Follow> = Vec::new();
        for hand in stuck.iter_mut().chain(&mut well) {
            hand.poll();
            follow.push(hand);
        }
        world.quiesce(&mut follow);
        for hand in stuck {
            assert!(
                matches!(hand.answer(), Err(TaskError::Stalled { .. })),
                "S8"
            );
        }
        for hand in well {
            assert_eq!(hand.answer().expect("S4"), 7);
        }
        world.wind_up();
    });
}

/// S4, S8, S14: tasks of every kind that can be awaited, as the shell's own
/// suite has them; each gets the answer that its kind is promised.
#[cfg(feature = "testing")]
#[test]
fn s8_a_crowd_of_hostile_tasks() {
    use crate::testing::Hostile;

    explore("crowd_of_hostile_tasks", || {
        let world = World::ceilinged(2);
        let kinds: Vec<Hostile> = Hostile::ALL
            .iter()
            .copied()
            .filter(|kind| kind.is_future() && !goes_in_steps(*kind))
            .collect();
        let mut tasks: Vec<_> = (0..4)
            .map(|_| {
                let kind = kinds[dice(kinds.len())];
                (kind, Hand::new(world.lane.spawn(async move |_| kind.await)))
            })
            .collect();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let host = world.host.clone();
                thread::spawn(move || {
                    for _ in 0..4 {
                        host.advance(CEILING / 4);
                        for _ in 0..4 {
                            host.poll_one();
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        for (_, hand) in &mut tasks {
            hand.poll();
        }
        // A ceiling each at most, and what is due to a task after it, two by two.
        for _ in 0..24 {
            world.pass(CEILING / 2);
            world.pass(TICK);
            let hands = tasks.iter_mut().map(|(_, hand)| hand as &mut dyn Follow);
            world.quiesce(&mut hands.collect::<Vec<_>>());
        }
        for (kind, hand) in tasks {
            let answer = hand.answer();
            assert!(
                kind.expected().admits(Some(&answer)),
                "{kind:?}: {answer:?}"
            );
        }
        world.wind_up();
    });
}

/// The clock makes leaps here, and to those it would be a machine that sleeps.
#[cfg(feature = "testing")]
const fn goes_in_steps(kind: crate::testing::Hostile) -> bool {
    use crate::testing::Hostile;

    matches!(
        kind,
        Hostile::Sleeps | Hostile::Streams | Hostile::ReportsForever
    )
}

/// S1, S7, S15: names that come and go, tasks that nest, and a scheduler that
/// is shut down in the middle of it.
#[test]
fn s7_a_crowd_that_is_shut_down() {
    explore("crowd_that_is_shut_down", || {
        let world = World::with(LaneConfig::new(1).no_stall_ceiling(), |more| {
            more.default_lane(LaneConfig::new(1).no_stall_ceiling())
        });
        let mut threads = Vec::new();
        for n in 0..3 {
            let (host, lanes, main) = (world.host.clone(), world.lanes.clone(), world.lane.clone());
            threads.push(thread::spawn(move || {
                let session = lanes.lane(if n == 0 { "one" } else { "two" });
                drop(lanes);
                let Ok(session) = session else { return };
                let hand = Hand::new(nested(session, main));
                if let Some(Err(error)) = drive(hand, &host) {
                    assert!(was_ended(&error), "{error}");
                }
            }));
        }
        let mut handle = Hand::new(world.lane.spawn(async |_| 7));
        let lanes = world.lanes.clone();
        threads.push(thread::spawn(move || shut_down(lanes)));
        handle.poll();
        world.host.poll_all();
        for thread in threads {
            thread.join().expect("no panic");
        }
        world.pass(Duration::from_secs(60));
        world.quiesce(&mut [&mut handle]);
        match handle.answer() {
            Ok(value) => assert_eq!(value, 7),
            Err(error) => assert!(was_ended(&error), "{error}"),
        }
        world.wind_up();
    });
}

async fn nested(session: Lane, main: Lane) -> Result<u32, TaskError> {
    let inner = async move |_: TaskContext| main.run(async |_| 7).await;
    session.run(inner).await?
}

fn shut_down(lanes: Lanes) {
    match dice(3) {
        0 => lanes.close(),
        1 => drop(lanes.shutdown()),
        _ => {
            lanes.clear();
            lanes.reset();
        }
    }
}

fn was_cancelled(error: &TaskError) -> bool {
    matches!(
        error,
        TaskError::Cancelled { .. } | TaskError::CancelledQueued { .. }
    )
}

fn was_ended(error: &TaskError) -> bool {
    was_cancelled(error)
        || matches!(
            error,
            TaskError::Shutdown { .. } | TaskError::Closed { .. } | TaskError::Cleared { .. }
        )
}
