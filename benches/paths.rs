//! What the main paths cost, beside what one would write by hand.
//!
//! `cargo bench --bench paths`. Every row runs ours and theirs in turn, many
//! times, in one process, and prints the ratio of the two medians: times on a
//! shared machine are noise, ratios are less so.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use laneway::{Lane, LaneConfig, Lanes};
use tokio::runtime::Runtime;
use tokio::sync::{RwLock, Semaphore};

const ROUNDS: usize = 31;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built here");
    println!(
        "{:<34} {:>9} {:>9} {:>7}",
        "row", "ours ns", "theirs ns", "ratio"
    );
    runtime.block_on(run_ready());
    spawn_many(&runtime);
    runtime.block_on(progress());
}

/// A ready future through a free slot, against a map of semaphores with a
/// timeout around the work.
async fn run_ready() {
    const TASKS: u32 = 2_000;
    let main = lane(8);
    let map = RwLock::new(HashMap::from([(
        "main".to_owned(),
        Arc::new(Semaphore::new(8)),
    )]));
    let mut row = Row::new("run, ready, free slot", TASKS);
    for _ in 0..ROUNDS {
        let began = now();
        for n in 0..TASKS {
            black_box(main.run(async |_| n).await).expect("it runs");
        }
        row.ours(began);
        let began = now();
        for n in 0..TASKS {
            let semaphore = Arc::clone(&map.read().await["main"]);
            let permit = semaphore.acquire_owned().await.expect("it is open");
            let work = tokio::time::timeout(Duration::from_secs(60), async { n });
            black_box(work.await).expect("it is in time");
            drop(permit);
        }
        row.theirs(began);
    }
    row.print();
}

/// Many detached tasks over eight slots, against `tokio::spawn` and a
/// semaphore.
fn spawn_many(runtime: &Runtime) {
    const TASKS: u32 = 20_000;
    let main = lane(8);
    let semaphore = Arc::new(Semaphore::new(8));
    let mut row = Row::new("spawn, 20,000 over 8 slots", TASKS);
    for _ in 0..ROUNDS {
        let began = now();
        runtime.block_on(async {
            let tasks: Vec<_> = (0..TASKS).map(|n| main.spawn(async move |_| n)).collect();
            for task in tasks {
                black_box(task.await).expect("it runs");
            }
        });
        row.ours(began);
        let began = now();
        runtime.block_on(async {
            let spawn = |n| {
                let semaphore = Arc::clone(&semaphore);
                tokio::spawn(async move {
                    let _permit = semaphore.acquire().await.expect("it is open");
                    n
                })
            };
            let tasks: Vec<_> = (0..TASKS).map(spawn).collect();
            for task in tasks {
                black_box(task.await).expect("it runs");
            }
        });
        row.theirs(began);
    }
    row.print();
}

/// A report of progress, against a bare read of its clock.
async fn progress() {
    const REPORTS: u32 = 10_000;
    let mut row = Row::new("progress()", REPORTS);
    let mut ambient = Row::new("laneway::progress()", REPORTS);
    lane(1)
        .run(async |cx| {
            for _ in 0..ROUNDS {
                let began = now();
                (0..REPORTS).for_each(|_| cx.progress());
                row.ours(began);
                let began = now();
                (0..REPORTS).for_each(|_| {
                    black_box(laneway::progress());
                });
                ambient.ours(began);
                let began = now();
                (0..REPORTS).for_each(|_| {
                    black_box(now());
                });
                row.theirs(began);
                ambient.theirs(began);
            }
        })
        .await
        .expect("it runs");
    row.print();
    ambient.print();
}

fn lane(slots: usize) -> Lane {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(slots))
        .build()
        .expect("the configuration is sound");
    let lane = lanes.lane("main").expect("it is configured");
    // The lane is closed with its scheduler.
    std::mem::forget(lanes);
    lane
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures wall time")]
fn now() -> Instant {
    Instant::now()
}

struct Row {
    name: &'static str,
    operations: u32,
    ours: Vec<Duration>,
    theirs: Vec<Duration>,
}

impl Row {
    const fn new(name: &'static str, operations: u32) -> Self {
        Self {
            name,
            operations,
            ours: Vec::new(),
            theirs: Vec::new(),
        }
    }

    fn ours(&mut self, began: Instant) {
        self.ours.push(began.elapsed());
    }

    fn theirs(&mut self, began: Instant) {
        self.theirs.push(began.elapsed());
    }

    fn print(&mut self) {
        let median = |times: &mut Vec<Duration>| {
            times.sort_unstable();
            times[times.len() / 2].as_secs_f64() * 1e9 / f64::from(self.operations)
        };
        let (ours, theirs) = (median(&mut self.ours), median(&mut self.theirs));
        println!(
            "{:<34} {ours:>9.1} {theirs:>9.1} {:>7.2}",
            self.name,
            ours / theirs
        );
    }
}
