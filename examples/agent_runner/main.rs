//! Runs agents as people do: many sessions, each strictly one job at a time,
//! and a few jobs at a time over all of them.
//!
//! ```text
//! cargo run --release --example agent_runner                  # the demo
//! cargo run --release --example agent_runner -- --max 8 --stall 2m jobs.jsonl
//! cargo run --release --example agent_runner -- --config examples/lanes.toml jobs.jsonl
//! generate-jobs | cargo run --release --example agent_runner -- -
//! ```
//!
//! Every job is a child process. It waits for a slot of its session's lane and
//! then for one of lane `main`, and holds both while it runs. Every line it prints is progress; one that falls silent
//! gets SIGTERM, and then its process group SIGKILL, before its slots go on to
//! the next. Ctrl-C starts nothing new and lets what runs finish; a second one
//! ends it. With `--config`, SIGHUP reads the file again and sets the lanes anew
//! while they run.

#[cfg(not(unix))]
compile_error!("the jobs are shell commands in process groups: this example needs a Unix");

mod args;
mod child;
mod config;
mod interrupts;
mod jobs;
mod lines;
mod outcome;
mod report;
mod runner;
mod timing;
mod ui;

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use laneway::{LaneConfig, Lanes, Timeout};

use crate::args::Args;
use crate::config::Reloads;
use crate::interrupts::Interrupts;
use crate::jobs::SESSIONS;
use crate::runner::{MAIN, Runner};
use crate::ui::Ui;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/jobs.jsonl");

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("agent_runner: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether all went well.
async fn run(args: &Args) -> anyhow::Result<bool> {
    let lanes = build_lanes(args)?;
    let lines = read_jobs(args.jobs.as_deref())?;
    let interrupts = Interrupts::listen(args.config.is_none())?;
    let ui = Ui::new(args.verbose);
    show_warnings(&ui);
    if let Some(path) = &args.config {
        let reloads = Reloads::listen(path)?;
        tokio::spawn(reloads.follow(lanes.clone(), ui.clone()));
    }

    let runner = Runner::new(lanes, ui.clone());
    let mut malformed = 0_usize;
    for (number, job) in lines {
        let submitted = job.and_then(|job| runner.submit(job).map_err(|error| error.to_string()));
        if let Err(why) = submitted {
            malformed += 1;
            ui.complain(format_args!("line {number}: {why}"));
        }
    }
    let report = runner.run(interrupts).await;

    ui.say(format_args!("\n{report}"));
    if malformed > 0 {
        ui.say(format_args!("{malformed} malformed lines were left out"));
    }
    let well = report.went_well() && malformed == 0;
    if !well && args.jobs.is_none() {
        ui.say("this was the demo: some of its jobs are meant to go wrong");
    }
    ui.say(format_args!("exit status {}", u8::from(!well)));
    Ok(well)
}

/// One lane for all, as wide as told, and one of one slot for each session; or
/// whatever the file says.
fn build_lanes(args: &Args) -> anyhow::Result<Lanes> {
    if let Some(path) = &args.config {
        let lanes = Lanes::builder().build()?;
        config::load(&lanes, path).with_context(|| format!("cannot use {}", path.display()))?;
        return Ok(lanes);
    }
    let mut timeout = Timeout::grace(args.grace);
    if let Some(budget) = args.timeout {
        timeout = timeout.budget(budget);
    }
    // What `main` holds a job to, it is held to, whatever its session says.
    let main = LaneConfig::new(args.max.get())
        .stall_ceiling(args.stall)
        .timeout(timeout);
    // Two jobs of one session must never overlap, not even when one is stuck.
    let mut builder = Lanes::builder()
        .lane(MAIN, main)
        .pattern(SESSIONS, LaneConfig::new(1).strict());
    for (name, width) in &args.lanes {
        builder = builder.lane(name, LaneConfig::new(width.get()));
    }
    builder.build().context("cannot build the lanes")
}

fn read_jobs(path: Option<&Path>) -> anyhow::Result<Vec<jobs::Line>> {
    let path = path.unwrap_or_else(|| Path::new(DEMO));
    let lines = if path == Path::new("-") {
        jobs::read(io::stdin().lock())
    } else {
        File::open(path).and_then(|file| jobs::read(BufReader::new(file)))
    };
    lines.with_context(|| format!("cannot read {}", path.display()))
}

/// What the scheduler warns of: a lane that is blocked, a slot reclaimed.
fn show_warnings(ui: &Ui) {
    let ui = ui.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(move || ui.stderr())
        .init();
}
