//! What a queued task and a lane hold in memory, counted by the allocator.

use std::alloc::System;
use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};

use cap::Cap;
use laneway::{Lane, LaneConfig, Lanes, TaskHandle};
use laneway_peers::report::Row;
use laneway_peers::scale::Scale;
use laneway_peers::schedulers::{Flavour, config, one_lane};
use laneway_peers::spread::Spread;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let scale = Scale::of(&args);
    let runtime = Flavour::CurrentThread.runtime();
    let tasks = scale.tasks(1_000_000);
    queued(&runtime, tasks);
    lanes(scale.tasks(100_000));
    retired(scale.tasks(1_000_000), scale.tasks(100_000));
}

/// Bytes that stand after this and did not before, and what holds them.
fn held<T>(make: impl FnOnce() -> T) -> (f64, T) {
    let before = HEAP.allocated();
    let made = make();
    (HEAP.allocated() as f64 - before as f64, made)
}

fn row(name: &str, what: &str, bytes: f64, of: u64) -> Row {
    Row::amount(7, name, what, Spread::exact(bytes / of as f64), "bytes").rounds(1, of)
}

// Queued tasks ----------------------------------------------------------------

fn queued(runtime: &Runtime, tasks: u64) {
    let _inside = runtime.enter();
    let nothing = async |_: laneway::TaskContext| ();
    spawned(
        "a queued `spawn`, whose future holds nothing",
        tasks,
        nothing,
    );
    let big = [0_u8; 1_024];
    spawned(
        "a queued `spawn`, whose future holds 1,024 bytes",
        tasks / 10,
        async move |_: laneway::TaskContext| {
            black_box(&big);
        },
    );
    let (_lanes, main) = one_lane(1);
    main.pause();
    let mut inside = 0;
    let (bytes, waiting) = held(|| {
        let mut waiting: Vec<Pin<Box<dyn Future<Output = ()>>>> =
            Vec::with_capacity(tasks as usize);
        for _ in 0..tasks {
            let task = run_nothing(main.clone());
            inside = size_of_val(&task);
            waiting.push(Box::pin(task));
            let task = waiting.last_mut().expect("it was pushed");
            assert!(
                task.as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
                    .is_pending()
            );
        }
        waiting
    });
    let pointers = waiting.capacity() * size_of::<Pin<Box<dyn Future<Output = ()>>>>();
    let note = format!("of them {inside} in the caller's own future");
    row(
        "a queued `run`, whose future holds nothing",
        "all",
        bytes - pointers as f64,
        tasks,
    )
    .at_most(256.0)
    .note(note)
    .print();
    drop(waiting);
    theirs(runtime, tasks);
}

async fn run_nothing(main: Lane) {
    main.run(async |_| ()).await.expect("it runs");
}

fn spawned<F, Fut>(name: &str, tasks: u64, work: F)
where
    F: FnOnce(laneway::TaskContext) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (_lanes, main) = one_lane(1);
    main.pause();
    let (bytes, handles) = held(|| {
        let mut handles = Vec::with_capacity(tasks as usize);
        handles.extend((0..tasks).map(|_| main.spawn(work.clone())));
        handles
    });
    let handle = size_of::<TaskHandle<()>>();
    let all = bytes / tasks as f64 - handle as f64;
    let future = future_size(&work);
    Row::amount(
        7,
        name,
        "beyond the future",
        Spread::exact(all - future as f64),
        "bytes",
    )
    .at_most(256.0)
    .rounds(1, tasks)
    .note(format!(
        "{future} bytes of future; a handle that is kept is {handle} more, where it is kept"
    ))
    .print();
    drop(handles);
}

/// What the closure or its future takes, whichever is larger: one place holds
/// the one, and then the other.
fn future_size<F, Fut>(_: &F) -> usize
where
    F: FnOnce(laneway::TaskContext) -> Fut,
{
    size_of::<F>().max(size_of::<Fut>())
}

fn theirs(runtime: &Runtime, tasks: u64) {
    let semaphore = Arc::new(Semaphore::new(0));
    let (bytes, handles) = held(|| {
        let mut handles = Vec::with_capacity(tasks as usize);
        handles.extend((0..tasks).map(|_| {
            let semaphore = Arc::clone(&semaphore);
            tokio::spawn(async move {
                let _permit = semaphore.acquire().await.expect("it is open");
            })
        }));
        let mut first = pin!(semaphore.acquire());
        // Every task runs up to the semaphore.
        runtime.block_on(async {
            for _ in 0..tasks / 10 {
                tokio::task::yield_now().await;
            }
            let _ = first.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        });
        handles
    });
    let pointers = handles.capacity() * size_of::<tokio::task::JoinHandle<()>>();
    row(
        "a task of `tokio::spawn` that waits for a `Semaphore`",
        "beyond the future",
        bytes - pointers as f64,
        tasks,
    )
    .note("for comparison; it holds the future of `acquire`, too")
    .print();
    drop(handles);
}

// Lanes -----------------------------------------------------------------------

fn lanes(count: u64) {
    let names: Vec<String> = (0..count).map(|n| format!("session-{n}")).collect();
    let (bytes, declared) = held(|| {
        let builder = names.iter().fold(Lanes::builder(), |builder, name| {
            builder.lane(name, config(1))
        });
        builder.build().expect("the lanes are sound")
    });
    row(
        "an idle pinned lane",
        "one that was configured by name",
        bytes,
        count,
    )
    .at_most(512.0)
    .print();
    drop(declared);
    let (bytes, (_lanes, handles)) = held(|| {
        let lanes = by_default();
        let mut handles = Vec::with_capacity(count as usize);
        handles.extend(
            names
                .iter()
                .map(|name| lanes.lane(name).expect("it is a name")),
        );
        (lanes, handles)
    });
    let handle = size_of::<Lane>();
    row(
        "an idle lane that a handle keeps",
        "beside its handle",
        bytes,
        count,
    )
    .note(format!("{handle} of them the handle, where it is kept"))
    .print();
    drop(handles);
}

fn by_default() -> Lanes {
    Lanes::builder()
        .default_lane(LaneConfig::new(1))
        .build()
        .expect("the configuration is sound")
}

/// Lanes that came and went, one at a time and all at once.
fn retired(one_by_one: u64, at_once: u64) {
    let lanes = by_default();
    // What the first lane of all sets up stays.
    drop(lanes.lane("first").expect("it is a name"));
    let (bytes, ()) = held(|| {
        for n in 0..one_by_one {
            drop(lanes.lane(&format!("session-{n}")).expect("it is a name"));
        }
    });
    left("one after another", bytes, one_by_one);
    let (bytes, ()) = held(|| {
        let handles: Vec<_> = (0..at_once)
            .map(|n| lanes.lane(&format!("session-{n}")).expect("it is a name"))
            .collect();
        drop(handles);
    });
    left("all at once", bytes, at_once);
}

/// To the byte: what a table keeps for itself is not a lane's.
fn left(how: &str, bytes: f64, of: u64) {
    let each = Spread::exact((bytes / of as f64).round());
    Row::amount(7, "a retired lane", how, each, "bytes")
        .at_most(0.0)
        .rounds(1, of)
        .note(format!("{bytes} bytes left of all"))
        .print();
}
