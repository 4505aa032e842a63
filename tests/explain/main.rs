//! Why a task waits, down to the root: as data, and as it is printed.

mod circles;
#[path = "../common/mod.rs"]
mod common;
mod ends;
mod holders;
mod lanes;
mod waits;

use std::fmt::Display;
use std::future::pending;
use std::time::Duration;

use common::{CEILING, HOUR, MINUTE, Nest, SECOND, TICK, let_run, one_lane, poll_once};
use futures::FutureExt;
use laneway::{
    BlockedBy, Bound, Cause, ControlError, Drain, Due, Follows, GroupConfig, Lane, LaneConfig,
    Lanes, Never, OnDeadlock, OnFull, OnStall, Priority, QueuedWork, Reason, Remedy, Stage,
    TaskExplanation, TaskHandle, TaskId, Timeout, Wait, WaitGraph,
};
use tokio::time::sleep;

/// The text, with the tasks of the graph as `#0`, `#1` and so on.
fn told(text: &impl Display, graph: &WaitGraph) -> String {
    let ids = graph.tasks.iter().map(|node| node.task.id.to_string());
    let mut names: Vec<(String, usize)> = ids.zip(0..).collect();
    names.sort_by_key(|(id, _)| std::cmp::Reverse(id.len()));
    let mut text = text.to_string();
    for (id, n) in names {
        text = text.replace(&id, &format!("#{n}"));
    }
    text
}

#[track_caller]
fn assert_text(text: &impl Display, graph: &WaitGraph, expected: &str) {
    let told = told(text, graph);
    assert_eq!(told, expected.trim_start_matches('\n'), "\n{told}");
}

/// Of the text, the first line.
#[track_caller]
fn assert_head(text: &impl Display, graph: &WaitGraph, expected: &str) {
    let told = told(text, graph);
    assert_eq!(told.lines().next(), Some(expected), "\n{told}");
}

fn silent(lane: &Lane, name: &'static str) -> TaskHandle<()> {
    lane.task().name(name).spawn(async |_| pending().await)
}

fn quick(lane: &Lane, name: &'static str) -> TaskHandle<()> {
    lane.task().name(name).spawn(async |_| ())
}

/// It reports progress every second.
fn moving(lane: &Lane, name: &'static str) -> TaskHandle<()> {
    lane.task().name(name).spawn(async |cx| {
        loop {
            sleep(SECOND).await;
            cx.progress();
        }
    })
}

fn explain(lanes: &Lanes, id: TaskId) -> TaskExplanation {
    lanes.explain(id).unwrap()
}

fn lane_of(name: &str) -> String {
    name.to_owned()
}

/// What the README shows of it is what its example prints.
#[tokio::test(start_paused = true)]
async fn the_readme_shows_what_is_printed() {
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(2))
        .lane("provider", LaneConfig::new(1))
        .build()
        .unwrap();
    let [main, provider] = ["main", "provider"].map(|name| lanes.lane(name).unwrap());
    let call = provider.task().name("model call");
    let _call = call.spawn(async |cx| {
        cx.progress_note("waiting for the first token");
        pending::<()>().await
    });
    let turn = main.task().name("turn 17").spawn(async move |_| {
        let another = provider.task().name("another call");
        another.run(async |_| ()).await
    });
    sleep(Duration::from_secs(252)).await;
    let why = explain(&lanes, turn.id());
    let mut text = told(&why, &why.graph);
    for (n, id) in ["1-1", "2-2", "2-1"].into_iter().enumerate() {
        text = text.replace(&format!("#{n}"), id);
    }
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&format!("```text\n{text}```")), "\n{text}");
}
