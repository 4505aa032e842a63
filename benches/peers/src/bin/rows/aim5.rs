//! A report of progress, against a bare read of its clock.

use std::hint::black_box;
use std::time::{Duration, Instant};

use laneway_peers::report::Row;
use laneway_peers::scale::Scale;
use laneway_peers::schedulers::{Flavour, one_lane};
use laneway_peers::turns::{Round, Side, Turns};

pub fn rows(scale: Scale) {
    let reports = scale.tasks(10_000);
    let (_lanes, main) = one_lane(1);
    let runtime = Flavour::CurrentThread.runtime();
    let turns = runtime.block_on(main.run(async |cx| {
        let side = |name, report: fn(&laneway::TaskContext)| {
            let cx = cx.clone();
            Side::new(name, reports, move || Round {
                took: repeat(reports, || report(&cx)),
                sum: reports,
            })
        };
        Turns::take(
            scale.rounds(301),
            vec![
                side("`cx.progress()`", |cx| cx.progress()),
                side("tokio's clock", |_| {
                    black_box(tokio::time::Instant::now());
                }),
                side("`laneway::progress()`", |_| assert!(laneway::progress())),
                side("std's clock", |_| {
                    black_box(Instant::now());
                }),
            ],
        )
    }));
    let turns = turns.expect("it runs");
    for (ours, limit) in [("`cx.progress()`", 1.4), ("`laneway::progress()`", 1.8)] {
        Row::ratio(5, "report of progress", &turns, ours, "tokio's clock")
            .at_most(limit)
            .print();
        Row::ratio(5, "report of progress", &turns, ours, "std's clock").print();
    }
}

fn repeat(times: u64, mut code: impl FnMut()) -> Duration {
    let began = Instant::now();
    for _ in 0..times {
        code();
    }
    began.elapsed()
}
