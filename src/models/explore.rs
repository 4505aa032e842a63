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
        checker: "loom",
        with: move || format!("LOOM_LOCATION=1 {asked}"),
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

/// With so many schedules at least, where what the model is for takes more switches
/// than loom is asked for on a change.
#[cfg(laneway_loom)]
#[track_caller]
pub(super) fn explore_at_least(
    _least: u64,
    name: &'static str,
    model: impl Fn() + Send + Sync + 'static,
) {
    explore(name, model);
}

#[cfg(laneway_shuttle)]
#[track_caller]
pub(super) fn explore(name: &'static str, model: impl Fn() + Send + Sync + 'static) {
    explore_at_least(0, name, model);
}

/// Explores a model at random, half of the schedules uniformly and half with
/// few, well-placed preemptions (PCT). `LANEWAY_SCHEDULES` says how many, and
/// `LANEWAY_SCHEDULE` repeats one.
#[cfg(laneway_shuttle)]
#[track_caller]
pub(super) fn explore_at_least(
    least: u64,
    name: &'static str,
    model: impl Fn() + Send + Sync + 'static,
) {
    use super::schedule::{Recorder, asked, given};
    use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};

    let schedules = given("LANEWAY_SCHEDULES").unwrap_or(2_000);
    let seed = given("LANEWAY_SEED").unwrap_or(1);
    assert!(schedules > 0, "LANEWAY_SCHEDULES=0 explores nothing");
    let schedules = schedules.max(least);
    let half = usize::try_from(schedules / 2).expect("few enough");
    let rest = usize::try_from(schedules).expect("few enough") - half;
    let mut config = shuttle::Config::new();
    config.silence_warnings = true;
    // The last line has it.
    config.failure_persistence = shuttle::FailurePersistence::None;
    let (model, seen) = (Arc::new(model), Arc::new(Serials::from(0)));
    let run = move |scheduler: Box<dyn Scheduler + Send>| {
        let (model, counted) = (Arc::clone(&model), Arc::clone(&seen));
        let (recorder, record) = Recorder::new(scheduler);
        let replay = Replay {
            checker: "shuttle",
            with: move || format!("LANEWAY_SCHEDULE=\"{record}\""),
        };
        let runner = shuttle::Runner::new(recorder, config.clone());
        let before = seen.next();
        runner.run(move || {
            counted.next();
            model();
        });
        std::mem::forget(replay);
        seen.next() - before - 1
    };
    if let Some(schedule) = asked() {
        run(Box::new(ReplayScheduler::new_from_schedule(schedule)));
        return;
    }
    let random = run(Box::new(RandomScheduler::new_from_seed(seed, rest)));
    let pct = run(Box::new(PctScheduler::new_from_seed(seed, 3, half)));
    assert!(random + pct >= schedules, "{name}: hardly explored");
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
struct Replay<F: Fn() -> String> {
    checker: &'static str,
    with: F,
}

impl<F: Fn() -> String> Drop for Replay<F> {
    fn drop(&mut self) {
        // The checker is gone, and what it made must not be touched any more.
        crate::host::Handle::abandon();
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("models::");
        let (checker, with) = (self.checker, (self.with)());
        // Where all of it is built for this checker already.
        eprintln!(
            "replay: RUSTFLAGS=\"--cfg laneway_{checker}\" CARGO_TARGET_DIR=target/{checker} {with} \
             cargo test --profile models --features testing --lib -- --nocapture --exact {test}"
        );
    }
}
