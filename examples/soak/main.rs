//! Runs the scheduler for minutes on real threads, under hangs, panics, cancels,
//! resizes, drains, shutdowns of it and of its runtimes, and checks from outside
//! whether it keeps its promises.
//!
//! ```text
//! cargo run --release --example soak -- --minutes 10
//! cargo run --release --example soak -- --seconds 20 --seed 7
//! ```
//!
//! Nothing in here trusts the scheduler's own counts where it can count itself.
//! The numbers S1 to S20 are the promises of `docs/reliability.md`.

mod args;
mod audit;
mod body;
mod book;
mod case;
mod dice;
mod epoch;
mod errand;
mod gate;
mod kind;
mod meddler;
mod memory;
mod proof;
mod sampler;
mod sync;
mod watch;
mod way;
mod workshop;
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;

use crate::args::Args;
use crate::dice::Dice;
use crate::epoch::epoch;
use crate::memory::resident_kib;
use crate::proof::Proof;
use crate::sync::{SeqCst, now};
use crate::world::Fences;

/// Resident memory may end this much above where it began, by the allocator's
/// ways and by what an audit keeps. What the soak made is counted exactly.
const RSS_SLACK_KIB: u64 = 32 * 1024;
const LONGEST_EPOCH: Duration = Duration::from_secs(6);

fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(seed_of_the_clock);
    println!("soak: {:?}, seed {seed}", args.time());
    let proof = Arc::new(Proof::default());
    proof.watch_panics();
    proof.watch_the_machine();

    let home = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("the system has threads to give");
    let (began, memory) = (now(), home.block_on(soak(&proof, seed, args.time())));
    // Where something never ended, its threads do not end either.
    home.shutdown_background();

    print!("{proof}");
    let [start, end] =
        memory.map(|kib| kib.map_or_else(|| "unknown".to_owned(), |kib| kib.to_string()));
    if memory.contains(&None) {
        println!("no /proc here, or no second epoch: resident memory was not compared");
    } else {
        println!("resident memory: {start} KiB after the warm-up, {end} KiB at the end");
    }
    let violations = proof.violations();
    if violations > 0 {
        println!(
            "again: cargo run --release --example soak -- --seconds {} --seed {seed}",
            args.time().as_secs()
        );
    }
    println!(
        "proof: layer=soak minutes={:.2} tasks={} ran={} faults={} violations={violations} orphans_max={} rss_start_kib={start} rss_end_kib={end} seed={seed}",
        now().duration_since(began).as_secs_f64() / 60.0,
        proof.tasks.load(SeqCst),
        proof.ran.load(SeqCst),
        proof.faults(),
        proof.orphans_max.load(SeqCst),
    );
    ExitCode::from(u8::from(violations > 0))
}

/// Resident memory after the first epoch, and after the last.
async fn soak(proof: &Arc<Proof>, seed: u64, time: Duration) -> [Option<u64>; 2] {
    let (began, mut dice, mut fences) = (now(), Dice::new(seed), Fences::new());
    let longest = LONGEST_EPOCH.min(time / 4).max(Duration::from_secs(1));
    let (mut warm, mut last) = (None, None);
    while now().duration_since(began) < time {
        let part = longest.mul_f64(0.5 + dice.below(50) as f64 / 100.0);
        if !epoch(proof, &mut fences, &mut dice, part).await {
            break;
        }
        last = warm.and_then(|_| resident_kib());
        warm = warm.or_else(resident_kib);
    }
    if let (Some(warm), Some(last)) = (warm, last) {
        proof.check("S15", last <= warm + RSS_SLACK_KIB, || {
            format!("resident memory grew from {warm} to {last} KiB")
        });
    }
    [warm, last]
}

#[expect(
    clippy::disallowed_methods,
    reason = "any number will do that is not the last one"
)]
fn seed_of_the_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::from(since.subsec_nanos()))
}
