//! Runs a model under the checker that this build is for.

#[cfg(laneway_loom)]
pub(super) use loom::thread;
#[cfg(laneway_shuttle)]
pub(super) use shuttle::thread;

use super::world::Tally;
use crate::sync::{Arc, Serials};

/// Explores a model, and says how much of it there was: one without a choice
/// proves nothing.
#[cfg(laneway_loom)]
#[track_caller]
pub(super) fn explore(name: &'static str, model: impl Fn() + Send + Sync + 'static) {
    explore_within(name, None, model);
}

/// With so many preemptions at most, whatever is asked for: three threads, or long
/// ways, can interleave in very many ways.
#[cfg(laneway_loom)]
#[track_caller]
pub(super) fn explore_at_most(
    most: usize,
    name: &'static str,
    model: impl Fn() + Send + Sync + 'static,
) {
    explore_within(name, Some(most), model);
}

/// Schedules that are drawn have no bound.
#[cfg(laneway_shuttle)]
#[track_caller]
pub(super) fn explore_at_most(
    _most: usize,
    name: &'static str,
    model: impl Fn() + Send + Sync + 'static,
) {
    explore(name, model);
}

#[cfg(laneway_loom)]
#[track_caller]
fn explore_within(
    name: &'static str,
    most: Option<usize>,
    model: impl Fn() + Send + Sync + 'static,
) {
    let seen = Arc::new(Serials::from(0));
    let mut builder = loom::model::Builder::new();
    builder.max_branches = builder.max_branches.max(20_000);
    if builder.preemption_bound.is_none() && std::env::var_os("LANEWAY_UNBOUNDED").is_none() {
        builder.preemption_bound = Some(4);
    }
    if let Some(most) = most {
        let asked = builder.preemption_bound.unwrap_or(most);
        builder.preemption_bound = Some(asked.min(most));
    }
    let (bound, asked) = match builder.preemption_bound {
        Some(bound) => (bound.to_string(), format!("LOOM_MAX_PREEMPTIONS={bound}")),
        None => ("unbounded".to_owned(), "LANEWAY_UNBOUNDED=1".to_owned()),
    };
    let counted = Arc::clone(&seen);
    let replay = Replay {
        cfg: "laneway_loom",
        with: format!("LOOM_LOCATION=1 {asked}"),
    };
    builder.check(move || {
        counted.next();
        model();
    });
    std::mem::forget(replay);
    let interleavings = seen.next();
    assert!(interleavings > 1, "{name}: nothing was explored");
    println!("proof: layer=loom model={name} interleavings={interleavings} preemptions={bound}");
}

/// Explores a model at random, half of the schedules uniformly and half with
/// few, well-placed preemptions (PCT). `LANEWAY_SCHEDULES` says how many.
#[cfg(laneway_shuttle)]
#[track_caller]
pub(super) fn explore(name: &'static str, model: impl Fn() + Send + Sync + 'static) {
    use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler};

    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let schedules = number("LANEWAY_SCHEDULES").unwrap_or(2_000);
    let seed = number("LANEWAY_SEED").unwrap_or(1);
    let half = usize::try_from(schedules / 2).expect("few enough");
    let mut config = shuttle::Config::new();
    config.silence_warnings = true;
    let (model, seen) = (Arc::new(model), Arc::new(Serials::from(0)));
    let run = move |scheduler: Box<dyn shuttle::scheduler::Scheduler + Send>| {
        let (model, counted) = (Arc::clone(&model), Arc::clone(&seen));
        let runner = shuttle::Runner::new(scheduler, config.clone());
        let before = seen.next();
        runner.run(move || {
            counted.next();
            model();
        });
        seen.next() - before - 1
    };
    let replay = Replay {
        cfg: "laneway_shuttle",
        with: "LANEWAY_SCHEDULE=<the schedule above>".to_owned(),
    };
    if let Ok(schedule) = std::env::var("LANEWAY_SCHEDULE") {
        run(Box::new(ReplayScheduler::new_from_encoded(&schedule)));
        std::mem::forget(replay);
        return;
    }
    let random = run(Box::new(RandomScheduler::new_from_seed(seed, half)));
    let pct = run(Box::new(PctScheduler::new_from_seed(seed, 3, half)));
    std::mem::forget(replay);
    assert!(random + pct >= schedules - 1, "{name}: hardly explored");
    println!(
        "proof: layer=shuttle model={name} scheduler=random schedules={random} seed={seed}\n\
         proof: layer=shuttle model={name} scheduler=pct schedules={pct} seed={seed}"
    );
}

/// A race that always ends the same way is none; at random, or as a replay, it
/// may.
#[track_caller]
pub(super) fn both_came_first(one: &Tally, other: &Tally) {
    let both = one.count() > 0 && other.count() > 0;
    assert!(both || cfg!(laneway_shuttle), "one of them always won");
}

/// Says how to see a failure again. Tests run on threads that bear their names.
struct Replay {
    cfg: &'static str,
    with: String,
}

impl Drop for Replay {
    fn drop(&mut self) {
        // The checker is gone, and what it made must not be touched any more.
        crate::host::Handle::abandon();
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("models::");
        let Self { cfg, with } = self;
        eprintln!(
            "replay: RUSTFLAGS=\"--cfg {cfg}\" {with} \
             cargo test --profile models --features testing --lib -- --nocapture --exact {test}"
        );
    }
}
