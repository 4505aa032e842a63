//! What a task that finds its slot free asks of the allocator: nothing, where its
//! caller polls it.

use allocation_counter::measure;
use laneway::{LaneConfig, Lanes};

#[test]
fn a_run_that_finds_a_slot_free_allocates_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(2))
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let nested = async || {
        main.run(async |_| main.run(async |cx| cx.fence()).await)
            .await
    };
    runtime.block_on(async {
        // The first ones make the driver, the tables and the cells.
        for _ in 0..8 {
            nested().await.unwrap().unwrap();
        }
    });
    let counted = measure(|| {
        runtime.block_on(async {
            for _ in 0..100 {
                nested().await.unwrap().unwrap();
            }
        });
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

/// With a log of events neither, once that has its memory.
#[test]
fn a_run_that_is_written_down_allocates_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(2))
        .events(50)
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let run = |times: usize| {
        runtime.block_on(async {
            for _ in 0..times {
                main.run(async |cx| cx.fence()).await.unwrap();
            }
        });
    };
    run(8);
    let counted = measure(|| run(100));
    assert_eq!(counted.count_total, 0, "{counted:?}");
    assert_eq!(lanes.snapshot().events.unwrap().published, 1 + 2 * 108);
}

/// S15: lanes that a pattern makes and nobody uses any more cost nothing, not
/// even at their peak.
#[test]
fn s15_a_million_names_one_after_another_leave_memory_where_it_was() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let lanes = Lanes::builder()
        .pattern("session:*", LaneConfig::new(1))
        .build()
        .unwrap();
    let storm = |names: std::ops::Range<u32>| {
        runtime.block_on(async {
            for number in names {
                let session = lanes.lane(&format!("session:{number}")).unwrap();
                session.run(async |cx| cx.progress()).await.unwrap();
            }
        });
    };
    // The first ones make the tables.
    storm(0..10_000);
    let counted = measure(|| storm(10_000..1_010_000));
    assert!(lanes.snapshot().lanes.is_empty());
    assert!(counted.bytes_current.abs() < 4_096, "{counted:?}");
    assert!(counted.bytes_max < 64 * 1_024, "{counted:?}");
}

/// A lane that was set anew pays for it with a lock, not with memory.
#[test]
fn a_run_in_a_lane_that_was_set_anew_allocates_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(2))
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    lanes
        .reconfigure(|change| {
            change.lane("main").max_concurrent(3);
        })
        .unwrap();
    let some = || {
        runtime.block_on(async {
            for _ in 0..100 {
                main.run(async |_| ()).await.unwrap();
            }
        });
    };
    some();
    let counted = measure(some);
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

#[test]
fn a_spawn_that_is_awaited_allocates_its_job_and_what_tokio_needs() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let lanes = Lanes::builder()
        .lane("main", LaneConfig::new(2))
        .build()
        .unwrap();
    let main = lanes.lane("main").unwrap();
    let tasks = async |count| {
        for n in 0..count {
            assert_eq!(main.spawn(async move |_| n).await.unwrap(), n);
        }
    };
    runtime.block_on(tasks(8));
    let counted = measure(|| runtime.block_on(tasks(100)));
    assert_eq!(counted.count_total, 200, "{counted:?}");
}

/// S15: so do the chains over them, whoever is parked in one, and waitpoints.
#[test]
fn s15_chains_and_waits_leave_memory_where_it_was() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let lanes = Lanes::builder()
        .pattern("session:*", LaneConfig::new(1))
        .lane("main", LaneConfig::new(1))
        .build()
        .unwrap();
    let storm = |names: std::ops::Range<u32>| {
        runtime.block_on(async {
            for number in names {
                let session = format!("session:{number}");
                let chain = lanes.chain([&*session, "main"]).unwrap();
                let answer = lanes.waitpoint::<u32>(session).unwrap();
                let token = answer.token();
                let turn = chain.spawn(async |cx| {
                    let wait = cx.waiting("answer").release(["main"]);
                    wait.on(answer).await.unwrap().unwrap()
                });
                tokio::task::yield_now().await;
                token.resume(number).unwrap();
                assert_eq!(turn.await.unwrap(), number);
            }
        });
    };
    storm(0..10_000);
    let counted = measure(|| storm(10_000..60_000));
    let snapshot = lanes.snapshot();
    assert_eq!((snapshot.lanes.len(), snapshot.waitpoints.len()), (1, 0));
    assert!(counted.bytes_current.abs() < 4_096, "{counted:?}");
    assert!(counted.bytes_max < 64 * 1_024, "{counted:?}");
}
