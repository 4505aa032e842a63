//! What a log of events costs a ready future through a free slot.

use std::hint::black_box;
use std::time::Instant;

use laneway::{Lane, LaneConfig, Lanes};
use laneway_peers::report::Row;
use laneway_peers::scale::Scale;
use laneway_peers::schedulers::Flavour;
use laneway_peers::turns::{Round, Side, Turns};

const CAPACITY: usize = 10_000;

pub fn rows(scale: Scale) {
    for flavour in Flavour::BOTH {
        flavoured(scale, flavour);
    }
}

fn flavoured(scale: Scale, flavour: Flavour) {
    let runtime = flavour.runtime();
    let tasks = scale.tasks(500);
    let lanes = |events: bool| {
        let builder = Lanes::builder().lane("main", LaneConfig::new(8));
        let builder = if events {
            builder.events(CAPACITY)
        } else {
            builder
        };
        let lanes = builder.build().expect("it can be built");
        let main = lanes.lane("main").expect("it is configured");
        (lanes, main)
    };
    let (off, on) = (lanes(false), lanes(true));
    let side = |name, main: &Lane| {
        let (main, runtime) = (main.clone(), &runtime);
        Side::new(name, tasks, move || {
            let task = runtime.spawn(through(main.clone(), tasks));
            runtime.block_on(task).expect("it ends")
        })
    };
    let sides = vec![side("events on", &on.1), side("events off", &off.1)];
    let turns = Turns::take(scale.rounds(1_001), sides);
    let row = format!("`run`, ready, a slot is free, {}", flavour.name());
    Row::ratio(10, &row, &turns, "events on", "events off")
        .at_most(1.4)
        .print();
}

async fn through(main: Lane, tasks: u64) -> Round {
    let (began, mut sum) = (Instant::now(), 0);
    for n in 0..tasks {
        sum += black_box(main.run(async |_| black_box(n)).await).expect("it runs");
    }
    Round {
        took: began.elapsed(),
        sum,
    }
}
