//! Many tasks, many lanes, many threads: what must hold whatever happens.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use laneway::{Lane, LaneConfig, Lanes, Reason, TaskError};
use tokio::sync::Semaphore;

const SECOND: Duration = Duration::from_secs(1);

/// A small generator of numbers that look random and never change.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn default_lanes() -> Lanes {
    let config = LaneConfig::new(1);
    Lanes::builder().default_lane(config).build().unwrap()
}

/// As many permits as the lane has slots: a task that finds none left is one
/// too many.
fn occupy(slots: &Semaphore) -> tokio::sync::SemaphorePermit<'_> {
    slots.try_acquire().expect("more active than slots")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s1_never_more_active_than_slots() {
    const SLOTS: usize = 3;
    // Strict: on a starved machine no slot is taken from a late runner.
    let config = LaneConfig::new(SLOTS).strict();
    let lanes = Lanes::builder().lane("main", config).build().unwrap();
    let main = lanes.lane("main").unwrap();
    let slots = Arc::new(Semaphore::new(SLOTS));
    let runners = (0..8u64).map(|seed| {
        let (main, slots) = (main.clone(), Arc::clone(&slots));
        tokio::spawn(async move {
            let mut dice = Dice(seed);
            for _ in 0..1000 {
                match dice.roll(4) {
                    0 => {
                        let work = async |_| {
                            let _permit = occupy(&slots);
                            tokio::task::yield_now().await;
                        };
                        main.run(work).await.unwrap();
                    }
                    1 => {
                        let slots = Arc::clone(&slots);
                        let task = main.spawn(async move |_| {
                            let _permit = occupy(&slots);
                            tokio::task::yield_now().await;
                            tokio::task::yield_now().await;
                        });
                        if dice.roll(2) == 0 {
                            task.cancel(Reason::User);
                        }
                        // Its future is dropped before its slot goes on, and
                        // the permit with it.
                        let _ = task.await;
                    }
                    2 => {
                        let slot = main.acquire().await.unwrap();
                        let permit = occupy(&slots);
                        tokio::task::yield_now().await;
                        drop(permit);
                        drop(slot);
                    }
                    _ => {
                        if let Ok(_slot) = main.try_acquire() {
                            drop(occupy(&slots));
                        }
                    }
                }
            }
        })
    });
    for runner in runners.collect::<Vec<_>>() {
        runner.await.unwrap();
    }
    main.idle().await;
    let snapshot = main.snapshot();
    assert!(snapshot.counters.granted >= 4000);
    assert_eq!(snapshot.orphans.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s2_s7_ten_thousand_tasks_settle_once_each() {
    const TASKS: u64 = 10_000;
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(4))
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let canceller = |lanes: Lanes| async move {
        while !lanes.snapshot().lanes.is_empty() {
            lanes.cancel_key("doomed", Reason::Superseded);
            tokio::task::yield_now().await;
        }
    };
    let cancelling = tokio::spawn(canceller(lanes.clone()));
    let (mut dice, mut handles, mut dropped) = (Dice(1), Vec::new(), 0);
    for number in 0..TASKS {
        let rounds = dice.roll(4);
        let key = ["kept", "doomed"][dice.roll(2) as usize];
        let task = main.task().key(key).spawn(async move |cx| {
            for _ in 0..rounds {
                tokio::task::yield_now().await;
                cx.progress();
            }
            if rounds == 3 && number % 7 == 0 {
                std::panic::resume_unwind(Box::new("some panic, quietly"));
            }
            number
        });
        match dice.roll(8) {
            0 => task.cancel(Reason::User),
            1 => {
                dropped += 1;
                drop(task.abort_on_drop());
                continue;
            }
            2 => {
                dropped += 1;
                continue;
            }
            _ => {}
        }
        handles.push((number, task));
        if dice.roll(16) == 0 {
            tokio::task::yield_now().await;
        }
    }
    let mut settled = 0;
    for (number, task) in handles {
        let id = task.id();
        match task.await {
            Ok(value) => assert_eq!(value, number),
            Err(
                error @ (TaskError::Cancelled { .. }
                | TaskError::CancelledQueued { .. }
                | TaskError::Panicked { .. }),
            ) => assert_eq!(error.id(), Some(id)),
            Err(other) => panic!("{other:?}"),
        }
        settled += 1;
    }
    main.idle().await;
    assert_eq!(settled + dropped, TASKS);
    let counters = main.snapshot().counters;
    assert_eq!(counters.submitted, TASKS);
    // Each once: nobody is counted twice, nobody is left. On a starved machine
    // a runner may come a tick late, and a slot is taken.
    let by_itself = counters.completed + counters.ended;
    assert!(by_itself <= TASKS, "{counters:?}");
    assert!(by_itself + counters.taken >= TASKS, "{counters:?}");
    cancelling.abort();
}

#[tokio::test(start_paused = true)]
async fn s11_fences_only_grow_also_over_a_lane_that_retires() {
    let lanes = default_lanes();
    let mut last = 0;
    for _ in 0..100 {
        let session = lanes.lane("session").unwrap();
        for _ in 0..3 {
            let fence = session.run(async |cx| cx.fence()).await.unwrap();
            assert!(fence > last, "{fence} after {last}");
            last = fence;
        }
        drop(session);
        assert!(lanes.snapshot().lanes.is_empty());
        // Others come and go meanwhile.
        let other = lanes.lane("other").unwrap();
        other.run(async |_| ()).await.unwrap();
    }
    // They start from the time, so that a restarted process is ahead.
    assert!(last > 1_600_000_000_000_000, "{last}");
}

#[tokio::test(start_paused = true)]
async fn s11_fences_start_where_told() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(1))
        .default_lane(LaneConfig::new(1))
        .fence_start(1000)
        .build()
        .unwrap();
    for name in ["main", "other"] {
        let lane = lanes.lane(name).unwrap();
        assert_eq!(lane.acquire().await.unwrap().fence(), 1000);
        assert_eq!(lane.try_acquire().unwrap().fence(), 1001);
    }
}

