//! What one would pick instead: each queue with ready tasks, all at once.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use a3s_lane::{Command, EventEmitter, LaneConfig, QueueManager, QueueManagerBuilder};
use async_priority_limiter::Limiter;
use async_trait::async_trait;
use deadpool::unmanaged::Pool;
use laneway::{Lane, Timeout};
use laneway_peers::report::{Point, Row};
use laneway_peers::scale::Scale;
use laneway_peers::schedulers::{Flavour, MINUTE, any_lane, config, one_lane, one_lane_of};
use laneway_peers::turns::{Round, Side, Turns};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::task::{JoinMap, TaskTracker};

use crate::node::Node;

const SLOTS: usize = 8;

pub fn rows(scale: Scale) {
    for flavour in Flavour::BOTH {
        a3s_lane(scale, flavour, 1, 20_000, 4.0);
        a3s_lane(scale, flavour, 10, 10_000, 1.0);
        a3s_lane(scale, flavour, 100, 5_000, 1.0);
        a3s_lane(scale, flavour, 1_000, 2_000, 200.0);
    }
    in_rust(scale);
    slots(scale);
    in_node(scale);
}

// a3s-lane --------------------------------------------------------------------

struct Ready(u64);

#[async_trait]
impl Command for Ready {
    async fn execute(&self) -> a3s_lane::Result<Value> {
        Ok(Value::from(black_box(self.0)))
    }

    fn command_type(&self) -> &str {
        "ready"
    }
}

fn a3s_lane(scale: Scale, flavour: Flavour, lanes: usize, full: u64, limit: f64) {
    let (runtime, tasks) = (flavour.runtime(), scale.tasks(full));
    let scheduler = any_lane(SLOTS);
    let names: Vec<String> = (0..lanes).map(|n| format!("lane-{n}")).collect();
    let ours: Vec<Lane> = names
        .iter()
        .map(|name| scheduler.lane(name).expect("it is a name"))
        .collect();
    let theirs = runtime.block_on(a3s_manager(&names));
    let turns = Turns::take(
        scale.rounds(7),
        vec![
            Side::new("`spawn`", tasks, || runtime.block_on(spread(&ours, tasks))),
            Side::new("a3s-lane", tasks, || {
                runtime.block_on(a3s_round(&theirs, &names, tasks))
            }),
        ],
    );
    if flavour == Flavour::CurrentThread {
        for side in ["`spawn`", "a3s-lane"] {
            Point {
                plot: "lanes",
                series: format!("{side}, all at once"),
                x: lanes as u64,
                ns: turns.ns(side),
            }
            .print();
        }
    }
    let row = format!("lanes: {lanes}, {SLOTS} slots each, {}", flavour.name());
    Row::lead(3, &row, &turns, "`spawn`", "a3s-lane")
        .at_least(limit)
        .note(
            "its optional features are off; no reclaim, no orphans, no fences: a timeout per \
             lane, and whoever hangs without one keeps its slot",
        )
        .print();
}

async fn spread(lanes: &[Lane], tasks: u64) -> Round {
    let (began, mut sum) = (Instant::now(), 0);
    let handles: Vec<_> = (0..tasks)
        .map(|n| lanes[n as usize % lanes.len()].spawn(async move |_| black_box(n)))
        .collect();
    for handle in handles {
        sum += handle.await.expect("it runs");
    }
    Round {
        took: began.elapsed(),
        sum,
    }
}

async fn a3s_manager(names: &[String]) -> QueueManager {
    let mut builder = QueueManagerBuilder::new(EventEmitter::new(1_000));
    for name in names {
        builder = builder.with_lane(name, LaneConfig::new(1, SLOTS), 0);
    }
    let manager = builder.build().await.expect("the lanes are sound");
    manager.start().await.expect("it starts");
    manager
}

async fn a3s_round(manager: &QueueManager, names: &[String], tasks: u64) -> Round {
    let (began, mut sum) = (Instant::now(), 0);
    let mut results = Vec::new();
    for n in 0..tasks {
        let lane = &names[n as usize % names.len()];
        let result = manager.submit(lane, Box::new(Ready(n))).await;
        results.push(result.expect("it is accepted"));
    }
    for result in results {
        let value = result.await.expect("it is answered").expect("it runs");
        sum += value.as_u64().expect("it is a number");
    }
    Round {
        took: began.elapsed(),
        sum,
    }
}

// Others in Rust --------------------------------------------------------------

fn in_rust(scale: Scale) {
    let runtime = Flavour::CurrentThread.runtime();
    let tasks = scale.tasks(50_000);
    let (_lanes, main) = one_lane(SLOTS);
    let semaphore = Arc::new(Semaphore::new(SLOTS));
    let limiter = runtime.block_on(async { Limiter::new::<String>(SLOTS) });
    let alone = std::slice::from_ref(&main);
    let turns = Turns::take(
        scale.rounds(21),
        vec![
            Side::new("`spawn`", tasks, || runtime.block_on(spread(alone, tasks))),
            Side::new("`TaskTracker` + `Semaphore`", tasks, || {
                runtime.block_on(tracked(&semaphore, tasks))
            }),
            Side::new("`JoinMap` + `Semaphore`", tasks, || {
                runtime.block_on(mapped(&semaphore, tasks))
            }),
            Side::new("async-priority-limiter", tasks, || {
                runtime.block_on(limited(&limiter, tasks))
            }),
        ],
    );
    for (theirs, lacks) in [
        (
            "`TaskTracker` + `Semaphore`",
            "waits for all to end; no limit of its own, no queue to look into, no time limits",
        ),
        (
            "`JoinMap` + `Semaphore`",
            "tasks by key; no limit of its own, no time limits, owned by one caller",
        ),
        (
            "async-priority-limiter",
            "priorities and minimal intervals; no time limits, no cancel, no way to take a slot",
        ),
    ] {
        Row::lead(3, "8 slots, current_thread", &turns, "`spawn`", theirs)
            .at_least(1.0)
            .note(lacks)
            .print();
    }
}

