//! Two threads, on two lanes and on one.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use laneway::Lane;
use laneway_peers::report::Row;
use laneway_peers::scale::Scale;
use laneway_peers::schedulers::{MINUTE, Map, any_lane};
use laneway_peers::turns::{Round, Side, Turns};
use tokio::runtime::Builder;
use tokio::time::timeout;

const SLOTS: usize = 8;

pub fn rows(scale: Scale) {
    let tasks = scale.tasks(50_000);
    // Two threads of our own block on it; its worker has nothing to do but
    // timers.
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime can be built here");
    let lanes = any_lane(SLOTS);
    let names = ["one", "two"];
    let pair = names.map(|name| lanes.lane(name).expect("it is a name"));
    let map = Map::new(names, SLOTS);
    let (handle, pair, map) = (runtime.handle(), &pair, &map);
    let ours = |at: [usize; 2], threads| {
        move || {
            hammer(threads, tasks, |thread| {
                handle.block_on(run(&pair[at[thread]], tasks))
            })
        }
    };
    let theirs = |at: [usize; 2], threads| {
        move || {
            hammer(threads, tasks, |thread| {
                handle.block_on(hold(map, names[at[thread]], tasks))
            })
        }
    };
    let turns = Turns::take_unlike(
        scale.rounds(101),
        vec![
            Side::new("one thread", tasks, ours([0, 0], 1)),
            Side::new("two threads, two lanes", 2 * tasks, ours([0, 1], 2)),
            Side::new("two threads, one lane", 2 * tasks, ours([0, 0], 2)),
            Side::new("map: one thread", tasks, theirs([0, 0], 1)),
            Side::new("map: two threads, two names", 2 * tasks, theirs([0, 1], 2)),
            Side::new("map: two threads, one name", 2 * tasks, theirs([0, 0], 2)),
        ],
    );
    for (ours, alone, limit) in [
        ("two threads, two lanes", "one thread", Some(1.7)),
        ("two threads, one lane", "one thread", Some(0.6)),
        ("map: two threads, two names", "map: one thread", None),
        ("map: two threads, one name", "map: one thread", None),
    ] {
        let row = Row::lead(8, "`run` of ready tasks per second", &turns, ours, alone);
        match limit {
            Some(limit) => row.at_least(limit).print(),
            None => row
                .note("the other side by the same measure, for comparison")
                .print(),
        }
    }
}

/// From when all are ready until the last is done.
fn hammer(threads: usize, tasks: u64, work: impl Fn(usize) -> u64 + Sync) -> Round {
    let ready = Barrier::new(threads);
    let spans: Vec<(Instant, Instant, u64)> = thread::scope(|scope| {
        let hands: Vec<_> = (0..threads)
            .map(|thread| {
                let (ready, work) = (&ready, &work);
                scope.spawn(move || {
                    ready.wait();
                    let began = Instant::now();
                    let sum = work(thread);
                    (began, Instant::now(), sum)
                })
            })
            .collect();
        hands
            .into_iter()
            .map(|hand| hand.join().expect("it ends"))
            .collect()
    });
    let began = spans
        .iter()
        .map(|span| span.0)
        .min()
        .expect("there are threads");
    let ended = spans
        .iter()
        .map(|span| span.1)
        .max()
        .expect("there are threads");
    let sum: u64 = spans.iter().map(|span| span.2).sum();
    assert_eq!(sum, threads as u64 * tasks * (tasks - 1) / 2);
    Round {
        took: ended - began,
        sum,
    }
}

async fn run(lane: &Lane, tasks: u64) -> u64 {
    let mut sum = 0;
    for n in 0..tasks {
        sum += black_box(lane.run(async |_| black_box(n)).await).expect("it runs");
    }
    sum
}

async fn hold(map: &Map, name: &str, tasks: u64) -> u64 {
    let mut sum = 0;
    for n in 0..tasks {
        let _permit = map.get(name).acquire_owned().await.expect("it is open");
        sum += timeout(MINUTE, async { black_box(n) })
            .await
            .expect("it is in time");
    }
    sum
}
