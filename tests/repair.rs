//! The scheduler checks itself: of a healthy one nothing is found, whatever goes
//! on in it. What is found where something is wrong is tried beside the code that
//! finds it, since nobody outside can bring it about.

use std::time::Duration;

use laneway::{Drain, GroupConfig, Lane, LaneConfig, Lanes, OnFull, QueuedWork, Reason, TaskError};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[track_caller]
fn assert_healthy(lanes: &Lanes) {
    let report = lanes.repair();
    assert!(report.is_empty(), "{report}");
    for lane in lanes.snapshot().lanes {
        assert_eq!(lane.counters.repaired, 0, "{lane:?}");
    }
}

async fn forever(lane: &Lane) -> Result<(), TaskError> {
    lane.run(async |_| std::future::pending().await).await
}

#[tokio::test(start_paused = true)]
async fn nothing_is_found_of_a_lane_with_some_of_everything() {
    let config = LaneConfig::new(1).queue_capacity(3).on_full(OnFull::Wait);
    let lanes = Lanes::builder()
        .lane("main", config.stall_ceiling(MINUTE))
        .lane("side", LaneConfig::new(2))
        .group(
            "both",
            GroupConfig::new(2)
                .member("main")
                .member("side")
                .reserve("side", 1),
        )
        .build()
        .unwrap();
    let [main, side] = ["main", "side"].map(|name| lanes.lane(name).unwrap());
    assert_healthy(&lanes);
    let orphan = main.acquire().await.unwrap();
    main.reset();
    assert_healthy(&lanes);
    let parked = side.spawn(async |cx| {
        let wait = cx.waiting("an approval").release(["side"]);
        wait.on(std::future::pending::<()>()).await
    });
    tokio::time::sleep(SECOND).await;
    let task = main.task().key("k");
    let _debounced = task.debounce(MINUTE * 30, 1, |a, b| a + b, async |_, n: u32| n);
    let stalls = main.spawn(async |_| std::future::pending::<()>().await);
    let place = main.reserve().await.unwrap();
    let waiting = tokio::spawn({
        let main = main.clone();
        async move { futures::future::join_all((0..4).map(|_| forever(&main))).await }
    });
    tokio::time::sleep(SECOND).await;
    let snapshot = main.snapshot();
    // The one that is put off is one of them.
    assert_eq!((snapshot.active.len(), snapshot.queued.len()), (1, 3));
    assert_eq!((snapshot.at_door.len(), snapshot.reserved), (2, 1));
    assert_eq!(
        (snapshot.orphans.len(), side.snapshot().parked.len()),
        (1, 1)
    );
    assert_healthy(&lanes);
    // And it changed nothing: the stalled one is reclaimed when it is due.
    assert!(matches!(stalls.await, Err(TaskError::Stalled { .. })));
    assert_healthy(&lanes);
    drop((place, orphan));
    parked.cancel(Reason::User);
    let drain = Drain::within(SECOND).queued(QueuedWork::Cancel);
    lanes.drain(drain).await;
    assert_healthy(&lanes);
    let ended = waiting.await.unwrap();
    assert!(ended.iter().all(Result::is_err));
    lanes.shutdown().await;
    assert_healthy(&lanes);
}

/// In a crowd, on several threads, with lanes that are set anew meanwhile.
#[test]
fn s5_nothing_is_found_whatever_goes_on_meanwhile() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    let lanes = Lanes::builder()
        .lane("alone", LaneConfig::new(2))
        .pattern("member:*", LaneConfig::new(1))
        .lane("mover", LaneConfig::new(2))
        .group("shared", GroupConfig::new(2).member("member:*"))
        .build()
        .unwrap();
    let names = ["alone", "member:a", "member:b", "member:c", "mover"];
    let (over, _) = tokio::sync::watch::channel(false);
    let changes = if cfg!(miri) { 2 } else { 300 };
    runtime.block_on(async {
        let mut all = Vec::new();
        for (n, name) in names.into_iter().cycle().take(5 * names.len()).enumerate() {
            let (lane, over) = (lanes.lane(name).unwrap(), over.subscribe());
            all.push(tokio::spawn(async move {
                while !*over.borrow() {
                    let task = lane.spawn(async |_| tokio::task::yield_now().await);
                    if n % 7 == 0 {
                        task.cancel(Reason::User);
                    }
                    let _ = task.await;
                }
            }));
        }
        let checks = tokio::spawn({
            let (lanes, over) = (lanes.clone(), over.subscribe());
            async move {
                while !*over.borrow() {
                    assert_healthy(&lanes);
                    tokio::task::yield_now().await;
                }
            }
        });
        for round in 0..changes {
            let grouped = GroupConfig::new(1 + round % 3).member("member:*");
            let grouped = if round % 2 == 0 {
                grouped.member("mover")
            } else {
                grouped
            };
            let change = lanes.reconfigure(|change| change.group("shared", grouped));
            change.unwrap();
            tokio::task::yield_now().await;
        }
        over.send_replace(true);
        for task in all {
            task.await.unwrap();
        }
        checks.await.unwrap();
    });
    assert_healthy(&lanes);
    for lane in lanes.snapshot().lanes {
        assert!(
            lane.queued.is_empty() && lane.active.is_empty(),
            "S7: {lane:?}"
        );
    }
}

#[test]
#[cfg(feature = "serde")]
fn a_report_serializes() {
    use serde_json::json;

    let lanes = Lanes::builder().lane("main", LaneConfig::new(1));
    let lanes = lanes.build().unwrap();
    let report = serde_json::to_value(lanes.repair()).unwrap();
    assert_eq!(report, json!({"lanes": [], "groups": []}));
}
