//! Cancelling what is queued.

use std::time::Instant;

use laneway::{Lane, Lanes, Reason, TaskHandle};
use laneway_peers::report::{Row, grouped};
use laneway_peers::scale::Scale;
use laneway_peers::schedulers::{Flavour, Walk, one_lane};
use laneway_peers::spread::Spread;
use laneway_peers::turns::Round;
use tokio::runtime::Runtime;

pub fn rows(scale: Scale) {
    let (many, few) = (scale.tasks(1_000_000), scale.tasks(100_000));
    let runtime = Flavour::CurrentThread.runtime();
    let rounds = scale.rounds(51);
    for (row, order) in [
        ("any of them by handle", Order::Any),
        ("any of them by id", Order::ById),
        ("the youngest by handle", Order::Youngest),
    ] {
        let mut queue = Queue::new(&runtime, many);
        let per_round = (many / 100).max(1);
        queue.round(order, per_round);
        let times = (0..rounds)
            .map(|_| queue.round(order, per_round))
            .map(|round| round.took.as_nanos() as f64 / per_round as f64);
        let row = format!("cancel one of {} queued, {row}", grouped(many));
        let row = Row::amount(9, &row, "cancel", Spread::of(times.collect()), "ns")
            .at_most(300.0)
            .rounds(rounds, per_round);
        match order {
            Order::Youngest => row
                .note("its memory is at hand; the others' is not")
                .print(),
            _ => row.print(),
        }
    }
    all(scale, &runtime, few, many);
}

#[derive(Clone, Copy)]
enum Order {
    Any,
    ById,
    Youngest,
}

/// A paused lane with many queued tasks, of which each has a handle.
struct Queue<'a> {
    runtime: &'a Runtime,
    lanes: Lanes,
    main: Lane,
    handles: Vec<TaskHandle<()>>,
    walk: Walk,
}

impl<'a> Queue<'a> {
    fn new(runtime: &'a Runtime, size: u64) -> Self {
        let (lanes, main) = one_lane(8);
        main.pause();
        let _inside = runtime.enter();
        let handles = (0..size).map(|_| main.spawn(async |_| ())).collect();
        Self {
            runtime,
            lanes,
            main,
            handles,
            walk: Walk::new(size),
        }
    }

    /// Cancels some, which is timed, and puts others in their places.
    fn round(&mut self, order: Order, cancels: u64) -> Round {
        let _inside = self.runtime.enter();
        let mut places: Vec<usize> = match order {
            Order::Youngest => {
                let len = self.handles.len();
                (len - cancels as usize..len).collect()
            }
            Order::Any | Order::ById => (0..cancels).map(|_| self.walk.step()).collect(),
        };
        let ids: Vec<_> = places
            .iter()
            .map(|place| self.handles[*place].id())
            .collect();
        let began = Instant::now();
        match order {
            Order::ById => {
                for id in ids {
                    // A place may come up twice.
                    let _ = self.lanes.cancel(id, Reason::User);
                }
            }
            Order::Any | Order::Youngest => {
                for place in &places {
                    self.handles[*place].cancel(Reason::User);
                }
            }
        }
        let took = began.elapsed();
        places.sort_unstable();
        places.dedup();
        for place in &places {
            self.handles[*place] = self.main.spawn(async |_| ());
        }
        Round { took, sum: cancels }
    }
}

fn all(scale: Scale, runtime: &Runtime, few: u64, many: u64) {
    let rounds = scale.rounds(7);
    let mut ratios = Vec::new();
    let (mut few_ns, mut many_ns) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let per_task = |size: u64| {
            let queue = Queue::new(runtime, size);
            let _inside = runtime.enter();
            let began = Instant::now();
            let ended = queue.main.cancel_all(Reason::User);
            let took = began.elapsed();
            assert_eq!(ended as u64, size);
            took.as_nanos() as f64 / size as f64
        };
        let (a, b) = (per_task(few), per_task(many));
        // The first does not count.
        if round > 0 {
            few_ns.push(a);
            many_ns.push(b);
            ratios.push(b / a);
        }
    }
    let row = format!(
        "cancel all of {} over all of {}, each per task",
        grouped(many),
        grouped(few)
    );
    let mut row = Row::amount(
        9,
        &row,
        &format!("all of {}", grouped(many)),
        Spread::of(ratios),
        "×",
    )
    .at_most(2.0)
    .rounds(rounds, many)
    .note("1 is linear; a sort costs a logarithm, a cache that is too small some more");
    row.ours_ns = Some(Spread::of(many_ns));
    row.theirs_ns = Some(Spread::of(few_ns));
    row.theirs = format!("all of {}", grouped(few));
    row.print();
}
