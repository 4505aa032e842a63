//! Many detached tasks at once.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use laneway::Lane;
use laneway_peers::report::Row;
use laneway_peers::scale::Scale;
use laneway_peers::schedulers::{Flavour, one_lane};
use laneway_peers::turns::{Round, Side, Turns};
use tokio::sync::Semaphore;
use tokio::task::yield_now;

pub fn rows(scale: Scale) {
    for flavour in Flavour::BOTH {
        // The aim names a million over 8 slots; the rest is to be no worse.
        row::<false>(scale, flavour, 8, 1_000_000, 5, 1.0);
        row::<true>(scale, flavour, 8, 1_000_000, 5, 1.15);
        for slots in [1, 64] {
            row::<false>(scale, flavour, slots, 200_000, 9, 1.15);
            row::<true>(scale, flavour, slots, 200_000, 9, 1.15);
        }
    }
}

fn row<const YIELD: bool>(
    scale: Scale,
    flavour: Flavour,
    slots: usize,
    full: u64,
    rounds: usize,
    limit: f64,
) {
    let (runtime, tasks) = (flavour.runtime(), scale.tasks(full));
    let (_lanes, main) = one_lane(slots);
    let semaphore = Arc::new(Semaphore::new(slots));
    runtime.block_on(bounded(&main, &semaphore, slots));
    let turns = Turns::take(
        scale.rounds(rounds),
        vec![
            Side::new("`spawn`", tasks, || {
                runtime.block_on(ours::<YIELD>(&main, tasks))
            }),
            Side::new("`tokio::spawn` + `Semaphore`", tasks, || {
                runtime.block_on(theirs::<YIELD>(&semaphore, tasks))
            }),
        ],
    );
    let kind = if YIELD { "yielding" } else { "ready" };
    let name = format!("{kind}, slots: {slots}, {}", flavour.name());
    Row::ratio(2, &name, &turns, "`spawn`", "`tokio::spawn` + `Semaphore`")
        .at_most(limit)
        .print();
}

async fn ours<const YIELD: bool>(main: &Lane, tasks: u64) -> Round {
    let (began, mut sum) = (Instant::now(), 0);
    let spawn = |n| {
        main.spawn(async move |_| {
            if YIELD {
                yield_now().await;
            }
            black_box(n)
        })
    };
    let handles: Vec<_> = (0..tasks).map(spawn).collect();
    for handle in handles {
        sum += handle.await.expect("it runs");
    }
    Round {
        took: began.elapsed(),
        sum,
    }
}

async fn theirs<const YIELD: bool>(semaphore: &Arc<Semaphore>, tasks: u64) -> Round {
    let (began, mut sum) = (Instant::now(), 0);
    let spawn = |n| {
        let semaphore = Arc::clone(semaphore);
        tokio::spawn(async move {
            let _permit = semaphore.acquire().await.expect("it is open");
            if YIELD {
                yield_now().await;
            }
            black_box(n)
        })
    };
    let handles: Vec<_> = (0..tasks).map(spawn).collect();
    for handle in handles {
        sum += handle.await.expect("it runs");
    }
    Round {
        took: began.elapsed(),
        sum,
    }
}

/// Both sides fill their slots, and neither runs more at once.
async fn bounded(main: &Lane, semaphore: &Arc<Semaphore>, slots: usize) {
    let at_once = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let body = |at_once: Arc<AtomicUsize>, most: Arc<AtomicUsize>| async move {
        most.fetch_max(at_once.fetch_add(1, Relaxed) + 1, Relaxed);
        yield_now().await;
        at_once.fetch_sub(1, Relaxed);
    };
    let tasks: Vec<_> = (0..1_000)
        .map(|_| {
            let work = body(Arc::clone(&at_once), Arc::clone(&most));
            main.spawn(|_| work)
        })
        .collect();
    for task in tasks {
        task.await.expect("it runs");
    }
    let ours = most.swap(0, Relaxed);
    let tasks: Vec<_> = (0..1_000)
        .map(|_| {
            let work = body(Arc::clone(&at_once), Arc::clone(&most));
            let semaphore = Arc::clone(semaphore);
            tokio::spawn(async move {
                let _permit = semaphore.acquire().await.expect("it is open");
                work.await;
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("it runs");
    }
    let theirs = most.load(Relaxed);
    assert!(
        ours <= slots && theirs <= slots,
        "{ours} and {theirs} over {slots}"
    );
}
