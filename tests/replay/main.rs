//! What was recorded is decided once more, event for event.

#[path = "../common/mod.rs"]
mod common;
#[path = "../trace/requests.rs"]
mod requests;

use std::future::pending;
use std::time::Duration;

use common::{CEILING, HOUR, MINUTE, SECOND, TICK, let_run, poll_once};
use laneway::replay::{Recording, ReplayError, Replayed, SaveError};
use laneway::{
    ConfigError, Drain, Event, EventKind, GroupConfig, LaneConfig, Lanes, LanesBuilder, OnBusy,
    OnFull, OnStall, Outcome, Priority, QueuedWork, TaskContext, Timeout,
};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

const MANY: usize = 1 << 20;

fn recorded(builder: LanesBuilder) -> Lanes {
    builder.events(MANY).recording(MANY).build().unwrap()
}

fn saved(lanes: &Lanes) -> Vec<u8> {
    let mut saved = Vec::new();
    lanes.save_recording(&mut saved).unwrap();
    saved
}

#[track_caller]
fn replayed(saved: &[u8]) -> Replayed {
    let recording = Recording::read(saved).unwrap();
    recording.replay().unwrap_or_else(|error| panic!("{error}"))
}

/// What readers of the log were told.
fn told(lanes: &Lanes) -> Vec<Event> {
    let mut all = lanes.subscribe_from(0).unwrap();
    std::iter::from_fn(|| all.try_next())
        .map(|event| event.expect("nothing is missed"))
        .collect()
}

/// The replay tells what the log told, and that was not little.
#[track_caller]
fn reproduces(lanes: &Lanes) -> Replayed {
    let replayed = replayed(&saved(lanes));
    let told = told(lanes);
    assert!(told.len() > 4);
    assert_eq!(replayed.events().len(), told.len());
    for (again, event) in replayed.events().iter().zip(&told) {
        assert_eq!(again, event);
    }
    replayed
}

#[tokio::test(start_paused = true)]
async fn a_recorded_hour_with_a_hang_in_every_hundred() {
    let Some(trace) = requests::load(env!("CARGO_MANIFEST_DIR")) else {
        return;
    };
    let config = LaneConfig::new(32).stall_ceiling(MINUTE);
    let builder = Lanes::builder().lane("main", config);
    let lanes = recorded(builder.default_lane(LaneConfig::new(1)));
    let main = lanes.lane("main").unwrap();
    let local = LocalSet::new();
    let mut hung = 0;
    let requests: Vec<_> = trace
        .into_iter()
        .map(|request| {
            hung += usize::from(request.hangs);
            let session = lanes.lane(&format!("session:{}", request.session)).unwrap();
            let main = main.clone();
            local.spawn_local(async move {
                sleep(request.at).await;
                let body = async |_: TaskContext| match request.hangs {
                    true => pending().await,
                    false => sleep(request.service).await,
                };
                session.run(async |_| main.run(body).await.is_ok()).await
            })
        })
        .collect();
    let all = requests.len();
    let served = local.run_until(async {
        let mut served = 0;
        for request in requests {
            served += usize::from(request.await.unwrap().unwrap());
        }
        served
    });
    let served = timeout(24 * HOUR, served).await.expect("all are answered");
    assert_eq!(served, all - hung);
    assert!(hung > 10 && all > 1_000, "{hung} of {all}");

    let replayed = reproduces(&lanes);
    assert_eq!(replayed.reclaimed().count(), hung);
    assert_eq!(replayed.dispatched().count(), 2 * all);
}
