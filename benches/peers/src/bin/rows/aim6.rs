//! Many active tasks under ceilings, and nothing happening.

use std::fs;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use laneway::{LaneConfig, Lanes};
use laneway_peers::report::{Row, grouped};
use laneway_peers::scale::Scale;
use laneway_peers::schedulers::Flavour;
use laneway_peers::spread::Spread;
use rustix::time::{ClockId, clock_gettime};

pub fn rows(scale: Scale) {
    let (tasks, seconds) = match scale {
        Scale::Full => (100_000, 20),
        Scale::Quick => (100_000, 5),
        Scale::Smoke => (1_000, 1),
    };
    quiet(tasks, Duration::from_secs(seconds));
}

/// This thread sleeps; those of the runtime are watched.
fn quiet(tasks: usize, time: Duration) {
    let runtime = Flavour::MultiThread.runtime();
    // No deadline is near: the ceiling is longer than we look.
    let config = LaneConfig::new(tasks).stall_ceiling(Duration::from_secs(600));
    let lanes = Lanes::builder()
        .lane("main", config)
        .build()
        .expect("it is sound");
    let main = lanes.lane("main").expect("it is configured");
    let inside = runtime.enter();
    let begun = Arc::new(AtomicUsize::new(0));
    for _ in 0..tasks {
        let begun = Arc::clone(&begun);
        drop(main.spawn(async move |_| {
            begun.fetch_add(1, Relaxed);
            pending::<()>().await;
        }));
    }
    drop(inside);
    while begun.load(Relaxed) < tasks {
        thread::sleep(Duration::from_millis(100));
    }
    // What a start brings with it is over: a grant is looked at once more when
    // its claim ceiling of 5 s runs out.
    thread::sleep(Duration::from_secs(7));
    let (cpu, switches) = (cpu_time(), runtime_switches());
    thread::sleep(time);
    let cpu = cpu_time() - cpu;
    let switches = runtime_switches()
        .zip(switches)
        .map(|(after, before)| after - before);
    assert_eq!(main.snapshot().active.len(), tasks, "nothing was to happen");
    let row = format!(
        "{} active under ceilings, nothing happens for {} s",
        grouped(tasks as u64),
        time.as_secs()
    );
    let share = cpu.as_secs_f64() / time.as_secs_f64() * 100.0;
    Row::amount(6, &row, "process", Spread::exact(share), "% of a core")
        .at_most(0.1)
        .note("from 7 s after the start on, when the claim ceiling of the last grant is over")
        .print();
    if let Some(switches) = switches {
        Row::amount(
            6,
            &row,
            "threads of the runtime",
            Spread::exact(switches as f64),
            "wake-ups",
        )
        .at_most(0.0)
        .note("voluntary context switches of the runtime's threads")
        .print();
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// How often a thread of this process, other than the one that asks, went to
/// sleep; `None` where there is no `/proc`.
fn runtime_switches() -> Option<u64> {
    let own = fs::read_link("/proc/thread-self").ok()?;
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task").ok()? {
        let task = task.ok()?;
        if own.file_name() == Some(&task.file_name()) {
            continue;
        }
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        sum += line.trim().parse::<u64>().ok()?;
    }
    Some(sum)
}