#[tokio::test(start_paused = true)]
async fn s15_a_storm_of_names_leaves_no_lanes() {
    let lanes = default_lanes();
    let (mut most, mut kept) = (0, Vec::new());
    for number in 0..100_000u32 {
        let lane = lanes.lane(&format!("session:{number}")).unwrap();
        if number % 1000 == 0 {
            kept.push(lane.spawn(async move |_| number));
        } else {
            lane.run(async |_| ()).await.unwrap();
        }
        drop(lane);
        if number % 10_000 == 0 {
            most = most.max(lanes.snapshot().lanes.len());
        }
    }
    assert!(most <= 100, "{most}");
    for task in kept {
        task.await.unwrap();
    }
    assert_eq!(lanes.snapshot().lanes.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn s15_a_cooldown_does_not_keep_a_lane() {
    let lanes = default_lanes();
    for number in 0..100 {
        let lane = lanes.lane(&format!("session:{number}")).unwrap();
        lane.run(async |_| ()).await.unwrap();
        lane.pause_for(SECOND).unwrap();
    }
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(lanes.snapshot().lanes.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn s15_nor_does_a_pause_or_a_drain_of_all() {
    let lanes = default_lanes();
    lanes.pause();
    lanes.lane("a").unwrap().run(async |_| ()).now_or_never();
    assert_eq!(lanes.snapshot().lanes.len(), 0);
    lanes.resume();
    lanes.drain(laneway::Drain::within(SECOND)).await;
    assert!(lanes.lane("b").unwrap().try_acquire().is_err());
    assert_eq!(lanes.snapshot().lanes.len(), 0);
    // A lane that differs from one that would be made anew is kept, though.
    lanes.resume();
    lanes.lane("c").unwrap().pause();
    assert_eq!(lanes.snapshot().lanes.len(), 1);
    assert!(lanes.lane("c").unwrap().try_acquire().is_err());
    lanes.lane("c").unwrap().resume();
    assert_eq!(lanes.snapshot().lanes.len(), 0);
}

/// After the drain's deadline a lane is as one that is made then.
#[tokio::test(start_paused = true)]
async fn s15_nor_does_a_drain_whose_deadline_is_over() {
    let lanes = default_lanes();
    let busy = lanes.lane("busy").unwrap();
    let hung = busy.spawn(async |_| std::future::pending::<()>().await);
    let report = lanes.drain(laneway::Drain::within(SECOND)).await;
    assert_eq!(report.interrupted, 1);
    assert!(hung.await.is_err());
    tokio::time::sleep(SECOND).await;
    drop(busy);
    assert_eq!(lanes.snapshot().lanes.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_handle_stays_good_and_two_of_a_name_are_one_lane() {
    let lanes = default_lanes();
    let early = lanes.lane("session").unwrap();
    for number in 0..1000 {
        drop(lanes.lane(&format!("other:{number}")).unwrap());
    }
    let late: Lane = lanes.lane("session").unwrap();
    let slot = early.acquire().await.unwrap();
    assert!(late.try_acquire().is_err());
    drop(early);
    assert!(late.try_acquire().is_err());
    drop(late);
    // The slot itself keeps the lane.
    assert!(lanes.lane("session").unwrap().try_acquire().is_err());
    drop(slot);
    assert!(lanes.snapshot().lanes.is_empty());
    assert!(lanes.lane("session").unwrap().try_acquire().is_ok());
}
