//! A thread that sees what no task can: that its runtime polls nobody. In real
//! time; what never comes to be is a test that hangs.

mod common;

use std::future::pending;
use std::sync::mpsc;
use std::time::Duration;

use laneway::{Lane, LaneConfig, Lanes, TaskError};
use tokio::runtime::{Builder, Runtime};

use common::{SHORT, one_worker, until_now};

fn watched(config: LaneConfig) -> (Lanes, Lane) {
    let lanes = Lanes::builder().lane("main", config).watchdog();
    let lanes = lanes.build().unwrap();
    let main = lanes.lane("main").unwrap();
    (lanes, main)
}

/// A runtime whose only worker is blocked until this is dropped.
struct Blocked {
    // Dropped first: the runtime waits for its worker.
    release: Option<mpsc::Sender<()>>,
    runtime: Runtime,
}

impl Blocked {
    fn new() -> Self {
        let runtime = one_worker();
        let (release, gate) = mpsc::channel::<()>();
        let (opened, blocked) = mpsc::channel();
        runtime.spawn(async move {
            opened.send(()).unwrap();
            let _ = gate.recv();
        });
        blocked.recv().unwrap();
        Self {
            release: Some(release),
            runtime,
        }
    }
}

#[test]
fn s8_a_runtime_that_polls_nobody_is_noticed_while_it_does_and_not_afterwards() {
    let (lanes, main) = watched(LaneConfig::new(1).no_stall_ceiling());
    let mut blocked = Blocked::new();
    let tasks: Vec<_> = {
        // One of them has the slot, and one waits.
        let _entered = blocked.runtime.enter();
        (0..2).map(|_| main.spawn(async |_| ())).collect()
    };
    until_now(|| !lanes.snapshot().stuck_runtimes.is_empty());
    let stuck = &lanes.snapshot().stuck_runtimes;
    assert_eq!(stuck.len(), 1);
    assert!(stuck[0].stuck >= Duration::from_secs(1), "{stuck:?}");
    drop(blocked.release.take());
    blocked.runtime.block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
    });
    until_now(|| lanes.snapshot().stuck_runtimes.is_empty());
}

/// Its own timer is a task that nobody polls.
#[test]
fn s8_an_overdue_task_loses_its_slot_while_its_runtime_is_stuck() {
    let (_lanes, main) = watched(LaneConfig::new(1).stall_ceiling(SHORT));
    let runtime = one_worker();
    let (release, gate) = mpsc::channel::<()>();
    let silent = {
        let _entered = runtime.enter();
        main.spawn(async move |_| {
            // Next on this worker, before any driver.
            tokio::spawn(async move {
                let _ = gate.recv();
            });
            pending::<()>().await;
        })
    };
    until_now(|| main.snapshot().counters.taken == 1);
    assert_eq!(main.snapshot().active.len(), 0);
    // Whoever is told need not be on that runtime.
    let told = futures::executor::block_on(silent);
    assert!(matches!(told, Err(TaskError::Stalled { .. })), "{told:?}");
    drop(release);
}

/// A runtime that was shut down is not stuck.
#[test]
fn a_stuck_runtime_that_goes_is_forgotten() {
    let (lanes, main) = watched(LaneConfig::new(1).no_stall_ceiling());
    let blocked = Blocked::new();
    let tasks: Vec<_> = {
        let _entered = blocked.runtime.enter();
        (0..2).map(|_| main.spawn(async |_| ())).collect()
    };
    until_now(|| !lanes.snapshot().stuck_runtimes.is_empty());
    let Blocked { release, runtime } = blocked;
    runtime.shutdown_background();
    drop(tasks);
    drop(release);
    until_now(|| lanes.snapshot().stuck_runtimes.is_empty());
}

/// One that was driven once, and has nothing of ours, is nobody's trouble.
#[test]
fn a_runtime_that_nobody_needs_is_not_stuck() {
    let (lanes, main) = watched(LaneConfig::new(1).no_stall_ceiling());
    let mut aside = Builder::new_current_thread();
    let aside = aside.enable_all().build().unwrap();
    aside.block_on(async { main.run(async |_| ()).await.unwrap() });
    let runtime = one_worker();
    runtime.block_on(async {
        let holder = main.acquire().await.unwrap();
        let waiter = main.spawn(async |_| ());
        // As long as it takes to find out, twice.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        let id = aside.handle().id().to_string();
        let stuck = lanes.snapshot().stuck_runtimes;
        assert!(stuck.iter().all(|stuck| stuck.id != id), "{stuck:?}");
        drop(holder);
        waiter.await.unwrap();
    });
    drop(aside);
}

#[test]
fn a_healthy_scheduler_has_no_stuck_runtime() {
    let (lanes, main) = watched(LaneConfig::new(2));
    let runtime = one_worker();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..100)
            .map(|_| main.spawn(async |_| tokio::time::sleep(Duration::from_millis(30)).await))
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    // Whatever a starved machine made of it meanwhile.
    until_now(|| lanes.snapshot().stuck_runtimes.is_empty());
}

/// It keeps no scheduler alive, and ends with it.
#[test]
fn s15_the_thread_ends_with_its_scheduler() {
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm"));
        let names = tasks.filter_map(|task| name(task.unwrap()).ok());
        names
            .filter(|name| name.starts_with("laneway-watch"))
            .count()
    };
    if !std::path::Path::new("/proc/self/task").exists() {
        eprintln!("skipped: no /proc to count threads in");
        return;
    }
    let before = threads();
    let many: Vec<_> = (0..20).map(|_| watched(LaneConfig::new(1))).collect();
    drop(many);
    // Those of the tests beside are at most as many as there are tests.
    until_now(|| threads() <= before + 3);
}
