//! What it costs a ready future through a free slot that what happens is kept.

use laneway::{LaneConfig, Lanes, LanesBuilder};

use crate::report::Row;
use crate::scale::Scale;
use crate::schedulers::Flavour;
use crate::through;
use crate::turns::{Side, Turns};

/// A row for each flavour: with it, by this name, beside without. `after` each round
/// is not part of it.
pub fn rows(
    scale: Scale,
    name: &'static str,
    with: impl Fn(LanesBuilder) -> LanesBuilder,
    after: fn(&Lanes),
) {
    for flavour in Flavour::BOTH {
        let runtime = flavour.runtime();
        let tasks = scale.tasks(500);
        let side = |name, builder: LanesBuilder, after: fn(&Lanes)| {
            let lanes = builder.build().expect("it can be built");
            let main = lanes.lane("main").expect("it is configured");
            let runtime = &runtime;
            Side::new(name, tasks, move || {
                let task = runtime.spawn(through::by_handle(main.clone(), tasks));
                let round = runtime.block_on(task).expect("it ends");
                after(&lanes);
                round
            })
        };
        let lane = || Lanes::builder().lane("main", LaneConfig::new(8));
        let sides = vec![side(name, with(lane()), after), side("off", lane(), |_| ())];
        let turns = Turns::take(scale.rounds(1_001), sides);
        let row = format!("`run`, ready, a slot is free, {}", flavour.name());
        Row::ratio(10, &row, &turns, name, "off")
            .at_most(1.4)
            .print();
    }
}