async fn tracked(semaphore: &Arc<Semaphore>, tasks: u64) -> Round {
    let (began, mut sum) = (Instant::now(), 0);
    let tracker = TaskTracker::new();
    let spawn = |n| tracker.spawn(with_permit(Arc::clone(semaphore), n));
    let handles: Vec<_> = (0..tasks).map(spawn).collect();
    tracker.close();
    for handle in handles {
        sum += handle.await.expect("it runs");
    }
    tracker.wait().await;
    Round {
        took: began.elapsed(),
        sum,
    }
}

async fn mapped(semaphore: &Arc<Semaphore>, tasks: u64) -> Round {
    let (began, mut sum) = (Instant::now(), 0);
    let mut map = JoinMap::new();
    for n in 0..tasks {
        map.spawn(n, with_permit(Arc::clone(semaphore), n));
    }
    while let Some((_, done)) = map.join_next().await {
        sum += done.expect("it runs");
    }
    Round {
        took: began.elapsed(),
        sum,
    }
}

async fn with_permit(semaphore: Arc<Semaphore>, n: u64) -> u64 {
    let _permit = semaphore.acquire().await.expect("it is open");
    black_box(n)
}

async fn limited(limiter: &Limiter<String, u8, u64>, tasks: u64) -> Round {
    let (began, mut sum) = (Instant::now(), 0);
    let mut results = Vec::new();
    for n in 0..tasks {
        results.push(limiter.queue(async move { black_box(n) }, 0).await);
    }
    for result in results {
        sum += result.await;
    }
    Round {
        took: began.elapsed(),
        sum,
    }
}

// Slots by hand ---------------------------------------------------------------

fn slots(scale: Scale) {
    let runtime = Flavour::CurrentThread.runtime();
    let tasks = scale.tasks(2_000);
    let (_lanes, main) = one_lane(SLOTS);
    let pool = Pool::from(vec![(); SLOTS]);
    let semaphore = Semaphore::new(SLOTS);
    macro_rules! side {
        ($name:literal, $slot:expr) => {
            Side::new($name, tasks, || {
                runtime.block_on(async {
                    let began = Instant::now();
                    for _ in 0..tasks {
                        drop(black_box($slot.await.expect("it is open")));
                    }
                    Round {
                        took: began.elapsed(),
                        sum: tasks,
                    }
                })
            })
        };
    }
    let turns = Turns::take(
        scale.rounds(101),
        vec![
            side!("`acquire`", main.acquire()),
            side!("deadpool's `Pool::get`", pool.get()),
            side!("`Semaphore::acquire`", semaphore.acquire()),
        ],
    );
    Row::lead(
        3,
        "a slot, taken and dropped",
        &turns,
        "`acquire`",
        "deadpool's `Pool::get`",
    )
    .at_least(1.0)
    .note("objects of a pool as slots; nothing limits how long one is held")
    .print();
    Row::lead(
        3,
        "a slot, taken and dropped",
        &turns,
        "`acquire`",
        "`Semaphore::acquire`",
    )
    .note(
        "a bare semaphore, held by reference: no name, no time limits, nobody to ask who holds it",
    )
    .print();
}

// Node ------------------------------------------------------------------------

fn in_node(scale: Scale) {
    let Some(node) = Node::start() else {
        return;
    };
    let node = std::cell::RefCell::new(node);
    let runtime = Flavour::CurrentThread.runtime();
    let (_lanes, main) = one_lane(SLOTS);
    let (_more, limited) = one_lane_of(config(SLOTS).timeout(Timeout::budget(MINUTE)));
    for (peer, full, limit, lacks) in [
        (
            "p-queue",
            50_000,
            6.0,
            "priorities and a limit; no time limits in this row",
        ),
        (
            "p-queue, timeout",
            20_000,
            25.0,
            "its timeout answers the caller and goes on with the work",
        ),
        ("p-limit", 50_000, 1.0, "a limit, and nothing else"),
        (
            "bottleneck",
            100,
            1.0,
            "limits and rates, with a turn of Node's timer for every task; its expiration answers \
             the caller and goes on with the work",
        ),
    ] {
        let tasks = scale.tasks(full);
        let lane = if peer == "p-queue, timeout" {
            &limited
        } else {
            &main
        };
        let turns = Turns::take(
            scale.rounds(11),
            vec![
                Side::new("`spawn`", tasks, || {
                    runtime.block_on(spread(std::slice::from_ref(lane), tasks))
                }),
                Side::new(peer, tasks, || node.borrow_mut().round(peer, tasks)),
            ],
        );
        Row::lead(
            3,
            "8 slots, current_thread; Node in a process beside it",
            &turns,
            "`spawn`",
            peer,
        )
        .at_least(limit)
        .note(lacks)
        .print();
    }
}
