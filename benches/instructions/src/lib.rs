//! The core paths of laneway, each as many times over as makes a count of one.
//!
//! Everything is on a runtime of one thread: what a second thread does, and
//! when, is nothing that repeats.

use std::hint::black_box;
use std::time::Duration;

use laneway::{Lane, LaneConfig, Lanes, Reason, Slot, TaskHandle};
use tokio::runtime::{Builder, Runtime};

/// How often a path is taken.
pub const TIMES: u64 = 1_000;

pub struct World {
    runtime: Runtime,
    lanes: Lanes,
    main: Lane,
    slot: Option<Slot>,
    queued: Vec<TaskHandle<u64>>,
}

impl World {
    /// With a ceiling that does not run out however slowly this runs.
    fn new(slots: usize) -> Self {
        let ceiling = Duration::from_secs(24 * 60 * 60);
        let lanes = Lanes::builder()
            .lane("main", LaneConfig::new(slots).stall_ceiling(ceiling))
            .build()
            .expect("the configuration is sound");
        Self {
            runtime: Builder::new_current_thread()
                .enable_time()
                .build()
                .expect("a runtime can be built here"),
            main: lanes.lane("main").expect("it is configured"),
            lanes,
            slot: None,
            queued: Vec::with_capacity(TIMES as usize),
        }
    }

    /// A lane with free slots, warm: what is made once is made.
    pub fn free() -> Self {
        let mut world = Self::new(8);
        world = run_by_handle(world);
        world = spawn(world);
        world
    }

    /// A lane of one whose slot is held.
    pub fn full() -> Self {
        let mut world = Self::new(1);
        world = spawn(world);
        let slot = world.runtime.block_on(world.main.acquire());
        world.slot = Some(slot.expect("a slot is free"));
        world
    }

    /// The same with a queue.
    pub fn with_waiters() -> Self {
        let mut world = Self::full();
        let _inside = world.runtime.enter();
        for n in 0..TIMES {
            world.queued.push(world.main.spawn(async move |_| n));
        }
        drop(_inside);
        world
    }
}

pub fn run_by_handle(world: World) -> World {
    world.runtime.block_on(async {
        for n in 0..TIMES {
            let done = world.main.run(async |_| black_box(n)).await;
            black_box(done).expect("it runs");
        }
    });
    world
}

pub fn run_by_name(world: World) -> World {
    world.runtime.block_on(async {
        for n in 0..TIMES {
            let main = world.lanes.lane(black_box("main")).expect("it is there");
            let done = main.run(async |_| black_box(n)).await;
            black_box(done).expect("it runs");
        }
    });
    world
}

pub fn spawn(mut world: World) -> World {
    let mut queued = std::mem::take(&mut world.queued);
    world.runtime.block_on(async {
        queued.extend((0..TIMES).map(|n| world.main.spawn(async move |_| black_box(n))));
        for task in queued.drain(..) {
            black_box(task.await).expect("it runs");
        }
    });
    world.queued = queued;
    world
}

/// Every settlement of a task starts the next one.
pub fn settle_with_waiter(mut world: World) -> World {
    drop(world.slot.take());
    world.runtime.block_on(async {
        for task in world.queued.drain(..) {
            black_box(task.await).expect("it runs");
        }
    });
    world
}

/// Queued, and out of the queue again.
pub fn submit_and_cancel(world: World) -> World {
    let inside = world.runtime.enter();
    for n in 0..TIMES {
        let task = world.main.spawn(async move |_| n);
        task.cancel(Reason::User);
        drop(black_box(task));
    }
    drop(inside);
    world
}

pub fn acquire(world: World) -> World {
    world.runtime.block_on(async {
        for _ in 0..TIMES {
            drop(black_box(
                world.main.acquire().await.expect("a slot is free"),
            ));
        }
    });
    world
}

/// One `run` with many reports in it.
pub fn progress(world: World) -> World {
    let done = world.runtime.block_on(world.main.run(async |cx| {
        for _ in 0..TIMES {
            cx.progress();
        }
    }));
    done.expect("it runs");
    world
}

pub fn ambient_progress(world: World) -> World {
    let done = world.runtime.block_on(world.main.run(async |_| {
        for _ in 0..TIMES {
            assert!(laneway::progress());
        }
    }));
    done.expect("it runs");
    world
}
