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
