//! Why a task waits, down to the root: as data, and as it is printed.

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
