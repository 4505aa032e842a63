//! A ready future through a free slot.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use laneway::Lanes;
use laneway_peers::report::Row;
use laneway_peers::scale::Scale;
use laneway_peers::schedulers::{Flavour, MINUTE, Map, one_lane};
use laneway_peers::through::by_handle;
use laneway_peers::turns::{Round, Side, Turns};
use tokio::time::timeout;

const SLOTS: usize = 8;

pub fn rows(scale: Scale) {
    for flavour in Flavour::BOTH {
        flavoured(scale, flavour);
    }
}

fn flavoured(scale: Scale, flavour: Flavour) {
    let runtime = flavour.runtime();
    let tasks = scale.tasks(500);
    let (lanes, main) = one_lane(SLOTS);
    let map = Arc::new(Map::new(["main"], SLOTS));
    // In a task, where users are: not on the thread that blocks.
    macro_rules! side {
        ($name:literal, $future:expr) => {
            Side::new($name, tasks, || {
                let task = runtime.spawn($future);
                runtime.block_on(task).expect("it ends")
            })
        };
    }
    let turns = Turns::take(
        scale.rounds(1_001),
        vec![
            side!("`run` by handle", by_handle(main.clone(), tasks)),
            side!("map", by_map(Arc::clone(&map), tasks)),
            side!("`run` by name", by_name(lanes.clone(), tasks)),
            side!("map with timeout", by_map_in_time(Arc::clone(&map), tasks)),
        ],
    );
    for (ours, theirs, limit) in [
        ("`run` by handle", "map with timeout", 1.0),
        ("`run` by handle", "map", 1.5),
        ("`run` by name", "map with timeout", 1.2),
        ("`run` by name", "map", 1.8),
    ] {
        let row = format!("ready, a slot is free, {}", flavour.name());
        Row::ratio(1, &row, &turns, ours, theirs)
            .at_most(limit)
            .print();
    }
}

async fn by_name(lanes: Lanes, tasks: u64) -> Round {
    let (began, mut sum) = (Instant::now(), 0);
    for n in 0..tasks {
        let main = lanes.lane(black_box("main")).expect("it is configured");
        sum += black_box(main.run(async |_| black_box(n)).await).expect("it runs");
    }
    Round {
        took: began.elapsed(),
        sum,
    }
}

async fn by_map(map: Arc<Map>, tasks: u64) -> Round {
    let (began, mut sum) = (Instant::now(), 0);
    for n in 0..tasks {
        let permit = map
            .get(black_box("main"))
            .acquire_owned()
            .await
            .expect("it is open");
        sum += black_box(async { black_box(n) }.await);
        drop(permit);
    }
    Round {
        took: began.elapsed(),
        sum,
    }
}

async fn by_map_in_time(map: Arc<Map>, tasks: u64) -> Round {
    let (began, mut sum) = (Instant::now(), 0);
    for n in 0..tasks {
        let permit = map
            .get(black_box("main"))
            .acquire_owned()
            .await
            .expect("it is open");
        let work = timeout(MINUTE, async { black_box(n) });
        sum += black_box(work.await).expect("it is in time");
        drop(permit);
    }
    Round {
        took: began.elapsed(),
        sum,
    }
}
